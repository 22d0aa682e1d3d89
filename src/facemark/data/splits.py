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
"""Share of a mask up to which a class is taken for a slip of the pen, not for something that the picture shows."""


def assign_splits(samples: list[Sample], shares: Splits, seed: int) -> list[Sample]:
    """Give a split to every sample: its own where the dataset says, else drawn by the hash of its file name.

    A split that the dataset lacks altogether is taken from its training samples, and where it lacks none, a sample
    that has none is of those; a sample never changes its split when others come or go.
    """
    missing = {name for name in ("val", "test") if all(s.split != name for s in samples)}

    def drawn(sample: Sample) -> Sample:
        if sample.split in ("val", "test") or not missing:
            return replace(sample, split=sample.split or "train")
        digest = hashlib.sha256(f"{seed}/{sample.image.name}".encode()).digest()
        place = int.from_bytes(digest[:8]) / 2**64
        val, test = (getattr(shares, name) if name in missing else 0 for name in ("val", "test"))
        name = "val" if place < val else "test" if place < val + test else "train"
        return replace(sample, split=name)

    return [drawn(sample) for sample in samples]


def class_weights(pixels: np.ndarray) -> np.ndarray:
    """Cross-entropy weights from pixel counts: the eighth root of rarity, 1 on average, 1 for what never occurs."""
    seen = pixels > 0
    weights = np.ones(len(pixels))
    weights[seen] = (pixels.sum() / pixels[seen]) ** 0.125
    return np.where(seen, weights / weights[seen].mean(), 1) if seen.any() else weights


def count_pixels(sample: Sample) -> np.ndarray:
    """Pixels of each class in a sample's mask, none where it has none."""
    counts = np.zeros(256, np.int64) if sample.mask is None else np.bincount(read_mask(sample.mask).ravel())
    return np.pad(counts, (0, 256))[: len(CLASSES)]


def shown_classes(counts: np.ndarray) -> tuple[str, ...]:
    """Names of the classes that a mask shows, from the pixels of each, but for slips of the pen."""
    return tuple(CLASSES[i] for i in np.flatnonzero(counts > MIN_CLASS_SHARE * counts.sum()))


def split_statistics(splits: list[str], counts: np.ndarray) -> dict:
    """Sizes of the splits, and over the training masks the pixels and pictures of each class and the class weights.

    Args:
        splits: N names.
        counts: pixels of each class in each sample, N × 19.
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
    """Write one row a sample: split, paths, classes, and the sha256 of picture, mask and points together."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["split", "image", "mask", "points", "classes", "sha256"])
        for s in samples:
            digest = hashlib.sha256(b"".join(p.read_bytes() for p in (s.image, s.mask, s.points) if p)).hexdigest()
            rows.writerow([s.split, s.image, s.mask or "", s.points or "", " ".join(s.classes), digest])


def read_index(folders: Iterable[Path], split: str) -> list[Sample]:
    """The samples of one split from the indexes that ``prepare`` wrote into ``folders``."""
    samples = []
    for folder in folders:
        with (folder / "index.csv").open() as file:
            samples += [
                Sample(
                    Path(r["image"]),
                    Path(r["mask"]) if r["mask"] else None,
                    Path(r["points"]) if r["points"] else None,
                    r["split"],
                    tuple(r["classes"].split()),
                )
                for r in csv.DictReader(file)
                if r["split"] == split
            ]
    return samples
