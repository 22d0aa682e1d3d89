"""Which sample is for training, validation or test, and the index that says so."""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from facemark.data.samples import SPLITS, Sample, read_mask
from facemark.labels import CLASSES
from facemark.settings import Splits

MIN_CLASS_SHARE = 0.0005
"""Share of a mask above which a class counts as shown; fewer pixels are taken for a labelling slip."""
COLUMNS = ("split", "image", "mask", "points", "classes", "sha256")
"""Columns of ``index.csv``."""


def assign_splits(samples: list[Sample], shares: Splits, seed: int) -> list[Sample]:
    """Assign a split to every sample: its own where the dataset says, otherwise one drawn by a hash of its file name.

    A split that no sample has is drawn from the training samples and from those without a split. If the dataset has
    both ``val`` and ``test``, samples without a split are for training. The draw of a sample does not depend on other
    samples, so it does not change when some are added or removed.

    Args:
        samples: of one dataset.
        shares: of the samples, for ``val`` and ``test``.
        seed: another one draws another split.
    """
    missing = {name for name in ("val", "test") if all(sample.split != name for sample in samples)}

    def assign(sample: Sample) -> Sample:
        if sample.split in ("val", "test") or not missing:
            return replace(sample, split=sample.split or "train")
        digest = hashlib.sha256(f"{seed}/{sample.image.name}".encode()).digest()
        drawn = int.from_bytes(digest[:8]) / 2**64
        val, test = (getattr(shares, name) if name in missing else 0 for name in ("val", "test"))
        return replace(sample, split="val" if drawn < val else "test" if drawn < val + test else "train")

    return [assign(sample) for sample in samples]


def class_weights(pixels: np.ndarray) -> np.ndarray:
    """Return cross-entropy weights: the eighth root of each class's inverse frequency, scaled to 1 on average.

    Args:
        pixels: of each class, C counts.

    Returns:
        C weights; 1 for a class that never occurs, which the average leaves out.
    """
    occurs = pixels > 0
    weights = np.ones(len(pixels))
    weights[occurs] = (pixels.sum() / pixels[occurs]) ** 0.125
    return np.where(occurs, weights / weights[occurs].mean(), 1) if occurs.any() else weights


def count_pixels(sample: Sample) -> np.ndarray:
    """Count the pixels of each class in a sample's mask.

    Returns:
        19 counts; zeros where the sample has no mask.

    Raises:
        ValueError: the mask cannot be read.
    """
    counts = np.zeros(256, np.int64) if sample.mask is None else np.bincount(read_mask(sample.mask).ravel())
    return np.pad(counts, (0, 256))[: len(CLASSES)]


def shown_classes(counts: np.ndarray) -> tuple[str, ...]:
    """Return the names of the classes that a mask shows, from its 19 pixel counts; see MIN_CLASS_SHARE."""
    return tuple(CLASSES[i] for i in np.flatnonzero(counts > MIN_CLASS_SHARE * counts.sum()))


def split_statistics(splits: list[str], counts: np.ndarray) -> dict:
    """Summarise a dataset that has been split.

    Args:
        splits: the split of each sample, N names.
        counts: pixels of each class in each sample, N × 19.

    Returns:
        ``samples`` in each split; and over the training masks, for each class, its ``pixels``, the number of
        ``pictures`` that have some, and its ``class_weights``.
    """
    train = counts[np.array(splits) == "train"]
    by_class = {
        "pixels": train.sum(0),
        "pictures": (train > 0).sum(0),
        "class_weights": class_weights(train.sum(0)).round(4),
    }
    return {"samples": {name: splits.count(name) for name in SPLITS}} | {
        name: dict(zip(CLASSES, values.tolist(), strict=True)) for name, values in by_class.items()
    }


def write_index(path: Path, samples: list[Sample]) -> None:
    """Write one row a sample: split, paths, classes, and the sha256 of image, mask and points together."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        for s in samples:
            digest = hashlib.sha256(b"".join(p.read_bytes() for p in (s.image, s.mask, s.points) if p)).hexdigest()
            rows.writerow([s.split, s.image, s.mask or "", s.points or "", " ".join(s.classes), digest])


def read_index(folders: Iterable[Path], split: str) -> list[Sample]:
    """Read the samples of one split from the indexes that ``prepare`` wrote into these folders.

    Raises:
        FileNotFoundError: a folder has no ``index.csv``.
    """
    samples = []
    for folder in folders:
        with (folder / "index.csv").open() as file:
            samples += [
                Sample(
                    Path(row["image"]),
                    Path(row["mask"]) if row["mask"] else None,
                    Path(row["points"]) if row["points"] else None,
                    row["split"],
                    tuple(row["classes"].split()),
                )
                for row in csv.DictReader(file)
                if row["split"] == split
            ]
    return samples
