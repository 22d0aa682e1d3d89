"""Label corruptions, as annotators cause them: pure functions of points, a level and a random generator.

Points are N faces × 68 × 2 (x, y). Sizes are per cent of each face's distance of the outer eye corners. A missing point
is NaN.
"""

from collections.abc import Callable

import numpy as np

from facemark.labels import JAW, L_BROW_POINTS, L_EYE_POINTS, OUTER_EYE_CORNERS, R_BROW_POINTS, R_EYE_POINTS

REGIONS = (JAW, R_BROW_POINTS, L_BROW_POINTS, slice(27, 36), R_EYE_POINTS, L_EYE_POINTS, slice(48, 68))
"""Points that are missing together: jaw, each brow, nose, each eye, mouth."""
ANNOTATORS = 3
"""Every third face is of the biased annotator."""
NUDGE = 1e-3
"""Per cent by which ``nudged`` moves a face."""


def eye_distances(points: np.ndarray) -> np.ndarray:
    """Distance of the outer eye corners of each face, N × 1 × 1."""
    right, left = (points[:, i] for i in OUTER_EYE_CORNERS)
    return np.linalg.norm(left - right, axis=1)[:, None, None]


def random_share(shape: tuple[int, ...], percent: float, rng: np.random.Generator) -> np.ndarray:
    """A random mask of this shape, true for exactly this share of it, to the nearest whole number."""
    order = rng.permutation(int(np.prod(shape))).reshape(shape)
    return order < round(percent / 100 * order.size)


def noise(points: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """Every coordinate has Gaussian noise of this standard deviation."""
    return points + rng.normal(0, 1, points.shape) * percent / 100 * eye_distances(points)


def outliers(points: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """This share of all points is anywhere in the box of its face."""
    moved = random_share(points.shape[:2], percent, rng)[..., None]
    low, high = points.min(1, keepdims=True), points.max(1, keepdims=True)
    return np.where(moved, rng.uniform(0, 1, points.shape) * (high - low) + low, points)


def bias(points: np.ndarray, percent: float, _: np.random.Generator) -> np.ndarray:
    """One annotator, who did every third face, sets all points this much too low."""
    points = points.copy()
    points[::ANNOTATORS, :, 1] += percent / 100 * eye_distances(points)[::ANNOTATORS, :, 0]
    return points


def missing(points: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """This share of all points is missing, each point independently."""
    return np.where(random_share(points.shape[:2], percent, rng)[..., None], np.nan, points)


def regions(points: np.ndarray, percent: float, rng: np.random.Generator) -> np.ndarray:
    """This share of all regions of all faces is missing."""
    points = points.copy()
    for face, region in np.argwhere(random_share((len(points), len(REGIONS)), percent, rng)):
        points[face, REGIONS[region]] = np.nan
    return points


def bad(points: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """The first face's points are rotated by a right angle about their mean; the other faces are unchanged."""
    points = points.copy()
    center = points[0].mean(0)
    points[0] = (points[0] - center)[:, ::-1] * (-1, 1) + center
    return points


def nudged(points: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """The first face's points are moved by NUDGE: the control of ``bad``, as any change alters a training."""
    points = points.copy()
    points[0] += NUDGE / 100 * eye_distances(points)[0]
    return points


def unchanged(points: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    """The points as they are."""
    return points


CORRUPTIONS: dict[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]] = {
    "clean": unchanged,
    "few": unchanged,
    **{each.__name__: each for each in (noise, outliers, bias, missing, regions, bad, nudged)},
}
COUNTS = ("few", "bad", "nudged")
"""Kinds whose level is the number of training faces."""


def parse(condition: str) -> tuple[str, float]:
    """The kind and the level of a condition: ``noise-8`` is ("noise", 8), ``clean`` ("clean", 0).

    Raises:
        ValueError: there is no such kind, or the level is not a number.
    """
    kind, _, level = condition.partition("-")
    if kind not in CORRUPTIONS or (kind != "clean") != level.isdecimal():
        kinds = ", ".join(CORRUPTIONS)
        raise ValueError(f"there is no condition {condition}; it is clean, or one of {kinds} and -NUMBER")
    return kind, float(level or 0)


def corrupt(points: np.ndarray, condition: str, seed: int) -> np.ndarray:
    """Corrupt points under a condition.

    The same seed gives the same result, and corrupts the same faces more at a higher level.

    Args:
        points: N × 68 × 2.
        condition: as :func:`parse` reads it.
        seed: of the random generator.

    Raises:
        ValueError: there is no such condition.
    """
    kind, level = parse(condition)
    return CORRUPTIONS[kind](points, level, np.random.default_rng(seed))
