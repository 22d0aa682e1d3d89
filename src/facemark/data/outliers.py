"""Outliers: landmark labels far from where the rest of their face and the other faces place them.

A mean face and a few shape modes are fitted to all faces at once, with a tighter inlier threshold and one more mode in
each iteration. So an outlier has no influence on where it belongs: robust subspace learning (De la Torre & Black, "A
Framework for Robust Subspace Learning", IJCV 2003).
"""

from dataclasses import dataclass

import numpy as np

from facemark.data.samples import Sample, read_points
from facemark.labels import OUTER_EYE_CORNERS, POINT_GROUPS

INLIER_THRESHOLD = 0.25
"""Distance, in face sizes, from the place that its face predicts up to which a point is an inlier."""
INITIAL_THRESHOLD, THRESHOLD_DECAY, ITERATIONS = 0.85, 0.9, 20
"""Threshold of the first iteration, its factor in each further one, and their number. The wide start lets the modes
learn profile views."""
QUARTILE_FACTOR = 7
"""The threshold is at least this times the lower quartile of all distances: where all labels are noisy, none is an
outlier."""
MAX_MODES, FACES_PER_MODE = 10, 10
"""Shape modes of the last iterations, and how many faces each mode requires."""
NO_FACES = np.empty((0, 68, 2))
MIN_FACES = 40
"""With fewer faces than these, no point is an outlier."""
MAX_OUTLIER_SHARE = 0.4
"""From this share of outliers on, a face has too few inliers to correct it by."""
UPRIGHT_RATIO = 1.25
"""Distance of the outer eye corners over that of eyes and mouth, in a frontal face."""


@dataclass(frozen=True)
class Outliers:
    """The outliers of one sample."""

    sample: Sample
    corrected: np.ndarray
    """Its faces × 68 × 2 (x, y) in pixels, outliers moved to where the inliers of their face predict them. Faces of too
    many outliers stay as they are."""
    is_outlier: np.ndarray
    """Faces × 68, bool."""

    def __str__(self) -> str:
        """Name the points, from 0, and their faces, from 1."""
        named = [
            f"{', '.join(map(str, np.flatnonzero(face)))} of face {number}"
            for number, face in enumerate(self.is_outlier, 1)
            if face.any()
        ]
        return f"points that fit no face: {'; '.join(named)}"


def find_outliers(samples: list[Sample]) -> list[Outliers]:
    """Return the outliers of each sample that has some; all samples are compared with each other.

    Raises:
        ValueError: a landmark file cannot be read.
    """
    given = [(sample, read_points(sample.points).astype(float)) for sample in samples if sample.points]
    ends = np.cumsum([len(faces) for _, faces in given])
    corrected, is_outlier = correct_points(np.concatenate([*(faces for _, faces in given), NO_FACES]))
    parts = zip(given, np.split(corrected, ends)[:-1], np.split(is_outlier, ends)[:-1], strict=True)
    return [Outliers(sample, faces, which) for (sample, _), faces, which in parts if which.any()]


def correct_points(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the outliers among the points of faces, and move them to where the inliers of their face predict them.

    Args:
        faces: N × 68 × 2 (x, y) in pixels, iBUG-68, of any images, sizes and in-plane rotations.

    Returns:
        The corrected faces, N × 68 × 2 float64, and N × 68 bool, true for outliers. Inliers keep their place. So do the
        outliers of a face whose share of them reaches MAX_OUTLIER_SHARE.
    """
    points = np.array(faces, float, order="C").view(complex)[..., 0]
    is_outlier = np.zeros(points.shape, bool)
    eyes, mouth = _eyes_and_mouth(points)
    usable = (eyes != mouth)[:, 0]
    if usable.sum() >= MIN_FACES:
        normalised = (points - eyes)[usable] / (mouth - eyes)[usable]
        predicted, is_outlier[usable] = _fit_shapes(points[usable], normalised)
        moved = is_outlier[usable] & (is_outlier[usable].mean(1, keepdims=True) < MAX_OUTLIER_SHARE)
        points[usable] = np.where(moved, predicted, points[usable])
    return points[..., None].view(float), is_outlier


def _eyes_and_mouth(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Medians of the eye and of the mouth points of faces x + iy, N × 68; N × 1 each."""
    parts = (faces[:, POINT_GROUPS[part]] for part in ("eyes", "mouth"))
    eyes, mouth = (np.median(p.real, 1, keepdims=True) + 1j * np.median(p.imag, 1, keepdims=True) for p in parts)
    return eyes, mouth


def _fit_shapes(points: np.ndarray, shapes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit mean and modes to all faces.

    Args:
        points: N × 68, x + iy in pixels.
        shapes: the same points, roughly upright and of one size.

    Returns:
        Where the model predicts the points, N × 68, and which are outliers, N × 68 bool.
    """
    model = np.broadcast_to(np.median(shapes.real, 0) + 1j * np.median(shapes.imag, 0), shapes.shape)
    for iteration in range(ITERATIONS):
        threshold = max(INLIER_THRESHOLD, INITIAL_THRESHOLD * THRESHOLD_DECAY**iteration)
        factor, offset = _fit_similarity(points, model, _inliers(shapes, model, threshold))
        shapes = factor * points + offset
        inliers = _inliers(shapes, model, threshold)
        modes = min(1 + iteration, MAX_MODES, len(points) // FACES_PER_MODE)
        model = _low_rank(np.where(inliers, shapes, model), modes)
    return (model - offset) / factor, ~inliers


def _inliers(shapes: np.ndarray, model: np.ndarray, threshold: float) -> np.ndarray:
    """Which points of shapes, N × 68, are within a threshold of a model's, in sizes of the model's faces.

    The size is the distance of the outer eye corners or, since these come together in a turned head, UPRIGHT_RATIO
    times the distance of eyes and mouth, whichever is larger.
    """
    (eyes, mouth), (right, left) = _eyes_and_mouth(model), OUTER_EYE_CORNERS
    size = np.maximum(np.abs(model[:, [left]] - model[:, [right]]), UPRIGHT_RATIO * np.abs(mouth - eyes))
    distances = np.abs(shapes - model) / size
    return distances <= max(threshold, QUARTILE_FACTOR * np.quantile(distances, 0.25))


def _fit_similarity(points: np.ndarray, onto: np.ndarray, inliers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The factor and the summand, each N × 1, that bring the inliers closest to ``onto`` in least squares."""
    weights = inliers + 1e-9  # a face without inliers is placed by all of its points
    weights /= weights.sum(1, keepdims=True)
    here, there = ((weights * each).sum(1, keepdims=True) for each in (points, onto))
    centred = points - here
    factor = (weights * centred.conj() * (onto - there)).sum(1, keepdims=True)
    factor /= (weights * np.abs(centred) ** 2).sum(1, keepdims=True)
    return factor, there - factor * here


def _low_rank(shapes: np.ndarray, modes: int) -> np.ndarray:
    """The nearest shapes, N × 68, that are their mean plus this many modes."""
    rows = np.hstack([shapes.real, shapes.imag])
    mean = rows.mean(0)
    u, s, v = np.linalg.svd(rows - mean, full_matrices=False)
    rows = (u[:, :modes] * s[:modes]) @ v[:modes] + mean
    return rows[:, :68] + 1j * rows[:, 68:]
