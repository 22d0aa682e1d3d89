"""What 68 points tell of the regions, for a parser to learn from faces that nobody has drawn masks for.

Eyes, lips and the inside of the mouth are drawn; of brows, nose and the lower face only what is sure. Around them lie
pixels known to be of one of several classes (:data:`facemark.labels.UNIONS`), and all else is IGNORE.
"""

from functools import cache

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

from facemark.geometry import apply, scaling
from facemark.labels import (
    BESIDE_FACE,
    BESIDE_PART,
    IGNORE,
    L_BROW_POINTS,
    L_EYE_POINTS,
    R_BROW_POINTS,
    R_EYE_POINTS,
    Region,
)

UPPER_LIP = [[48, 49, 50, 51, 52, 53, 54], [64, 63, 62, 61, 60]]
LOWER_LIP = [[54, 55, 56, 57, 58, 59, 48], [60, 67, 66, 65, 64]]
INNER_MOUTH = [[60, 61, 62, 63, 64], [64, 65, 66, 67, 60]]
NOSE = [[28], [31, 32, 33, 34, 35]]
CHIN = slice(4, 13)
"""The jaw points between which no hair covers the skin."""
BESIDE = slice(2, 15)
"""The jaw points that the face ends at: further up, ears and hair hide where."""
CONTEXT = 3
"""Side of what is looked at, in sizes of the face: farther away its points say nothing."""
FINE, LARGE = 5, 1000
"""Enlargement of the canvas, odd: polygons are filled with their edges, half a pixel too far. That is nothing in
pictures of a longer side than LARGE, whose canvas would be huge."""
BAND, STRIP, DOUBT, OPEN = 0.25, 0.06, 0.04, 0.05
"""Widths of what is sure beside the jaw and below a brow's points, of the doubt at the jaw, and of a mouth that is
open and not just drawn with a gap, as shares of the distance of the outer eye corners."""


def smooth_curve(points: np.ndarray) -> np.ndarray:
    """A smooth line through K × 2 points, eight times as many."""
    if len(points) < 3:
        return points
    return spline(len(points)) @ points


@cache
def spline(count: int) -> np.ndarray:
    """The matrix, 8 K × K, of the cubic spline through K points: it is linear in them, and costly to find."""
    return CubicSpline(np.arange(count), np.eye(count))(np.linspace(0, count - 1, 8 * count))


def crop_context(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut a face with its surroundings, CONTEXT times its size, out of a picture; its points (68 × 2) move along.

    Raises:
        ValueError: nothing of the picture is there.
    """
    low, high = points.min(0), points.max(0)
    reach = CONTEXT / 2 * (high - low).max()
    centre = (low + high) / 2
    x0, y0 = np.floor(centre - reach).clip(0).astype(int)
    x1, y1 = np.ceil(centre + reach).clip(1).astype(int)
    cut = image[y0:y1, x0:x1]
    if not cut.size:
        raise ValueError("the points of a face lie outside the picture")
    return cut, points - (x0, y0)


def draw_partial_mask(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Draw the regions of one face.

    Args:
        points: 68 × 2 (x, y), pixels, iBUG-68.
        shape: height and width of its picture.

    Returns:
        H × W uint8: class ids, ids of ``UNIONS``, and IGNORE.
    """
    fine = FINE if max(shape) <= LARGE else 1
    canvas = np.full((fine * shape[0], fine * shape[1]), IGNORE, np.uint8)
    points = apply(scaling(fine), points)
    size = np.linalg.norm(points[45] - points[36])
    down = points[8] - points[27]
    down = down / max(np.linalg.norm(down), 1e-6) * size

    def fill(line: np.ndarray, value: int) -> None:
        cv2.fillPoly(canvas, [np.round(line).astype(np.int32)], int(value))

    def trace(line: np.ndarray, value: int, width: float, closed: bool = False) -> None:
        thick = max(1, round(width * size))
        cv2.polylines(canvas, [np.round(line).astype(np.int32)], closed, int(value), thick)

    beside = smooth_curve(points[BESIDE])
    outwards = beside - points[30]
    outwards *= BAND * size / np.linalg.norm(outwards, axis=1, keepdims=True).clip(1)
    fill(np.vstack([beside, (beside + outwards)[::-1]]), BESIDE_FACE)
    fill(np.vstack([smooth_curve(points[CHIN]), points[35:30:-1]]), Region.SKIN)
    trace(beside, IGNORE, DOUBT)

    for which, region in ((R_BROW_POINTS, Region.R_BROW), (L_BROW_POINTS, Region.L_BROW)):
        line = smooth_curve(points[which])
        fill(np.vstack([line - 2 * STRIP * down, (line - STRIP * down)[::-1]]), BESIDE_PART)
        fill(np.vstack([line, (line + STRIP * down)[::-1]]), region)
    for which, region in ((R_EYE_POINTS, Region.R_EYE), (L_EYE_POINTS, Region.L_EYE)):
        lids = points[which]
        line = np.vstack([smooth_curve(lids[:4]), smooth_curve(lids[[3, 4, 5, 0]])])
        trace(line, BESIDE_PART, 2 * STRIP, closed=True)
        fill(line, region)
    for parts, region in (
        (NOSE, Region.NOSE),
        (UPPER_LIP, Region.U_LIP),
        (LOWER_LIP, Region.L_LIP),
        (INNER_MOUTH, Region.MOUTH if np.linalg.norm(points[66] - points[62]) > OPEN * size else IGNORE),
    ):
        fill(np.vstack([smooth_curve(points[part]) for part in parts]), region)
    return canvas[fine // 2 :: fine, fine // 2 :: fine]
