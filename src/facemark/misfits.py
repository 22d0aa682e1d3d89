"""Points that fit no face: labels thrown far off, told by the rest of their face and by the other faces.

Faces of few modes are fitted to all faces at once, again and again to what is nearer to them and with a tighter limit,
so that a thrown point soon has no say in where it belongs: robust subspace learning (De la Torre & Black, IJCV 2003).
"""

from dataclasses import dataclass

import numpy as np

from facemark.datasets import Sample, read_points
from facemark.labels import OUTER_EYE_CORNERS, POINT_GROUPS

LIMIT = 0.25
"""Distances of the outer eye corners from where its face has it, beyond which a point is a misfit: none of the clean
points of 1,424 faces in the wild is one."""
FIRST, TIGHTER, ROUNDS = 0.5, 0.85, 12
"""The limit of the first round, its share in each further one down to LIMIT, and how many rounds there are."""
MODES, FACES_A_MODE = 10, 10
"""Modes of the faces that are fitted, and how many faces there are to be for each of them."""
NO_FACES = np.empty((0, 68, 2))
FEW = 20
"""Fewer faces than these tell nothing of each other."""


@dataclass(frozen=True)
class Misfits:
    """Points of a sample that fit no face."""

    sample: Sample
    faces: np.ndarray
    """Its faces × 68 × 2, those points moved to where the rest of their face has them."""
    which: np.ndarray
    """Faces × 68."""

    @property
    def hopeless(self) -> bool:
        """Whether of one of its faces more points are misfits than not, so that they cannot be placed by the others."""
        return bool((self.which.mean(1) > 0.5).any())

    def __str__(self) -> str:
        """Name the points, from 0, and their face, from 1."""
        told = [(i, ", ".join(map(str, np.flatnonzero(each)))) for i, each in enumerate(self.which, 1)]
        return f"points fit no face: {'; '.join(f'{points} of face {i}' for i, points in told if points)}"


def misfits(samples: list[Sample]) -> list[Misfits]:
    """The samples some of whose points fit no face, as all of them together tell."""
    listed = [sample for sample in samples if sample.points]
    given = [read_points(sample.points).astype(float) for sample in listed]
    *placed, _ = np.split(mended(np.concatenate([*given, NO_FACES])), np.cumsum([len(faces) for faces in given]))
    which = [(before != after).any(-1) for before, after in zip(given, placed, strict=True)]
    return [Misfits(*each) for each in zip(listed, placed, which, strict=True) if each[-1].any()]


def mended(faces: np.ndarray) -> np.ndarray:
    """The faces with their misfits moved to where the rest of their face has them; all other points are as they were.

    Args:
        faces: N × 68 × 2 (x, y) in pixels of any pictures, of any size and turn.
    """
    points = np.array(faces, float).view(complex)[..., 0]
    eyes, mouth = (_middle(points[:, POINT_GROUPS[part]]) for part in ("eyes", "mouth"))
    told = (eyes != mouth)[:, 0]
    if told.sum() >= FEW:
        upright = (points[told] - eyes[told]) / (mouth - eyes)[told]
        points[told] = _fitted(points[told], upright)
    return points[..., None].view(float)


def _middle(points: np.ndarray) -> np.ndarray:
    """The medians of x and of y, as N × 1."""
    return np.median(points.real, 1, keepdims=True) + 1j * np.median(points.imag, 1, keepdims=True)


def _fitted(points: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """What :func:`mended` answers, of points x + iy, N × 68, that are about upright and of one size as ``shapes``."""
    model = np.broadcast_to(_middle(shapes.T).T, shapes.shape)
    for limit in np.maximum(LIMIT, FIRST * TIGHTER ** np.arange(ROUNDS)):
        fits = _near(shapes, model, limit)
        turn, move = _similarity(points, model, fits)
        shapes = turn * points + move
        fits = _near(shapes, model, limit)
        model = _low_rank(np.where(fits, shapes, model))
    return np.where(fits, points, (model - move) / turn)


def _near(shapes: np.ndarray, model: np.ndarray, limit: float) -> np.ndarray:
    """Which points of shapes lie within so many eye distances of a model's."""
    right, left = OUTER_EYE_CORNERS
    return np.abs(shapes - model) <= limit * np.abs(model[:, [left]] - model[:, [right]])


def _similarity(points: np.ndarray, onto: np.ndarray, fits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The factor and the summand, each N × 1, that bring those points that fit nearest to others in least squares."""
    weights = fits + 1e-9  # a face none of whose points fits is laid down by all of them
    weights /= weights.sum(1, keepdims=True)
    here, there = ((weights * each).sum(1, keepdims=True) for each in (points, onto))
    away = points - here
    turn = (weights * away.conj() * (onto - there)).sum(1, keepdims=True)
    turn /= (weights * np.abs(away) ** 2).sum(1, keepdims=True)
    return turn, there - turn * here


def _low_rank(shapes: np.ndarray) -> np.ndarray:
    """The nearest shapes, N × 68, that are their mean and a few modes."""
    rows = np.hstack([shapes.real, shapes.imag])
    mean = rows.mean(0)
    u, s, v = np.linalg.svd(rows - mean, full_matrices=False)
    modes = min(MODES, len(rows) // FACES_A_MODE)
    rows = (u[:, :modes] * s[:modes]) @ v[:modes] + mean
    return rows[:, :68] + 1j * rows[:, 68:]
