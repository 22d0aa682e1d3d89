"""DVC stage ``prepare``: check a dataset, split it, index it. ``python -m facemark.stages.prepare NAME``."""

import csv
import hashlib
import importlib
import json
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import mlflow
import numpy as np
from PIL import Image
from rich.progress import track

from facemark import tracking
from facemark.datasets import SPLITS, Published, Sample, read_image, read_mask, read_points, write_points
from facemark.geometry import centroid, pieces, rescaled
from facemark.images import SUFFIXES
from facemark.labels import CLASSES, IGNORE, L_EYE_POINTS, PAIRS, POINT_GROUPS, R_EYE_POINTS, UNIONS, Region
from facemark.misfits import NO_FACES, Misfits, misfits
from facemark.settings import Dataset, Prepare, Splits, load_params

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
COMMON = (Region.SKIN, *dict.fromkeys(region for pair in ABOVE for region in pair))
"""What all but a few faces show."""
LARGEST = 1280
"""Longer side in pixels of training pictures with masks alone: a few hundred are seen, but all read, each time."""
SMALLEST = 8
"""Pixels that a face's points span at least: those of less are shares of the picture, or nobody's."""
TOGETHER, APART = 6, 40
"""So many points at one place are not points of a face, if it spans so many pixels that they were not rounded together:
where points are not known, (0, 0) is often written."""
OTHER_IDS = "its ids stand for other classes than those of its format; say which with format: folder and classes"
NO_IDS = "a mask holds the id of a class in each pixel, see docs/parser.md; 255 is for what is to be ignored"
OTHER_PLACES = "points are to be pixels of the very picture that the mask belongs to"
UNLABELLED = "label it, or where nobody has, call it ignore (255 in the masks): else it is taught not to be there"
FROM_ONE = "take 1 from each x and y, for here the first pixel is (0, 0)"
"""What to do about what is odd."""


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
            wrong.append(f"{CLASSES[left]}/{CLASSES[right]}")
    return wrong


def mirrored(face: np.ndarray) -> bool:
    """Whether 68 × 2 points name the subject's left what is right, seen from eyes to mouth."""
    down = np.median(face[POINT_GROUPS["mouth"]], 0) - np.median(face[POINT_GROUPS["eyes"]], 0)
    across = np.median(face[L_EYE_POINTS], 0) - np.median(face[R_EYE_POINTS], 0)
    return bool(across @ (down[1], -down[0]) < -LEVEL_MARGIN * (down @ down))


def oddities(
    mask: np.ndarray, points: np.ndarray | None = None, known: tuple[str, ...] = CLASSES
) -> dict[tuple[str, str], float]:
    """What is odd about a mask's classes and points, with what to do about it: 1 where it is so, -1 where it is not.

    Any one mask may be odd; where most are, classes or points are not what they are taken for. That a class is never
    shown is odd in all masks or in none, so one mask that shows it outweighs all others. What cannot be told is left
    out.

    Args:
        mask: H × W class ids.
        points: faces × 68 × 2, or None.
        known: the classes that its dataset has; of the others, none is missed.
    """
    centres = {region: centroid(mask == region) for region in COMMON}
    votes = {
        (f"in most masks {CLASSES[upper]} lies below {CLASSES[lower]}", OTHER_IDS): 1
        if centres[upper][1] > centres[lower][1]
        else -1
        for upper, lower in ABOVE
        if np.isfinite([centres[upper], centres[lower]]).all()
    }
    shown = np.isin(mask, [*range(1, len(CLASSES)), *UNIONS]).any()
    if shown or (mask == IGNORE).any():  # a mask of background alone is of a picture without people
        votes["no mask shows anything but background and what is ignored", NO_IDS] = -np.inf if shown else 1
    if nose := (mask == Region.NOSE).sum():
        larger = nose > (mask == Region.SKIN).sum()
        votes["in most masks nose is larger than skin", OTHER_IDS] = 1 if larger else -1
    if not (mask == IGNORE).any():  # what is missed may be among what is ignored
        for region in COMMON:
            if CLASSES[region] in known:
                missing = np.isnan(centres[region]).any()
                votes[f"no mask shows {CLASSES[region]}", UNLABELLED] = 1 if missing else -np.inf
    if points is not None and len(points) == 1 and pieces(mask == Region.NOSE) <= 1:
        moments = [cv2.moments(points[0, which, None]) for which in (R_EYE_POINTS, L_EYE_POINTS)]
        if all(m["m00"] for m in moments) and np.isfinite([centres[Region.R_EYE], centres[Region.L_EYE]]).all():
            outlined = np.mean([(m["m10"] / m["m00"], m["m01"] / m["m00"]) for m in moments], 0)
            beside = outlined - (centres[Region.R_EYE] + centres[Region.L_EYE]) / 2
            # however eyes are outlined, the two are mirrored, so that what differs from the mask's cancels out in x
            apart = np.linalg.norm(centres[Region.R_EYE] - centres[Region.L_EYE])
            votes["most points lie elsewhere than the eyes of their mask", OTHER_PLACES] = (
                1 if np.linalg.norm(beside) > apart else -1
            )
            from_one = (abs(beside - 1) < 0.5).all()
            votes["most points lie a pixel right of and below the eyes", FROM_ONE] = 1 if from_one else -1
    return votes


def beside(points: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether a face's points (68 × 2) leave it no place in a picture of this shape."""
    return bool((points.max(0) < 0).any() or (points.min(0) > (shape[1] - 1, shape[0] - 1)).any())


def faults(sample: Sample) -> list[str]:
    """Everything that is wrong with a sample, each a phrase; an empty list where it is sound."""
    found = []
    try:
        image = read_image(sample.image)
        mask = read_mask(sample.mask) if sample.mask else None
        points = read_points(sample.points) if sample.points else None
    except ValueError as error:
        return [str(error)]
    faces = () if points is None else points
    if any(mirrored(face) for face in faces):
        found.append(
            "left and right are swapped in the points: 36–41 are the subject's right eye; or their x and y are"
        )
    for face in faces:
        span = np.ptp(face, 0).max()
        if span < SMALLEST:
            found.append(f"the points of a face span less than {SMALLEST} pixels; are they shares of the picture?")
        most = np.unique(face, axis=0, return_counts=True)[1].max()
        if most >= TOGETHER and span >= APART:
            found.append(f"{most} points of a face lie at one place; leave out a face whose points are not all known")
    if any(beside(face, image.shape) for face in faces):
        found.append("the points of a face lie outside the picture")
    if mask is None:
        if len(points) != 1:
            found.append(f"{len(points)} faces have points; without a mask there is to be one")
        return found
    if image.shape[:2] != mask.shape:
        found.append(f"the picture is {image.shape[1]}×{image.shape[0]}, its mask {mask.shape[1]}×{mask.shape[0]}")
    strange = sorted(set(np.unique(mask).tolist()) - {*range(len(CLASSES)), *UNIONS, IGNORE})
    if strange:
        found.append(f"ids {strange} are none of the classes 0–{len(CLASSES) - 1}")
    if (points is None or len(points) == 1) and pieces(mask == Region.NOSE) <= 1 and (pairs := swapped_pairs(mask)):
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


def shown_classes(counts: np.ndarray) -> tuple[str, ...]:
    """Names of the classes that a mask shows, from the pixels of each, but for slips of the pen."""
    return tuple(CLASSES[i] for i in np.flatnonzero(counts > SHOWN * counts.sum()))


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


@dataclass(frozen=True)
class Examined:
    """What there is to say of a dataset before it is used."""

    dataset: Dataset
    sound: list[Sample]
    bad: list[tuple[Path, str]]
    """Pictures that are not sound, each with its faults."""
    odd: list[tuple[str, str]]
    """What is odd about all of it, and what to do about that."""
    misfits: list[Misfits]
    """Those of the sound samples."""

    def refusals(self, bad_samples: str) -> list[str]:
        """Sentences that say why ``prepare`` refuses it; none where it does not."""
        found = []
        for remedy in dict.fromkeys(remedy for _, remedy in self.odd):
            phrases = ", ".join(phrase for phrase, other in self.odd if other == remedy)
            found.append(f"{self.dataset.path}, read as {self.dataset.format}: {phrases}; {remedy}")
        if self.bad and bad_samples == "refuse":
            found.append(
                f"{len(self.bad)} of {len(self.bad) + len(self.sound)} samples of {self.dataset.path} are not sound "
                "(listed above); mend them, or leave them out with prepare.bad_samples: set_aside"
            )
        return found


def samples(dataset: Dataset) -> list[Sample | Published]:
    """List the pictures of a dataset.

    Raises:
        SystemExit: they are not where its format has them, or the files that list them are not its.
    """
    module = importlib.import_module(f"facemark.datasets.{dataset.format}")
    try:
        return module.samples(dataset.path, dataset.classes) if dataset.classes else module.samples(dataset.path)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error


def examine(dataset: Dataset, converted: Path, only: str | None = None) -> Examined:
    """Check every picture of a dataset; what has another form is converted into the folder ``converted``.

    Args:
        dataset: where it lies and what it is.
        converted: need not be there yet.
        only: a split, beside which pictures that are of none are checked.

    Raises:
        SystemExit: see :func:`samples`.
    """
    listed = [each for each in samples(dataset) if only is None or each.split in (only, None)]
    known = tuple(dataset.classes.values()) if dataset.classes else CLASSES
    pictures = {each.image for each in listed if each.image.suffix.lower() in SUFFIXES}
    names = Counter(image.with_suffix("") for image in pictures)
    sound, bad, odd = [], [], Counter()
    for number, each in enumerate(track(listed, f"checking {dataset.path}")):
        try:
            sample = each.convert(converted / f"{number:06}") if isinstance(each, Published) else each
            found = faults(sample)
        except ValueError as error:
            found = [str(error)]
        else:
            with suppress(ValueError):  # what cannot be read is among the faults
                if sample.mask:
                    odd.update(oddities(read_mask(sample.mask), sample.points and read_points(sample.points), known))
        if names[each.image.with_suffix("")] > 1:
            found.append("another picture beside it has its name, and so its mask or points; rename one of them")
        if found:
            bad.append((each.image, "; ".join(found)))
        else:
            sound.append(sample)
    strange = [each for each, votes in odd.items() if votes > MOST * len(listed)]
    return Examined(dataset, sound, bad, strange, misfits(sound))


def mend(samples: list[Sample], astray: list[Misfits], folder: Path) -> list[Sample]:
    """Give training samples that have misfits the points without them, written into a folder; others stay as they are.

    What a model is tested by is not made to suit it.
    """
    faces, mended = {each.sample.points: each.faces for each in astray}, []
    for number, sample in enumerate(samples):
        if sample.split == "train" and sample.points in faces:
            file = folder / f"{number:06}.txt"
            folder.mkdir(parents=True, exist_ok=True)
            write_points(file, faces[sample.points])
            sample = replace(sample, points=file)
        mended.append(sample)
    return mended


def large(sample: Sample) -> bool:
    """Whether a sample is of those that :func:`shrink` makes smaller copies of."""
    if sample.split != "train" or sample.mask is None or sample.points:
        return False
    with Image.open(sample.image) as picture:
        return max(picture.size) > LARGEST


def shrink(samples: list[Sample], folder: Path) -> list[Sample]:
    """Give training samples of more than LARGEST pixels smaller copies, written into a folder; others stay as they are.

    So do those that have points, which ``calibrate`` measures as they are.
    """
    shrunk, chosen = list(samples), [i for i, sample in enumerate(samples) if large(sample)]
    for i in track(chosen, "making large pictures smaller", disable=not chosen):
        image, mask = read_image(samples[i].image), read_mask(samples[i].mask)
        image, mask, _ = rescaled(image, mask, NO_FACES, LARGEST / max(mask.shape))
        folder.mkdir(parents=True, exist_ok=True)
        picture, regions = (folder / f"{i:06}-{samples[i].image.stem}{suffix}" for suffix in (".jpg", ".png"))
        Image.fromarray(image).save(picture, quality=95, subsampling=0)
        Image.fromarray(mask).save(regions)
        shrunk[i] = replace(samples[i], image=picture, mask=regions)
    return shrunk


def prepare(name: str, settings: Prepare, out: Path) -> None:
    """Check, split and index the dataset ``name``; what has another form is converted into ``out``/converted.

    Training points that fit no face are moved to where the rest of their face has them, if it has enough others, and
    listed, with those of other splits, in ``out``/misfits.csv: :mod:`facemark.misfits`. Large training pictures are
    replaced by smaller copies in ``out``/smaller.

    Raises:
        SystemExit: samples are not sound and ``bad_samples`` is ``refuse``, every one is named with its faults; or
            most are odd in the same way, so that classes or points are not what they are taken for; or there are none.
    """
    found = examine(settings.datasets[name], out / "converted")
    for image, why in found.bad:
        print(f"{image}: {why}", file=sys.stderr)
    if refusals := found.refusals(settings.bad_samples):
        raise SystemExit("\n".join(refusals))
    good = mend(split(found.sound, settings.splits, settings.seed), found.misfits, out / "mended")
    good = shrink(good, out / "smaller")
    counts = np.array([pixels(s) for s in good]).reshape(-1, len(CLASSES))
    shown = [shown_classes(each) for each in counts]
    out.mkdir(parents=True, exist_ok=True)
    write_index(out / "index.csv", [replace(s, classes=names) for s, names in zip(good, shown, strict=True)])
    (out / "statistics.json").write_text(json.dumps(statistics([s.split for s in good], counts), indent=1))
    with (out / "set_aside.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "faults"], *found.bad])
    with (out / "misfits.csv").open("w", newline="") as file:
        rows = [(m.sample.points, face + 1, point) for m in found.misfits for face, point in np.argwhere(m.which)]
        csv.writer(file).writerows([["points", "face", "point"], *rows])
    sizes = ", ".join(f"{sum(s.split == each for s in good)} {each}" for each in SPLITS)
    print(f"{name}: {sizes}, {len(found.bad)} set aside, {len(rows)} points that fit no face")


if __name__ == "__main__":
    name, params = sys.argv[1], load_params()
    with tracking.stage(f"prepare@{name}", params.of_stages()):
        prepare(name, params.prepare, PREPARED / name)
        for file in ("statistics.json", "set_aside.csv", "misfits.csv"):
            mlflow.log_artifact(PREPARED / name / file)
