"""Anomalies of a dataset's labels: what is odd in one mask, and wrong with the dataset where most masks share it.

Then ids or points are not what the format says. Each check is a function that votes for one image's labels.
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
"""Pairs of classes; the first is above the second in almost all faces."""
COMMON_CLASSES = (Region.SKIN, *dict.fromkeys(region for pair in VERTICAL_ORDER for region in pair))
"""Classes that almost all faces show."""
OTHER_IDS = "its ids stand for other classes than those of its format; name them with format: folder and classes"
NO_IDS = "a mask holds the id of a class in each pixel, see docs/parser.md; 255 marks pixels to ignore"
OTHER_IMAGE = "points must be in pixels of the same picture as the mask"
UNLABELLED = "label it, or mark it as ignore (255 in the masks); otherwise the parser learns that it is never there"
ONE_BASED = "subtract 1 from each x and y: here the first pixel is (0, 0)"


class Anomaly(NamedTuple):
    """What is odd about a dataset."""

    phrase: str
    """Says what is odd."""
    remedy: str
    """Says what to do about it."""


@dataclass(frozen=True)
class Labels:
    """The labels of one image."""

    mask: np.ndarray
    """H × W class ids."""
    points: np.ndarray | None = None
    """Faces × 68 × 2 (x, y) in pixels."""
    known: tuple[str, ...] = CLASSES
    """Names of the classes that the dataset labels; others cannot be missing."""

    @cached_property
    def centers(self) -> dict[int, np.ndarray]:
        """Centroid (x, y) of each common class, NaN where the mask does not show it."""
        return {region: centroid(self.mask == region) for region in COMMON_CLASSES}

    def shows(self, *regions: int) -> bool:
        """Whether the mask shows all of these common classes."""
        return bool(np.isfinite([self.centers[region] for region in regions]).all())

    @cached_property
    def eye_offset(self) -> tuple[np.ndarray, float] | None:
        """How far the eye points of one face are from the eye regions of its mask.

        The offset (x, y) is the mean of the two eyes: they are outlined symmetrically, so differences in outlining
        cancel out in x. With it comes the distance of the two eye regions, also in pixels. None where the labels do not
        show one face with both eyes.
        """
        if self.points is None or len(self.points) != 1 or count_pieces(self.mask == Region.NOSE) > 1:
            return None
        moments = [cv2.moments(self.points[0, which, None]) for which in (R_EYE_POINTS, L_EYE_POINTS)]
        if not all(each["m00"] for each in moments) or not self.shows(Region.R_EYE, Region.L_EYE):
            return None
        right, left = self.centers[Region.R_EYE], self.centers[Region.L_EYE]
        outlined = np.mean([(each["m10"] / each["m00"], each["m01"] / each["m00"]) for each in moments], 0)
        return outlined - (right + left) / 2, float(np.linalg.norm(right - left))


Votes = Iterator[tuple[Anomaly, float]]
"""Pairs of an anomaly and a vote: 1 where the labels have it, -1 where they do not. A vote of -inf refutes an anomaly
that only holds if all masks share it. Labels that cannot show whether they have it do not vote."""


def vertical_order(labels: Labels) -> Votes:
    """A class is below one that it is above in faces."""
    for upper, lower in VERTICAL_ORDER:
        if labels.shows(upper, lower):
            below = labels.centers[upper][1] > labels.centers[lower][1]
            yield Anomaly(f"in most masks {CLASSES[upper]} is below {CLASSES[lower]}", OTHER_IDS), 1 if below else -1


def nothing_shown(labels: Labels) -> Votes:
    """No class but background is shown.

    A mask of background alone belongs to an image without people, so it does not vote.
    """
    shown = np.isin(labels.mask, [*range(1, len(CLASSES)), *UNIONS]).any()
    if shown or (labels.mask == IGNORE).any():
        anomaly = Anomaly("no mask shows anything but background and ignored pixels", NO_IDS)
        yield anomaly, -np.inf if shown else 1


def large_nose(labels: Labels) -> Votes:
    """The nose is larger than the skin."""
    if nose := (labels.mask == Region.NOSE).sum():
        larger = nose > (labels.mask == Region.SKIN).sum()
        yield Anomaly("in most masks nose is larger than skin", OTHER_IDS), 1 if larger else -1


def missing_class(labels: Labels) -> Votes:
    """A common class is never shown.

    A mask with ignored pixels does not vote: the class may be among them.
    """
    if (labels.mask == IGNORE).any():
        return
    for region in COMMON_CLASSES:
        if CLASSES[region] in labels.known:
            yield Anomaly(f"no mask shows {CLASSES[region]}", UNLABELLED), -np.inf if labels.shows(region) else 1


def points_off_the_eyes(labels: Labels) -> Votes:
    """Eye points are farther from the eye regions than the eyes from each other."""
    if labels.eye_offset:
        offset, distance = labels.eye_offset
        far = np.linalg.norm(offset) > distance
        yield Anomaly("most points are elsewhere than the eyes of their mask", OTHER_IMAGE), 1 if far else -1


def one_based_points(labels: Labels) -> Votes:
    """Eye points are one pixel right of and below the eye regions."""
    if labels.eye_offset:
        one_pixel = (abs(labels.eye_offset[0] - 1) < 0.5).all()
        yield Anomaly("most points are a pixel right of and below the eyes", ONE_BASED), 1 if one_pixel else -1


CHECKS: tuple[Callable[[Labels], Votes], ...] = (
    vertical_order,
    nothing_shown,
    large_nose,
    missing_class,
    points_off_the_eyes,
    one_based_points,
)


def label_anomalies(labels: Labels) -> dict[Anomaly, float]:
    """Return the votes of one image's labels on each anomaly that they can decide; see :data:`Votes`."""
    return {anomaly: vote for check in CHECKS for anomaly, vote in check(labels)}
