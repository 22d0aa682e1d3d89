"""The report of an evaluation: tables for ``dvc plots``, charts, and a page of overlays of the worst cases."""

import csv
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from facemark.evaluation import metrics
from facemark.evaluation.scoring import Result, ScoredExample, merge_results
from facemark.geometry import scaled_size
from facemark.inference.types import Parse
from facemark.io import drawing
from facemark.labels import CLASSES, Region

TILE = 224
"""Side in pixels of an image on the page of overlays."""
PAGE_COLUMNS = 3
"""Panels in a row of the page of overlays."""
CED_LIMIT = 15
"""Largest NME, in per cent, on the curve of the cumulative error distribution."""


def write_report(figures: dict, results: dict[str, Result], overlays: int, folder: Path) -> None:
    """Write ``plots/``, with a table and a chart for each kind of figure that there is, and ``overlays.png``.

    Args:
        figures: as :func:`facemark.evaluation.evaluate.measure_parser` returns them.
        results: by the name of the dataset.
        overlays: number of worst cases on the page.
        folder: made if missing.
    """
    plots, total = folder / "plots", merge_results(results.values(), overlays)
    plots.mkdir(parents=True, exist_ok=True)
    if "robustness" in figures:
        plot_robustness(figures["robustness"], plots)
    if total.confusion.any():
        plot_f1(total.confusion, plots)
        plot_confusion(total.confusion, plots)
    if len(total.errors):
        plot_ced({name: result.errors for name, result in results.items()}, plots)
        plot_groups(figures["landmarks"], plots)
    cv2.imwrite(str(folder / "overlays.png"), cv2.cvtColor(draw_page(total.worst), cv2.COLOR_RGB2BGR))


def write_csv(path: Path, names: list[str], rows: list) -> None:
    """Write rows under the names of their columns."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])


def plot_f1(confusion: np.ndarray, out: Path) -> None:
    """Write F1 and IoU of each class that occurs, as a table."""
    scores = metrics.parsing(confusion)
    rows = [[name, round(f1, 2), round(scores["iou"][name], 2)] for name, f1 in scores["f1"].items()]
    write_csv(out / "f1_by_class.csv", ["class", "f1", "iou"], rows)


def plot_confusion(confusion: np.ndarray, out: Path) -> None:
    """Write the confusion matrix (19 × 19, rows: truth) in per cent of each true class, as a chart and as a table.

    DVC's template counts rows, so each row of the table is one per cent of the pixels of its true class.
    """
    shares = 100 * confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    counts = shares.round().astype(int)
    rows = [[CLASSES[t], CLASSES[p]] for t, p in np.argwhere(counts) for _ in range(counts[t, p])]
    write_csv(out / "confusion.csv", ["actual", "predicted"], rows)

    figure = Figure(figsize=(9, 8), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=60, ha="right")
    axes.set_yticks(range(len(CLASSES)), CLASSES)
    axes.set(xlabel="predicted", ylabel="true", title="Confusion matrix, % of the pixels of each true class")
    for t, p in np.argwhere(counts):
        axes.text(p, t, counts[t, p], ha="center", va="center", size=7, color="white" if shares[t, p] > 60 else "black")
    figure.colorbar(drawn, shrink=0.8)
    figure.savefig(out / "confusion.png", dpi=100)


def plot_ced(errors: dict[str, np.ndarray], out: Path) -> None:
    """Write the cumulative error distribution of all faces as a table, and as a chart with a line for each dataset.

    Args:
        errors: faces × 68 in per cent by dataset; inf for a missed face.
        out: folder.
    """
    thresholds = np.linspace(0, CED_LIMIT, 10 * CED_LIMIT + 1)
    overall = metrics.ced(np.concatenate(list(errors.values())).mean(1), thresholds)
    write_csv(out / "ced.csv", ["nme", "faces"], np.c_[thresholds, overall].round(2).tolist())

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, each in errors.items():
        if len(each):
            label = f"{name}: {len(each)} faces, AUC up to 8 %: {metrics.auc8(each.mean(1)):.1f}"
            axes.plot(thresholds, metrics.ced(each.mean(1), thresholds), label=label)
    axes.axvline(metrics.FAILURE_NME, color="grey", linestyle=":")
    axes.set(xlabel="NME, % of the distance between the outer eye corners", ylabel="faces up to this NME, %")
    axes.set(xlim=(0, CED_LIMIT), ylim=(0, 101), title="Cumulative error distribution")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(out / "ced.png", dpi=100)


def plot_groups(landmarks: dict, out: Path) -> None:
    """Write the NME of each group of points, from the figures of :func:`facemark.evaluation.metrics.landmarks`."""
    rows = [[name, round(nme, 2)] for name, nme in landmarks.get("nme_by_group", {}).items()]
    write_csv(out / "nme_by_group.csv", ["group", "nme"], rows)


def plot_robustness(robustness: dict[str, dict[str, float]], out: Path) -> None:
    """Write the retention of mean F1 and the ratio of the NME under each corruption, as a table and as a chart.

    Args:
        robustness: figures of each corruption, see :func:`facemark.evaluation.robustness.robustness`.
        out: folder.
    """
    rows = [[name, row.get("mean_f1_retention", ""), row.get("nme_ratio", "")] for name, row in robustness.items()]
    write_csv(out / "robustness.csv", ["corruption", "mean_f1_retention", "nme_ratio"], rows)

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, figure_name, label in (
        (left, "mean_f1_retention", "mean F1 / mean F1 without corruption"),
        (right, "nme_ratio", "NME / NME without corruption"),
    ):
        axes.barh(list(robustness), [row.get(figure_name, np.nan) for row in robustness.values()], color="#4878a8")
        axes.axvline(1, color="grey", linestyle=":")
        axes.set(xlabel=label)
        axes.grid(axis="x", alpha=0.3)
    left.invert_yaxis()
    figure.suptitle("Robustness to corruptions")
    figure.savefig(out / "robustness.png", dpi=100)


def fit_tile(image: np.ndarray) -> np.ndarray:
    """Scale an H × W × 3 image to TILE pixels on its longer side and pad it with black to a square."""
    scale = TILE / max(image.shape[:2])
    small = cv2.resize(image, scaled_size(image.shape, scale), interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    return np.pad(small, ((0, TILE - height), (0, TILE - width), (0, 0)))


def draw_panel(case: ScoredExample) -> np.ndarray:
    """Draw image, truth and prediction side by side, with the caption of the case above; RGB."""
    truth = np.where(case.example.truth < len(CLASSES), case.example.truth, Region.BACKGROUND).astype(np.uint8)
    expected = fit_tile(drawing.draw(case.example.image, Parse(truth, [])))
    scale = TILE / max(case.example.image.shape[:2])
    for x, y in ((case.example.points.reshape(-1, 2) + 0.5) * scale - 0.5).round().astype(int).tolist():
        cv2.circle(expected, (x, y), 1, (255, 255, 255), -1, cv2.LINE_AA)
    tiles = np.hstack([fit_tile(case.example.image), expected, fit_tile(drawing.draw(case.example.image, case.parse))])
    title = np.full((22, tiles.shape[1], 3), 255, np.uint8)
    cv2.putText(title, case.caption, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.pad(np.vstack([title, tiles]), ((0, 6), (0, 6), (0, 0)), constant_values=255)


def draw_page(cases: list[ScoredExample]) -> np.ndarray:
    """Lay out the panels of at least one case on a page, H × W × 3 RGB, in rows of PAGE_COLUMNS."""
    panels = [draw_panel(case) for case in cases]
    columns = min(PAGE_COLUMNS, len(panels))
    panels += [np.full_like(panels[0], 255)] * (-len(panels) % columns)
    return np.vstack([np.hstack(panels[i : i + columns]) for i in range(0, len(panels), columns)])
