"""DVC stage ``prepare``: check a dataset, split it, index it. ``python -m facemark.stages.prepare NAME``."""

import csv
import hashlib
import importlib
import json
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
from rich.progress import track

from facemark import tracking
from facemark.datasets import SPLITS, Published, Sample, read_image, read_mask, read_points
from facemark.geometry import centroid
from facemark.labels import CLASSES, IGNORE, L_EYE_POINTS, PAIRS, POINT_GROUPS, R_EYE_POINTS, UNIONS, Region
from facemark.settings import Prepare, Splits, load_params

PREPARED = Path("build/prepare")
LEVEL_MARGIN = 0.2
"""Sides count as swapped only when it is this clear, as a share of the distance that they are told by."""
MOST = 0.2
"""By how much, as a share of all pictures, odd masks are to outnumber the others before a dataset is refused."""
SHOWN = 0.0005
"""Share of a mask up to which a class is taken for a slip of the pen, not for something that the picture shows."""
ABOVE = (
    (Region.R_BROW, Region.R_EYE),
    (Region.L_BROW, Region.L_EYE),
    (Region.R_EYE, Region.NOSE),
    (Region.L_EYE, Region.NOSE),
    (Region.NOSE, Region.U_LIP),
    (Region.U_LIP, Region.L_LIP),
)
"""Pairs of which the first lies above the second in all but a few pictures."""


def swapped_pairs(mask: np.ndarray) -> list[str]:
    """Names of the pairs whose left and right classes stand on the wrong sides of a one-face mask.

    Sides are judged along the face's own axis, from the brows and eyes down to nose and mouth, so a face that lies
    on its side, or upside down, is judged rightly.
    """
    top = centroid(np.isin(mask, (Region.L_BROW, Region.R_BROW, Region.L_EYE, Region.R_EYE)))
    bottom = centroid(np.isin(mask, (Region.NOSE, Region.U_LIP, Region.L_LIP, Region.MOUTH)))
    down = (bottom - top) / (np.linalg.norm(bottom - top) + 1e-9)
    wrong = []
    for left, right in PAIRS:
        across = centroid(mask == left) - centroid(mask == right)
        # what was not seen is NaN, and so never wrong;
        # y points down: the subject's left lies a quarter turn against the clock from the face's own "down"
        if across @ (down[1], -down[0]) < -LEVEL_MARGIN * np.linalg.norm(across):
            wrong.append(f"{left.name.lower()}/{right.name.lower()}")
    return wrong


def mirrored(face: np.ndarray) -> bool:
    """Whether 68 × 2 points name the subject's left what is right, seen from eyes to mouth."""
    down = face[POINT_GROUPS["mouth"]].mean(0) - face[POINT_GROUPS["eyes"]].mean(0)
    across = face[L_EYE_POINTS].mean(0) - face[R_EYE_POINTS].mean(0)
    return bool(across @ (down[1], -down[0]) < -LEVEL_MARGIN * (down @ down))


def oddities(mask: np.ndarray) -> dict[str, int]:
    """What is odd about a mask's classes: 1 where it is so, -1 where it is not; unseen classes are left out.

    Any one mask may be odd; where most are, the classes are not what they are taken for.
    """
    centres = {region: centroid(mask == region) for region in {region for pair in ABOVE for region in pair}}
    votes = {
        f"{upper.name.lower()} lies below {lower.name.lower()}": 1 if centres[upper][1] > centres[lower][1] else -1
        for upper, lower in ABOVE
        if np.isfinite([centres[upper], centres[lower]]).all()
    }
    if nose := (mask == Region.NOSE).sum():
        votes["nose is larger than skin"] = 1 if nose > (mask == Region.SKIN).sum() else -1
    return votes


def faults(sample: Sample) -> list[str]:
    """Everything that is wrong with a sample, each a phrase; an empty list where it is sound."""
    found = []
    try:
        image = read_image(sample.image)
        mask = read_mask(sample.mask) if sample.mask else None
        points = read_points(sample.points) if sample.points else None
    except ValueError as error:
        return [str(error)]
    if points is not None and any(mirrored(face) for face in points):
        found.append("left and right are swapped in the points: 36–41 are the subject's right eye")
    if mask is None:
        if len(points) != 1:
            found.append(f"{len(points)} faces have points; without a mask there is to be one")
        return found
    if image.shape[:2] != mask.shape:
        found.append(f"the picture is {image.shape[1]}×{image.shape[0]}, its mask {mask.shape[1]}×{mask.shape[0]}")
    strange = sorted(set(np.unique(mask).tolist()) - {*range(len(CLASSES)), *UNIONS, IGNORE})
    if strange:
        found.append(f"ids {strange} are none of the classes 0–{len(CLASSES) - 1}")
    if (points is None or len(points) == 1) and (pairs := swapped_pairs(mask)):
        found.append(f"left and right are swapped in {', '.join(pairs)}")
    return found


def split(samples: list[Sample], shares: Splits, seed: int) -> list[Sample]:
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
    """Check, split and index the dataset ``name``; what has another form is converted into ``out``/converted.

    Raises:
        SystemExit: samples are not sound and ``bad_samples`` is ``refuse``, every one is named with its faults; or
            most masks are odd in the same way, so that their ids must be of another order.
    """
    dataset = settings.datasets[name]
    module = importlib.import_module(f"facemark.datasets.{dataset.format}")
    listed = module.samples(dataset.path, dataset.classes) if dataset.classes else module.samples(dataset.path)
    sound, bad, odd = [], [], Counter()
    for number, each in enumerate(track(listed, f"checking {name}")):
        try:
            sample = each.convert(out / "converted" / f"{number:06}") if isinstance(each, Published) else each
            found = faults(sample)
        except ValueError as error:
            found = [str(error)]
        else:
            with suppress(ValueError):  # what cannot be read is among the faults
                odd.update(oddities(read_mask(sample.mask)) if sample.mask else {})
        if found:
            bad.append((each.image, "; ".join(found)))
        else:
            sound.append(sample)
    for image, found in bad:
        print(f"{image}: {found}", file=sys.stderr)
    if strange := [phrase for phrase, votes in odd.items() if votes > MOST * len(listed)]:
        raise SystemExit(
            f"in most masks of {name} {', '.join(strange)}: its ids stand for other classes than those of "
            f"{dataset.format}; say which with format: folder and classes"
        )
    if bad and settings.bad_samples == "refuse":
        raise SystemExit(
            f"{len(bad)} of {len(listed)} samples of {name} are not sound (listed above); "
            "mend them, or leave them out with prepare.bad_samples: set_aside"
        )
    good = split(sound, settings.splits, settings.seed)
    counts = np.array([pixels(s) for s in good]).reshape(-1, len(CLASSES))
    shown = [tuple(CLASSES[i] for i in np.flatnonzero(each > SHOWN * each.sum())) for each in counts]
    out.mkdir(parents=True, exist_ok=True)
    write_index(out / "index.csv", [replace(s, classes=names) for s, names in zip(good, shown, strict=True)])
    (out / "statistics.json").write_text(json.dumps(statistics([s.split for s in good], counts), indent=1))
    with (out / "set_aside.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "faults"], *bad])
    sizes = ", ".join(f"{sum(s.split == each for s in good)} {each}" for each in SPLITS)
    print(f"{name}: {sizes}, {len(bad)} set aside")


if __name__ == "__main__":
    name, params = sys.argv[1], load_params()
    with tracking.stage(f"prepare@{name}", params.of_stages()):
        prepare(name, params.prepare, PREPARED / name)
        for file in ("statistics.json", "set_aside.csv"):
            mlflow.log_artifact(PREPARED / name / file)
