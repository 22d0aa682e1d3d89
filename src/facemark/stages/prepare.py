"""DVC stage ``prepare``: check a dataset, split it, index it. ``python -m facemark.stages.prepare NAME``."""

import csv
import hashlib
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import track

from facemark.datasets import SPLITS, Sample, read_image, read_mask, read_points
from facemark.labels import CLASSES, IGNORE, PAIRS, Region
from facemark.settings import Prepare, Splits, load_params

PREPARED = Path("build/prepare")
LEVEL_MARGIN = 0.2
"""A pair counts as swapped only when it is this clear, as a share of the distance between its two parts."""


def centroid(mask: np.ndarray, regions: tuple[Region, ...]) -> np.ndarray | None:
    """Mean (x, y) of the pixels of some regions, or None where there are none."""
    rows, columns = np.nonzero(np.isin(mask, regions))
    return np.array([columns.mean(), rows.mean()]) if len(rows) else None


def swapped_pairs(mask: np.ndarray) -> list[str]:
    """Names of the pairs whose left and right classes stand on the wrong sides of a one-face mask.

    Sides are judged along the face's own axis, from the brows and eyes down to nose and mouth, so a face that lies
    on its side, or upside down, is judged rightly.
    """
    top = centroid(mask, (Region.L_BROW, Region.R_BROW, Region.L_EYE, Region.R_EYE))
    bottom = centroid(mask, (Region.NOSE, Region.U_LIP, Region.L_LIP, Region.MOUTH))
    if top is None or bottom is None:
        return []
    down = (bottom - top) / (np.linalg.norm(bottom - top) + 1e-9)
    wrong = []
    for left, right in PAIRS:
        one, other = centroid(mask, (left,)), centroid(mask, (right,))
        if one is None or other is None:
            continue
        across = one - other
        # y points down: the subject's left lies a quarter turn against the clock from the face's own "down"
        if across @ (down[1], -down[0]) < -LEVEL_MARGIN * np.linalg.norm(across):
            wrong.append(f"{left.name.lower()}/{right.name.lower()}")
    return wrong


def faults(sample: Sample) -> list[str]:
    """Everything that is wrong with a sample, each a phrase; an empty list where it is sound."""
    found = []
    try:
        image = read_image(sample.image)
        mask = read_mask(sample.mask) if sample.mask else None
        points = read_points(sample.points) if sample.points else None
    except ValueError as error:
        return [str(error)]
    if mask is None:
        return [] if len(points) == 1 else [f"{len(points)} faces have points; without a mask there is to be one"]
    if image.shape[:2] != mask.shape:
        found.append(f"the picture is {image.shape[1]}×{image.shape[0]}, its mask {mask.shape[1]}×{mask.shape[0]}")
    strange = sorted(set(np.unique(mask).tolist()) - set(range(len(CLASSES))) - {IGNORE})
    if strange:
        found.append(f"ids {strange} are none of the classes 0–{len(CLASSES) - 1}")
    if (points is None or len(points) == 1) and (pairs := swapped_pairs(mask)):
        found.append(f"left and right are swapped in {', '.join(pairs)}")
    return found


def split(samples: list[Sample], shares: Splits, seed: int) -> list[Sample]:
    """Give a split to every sample: its own where the dataset says, else drawn by the hash of its file name.

    A split that the dataset lacks altogether is taken from its training samples; a sample never changes its split
    when others come or go.
    """
    missing = {name for name in ("val", "test") if all(s.split != name for s in samples)}

    def drawn(sample: Sample) -> Sample:
        if sample.split in ("val", "test") or not missing:
            return sample
        digest = hashlib.sha256(f"{seed}/{sample.image.name}".encode()).digest()
        place = int.from_bytes(digest[:8]) / 2**64
        val, test = (getattr(shares, name) if name in missing else 0 for name in ("val", "test"))
        name = "val" if place < val else "test" if place < val + test else "train"
        return replace(sample, split=name)

    return [drawn(sample) for sample in samples]


def class_weights(pixels: np.ndarray) -> np.ndarray:
    """Cross-entropy weights from pixel counts: the fourth root of rarity, 1 on average, 1 for what never occurs."""
    seen = pixels > 0
    weights = np.ones(len(pixels))
    weights[seen] = (pixels.sum() / pixels[seen]) ** 0.25
    return np.where(seen, weights / weights[seen].mean(), 1) if seen.any() else weights


def pixels(sample: Sample) -> np.ndarray:
    """Pixels of each class in a sample's mask, none where it has none."""
    counts = np.zeros(256, np.int64) if sample.mask is None else np.bincount(read_mask(sample.mask).ravel())
    return np.pad(counts, (0, 256))[: len(CLASSES)]


def statistics(splits: list[str], counts: np.ndarray) -> dict:
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


def prepare(name: str, settings: Prepare, out: Path) -> None:
    """Check, split and index the dataset ``name``.

    Raises:
        SystemExit: samples are not sound and ``bad_samples`` is ``refuse``; every one is named with its faults.
    """
    dataset = settings.datasets[name]
    samples = importlib.import_module(f"facemark.datasets.{dataset.format}").samples(dataset.path)
    bad = {s: found for s in track(samples, f"checking {name}") if (found := faults(s))}
    for sample, found in bad.items():
        print(f"{sample.image}: {'; '.join(found)}", file=sys.stderr)
    if bad and settings.bad_samples == "refuse":
        raise SystemExit(
            f"{len(bad)} of {len(samples)} samples of {name} are not sound (listed above); "
            "mend them, or leave them out with prepare.bad_samples: set_aside"
        )
    good = split([s for s in samples if s not in bad], settings.splits, settings.seed)
    counts = np.array([pixels(s) for s in good]).reshape(-1, len(CLASSES))
    shown = [tuple(CLASSES[i] for i in np.flatnonzero(each)) for each in counts]
    out.mkdir(parents=True, exist_ok=True)
    write_index(out / "index.csv", [replace(s, classes=names) for s, names in zip(good, shown, strict=True)])
    (out / "statistics.json").write_text(json.dumps(statistics([s.split for s in good], counts), indent=1))
    with (out / "set_aside.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "faults"], *([s.image, "; ".join(f)] for s, f in bad.items())])
    sizes = ", ".join(f"{sum(s.split == each for s in good)} {each}" for each in SPLITS)
    print(f"{name}: {sizes}, {len(bad)} set aside")


if __name__ == "__main__":
    prepare(sys.argv[1], load_params().prepare, PREPARED / sys.argv[1])
