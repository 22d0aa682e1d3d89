"""Whether a dataset is what its format says: checks of each sample, and of what most samples have in common."""

import importlib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from facemark.data.outliers import Misfits, misfits
from facemark.data.samples import Published, Sample, read_mask, read_points
from facemark.geometry import centroid, count_pieces
from facemark.images import SUFFIXES, read_image
from facemark.labels import CLASSES, IGNORE, L_EYE_POINTS, PAIRS, POINT_GROUPS, R_EYE_POINTS, UNIONS, Region
from facemark.settings import Dataset

SIDE_MARGIN = 0.2
"""Sides count as swapped only when it is this clear, as a share of the distance that they are told by."""
MAX_ANOMALY_SHARE = 0.2
"""By how much, as a share of all pictures, odd masks are to outnumber the others before a dataset is refused."""
VERTICAL_ORDER = (
    (Region.R_BROW, Region.R_EYE),
    (Region.L_BROW, Region.L_EYE),
    (Region.R_EYE, Region.NOSE),
    (Region.L_EYE, Region.NOSE),
    (Region.NOSE, Region.U_LIP),
    (Region.U_LIP, Region.L_LIP),
)
"""Pairs of which the first lies above the second in all but a few pictures."""
COMMON_CLASSES = (Region.SKIN, *dict.fromkeys(region for pair in VERTICAL_ORDER for region in pair))
"""What all but a few faces show."""
MIN_SPAN = 8
"""Pixels that a face's points span at least: those of less are shares of the picture, or nobody's."""
MAX_COINCIDENT, COINCIDENT_SPAN = 6, 40
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
        if across @ (down[1], -down[0]) < -SIDE_MARGIN * np.linalg.norm(across):
            wrong.append(f"{CLASSES[left]}/{CLASSES[right]}")
    return wrong


def is_mirrored(face: np.ndarray) -> bool:
    """Whether 68 × 2 points name the subject's left what is right, seen from eyes to mouth."""
    down = np.median(face[POINT_GROUPS["mouth"]], 0) - np.median(face[POINT_GROUPS["eyes"]], 0)
    across = np.median(face[L_EYE_POINTS], 0) - np.median(face[R_EYE_POINTS], 0)
    return bool(across @ (down[1], -down[0]) < -SIDE_MARGIN * (down @ down))


def label_anomalies(
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
    centres = {region: centroid(mask == region) for region in COMMON_CLASSES}
    votes = {
        (f"in most masks {CLASSES[upper]} lies below {CLASSES[lower]}", OTHER_IDS): 1
        if centres[upper][1] > centres[lower][1]
        else -1
        for upper, lower in VERTICAL_ORDER
        if np.isfinite([centres[upper], centres[lower]]).all()
    }
    shown = np.isin(mask, [*range(1, len(CLASSES)), *UNIONS]).any()
    if shown or (mask == IGNORE).any():  # a mask of background alone is of a picture without people
        votes["no mask shows anything but background and what is ignored", NO_IDS] = -np.inf if shown else 1
    if nose := (mask == Region.NOSE).sum():
        larger = nose > (mask == Region.SKIN).sum()
        votes["in most masks nose is larger than skin", OTHER_IDS] = 1 if larger else -1
    if not (mask == IGNORE).any():  # what is missed may be among what is ignored
        for region in COMMON_CLASSES:
            if CLASSES[region] in known:
                missing = np.isnan(centres[region]).any()
                votes[f"no mask shows {CLASSES[region]}", UNLABELLED] = 1 if missing else -np.inf
    if points is not None and len(points) == 1 and count_pieces(mask == Region.NOSE) <= 1:
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


def is_outside(points: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether a face's points (68 × 2) leave it no place in a picture of this shape."""
    return bool((points.max(0) < 0).any() or (points.min(0) > (shape[1] - 1, shape[0] - 1)).any())


def validate_sample(sample: Sample) -> list[str]:
    """Everything that is wrong with a sample, each a phrase; an empty list where it is sound."""
    found = []
    try:
        image = read_image(sample.image)
        mask = read_mask(sample.mask) if sample.mask else None
        points = read_points(sample.points) if sample.points else None
    except ValueError as error:
        return [str(error)]
    faces = () if points is None else points
    if any(is_mirrored(face) for face in faces):
        found.append(
            "left and right are swapped in the points: 36–41 are the subject's right eye; or their x and y are"
        )
    for face in faces:
        span = np.ptp(face, 0).max()
        if span < MIN_SPAN:
            found.append(f"the points of a face span less than {MIN_SPAN} pixels; are they shares of the picture?")
        most = np.unique(face, axis=0, return_counts=True)[1].max()
        if most >= MAX_COINCIDENT and span >= COINCIDENT_SPAN:
            found.append(f"{most} points of a face lie at one place; leave out a face whose points are not all known")
    if any(is_outside(face, image.shape) for face in faces):
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
    if (
        (points is None or len(points) == 1)
        and count_pieces(mask == Region.NOSE) <= 1
        and (pairs := swapped_pairs(mask))
    ):
        found.append(f"left and right are swapped in {', '.join(pairs)}")
    return found


@dataclass(frozen=True)
class ValidationReport:
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


def list_samples(dataset: Dataset) -> list[Sample | Published]:
    """List the pictures of a dataset.

    Raises:
        SystemExit: they are not where its format has them, or the files that list them are not its.
    """
    module = importlib.import_module(f"facemark.datasets.{dataset.format}")
    try:
        return module.samples(dataset.path, dataset.classes) if dataset.classes else module.samples(dataset.path)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error


def validate_dataset(dataset: Dataset, converted: Path, only: str | None = None) -> ValidationReport:
    """Check every picture of a dataset; what has another form is converted into the folder ``converted``.

    Args:
        dataset: where it lies and what it is.
        converted: need not be there yet.
        only: a split, beside which pictures that are of none are checked.

    Raises:
        SystemExit: see :func:`samples`.
    """
    listed = [each for each in list_samples(dataset) if only is None or each.split in (only, None)]
    known = tuple(dataset.classes.values()) if dataset.classes else CLASSES
    pictures = {each.image for each in listed if each.image.suffix.lower() in SUFFIXES}
    names = Counter(image.with_suffix("") for image in pictures)
    sound, bad, odd = [], [], Counter()
    for number, each in enumerate(track(listed, f"checking {dataset.path}")):
        try:
            sample = each.convert(converted / f"{number:06}") if isinstance(each, Published) else each
            found = validate_sample(sample)
        except ValueError as error:
            found = [str(error)]
        else:
            with suppress(ValueError):  # what cannot be read is among the faults
                if sample.mask:
                    odd.update(
                        label_anomalies(read_mask(sample.mask), sample.points and read_points(sample.points), known)
                    )
        if names[each.image.with_suffix("")] > 1:
            found.append("another picture beside it has its name, and so its mask or points; rename one of them")
        if found:
            bad.append((each.image, "; ".join(found)))
        else:
            sound.append(sample)
    strange = [each for each, votes in odd.items() if votes > MAX_ANOMALY_SHARE * len(listed)]
    return ValidationReport(dataset, sound, bad, strange, misfits(sound))
