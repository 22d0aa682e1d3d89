"""Summary of a dataset before training: what it holds, and why ``prepare`` would refuse it."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import ExifTags, Image
from pydantic import ValidationError
from rich.console import Group
from rich.table import Table

from facemark.data.outliers import NO_FACES
from facemark.data.samples import SPLITS, Sample, read_points
from facemark.data.splits import count_pixels, shown_classes
from facemark.data.validation import ValidationReport, validate_dataset
from facemark.labels import CLASSES
from facemark.settings import Dataset

FILE_COLUMNS = ("", "pictures", "masks", "with points", "faces", "points outside", "smallest, largest")


def describe_dataset(folder: Path, format_name: str, classes: dict | None = None) -> Dataset:
    """Return a dataset as ``params.yaml`` would describe it.

    Args:
        folder: where it is.
        format_name: one of the formats of :class:`facemark.settings.Dataset`.
        classes: the meaning of each id, for the format ``folder``.

    Raises:
        ValueError: ``params.yaml`` could not describe it so.
    """
    try:
        return Dataset.model_validate({"format": format_name, "path": folder, "classes": classes})
    except ValidationError as error:
        raise ValueError("; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())) from error


def check_dataset(dataset: Dataset) -> tuple[Group, ValidationReport]:
    """Read and check all of a dataset.

    Returns:
        Tables to print, see :func:`summarise`, and what the checks have found.

    Raises:
        SystemExit: there are no images, or the dataset's own lists cannot be read.
    """
    with TemporaryDirectory() as folder:
        report = validate_dataset(dataset, Path(folder))
        return summarise(report), report


def summarise(report: ValidationReport) -> Group:
    """Return tables of what the sound samples hold, in each split and altogether: files, and classes if any has a mask.

    Raises:
        ValueError: a file of a sound sample cannot be read any more.
    """
    splits = {str(name or "no split"): [s for s in report.sound if s.split == name] for name in (*SPLITS, None)}
    splits = {name: samples for name, samples in splits.items() if samples} | {"all": report.sound}
    tables = [file_table(splits)]
    if any(sample.mask for sample in report.sound):
        tables.append(class_table(splits))
    return Group(*tables)


def file_table(splits: dict[str, list[Sample]]) -> Table:
    """Count images, masks, faces and points of each split, a row each."""
    table = Table(*FILE_COLUMNS)
    for name, samples in splits.items():
        sizes = [oriented_size(sample.image) for sample in samples]
        faces = [read_points(sample.points) if sample.points else NO_FACES for sample in samples]
        counts = (
            len(samples),
            sum(bool(sample.mask) for sample in samples),
            sum(bool(sample.points) for sample in samples),
            sum(map(len, faces)),
            sum(count_outside(each, size) for each, size in zip(faces, sizes, strict=True)),
        )
        table.add_row(name, *map(str, counts), "\n".join(smallest_and_largest(sizes)))
    return table


def class_table(splits: dict[str, list[Sample]]) -> Table:
    """Count the images of each split that show a class, a row a class, with its share of all pixels."""
    counts = {name: [count_pixels(sample) for sample in samples if sample.mask] for name, samples in splits.items()}
    shown = {name: [shown_classes(each) for each in rows] for name, rows in counts.items()}
    pixels = np.sum(counts["all"], axis=0)
    table = Table("pictures that show", *splits, "pixels, %")
    for name, share in zip(CLASSES, 100 * pixels / max(pixels.sum(), 1), strict=True):
        table.add_row(name, *(str(sum(name in each for each in rows)) for rows in shown.values()), f"{share:.2f}")
    return table


def smallest_and_largest(sizes: list[tuple[int, int]]) -> list[str]:
    """Return the smallest and the largest of some sizes (width, height), by their area; none where there are none."""
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    return [f"{width}×{height}" for width, height in (ordered[:1] + ordered[-1:])]


def oriented_size(path: Path) -> tuple[int, int]:
    """Return width and height of an image as :func:`facemark.images.read_image` orients it, from its header alone."""
    with Image.open(path) as image:
        quarter_turn = image.getexif().get(ExifTags.Base.Orientation, 1) > 4  # with or without a flip
        return image.size[::-1] if quarter_turn and image.format != "TIFF" else image.size  # Pillow rotates a TIFF


def count_outside(faces: np.ndarray, size: tuple[int, int]) -> int:
    """Count the points of faces × 68 × 2 that are beyond the edges of an image of this size (width, height)."""
    return int(((faces < -0.5) | (faces > np.array(size) - 0.5)).any(2).sum())
