"""Planes, frames and edges.

Convention everywhere: points are (x, y) in pixels, the origin is the centre of the top-left pixel, x points right,
y down. Matrices are 2 × 3 and map column points: ``matrix @ (x, y, 1)``.
"""

import cv2
import numpy as np
from contourpy import contour_generator

CONTOUR_LEVEL = 0.5
"""A region's edge is where its probability falls to this."""


def invert(matrix: np.ndarray) -> np.ndarray:
    """The 2 × 3 matrix that undoes ``matrix``."""
    return cv2.invertAffineTransform(matrix)


def chain(last: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The 2 × 3 matrix that does what ``first`` does and then what ``last`` does."""
    return last @ np.vstack([first, (0, 0, 1)])


def scaling(scale: float) -> np.ndarray:
    """The matrix that scales by ``scale`` and keeps pixel centres where they belong."""
    return np.array([(scale, 0, (scale - 1) / 2), (0, scale, (scale - 1) / 2)])


def scaled_size(shape: tuple[int, ...], scale: float) -> tuple[int, int]:
    """Width and height that a picture of this shape (height, width, …) has once it is scaled: at least a pixel each."""
    height, width = shape[:2]
    return max(1, round(width * scale)), max(1, round(height * scale))


def quarter_turns(height: int, width: int, turns: int) -> np.ndarray:
    """The 2 × 3 matrix of ``np.rot90(image, turns)`` for an H × W image."""
    matrix = np.eye(3)
    for _ in range(turns):
        matrix = np.array([(0, 1, 0), (-1, 0, width - 1), (0, 0, 1)]) @ matrix
        height, width = width, height
    return matrix[:2]


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Map points (… × 2) by a 2 × 3 matrix."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def rescale(image: np.ndarray, mask: np.ndarray, points: np.ndarray, scale: float) -> tuple:
    """A picture H × W × 3, its mask H × W of class ids, and faces × 68 × 2 points, made smaller."""
    size = scaled_size(mask.shape, scale)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    regions = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST_EXACT)
    return small, regions, apply(scaling(scale), points).astype(np.float32)


def longest_contour(region: np.ndarray) -> np.ndarray:
    """The longest sub-pixel contour of an H × W probability map, K × 2 (x, y), closed; empty where there is none.

    Marching squares (contourpy) on the map with a border of zeros, so that a region cut by the edge has one too.
    """
    lines: list[np.ndarray] = contour_generator(z=np.pad(region, 1)).lines(CONTOUR_LEVEL)  # type: ignore[assignment]
    return max(lines, key=len, default=np.empty((0, 2))) - 1


def centroid(region: np.ndarray) -> np.ndarray:
    """Mean (x, y) of an H × W map, weighted by its values; NaN where they are all 0."""
    total = region.sum()
    if total <= 0:
        return np.full(2, np.nan)
    height, width = region.shape
    return np.array([region.sum(0) @ np.arange(width), region.sum(1) @ np.arange(height)]) / total


def confident_centroid(region: np.ndarray) -> np.ndarray:
    """Centroid (x, y) of what lies inside the contour of a probability map; NaN where nothing does."""
    return centroid(np.where(region >= CONTOUR_LEVEL, region, 0))


def count_pieces(region: np.ndarray) -> int:
    """How many pieces an H × W region has, but for slips of the pen."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    return int((areas > 0.1 * areas.max(initial=0)).sum())


def sample_bilinear(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values of H × W × C maps at points (… × 2), bilinear: … × C float32; beyond the edge those of the edge."""
    height, width, count = maps.shape
    # as one plane, map below map: of images with more channels, OpenCV rounds coordinates to 1/32 of a pixel
    plane = np.ascontiguousarray(maps.transpose(2, 0, 1), np.float32).reshape(count * height, width)
    x, y = np.clip(points, 0, (width - 1, height - 1)).reshape(-1, 2).T.astype(np.float32)
    rows = y[:, None] + height * np.arange(count, dtype=np.float32)
    columns = np.repeat(x[:, None], count, 1)
    return cv2.remap(plane, columns, rows, cv2.INTER_LINEAR).reshape(*points.shape[:-1], count)


def fit_similarity(points: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The similarity that brings ``points`` (N × 2) closest to ``target`` (N × 2) in weighted least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns", PAMI 1991.
    """
    share = weights[:, None] / weights.sum()
    a, b = (points * share).sum(0), (target * share).sum(0)
    p, q = points - a, target - b
    norm = (share * p**2).sum()
    cos = (share * p * q).sum() / norm
    sin = (share[:, 0] * (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0])).sum() / norm
    turn = np.array([[cos, -sin], [sin, cos]])
    return np.c_[turn, b - turn @ a]


def box_iom(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection of two boxes x0, y0, x1, y1 over the area of the smaller one, 0–1."""
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    smaller = min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
    return float(np.prod(sides) / smaller) if smaller > 0 else 0.0
