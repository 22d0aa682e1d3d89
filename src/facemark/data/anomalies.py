"""What is odd about the labels of a dataset as a whole: one mask may be odd, most are not.

Where most masks share an anomaly, ids or points are not what the format says. Each check votes for one mask.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np

from facemark.geometry import centroid, count_pieces
from facemark.labels import CLASSES, IGNORE, L_EYE_POINTS, R_EYE_POINTS, UNIONS, Region

VERTICAL_ORDER = (
    (Region.R_BROW, Region.R_EYE),
    (Region.L_BROW, Region.L_EYE),
    (Region.R_EYE, Region.NOSE),
    (Region.L_EYE, Region.NOSE),
    (Region.NOSE, Region.U_LIP),
    (Region.U_LIP, Region.L_LIP),
)
"""Pairs of which the first is above the second in all but a few images."""
COMMON_CLASSES = (Region.SKIN, *dict.fromkeys(region for pair in VERTICAL_ORDER for region in pair))
"""What all but a few faces show."""
OTHER_IDS = "its ids stand for other classes than those of its format; say which with format: folder and classes"
NO_IDS = "a mask holds the id of a class in each pixel, see docs/parser.md; 255 is for what is to be ignored"
OTHER_IMAGE = "points are to be pixels of the very picture that the mask belongs to"
UNLABELLED = "label it, or where nobody has, call it ignore (255 in the masks): else it is taught not to be there"
ONE_BASED = "take 1 from each x and y, for here the first pixel is (0, 0)"


class Anomaly(NamedTuple):
    """What is odd, and what to do about it."""

    phrase: str
    remedy: str


@dataclass(frozen=True)
class Labels:
    """The labels of one image."""

    mask: np.ndarray
    """H × W class ids."""
    points: np.ndarray | None = None
    """Faces × 68 × 2 (x, y) in pixels."""
    known: tuple[str, ...] = CLASSES
    """The classes that the dataset has; of the others, none is missed."""

    @cached_property
    def centers(self) -> dict[int, np.ndarray]:
        """Centroid of each common class, NaN where the mask does not show it."""
        return {region: centroid(self.mask == region) for region in COMMON_CLASSES}

    def shows(self, *regions: int) -> bool:
        """Whether the mask shows all of these common classes."""
        return bool(np.isfinite([self.centers[region] for region in regions]).all())


Votes = Iterator[tuple[Anomaly, float]]
"""An anomaly and 1 where a mask has it, -1 where it has not; -inf where one mask without it is enough to refute it."""


def vertical_order(labels: Labels) -> Votes:
    """A class below one that it is above in faces."""
    for upper, lower in VERTICAL_ORDER:
        if labels.shows(upper, lower):
            below = labels.centers[upper][1] > labels.centers[lower][1]
            yield Anomaly(f"in most masks {CLASSES[upper]} lies below {CLASSES[lower]}", OTHER_IDS), 1 if below else -1


def nothing_shown(labels: Labels) -> Votes:
    """No class but background; a mask of background alone is of a picture without people, and has no vote."""
    shown = np.isin(labels.mask, [*range(1, len(CLASSES)), *UNIONS]).any()
    if shown or (labels.mask == IGNORE).any():
        anomaly = Anomaly("no mask shows anything but background and what is ignored", NO_IDS)
        yield anomaly, -np.inf if shown else 1


def large_nose(labels: Labels) -> Votes:
    """A nose larger than the skin."""
    if nose := (labels.mask == Region.NOSE).sum():
        larger = nose > (labels.mask == Region.SKIN).sum()
        yield Anomaly("in most masks nose is larger than skin", OTHER_IDS), 1 if larger else -1


def missing_class(labels: Labels) -> Votes:
    """A common class that is never shown; where something is ignored, it may be among that."""
    if (labels.mask == IGNORE).any():
        return
    for region in COMMON_CLASSES:
        if CLASSES[region] in labels.known:
            yield Anomaly(f"no mask shows {CLASSES[region]}", UNLABELLED), -np.inf if labels.shows(region) else 1


def points_off_the_eyes(labels: Labels) -> Votes:
    """Eye points of one face elsewhere than its eye regions, or one pixel off."""
    if labels.points is None or len(labels.points) != 1 or count_pieces(labels.mask == Region.NOSE) > 1:
        return
    moments = [cv2.moments(labels.points[0, which, None]) for which in (R_EYE_POINTS, L_EYE_POINTS)]
    if not all(each["m00"] for each in moments) or not labels.shows(Region.R_EYE, Region.L_EYE):
        return
    right, left = labels.centers[Region.R_EYE], labels.centers[Region.L_EYE]
    outlined = np.mean([(each["m10"] / each["m00"], each["m01"] / each["m00"]) for each in moments], 0)
    # however eyes are outlined, the two are mirrored, so that what differs from the mask's cancels out in x
    offset = outlined - (right + left) / 2
    far = np.linalg.norm(offset) > np.linalg.norm(right - left)
    yield Anomaly("most points lie elsewhere than the eyes of their mask", OTHER_IMAGE), 1 if far else -1
    one_pixel = (abs(offset - 1) < 0.5).all()
    yield Anomaly("most points lie a pixel right of and below the eyes", ONE_BASED), 1 if one_pixel else -1


CHECKS: tuple[Callable[[Labels], Votes], ...] = (
    vertical_order,
    nothing_shown,
    large_nose,
    missing_class,
    points_off_the_eyes,
)


def label_anomalies(labels: Labels) -> dict[Anomaly, float]:
    """The votes of one image's labels on each anomaly that they can tell of."""
    return {anomaly: vote for check in CHECKS for anomaly, vote in check(labels)}
