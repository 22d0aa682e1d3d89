"""All cells that there are: tables into ``docs/evidence.md``, curves beside it.

``python experiments/poor-data/report.py``, from the root. Cells that have not been run, or were run with other
parameters than those that stand, are left out, and counted.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from textwrap import fill

import corrupt_labels
import numpy as np
from cell import CELLS, CHANGES, RESULTS, best_rate, params, trained
from faces import TESTS
from matplotlib.figure import Figure
from methods import METHODS
from scipy.stats import t as student

PAGE = Path("docs/evidence.md")
SOURCES = ("photos", "longer", "starter")
BEGIN, END = "<!-- results: written by report.py -->", "<!-- end of results -->"
AXES = {
    "noise": "noise on each point, % of the eye distance",
    "outliers": "points thrown, %",
    "bias": "bias of one annotator in three, % of the eye distance",
    "missing": "points missing, %",
    "regions": "regions missing, %",
    "few": "faces to learn from",
}
"""The ways to be poor that have levels; the clean cells are the first level of each."""
FIGURES = {
    "nme": "NME",
    "fr8": "FR@8",
    "auc8": "AUC",
    "worst5": "worst 5 %",
    "beyond20": "points beyond 20 %",
}
LEADS = {
    "NME": ("nme", "clean", "clean"),
    "NME, rival refitted": ("nme", "refitted", "clean"),
    "worst 5 %": ("worst5", "clean", "clean"),
    "worst 5 %, rival refitted": ("worst5", "refitted", "clean"),
    "points beyond 20 %": ("beyond20", "clean", "clean"),
    "points beyond 20 %, rival refitted": ("beyond20", "refitted", "clean"),
    "NME occluded": ("nme", "occlusion", "occlusion"),
}
"""What parsing may lead in: a figure, the rival's test and its own."""
COLOURS = dict(zip(METHODS, ("tab:blue", "tab:orange", "tab:green"), strict=True))
CURVES = [*((method, "clean") for method in METHODS), ("heatmap", "refitted")]
"""Method and test of each curve."""
Cells = dict[tuple[str, str, str, int], dict]
"""By source, condition, method and seed: a cell's JSON, and under ``change`` what one bad face changed there."""


def gather(folder: Path, changes: Path, wanted: dict) -> Cells:
    """Read the cells in a folder that the matrix has and that were made with the parameters that stand."""
    cells, rates = {}, {method: best_rate(method, wanted["trial"]["rates"]) for method in wanted["methods"]}
    for source in SOURCES:
        train = trained(wanted, source)
        for key in product([source], wanted[source]["conditions"], wanted["methods"], wanted["seeds"]):
            name = f"{'-'.join(map(str, key))}.json"
            cell, change = (json.loads(p.read_text()) if p.exists() else {} for p in (folder / name, changes / name))
            made = cell.get("train"), cell.get("most_faces"), cell.get("rate")
            if made == (train, wanted[source]["faces"], rates[key[2]]):
                cells[key] = cell | {"change": change if change.get("train") == train else {}}
    return cells


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % confidence interval, by Student's t; NaN where there is one value or none."""
    if len(values) < 2:
        return (values[0] if values else np.nan), np.nan
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(half)


def text(values: list[float], sign: str = "") -> str:
    """Mean and confidence interval as they stand in a table."""
    mean, half = interval(values)
    if np.isnan(mean):
        return "–"
    return f"{mean:{sign}.2f}" if np.isnan(half) else f"{mean:{sign}.2f} ± {half:.2f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown; nothing where there are no rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seeds(cells: Cells, source: str, condition: str, method: str) -> dict[int, dict]:
    """The cells of one condition and method, by seed."""
    return {key[3]: cell for key, cell in cells.items() if key[:3] == (source, condition, method)}


def values(cells: Cells, source: str, condition: str, method: str, figure: str, test: str = "clean") -> list[float]:
    """One figure of each seed."""
    found = [cell["tests"].get(test) for cell in seeds(cells, source, condition, method).values()]
    return [figures[figure] for figures in found if figures]


def conditions(cells: Cells, source: str) -> list[str]:
    """The conditions of a source of which there are cells: by kind, then level."""
    kinds = list(corrupt_labels.SPOILERS)
    there = {key[1] for key in cells if key[0] == source}
    return sorted(there, key=lambda c: (kinds.index(corrupt_labels.parse(c)[0]), corrupt_labels.parse(c)[1]))


def axis(cells: Cells, source: str, kind: str) -> list[tuple[float, str]]:
    """Levels of a kind and the conditions that stand for them; ``clean`` is level 0, or all of its faces."""
    levels = [(corrupt_labels.parse(c)[1], c) for c in conditions(cells, source) if corrupt_labels.parse(c)[0] == kind]
    clean = [cell["faces"] for key, cell in cells.items() if key[:2] == (source, "clean")]
    if levels and clean:
        levels.append((clean[0] if kind == "few" else 0, "clean"))
    return sorted(levels)


def figures_table(cells: Cells, source: str) -> str:
    """All figures of the clean test."""
    rows = [
        [c, m, str(len(seeds(cells, source, c, m))), *(text(values(cells, source, c, m, f)) for f in FIGURES)]
        for c, m in product(conditions(cells, source), METHODS)
        if seeds(cells, source, c, m)
    ]
    return table(["labels", "method", "seeds", *FIGURES.values()], rows)


def tests_table(cells: Cells, source: str) -> str:
    """NME of the clean and of the corrupted pictures, and of the clean ones with corrected points of direct methods."""
    tests = [*TESTS, "shaped", "refitted"]
    rows = [
        [c, m, *(text(values(cells, source, c, m, "nme", test)) for test in tests)]
        for c, m in product(conditions(cells, source), METHODS)
        if seeds(cells, source, c, m)
    ]
    return table(["labels", "method", *tests], rows)


def lead_table(cells: Cells, source: str) -> str:
    """By how much parsing is better than the heatmap, paired by seed; then the same of each seed's mean over them."""
    leads = {}
    for condition in conditions(cells, source):
        ours, theirs = (seeds(cells, source, condition, method) for method in ("parsing", "heatmap"))
        if both := sorted(ours.keys() & theirs.keys()):
            leads[condition] = {seed: lead(ours[seed]["tests"], theirs[seed]["tests"]) for seed in both}
    common = set.intersection(*map(set, leads.values())) if len(leads) > 1 else ()
    if common:
        leads["mean of these"] = {seed: np.mean([each[seed] for each in leads.values()], 0) for seed in common}
    rows = [
        [condition, str(len(each)), *(text(list(of_seeds), "+") for of_seeds in zip(*each.values(), strict=True))]
        for condition, each in leads.items()
    ]
    return table(["labels", "seeds", *LEADS], rows)


def lead(ours: dict, theirs: dict) -> list[float]:
    """Parsing's lead in each of LEADS, from the tests of a cell and of its rival."""
    return [theirs[rival][figure] - ours[own][figure] for figure, rival, own in LEADS.values()]


def slopes_table(cells: Cells, source: str) -> str:
    """How much the NME grows with each per cent of an axis, and how much parsing's lead over heatmaps does.

    Of each seed a straight line through the levels that it has, for the lead those that both methods have.
    """
    rows, methods = [], [method for method in METHODS if any(key[2] == method for key in cells)]
    for kind in [kind for kind in AXES if kind != "few"]:
        nmes = {method: defaultdict(dict) for method in METHODS}
        for (level, condition), method in product(axis(cells, source, kind), methods):
            for seed, cell in seeds(cells, source, condition, method).items():
                nmes[method][seed][level] = cell["tests"]["clean"]["nme"]
        ours, theirs = nmes["parsing"], nmes["heatmap"]
        leads = {
            seed: {level: theirs[seed][level] - ours[seed][level] for level in ours[seed].keys() & theirs[seed].keys()}
            for seed in ours.keys() & theirs.keys()
        }
        lines = *(nmes[method] for method in methods), leads
        found = [[slope(line) for line in each.values() if len(line) > 1] for each in lines]
        if any(found):
            rows.append([AXES[kind], *map(text, found[:-1]), text(found[-1], "+")])
    return table(["NME per 1 of", *methods, "parsing's lead over heatmap"], rows)


def slope(line: dict[float, float]) -> float:
    """The slope of the straight line through values at their levels."""
    return float(np.polyfit(list(line), list(line.values()), 1)[0])


def influence_table(cells: Cells, source: str) -> str:
    """What one bad face, and one that is moved by next to nothing, change in the predictions, by the same seed."""
    rows = []
    for condition, method in product(conditions(cells, source), METHODS):
        changes = [cell["change"] for cell in seeds(cells, source, condition, method).values() if cell["change"]]
        if changes:
            moved = [text([change[figure] for change in changes]) for figure in ("mean", "of_95th")]
            rows.append([condition, method, str(len(changes)), *moved, text([c["nme"] for c in changes], "+")])
    return table(["labels", "method", "seeds", "mean change", "of the 95th of 100 faces", "NME grows by"], rows)


def trials_table(folder: Path) -> str:
    """The NME of each learning rate that was tried."""
    trials = {m: sorted((json.loads(p.read_text()) for p in (folder / m).glob("*.json")), key=lambda t: t["rate"])
              for m in METHODS}  # fmt: skip
    rates = sorted({trial["rate"] for each in trials.values() for trial in each})
    nme = {(m, trial["rate"]): f"{trial['tests']['clean']['nme']:.2f}" for m, each in trials.items() for trial in each}
    return table(
        ["method", *(f"{rate:g}" for rate in rates)], [[m, *(nme.get((m, r), "–") for r in rates)] for m in METHODS]
    )


def plot(cells: Cells, source: str, out: Path) -> None:
    """Draw a panel an axis that has levels: NME above, points beyond 20 % below, mean and confidence interval."""
    kinds = [kind for kind in AXES if len(axis(cells, source, kind)) > 1]
    figure = Figure(figsize=(3.4 * max(2, len(kinds)), 6), layout="constrained")
    grid = figure.subplots(2, len(kinds), sharey="row", squeeze=False)
    for row, figure_name in zip(grid, ("nme", "beyond20"), strict=True):
        for axes, kind in zip(row, kinds, strict=True):
            levels = axis(cells, source, kind)
            for method, test in CURVES:
                found = [(x, values(cells, source, c, method, figure_name, test)) for x, c in levels]
                found = [(x, *interval(each)) for x, each in found if each]
                if found:
                    x, mean, half = np.array(found).T
                    label, style = (method, "o-") if test == "clean" else (f"{method}, {test}", "s--")
                    axes.errorbar(
                        x, mean, np.nan_to_num(half), fmt=style, label=label, color=COLOURS[method], capsize=3
                    )
            if kind == "few":
                axes.set_xscale("log")
                axes.set_xticks([x for x, _ in levels], [f"{x:.0f}" for x, _ in levels])
                axes.minorticks_off()
            axes.set_xlabel(fill(AXES[kind], 30))
            axes.grid(alpha=0.3)
        row[0].set_ylim(bottom=0)
    grid[0][0].set_ylabel("NME, %")
    grid[1][0].set_ylabel("points beyond 20 %, %")
    grid[0][0].legend()
    figure.suptitle(f"Poor labels, clean truth ({source}): lower is better")
    figure.savefig(out, dpi=100)


def sections(cells: Cells, wanted: dict, page: Path) -> Iterator[str]:
    """The results, in Markdown, for a page beside which the curves go."""
    for source in SOURCES:
        planned = len(wanted[source]["conditions"]) * len(wanted["methods"]) * len(wanted["seeds"])
        done = {key: cell for key, cell in cells.items() if key[0] == source}
        yield f"### {source}: {len(done)} of {planned} cells"
        if not done:
            continue
        devices = " and ".join(sorted({f"{cell['device']} in {cell['precision']}" for cell in done.values()}))
        minutes = sum(cell["minutes"] for cell in done.values())
        train = trained(wanted, source)
        yield (
            f"{train['size']} pixels, {train['updates']} updates of {train['batch_size']} faces, "
            f"{wanted[source]['faces']} faces unless the labels say how many; {minutes:.0f} minutes on {devices}."
        )
        if any(len(axis(done, source, kind)) > 1 for kind in AXES):
            chart = f"{page.stem}-{source}.png"
            plot(done, source, page.with_name(chart))
            yield f"![Error against how poor the labels are]({chart})"
        tables = {
            "Lead of parsing over the heatmap (+: parsing is better):": lead_table,
            "Sensitivity, the slope of NME against the level:": slopes_table,
            "Change of the predictions by one bad training face, % of the eye distance:": influence_table,
            "All figures, on clean pictures:": figures_table,
            "NME on clean and on corrupted pictures:": tests_table,
        }
        for title, made in tables.items():
            if rows := made(done, source):
                yield f"{title}\n\n{rows}"
    yield "### Learning rates\n\nNME on training faces held out, from which each method's rate was chosen:"
    yield trials_table(RESULTS / "trials")


def write(page: Path, results: str) -> None:
    """Put the results between the marks of a page, in the place of those that stand there.

    Raises:
        ValueError: the page lacks a mark.
    """
    content = page.read_text()
    if BEGIN not in content or END not in content:
        raise ValueError(f"{page} lacks a line {BEGIN} or {END}; the results go between them")
    head, rest = content.split(BEGIN, 1)
    page.write_text(f"{head}{BEGIN}\n\n{results}\n\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    wanted = params()
    found = gather(CELLS, CHANGES, wanted)
    write(PAGE, "\n\n".join(sections(found, wanted, PAGE)))
    print(f"{len(found)} cells are in {PAGE}")
