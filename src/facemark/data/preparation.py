"""Preparation of a dataset for training: check it, split it, index it."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from facemark.data.copies import downscale_large, write_corrected_points
from facemark.data.outliers import Outliers
from facemark.data.samples import SPLITS, Sample
from facemark.data.splits import assign_splits, count_pixels, shown_classes, split_statistics, write_index
from facemark.data.validation import validate_dataset
from facemark.labels import CLASSES
from facemark.settings import Prepare

REPORTS = ("statistics.json", "set_aside.csv", "outliers.csv")
"""Files that say what preparation has found, next to ``index.csv``."""


def prepare_dataset(name: str, settings: Prepare, out: Path) -> str:
    """Check, split and index a dataset.

    Outliers among the points of training samples are corrected where their face has enough inliers. All outliers, also
    those of other splits, are listed in ``outliers.csv``: :mod:`facemark.data.outliers`. Large training images are
    replaced by smaller copies: :mod:`facemark.data.copies`.

    Args:
        name: of the dataset in ``settings.datasets``.
        settings: the section ``prepare`` of ``params.yaml``.
        out: folder for ``index.csv`` and REPORTS, and for the folders ``converted``, ``corrected`` and ``downscaled``
            of files that replace the dataset's own; created when needed.

    Returns:
        A line that says how many samples there are and what was found.

    Raises:
        SystemExit: the dataset has no images; or it has an anomaly; or samples are not sound and ``bad_samples`` is
            ``refuse``. Each sample that is not sound is named on standard error with its problems.
    """
    report = validate_dataset(settings.datasets[name], out / "converted")
    for image, problems in report.bad:
        print(f"{image}: {problems}", file=sys.stderr)
    if refusals := report.refusals(settings.bad_samples):
        raise SystemExit("\n".join(refusals))
    samples = assign_splits(report.sound, settings.splits, settings.seed)
    samples = write_corrected_points(samples, report.outliers, out / "corrected")
    samples = downscale_large(samples, out / "downscaled")
    outliers = list_outliers(report.outliers)
    out.mkdir(parents=True, exist_ok=True)
    write_contents(samples, out)
    write_csv(out / "set_aside.csv", ["image", "problems"], report.bad)
    write_csv(out / "outliers.csv", ["points", "face", "point"], outliers)
    sizes = ", ".join(f"{sum(sample.split == split for sample in samples)} {split}" for split in SPLITS)
    return f"{name}: {sizes}, {len(report.bad)} set aside, {len(outliers)} points that fit no face"


def write_contents(samples: list[Sample], out: Path) -> None:
    """Count the pixels of each class, and write ``index.csv`` and ``statistics.json`` into a folder."""
    counts = np.array([count_pixels(sample) for sample in samples]).reshape(-1, len(CLASSES))
    indexed = [replace(sample, classes=shown_classes(pixels)) for sample, pixels in zip(samples, counts, strict=True)]
    write_index(out / "index.csv", indexed)
    splits = [str(sample.split) for sample in samples]
    (out / "statistics.json").write_text(json.dumps(split_statistics(splits, counts), indent=1))


def list_outliers(outliers: list[Outliers]) -> list[tuple]:
    """Return a row for each outlier: the landmark file, the face from 1, the point from 0."""
    return [(each.sample.points, face + 1, point) for each in outliers for face, point in np.argwhere(each.is_outlier)]


def write_csv(path: Path, columns: list[str], rows: list[tuple]) -> None:
    """Write a CSV file with a header."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
