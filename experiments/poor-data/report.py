"""Fill ``docs/evidence.md`` and ``docs/evidence-tables.md`` with the figures of all cells, and draw their charts.

``python experiments/poor-data/report.py``, from the root. Cells that are missing, or were run with other parameters
than the current ones, are left out and counted.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cell import CELLS, CHANGES, RESULTS, load_params, train_params
from charts import plot, plot_leads
from collect import AXES, SOURCES, Cells, axis, gather
from tables import (
    failure_summary,
    figures_table,
    influence_table,
    lead_table,
    nme_summary,
    slope_summary,
    slopes_table,
    tests_table,
    trials_table,
)

SUMMARY, TABLES = Path("docs/evidence.md"), Path("docs/evidence-tables.md")
BEGIN, END = "<!-- results: written by report.py -->", "<!-- end of results -->"
SUMMARIES: dict[str, Callable[[Cells], str]] = {
    "Better generalisation: lead in NME, in points.": nme_summary,
    "Less sensitivity to label corruption: growth of that lead with the level, in points.": slope_summary,
    "Less sensitivity to one bad face in 100: change of the predictions, % of the eye distance.": partial(
        influence_table, source="photos"
    ),
    "Gentle failure: leads in lost points, the worst faces and occluded faces, in points.": failure_summary,
}
SECTIONS = {
    "Lead of parsing over the heatmap (+: parsing is better):": lead_table,
    "Sensitivity, the slope of NME against the level:": slopes_table,
    "Change of the predictions by one bad training face, % of the eye distance:": influence_table,
    "All figures, on clean images:": figures_table,
    "NME on clean and on corrupted images:": tests_table,
}


def summary(cells: Cells, folder: Path) -> Iterator[str]:
    """The chart and the tables of the summary, in Markdown; the chart is written to the folder."""
    plot_leads(cells, folder / "evidence.png")
    yield "![Lead of parsing in NME by kind of labels: over the heatmap, and over the refitted one](evidence.png)"
    for title, make in SUMMARIES.items():
        if rows := make(cells):
            yield f"{title}\n\n{rows}"


def sections(cells: Cells, params: dict[str, Any], folder: Path) -> Iterator[str]:
    """All tables, in Markdown; the charts are written to the folder."""
    for source in SOURCES:
        planned = len(params[source]["conditions"]) * len(params["methods"]) * len(params["seeds"])
        done = {key: cell for key, cell in cells.items() if key[0] == source}
        yield f"## {source}: {len(done)} of {planned} cells"
        if not done:
            continue
        devices = " and ".join(sorted({f"{cell['device']} in {cell['precision']}" for cell in done.values()}))
        minutes = sum(cell["minutes"] for cell in done.values())
        train = train_params(params, source)
        yield (
            f"{train['size']} pixels, {train['updates']} updates of {train['batch_size']} faces, "
            f"{params[source]['faces']} faces unless the labels name their number; {minutes:.0f} minutes on {devices}."
        )
        if any(len(axis(done, source, kind)) > 1 for kind in AXES):
            chart = f"evidence-{source}.png"
            plot(done, source, folder / chart)
            yield f"![Error against the level of label corruption]({chart})"
        for title, make in SECTIONS.items():
            if rows := make(done, source):
                yield f"{title}\n\n{rows}"
    yield "## Learning rates\n\nNME on held-out training faces, by which each method's rate was chosen:"
    yield trials_table(RESULTS / "trials")


def write(page: Path, results: str) -> None:
    """Replace what is between the marks of a page.

    Raises:
        ValueError: the page lacks a mark.
    """
    content = page.read_text()
    if BEGIN not in content or END not in content:
        raise ValueError(f"{page} lacks a line {BEGIN} or {END}; the results go between them")
    head, rest = content.split(BEGIN, 1)
    page.write_text(f"{head}{BEGIN}\n\n{results}\n\n{END}{rest.split(END, 1)[1]}")


if __name__ == "__main__":
    params = load_params()
    cells = gather(CELLS, CHANGES, params)
    write(SUMMARY, "\n\n".join(summary(cells, SUMMARY.parent)))
    write(TABLES, "\n\n".join(sections(cells, params, TABLES.parent)))
    print(f"{len(cells)} cells are in {SUMMARY} and {TABLES}")
