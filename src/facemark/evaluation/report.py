"""What an evaluation leaves to look at: tables for ``dvc plots``, charts, and a page of overlays."""

import csv
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure

from facemark.evaluation import metrics
from facemark.evaluation.scoring import ScoredExample
from facemark.geometry import scaled_size
from facemark.inference.types import Parse
from facemark.io import drawing
from facemark.labels import CLASSES, Region

TILE = 224
"""Side in pixels of a picture on the page of overlays."""
PAGE_COLUMNS = 3
CED_LIMIT = 15
"""Largest NME in per cent that the curve of errors shows."""


def write_csv(path: Path, names: list[str], rows: list) -> None:
    """Write a table with its column names."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])


def plot_f1(confusion: np.ndarray, out: Path) -> None:
    """Write F1 and IoU of each class that occurs."""
    scores = metrics.parsing(confusion)
    rows = [[name, round(f1, 2), round(scores["iou"][name], 2)] for name, f1 in scores["f1"].items()]
    write_csv(out / "f1_by_class.csv", ["class", "f1", "iou"], rows)


def plot_confusion(confusion: np.ndarray, out: Path) -> None:
    """Write the confusion matrix in per cent of each true class, as a picture and as rows for ``dvc plots``.

    DVC's template counts rows, so one row stands for one per cent of the pixels of its true class.
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
    axes.set(xlabel="predicted", ylabel="true", title="Where the pixels of each class go, %")
    for t, p in np.argwhere(counts):
        axes.text(p, t, counts[t, p], ha="center", va="center", size=7, color="white" if shares[t, p] > 60 else "black")
    figure.colorbar(drawn, shrink=0.8)
    figure.savefig(out / "confusion.png", dpi=100)


def plot_ced(errors: dict[str, np.ndarray], out: Path) -> None:
    """Write the cumulative distribution of the faces' NME, as a table and as a picture with a line a dataset."""
    thresholds = np.linspace(0, CED_LIMIT, 10 * CED_LIMIT + 1)
    together = metrics.ced(np.concatenate(list(errors.values())).mean(1), thresholds)
    write_csv(out / "ced.csv", ["nme", "faces"], np.c_[thresholds, together].round(2).tolist())

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for name, each in errors.items():
        if len(each):
            label = f"{name}: {len(each)} faces, AUC up to 8 %: {metrics.auc8(each.mean(1)):.1f}"
            axes.plot(thresholds, metrics.ced(each.mean(1), thresholds), label=label)
    axes.axvline(metrics.FAILURE, color="grey", linestyle=":")
    axes.set(xlabel="NME, % of the outer eye corners' distance", ylabel="faces at most there, %", ylim=(0, 101))
    axes.set(xlim=(0, CED_LIMIT), title="Cumulative error distribution")
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(out / "ced.png", dpi=100)


def plot_groups(landmarks: dict, out: Path) -> None:
    """Write the mean error of each group of points, out of the figures of :func:`facemark.metrics.landmarks`."""
    rows = [[name, round(nme, 2)] for name, nme in landmarks.get("nme_by_group", {}).items()]
    write_csv(out / "nme_by_group.csv", ["group", "nme"], rows)


def plot_robustness(robustness: dict[str, dict[str, float]], out: Path) -> None:
    """Write how much of the mean F1 is left under each damage, and how many times larger the NME is, and draw it."""
    rows = [[name, row.get("mean_f1_kept", ""), row.get("nme_grown", "")] for name, row in robustness.items()]
    write_csv(out / "robustness.csv", ["damage", "mean_f1_kept", "nme_grown"], rows)

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, figure_name, label in (
        (left, "mean_f1_kept", "mean F1, as a share of that without damage"),
        (right, "nme_grown", "NME, as a multiple of that without damage"),
    ):
        axes.barh(list(robustness), [row.get(figure_name, np.nan) for row in robustness.values()], color="#4878a8")
        axes.axvline(1, color="grey", linestyle=":")
        axes.set(xlabel=label)
        axes.grid(axis="x", alpha=0.3)
    left.invert_yaxis()
    figure.suptitle("What damages cost")
    figure.savefig(out / "robustness.png", dpi=100)


def fitted(image: np.ndarray) -> np.ndarray:
    """Scale a picture into a black square of TILE pixels."""
    scale = TILE / max(image.shape[:2])
    small = cv2.resize(image, scaled_size(image.shape, scale), interpolation=cv2.INTER_AREA)
    height, width = small.shape[:2]
    return np.pad(small, ((0, TILE - height), (0, TILE - width), (0, 0)))


def panel(case: ScoredExample) -> np.ndarray:
    """Draw picture, truth and prediction side by side, with the case's figures above."""
    truth = np.where(case.example.truth < len(CLASSES), case.example.truth, Region.BACKGROUND).astype(np.uint8)
    wanted = fitted(drawing.draw(case.example.image, Parse(truth, [])))
    scale = TILE / max(case.example.image.shape[:2])
    for x, y in ((case.example.points.reshape(-1, 2) + 0.5) * scale - 0.5).round().astype(int).tolist():
        cv2.circle(wanted, (x, y), 1, (255, 255, 255), -1, cv2.LINE_AA)
    tiles = np.hstack([fitted(case.example.image), wanted, fitted(drawing.draw(case.example.image, case.parse))])
    title = np.full((22, tiles.shape[1], 3), 255, np.uint8)
    cv2.putText(title, case.caption, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.pad(np.vstack([title, tiles]), ((0, 6), (0, 6), (0, 0)), constant_values=255)


def page(cases: list[ScoredExample]) -> np.ndarray:
    """Lay the panels out on one page, H × W × 3 RGB, the worst first."""
    panels = [panel(case) for case in cases]
    columns = min(PAGE_COLUMNS, len(panels))
    panels += [np.full_like(panels[0], 255)] * (-len(panels) % columns)
    return np.vstack([np.hstack(panels[i : i + columns]) for i in range(0, len(panels), columns)])
