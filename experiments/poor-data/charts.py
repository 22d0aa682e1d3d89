"""Charts of the report."""

from pathlib import Path
from textwrap import fill

import numpy as np
from collect import ALL_LABELS, AXES, SOURCES, Cells, axis, interval, paired_leads, seed_values
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from methods import METHODS

COLOURS = dict(zip(METHODS, ("tab:blue", "tab:orange", "tab:green"), strict=True))
CURVES = [*((method, "clean") for method in METHODS), ("heatmap", "refitted")]
"""Method and test of each curve."""
LEAD_STYLES = {
    "NME": ("tab:orange", "o", "heatmap"),
    "NME, rival refitted": ("tab:red", "s", "refitted heatmap"),
}
"""By name in LEADS: colour, marker and label."""
TITLES = {
    "photos": "photographs, 400 updates",
    "longer": "photographs, 1,600 updates",
    "starter": "starter faces, 400 updates",
}


def plot_leads(cells: Cells, out: Path) -> None:
    """Draw the lead in NME over both rivals by source and condition, with confidence intervals."""
    leads = {source: {name: paired_leads(cells, source, name) for name in LEAD_STYLES} for source in SOURCES}
    rows = {source: list(each["NME"]) for source, each in leads.items() if each["NME"]}
    if not rows:
        return
    heights = [len(each) + 1 for each in rows.values()]
    figure = Figure(figsize=(9, 1.5 + 0.21 * sum(heights)), layout="constrained")
    grid = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (source, names) in zip(grid, rows.items(), strict=True):
        for offset, (name, (colour, marker, label)) in zip((-0.15, 0.15), LEAD_STYLES.items(), strict=True):
            found = [interval(list(leads[source][name][condition].values())) for condition in names]
            mean, half = np.array(found).T
            places = np.arange(len(names)) + offset
            axes.errorbar(mean, places, xerr=np.nan_to_num(half), fmt=marker, color=colour, label=label, capsize=2)
        axes.axvline(0, color="black", linewidth=1)
        axes.set_yticks(range(len(names)), ["all of these" if name == ALL_LABELS else name for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_title(TITLES[source], fontsize="medium", loc="left")
        axes.grid(alpha=0.3, axis="x")
    grid[0].legend(title="parsing against the", loc="upper left")
    grid[-1].set_xlabel("← rival is better     lead of parsing in NME, points     parsing is better →")
    figure.savefig(out, dpi=100)


def plot(cells: Cells, source: str, out: Path) -> None:
    """Draw a column for each axis with levels: NME above, points beyond 20 % below, with confidence intervals."""
    kinds = [kind for kind in AXES if len(axis(cells, source, kind)) > 1]
    figure = Figure(figsize=(3.4 * max(2, len(kinds)), 6), layout="constrained")
    grid = figure.subplots(2, len(kinds), sharey="row", squeeze=False)
    for row, figure_name in zip(grid, ("nme", "beyond20"), strict=True):
        for axes, kind in zip(row, kinds, strict=True):
            draw_curves(axes, cells, source, kind, figure_name)
        row[0].set_ylim(bottom=0)
    grid[0][0].set_ylabel("NME, %")
    grid[1][0].set_ylabel("points beyond 20 %, %")
    grid[0][0].legend()
    figure.suptitle(f"Corrupted training labels, clean test labels ({source}): lower is better")
    figure.savefig(out, dpi=100)


def draw_curves(axes: Axes, cells: Cells, source: str, kind: str, figure_name: str) -> None:
    """Draw one figure of all methods against the levels of one kind."""
    levels = axis(cells, source, kind)
    for method, test in CURVES:
        found = [(level, seed_values(cells, source, c, method, figure_name, test)) for level, c in levels]
        points = [(level, *interval(each)) for level, each in found if each]
        if points:
            x, mean, half = np.array(points).T
            label, style = (method, "o-") if test == "clean" else (f"{method}, {test}", "s--")
            axes.errorbar(x, mean, np.nan_to_num(half), fmt=style, label=label, color=COLOURS[method], capsize=3)
    if kind == "few":
        axes.set_xscale("log")
        axes.set_xticks([x for x, _ in levels], [f"{x:.0f}" for x, _ in levels])
        axes.minorticks_off()
    axes.set_xlabel(fill(AXES[kind], 30))
    axes.grid(alpha=0.3)
