"""Points that fit no face: labels thrown far off, told by the rest of their face and by the other faces.

A mean face and few modes are fitted to all faces at once, again and again, to what is nearer and with one mode more, so
that a thrown point has no say in where it belongs: robust subspace learning (De la Torre & Black, IJCV 2003).
"""

from dataclasses import dataclass

import numpy as np

from facemark.data.samples import Sample, read_points
from facemark.labels import OUTER_EYE_CORNERS, POINT_GROUPS

LIMIT, FIRST, TIGHTER, ROUNDS = 0.25, 0.85, 0.9, 20
"""How far from where its face has it a point may lie, in face sizes, at last; the limit of the first round, its share
in each further one, and how many there are. So wide a beginning lets heads be learned that are turned to profiles."""
SCATTER = 7
"""How many times as far as the nearest quarter of all points a point may lie: where all are noisy, none is told."""
MODES, FACES_A_MODE = 10, 10
"""Modes of the faces that are fitted at last, and how many faces there are to be for each of them."""
NO_FACES = np.empty((0, 68, 2))
MIN_FACES = 40
"""Fewer faces than these tell little of each other."""
MAX_OUTLIER_SHARE = 0.4
"""From this share of misfits on, a face has too few other points to place them by."""


@dataclass(frozen=True)
class Outliers:
    """Points of a sample that fit no face."""

    sample: Sample
    faces: np.ndarray
    """Its faces × 68 × 2, those points moved to where the rest of their face has them, if it has enough others."""
    which: np.ndarray
    """Faces × 68."""

    def __str__(self) -> str:
        """Name the points, from 0, and their face, from 1."""
        told = [
            f"{', '.join(map(str, np.flatnonzero(face)))} of face {number}"
            for number, face in enumerate(self.which, 1)
            if face.any()
        ]
        return f"points that fit no face: {'; '.join(told)}"


def find_outliers(samples: list[Sample]) -> list[Outliers]:
    """The samples some of whose points fit no face, as all of them together tell."""
    listed = [sample for sample in samples if sample.points]
    given = [read_points(sample.points).astype(float) for sample in listed]
    ends = np.cumsum([len(faces) for faces in given])
    placed, which = (np.split(each, ends)[:-1] for each in correct_points(np.concatenate([*given, NO_FACES])))
    return [Outliers(*each) for each in zip(listed, placed, which, strict=True) if each[-1].any()]


def correct_points(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell the points that fit no face, and move them to where the rest of their face has them.

    Args:
        faces: N × 68 × 2 (x, y) in pixels of any pictures, of any size and turn.

    Returns:
        The faces, all other points as they were, and N × 68 which these are. Faces with hopelessly many of them are
        not changed.
    """
    points = np.array(faces, float, order="C").view(complex)[..., 0]
    which = np.zeros(points.shape, bool)
    eyes, mouth = _parts(points)
    told = (eyes != mouth)[:, 0]
    if told.sum() >= MIN_FACES:
        placed, which[told] = _fit_shapes(points[told], ((points - eyes)[told] / (mouth - eyes)[told]))
        moved = which[told] & (which[told].mean(1, keepdims=True) < MAX_OUTLIER_SHARE)
        points[told] = np.where(moved, placed, points[told])
    return points[..., None].view(float), which


def _parts(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where eyes and mouth of faces x + iy, N × 68, are, each N × 1: the medians of their points."""
    parts = (faces[:, POINT_GROUPS[part]] for part in ("eyes", "mouth"))
    eyes, mouth = (np.median(p.real, 1, keepdims=True) + 1j * np.median(p.imag, 1, keepdims=True) for p in parts)
    return eyes, mouth


def _fit_shapes(points: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points x + iy, N × 68, should be, and the misfits; ``shapes`` are they, about upright and of one size."""
    model = np.broadcast_to(np.median(shapes.real, 0) + 1j * np.median(shapes.imag, 0), shapes.shape)
    for number in range(ROUNDS):
        limit = max(LIMIT, FIRST * TIGHTER**number)
        turn, move = _similarity(points, model, _near(shapes, model, limit))
        shapes = turn * points + move
        fits = _near(shapes, model, limit)
        model = _low_rank(np.where(fits, shapes, model), min(1 + number, MODES, len(points) // FACES_A_MODE))
    return (model - move) / turn, ~fits


def _near(shapes: np.ndarray, model: np.ndarray, limit: float) -> np.ndarray:
    """Which points of shapes lie within a limit of a model's, in sizes of its faces.

    That is the distance of the outer eye corners or, since these come together in a turned head, 1.25 times that of
    eyes and mouth.
    """
    (eyes, mouth), (right, left) = _parts(model), OUTER_EYE_CORNERS
    size = np.maximum(np.abs(model[:, [left]] - model[:, [right]]), 1.25 * np.abs(mouth - eyes))
    off = np.abs(shapes - model) / size
    return off <= max(limit, SCATTER * np.quantile(off, 0.25))


def _similarity(points: np.ndarray, onto: np.ndarray, fits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The factor and the summand, each N × 1, that bring those points that fit nearest to others in least squares."""
    weights = fits + 1e-9  # a face none of whose points fits is laid down by all of them
    weights /= weights.sum(1, keepdims=True)
    here, there = ((weights * each).sum(1, keepdims=True) for each in (points, onto))
    away = points - here
    turn = (weights * away.conj() * (onto - there)).sum(1, keepdims=True)
    turn /= (weights * np.abs(away) ** 2).sum(1, keepdims=True)
    return turn, there - turn * here


def _low_rank(shapes: np.ndarray, modes: int) -> np.ndarray:
    """The nearest shapes, N × 68, that are their mean and so many modes."""
    rows = np.hstack([shapes.real, shapes.imag])
    mean = rows.mean(0)
    u, s, v = np.linalg.svd(rows - mean, full_matrices=False)
    rows = (u[:, :modes] * s[:modes]) @ v[:modes] + mean
    return rows[:, :68] + 1j * rows[:, 68:]
