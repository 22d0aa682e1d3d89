"""Reading the figures of all cells, their means and confidence intervals, and the leads of parsing."""

import json
from collections import defaultdict
from itertools import product
from pathlib import Path
from typing import Any

import corrupt_labels
import numpy as np
from cell import best_rate, train_params
from methods import METHODS
from scipy.stats import t as student

SOURCES = ("photos", "longer", "starter")
AXES = {
    "noise": "noise on each point, % of the eye distance",
    "outliers": "outliers, % of the points",
    "bias": "bias of one annotator in three, % of the eye distance",
    "missing": "points missing, %",
    "regions": "regions missing, %",
    "few": "training faces",
}
"""The label corruptions that have levels. The clean cells are the first level of each."""
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
"""By name of the lead: the figure, the rival's test, and parsing's test."""
ALL_LABELS = "mean of these"
Cells = dict[tuple[str, str, str, int], dict[str, Any]]
"""By source, condition, method and seed: a cell's JSON, and under ``change`` that of one bad face."""
SeedValues = dict[int, float]


def gather(folder: Path, changes: Path, params: dict[str, Any]) -> Cells:
    """Read the cells of the matrix that are in a folder and were made with the current parameters."""
    cells, rates = {}, {method: best_rate(method, params["trial"]["rates"]) for method in params["methods"]}
    for source in SOURCES:
        train = train_params(params, source)
        for key in product([source], params[source]["conditions"], params["methods"], params["seeds"]):
            name = f"{'-'.join(map(str, key))}.json"
            cell, change = (json.loads(p.read_text()) if p.exists() else {} for p in (folder / name, changes / name))
            made_with = cell.get("train"), cell.get("most_faces"), cell.get("rate")
            if made_with == (train, params[source]["faces"], rates[key[2]]):
                cells[key] = cell | {"change": change if change.get("train") == train else {}}
    return cells


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % confidence interval by Student's t.

    The width is NaN for fewer than two values, and the mean is NaN for none.
    """
    if len(values) < 2:
        return (values[0] if values else np.nan), np.nan
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    return float(np.mean(values)), float(half)


def slope(line: dict[float, float]) -> float:
    """The slope of the straight line through values at their levels."""
    return float(np.polyfit(list(line), list(line.values()), 1)[0])


def cells_by_seed(cells: Cells, source: str, condition: str, method: str) -> dict[int, dict[str, Any]]:
    """The cells of one condition and method."""
    return {key[3]: cell for key, cell in cells.items() if key[:3] == (source, condition, method)}


def seed_values(
    cells: Cells, source: str, condition: str, method: str, figure: str, test: str = "clean"
) -> list[float]:
    """One figure of each seed."""
    tests = [cell["tests"].get(test) for cell in cells_by_seed(cells, source, condition, method).values()]
    return [figures[figure] for figures in tests if figures]


def conditions(cells: Cells, source: str) -> list[str]:
    """The conditions of a source that have cells: by kind, then level."""
    kinds = list(corrupt_labels.CORRUPTIONS)
    present = {key[1] for key in cells if key[0] == source}
    return sorted(present, key=lambda c: (kinds.index(corrupt_labels.parse(c)[0]), corrupt_labels.parse(c)[1]))


def axis(cells: Cells, source: str, kind: str) -> list[tuple[float, str]]:
    """The levels of a kind and their conditions. ``clean`` is level 0; for ``few`` it is the number of its faces."""
    levels = [(corrupt_labels.parse(c)[1], c) for c in conditions(cells, source) if corrupt_labels.parse(c)[0] == kind]
    clean = [cell["faces"] for key, cell in cells.items() if key[:2] == (source, "clean")]
    if levels and clean:
        levels.append((clean[0] if kind == "few" else 0, "clean"))
    return sorted(levels)


def paired_leads(cells: Cells, source: str, name: str) -> dict[str, SeedValues]:
    """One of LEADS by condition and seed: the heatmap's figure minus parsing's. Last their mean, under ALL_LABELS.

    The mean is over the seeds that all conditions have.
    """
    figure, rival, own = LEADS[name]
    leads = {}
    for condition in conditions(cells, source):
        ours, theirs = (cells_by_seed(cells, source, condition, method) for method in ("parsing", "heatmap"))
        pairs = {seed: (ours[seed]["tests"], theirs[seed]["tests"]) for seed in sorted(ours.keys() & theirs.keys())}
        if pairs:
            leads[condition] = {seed: t[rival][figure] - o[own][figure] for seed, (o, t) in pairs.items()}
    common = set.intersection(*map(set, leads.values())) if len(leads) > 1 else set()
    if common:
        leads[ALL_LABELS] = {seed: float(np.mean([each[seed] for each in leads.values()])) for seed in common}
    return leads


def slopes(cells: Cells, source: str, kind: str, method: str) -> list[float]:
    """For each seed, the slope of a method's NME against the levels of a kind."""
    lines: dict[int, dict[float, float]] = defaultdict(dict)
    for level, condition in axis(cells, source, kind):
        for seed, cell in cells_by_seed(cells, source, condition, method).items():
            lines[seed][level] = cell["tests"]["clean"]["nme"]
    return [slope(line) for line in lines.values() if len(line) > 1]


def lead_slopes(cells: Cells, source: str, kind: str, name: str = "NME") -> list[float]:
    """For each seed, the slope of one of LEADS against the levels of a kind."""
    leads = paired_leads(cells, source, name)
    lines: dict[int, dict[float, float]] = defaultdict(dict)
    for level, condition in axis(cells, source, kind):
        for seed, value in leads.get(condition, {}).items():
            lines[seed][level] = value
    return [slope(line) for line in lines.values() if len(line) > 1]


def methods_of(cells: Cells) -> list[str]:
    """The methods that have cells."""
    return [method for method in METHODS if any(key[2] == method for key in cells)]
