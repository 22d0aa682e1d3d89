"""Poor labels: what annotators do to true points. Pure functions of points, a level and a random generator.

Points are N faces × 68 × 2 (x, y); sizes are per cent of each face's distance of the outer eye corners. A missing point
is NaN.
"""

from collections.abc import Callable

import numpy as np

from facemark.labels import JAW, L_BROW_POINTS, L_EYE_POINTS, OUTER_EYE_CORNERS, R_BROW_POINTS, R_EYE_POINTS

REGIONS = (JAW, R_BROW_POINTS, L_BROW_POINTS, slice(27, 36), R_EYE_POINTS, L_EYE_POINTS, slice(48, 68))
"""The points that an annotator leaves out together: jaw, each brow, nose, each eye, mouth."""
ANNOTATORS = 3
"""Every third face is of the annotator who is biased."""
NUDGE = 1e-3
"""Per cent by which a face is moved to see what any change at all does to a training."""


def eyes(points: np.ndarray) -> np.ndarray:
    """Distance of the outer eye corners of each face, N × 1 × 1."""
    right, left = (points[:, i] for i in OUTER_EYE_CORNERS)
    return np.linalg.norm(left - right, axis=1)[:, None, None]


def some(shape: tuple[int, ...], percent: float, rng: np.random.Generator) -> np.ndarray:
    """Which of so many things are hit: true for exactly this share of them, to the nearest whole number."""
    order = rng.permutation(int(np.prod(shape))).reshape(shape)
    return order < round(percent / 100 * order.size)


def noise(points: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """Every coordinate is off by Gaussian noise of this standard deviation."""
    return points + rng.normal(0, 1, points.shape) * percent / 100 * eyes(points)


def outliers(points: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """This share of all points lies anywhere in the box of its face."""
    thrown = some(points.shape[:2], percent, rng)[..., None]
    low, high = points.min(1, keepdims=True), points.max(1, keepdims=True)
    return np.where(thrown, rng.uniform(0, 1, points.shape) * (high - low) + low, points)


def bias(points: np.ndarray, percent: float, _: np.random.Generator) -> np.ndarray:
    """One annotator, who did every third face, sets all points this much too low."""
    points = points.copy()
    points[::ANNOTATORS, :, 1] += percent / 100 * eyes(points)[::ANNOTATORS, :, 0]
    return points


def missing(points: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """This share of all points is missing, one here and one there."""
    return np.where(some(points.shape[:2], percent, rng)[..., None], np.nan, points)


def regions(points: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """This share of all regions of all faces is missing."""
    points = points.copy()
    for face, region in np.argwhere(some((len(points), len(REGIONS)), percent, rng)):
        points[face, REGIONS[region]] = np.nan
    return points


def bad(points: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """The first face's points are turned by a right angle about their middle; all others are as they were."""
    points = points.copy()
    middle = points[0].mean(0)
    points[0] = (points[0] - middle)[:, ::-1] * (-1, 1) + middle
    return points


def nudged(points: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """The first face's points are moved by next to nothing: the yardstick for ``bad``."""
    points = points.copy()
    points[0] += NUDGE / 100 * eyes(points)[0]
    return points


def unchanged(points: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """The points as they are."""
    return points


SPOILERS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "clean": unchanged,
    "few": unchanged,
    **{each.__name__: each for each in (noise, outliers, bias, missing, regions, bad, nudged)},
}
COUNTS = ("few", "bad", "nudged")
"""Conditions whose number is that of the faces to learn from."""


def parse(condition: str) -> tuple[str, float]:
    """The kind and the level of a condition: ``noise-8`` is ("noise", 8), ``clean`` ("clean", 0).

    Raises:
        ValueError: there is no such kind, or the level is no number.
    """
    kind, _, level = condition.partition("-")
    if kind not in SPOILERS or (kind != "clean") != level.isdecimal():
        raise ValueError(f"there is no condition {condition}; it is clean, or one of {', '.join(SPOILERS)} and -NUMBER")
    return kind, float(level or 0)


def corrupt(points: np.ndarray, condition: str, seed: int) -> np.ndarray:
    """The points under a condition, the same for the same seed; higher levels of a kind hit the same faces harder."""
    kind, level = parse(condition)
    return SPOILERS[kind](points, level, np.random.default_rng(seed))
