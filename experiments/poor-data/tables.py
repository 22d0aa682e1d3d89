"""Tables of the report, in Markdown."""

import json
from itertools import product
from pathlib import Path

import numpy as np
from collect import (
    ALL_LABELS,
    AXES,
    FIGURES,
    LEADS,
    SOURCES,
    Cells,
    cells_by_seed,
    conditions,
    interval,
    lead_slopes,
    methods_of,
    paired_leads,
    seed_values,
    slopes,
)
from faces import TESTS
from methods import METHODS

RIVALS = ("", ", rival refitted")
"""Suffixes of the names in LEADS."""


def text(values: list[float], sign: str = "") -> str:
    """Mean and confidence interval of the values, as a cell of a table."""
    mean, half = interval(values)
    if np.isnan(mean):
        return "–"
    return f"{mean:{sign}.2f}" if np.isnan(half) else f"{mean:{sign}.2f} ± {half:.2f}"


def verdict(values: list[float]) -> str:
    """A signed mean and its interval, bold if the interval excludes 0."""
    mean, half = interval(values)
    return f"**{text(values, '+')}**" if abs(mean) > half else text(values, "+")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table; an empty string if there are no rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def summary_head(first: str) -> list[str]:
    """The head of a summary: a column for each source and rival."""
    return [first, *(f"{source}{', refitted' * bool(rival)}" for source in SOURCES for rival in RIVALS)]


def nme_summary(cells: Cells) -> str:
    """The lead in NME by condition, for each source and rival."""
    columns = [paired_leads(cells, source, f"NME{rival}") for source in SOURCES for rival in RIVALS]
    order = dict.fromkeys(condition for source in SOURCES for condition in conditions(cells, source))
    rows = [
        [condition, *(verdict(list(column.get(condition, {}).values())) for column in columns)]
        for condition in [*order, ALL_LABELS]
        if any(condition in column for column in columns)
    ]
    return table(summary_head("labels"), rows)


def slope_summary(cells: Cells) -> str:
    """Ten times the slope of the lead in NME against the level of a corruption, for each source and rival."""
    rows = []
    for kind in [kind for kind in AXES if kind != "few"]:
        columns = [lead_slopes(cells, source, kind, f"NME{rival}") for source in SOURCES for rival in RIVALS]
        if any(columns):
            rows.append([AXES[kind], *(verdict([10 * value for value in column]) for column in columns)])
    return table(summary_head("lead in NME per 10 of"), rows)


def failure_summary(cells: Cells) -> str:
    """The other leads, over all conditions of a source, for each source and rival."""
    rows = []
    for name in ("points beyond 20 %", "worst 5 %", "NME occluded"):
        leads = [
            paired_leads(cells, source, name + rival).get(ALL_LABELS, {}) if name + rival in LEADS else {}
            for source in SOURCES
            for rival in RIVALS
        ]
        if any(leads):
            rows.append([name, *(verdict(list(lead.values())) for lead in leads)])
    return table(summary_head("lead, mean over all labels"), rows)


def figures_table(cells: Cells, source: str) -> str:
    """All figures of the clean test."""
    rows = [
        [
            c,
            m,
            str(len(cells_by_seed(cells, source, c, m))),
            *(text(seed_values(cells, source, c, m, f)) for f in FIGURES),
        ]
        for c, m in product(conditions(cells, source), METHODS)
        if cells_by_seed(cells, source, c, m)
    ]
    return table(["labels", "method", "seeds", *FIGURES.values()], rows)


def tests_table(cells: Cells, source: str) -> str:
    """NME on clean and on corrupted images, and on the clean ones with the corrections of direct methods."""
    tests = [*TESTS, "shaped", "refitted"]
    rows = [
        [c, m, *(text(seed_values(cells, source, c, m, "nme", test)) for test in tests)]
        for c, m in product(conditions(cells, source), METHODS)
        if cells_by_seed(cells, source, c, m)
    ]
    return table(["labels", "method", *tests], rows)


def lead_table(cells: Cells, source: str) -> str:
    """All LEADS by condition, and their means over the conditions."""
    columns = [paired_leads(cells, source, name) for name in LEADS]
    rows = [
        [condition, str(len(seeds)), *(text(list(column[condition].values()), "+") for column in columns)]
        for condition, seeds in columns[0].items()
    ]
    return table(["labels", "seeds", *LEADS], rows)


def slopes_table(cells: Cells, source: str) -> str:
    """The slope of each method's NME against the level of a corruption, and that of parsing's lead over heatmaps."""
    rows, methods = [], methods_of(cells)
    for kind in [kind for kind in AXES if kind != "few"]:
        columns = [slopes(cells, source, kind, method) for method in methods]
        lead = lead_slopes(cells, source, kind)
        if any(columns) or lead:
            rows.append([AXES[kind], *map(text, columns), text(lead, "+")])
    return table(["NME per 1 of", *methods, "parsing's lead over heatmap"], rows)


def influence_table(cells: Cells, source: str) -> str:
    """The change of the predictions by one bad face, and by one that is moved minimally, with the same seed."""
    rows = []
    for condition, method in product(conditions(cells, source), METHODS):
        changes = [
            cell["change"] for cell in cells_by_seed(cells, source, condition, method).values() if cell["change"]
        ]
        if changes:
            distances = [text([change[figure] for change in changes]) for figure in ("mean", "of_95th")]
            rows.append(
                [condition, method, str(len(changes)), *distances, text([change["nme"] for change in changes], "+")]
            )
    return table(["labels", "method", "seeds", "mean change", "of the 95th of 100 faces", "NME grows by"], rows)


def trials_table(folder: Path) -> str:
    """The NME of each learning rate that was tried."""
    trials = {
        method: sorted(
            (json.loads(path.read_text()) for path in (folder / method).glob("*.json")), key=lambda t: t["rate"]
        )
        for method in METHODS
    }
    rates = sorted({trial["rate"] for each in trials.values() for trial in each})
    nme = {(m, trial["rate"]): f"{trial['tests']['clean']['nme']:.2f}" for m, each in trials.items() for trial in each}
    return table(
        ["method", *(f"{rate:g}" for rate in rates)], [[m, *(nme.get((m, r), "–") for r in rates)] for m in METHODS]
    )
