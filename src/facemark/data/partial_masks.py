"""Partial masks: what 68 points determine of the regions, so that the parser can learn from faces without masks.

Eyes, lips and the inside of the mouth are drawn whole. Of brows, nose and lower face, only what is certain is drawn.
Around them are pixels known to be of one of several classes (:data:`facemark.labels.UNIONS`); the rest is IGNORE.
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
CHIN_POINTS = slice(4, 13)
"""The jaw points between which no hair covers the skin."""
EDGE_POINTS = slice(2, 15)
"""The jaw points on the edge of the face; further up, ears and hair cover it."""
CONTEXT = 3
"""Side of the crop that training sees, in sizes of the face: farther away its points determine nothing."""
SUPERSAMPLING, MAX_SUPERSAMPLED_SIDE = 5, 1000
"""Enlargement of the canvas, odd: OpenCV fills polygons with their edges, half a pixel too far. In images with a longer
side than MAX_SUPERSAMPLED_SIDE that is negligible, and an enlarged canvas would be huge."""
BACKGROUND_BAND, BROW_STRIP, EDGE_UNCERTAINTY = 0.25, 0.06, 0.04
"""Widths, in distances of the outer eye corners: the band outside the jaw that is not the face, the strip below a
brow's points that is the brow, and the line along the jaw that is ignored."""
OPEN_MOUTH = 0.05
"""Height of the inner mouth, in the same unit, from which it is open and not just drawn with a gap."""


def smooth_curve(points: np.ndarray) -> np.ndarray:
    """Return a smooth line through K × 2 points, as 8 K × 2 points; fewer than three points come back as they are."""
    if len(points) < 3:
        return points
    return _spline(len(points)) @ points


@cache
def _spline(count: int) -> np.ndarray:
    """The matrix, 8 K × K, of the cubic spline through K points: the spline is linear in them, and costly to find."""
    return CubicSpline(np.arange(count), np.eye(count))(np.linspace(0, count - 1, 8 * count))


def crop_context(image: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Crop a face with its surroundings, CONTEXT times its size.

    Args:
        image: H × W (× C).
        points: 68 × 2 (x, y) in pixels of the image.

    Returns:
        The crop, no larger than the image, and the points in pixels of the crop.

    Raises:
        ValueError: the crop has no pixel in common with the image.
    """
    low, high = points.min(0), points.max(0)
    reach = CONTEXT / 2 * (high - low).max()
    centre = (low + high) / 2
    x0, y0 = np.floor(centre - reach).clip(0).astype(int)
    x1, y1 = np.ceil(centre + reach).clip(1).astype(int)
    crop = image[y0:y1, x0:x1]
    if not crop.size:
        raise ValueError("the points of a face are outside the picture")
    return crop, points - (x0, y0)


class _Canvas:
    """A mask of one face, enlarged by SUPERSAMPLING where it is not too large."""

    def __init__(self, points: np.ndarray, shape: tuple[int, int]):
        self.factor = SUPERSAMPLING if max(shape) <= MAX_SUPERSAMPLED_SIDE else 1
        self.mask = np.full((self.factor * shape[0], self.factor * shape[1]), IGNORE, np.uint8)
        self.points = apply(scaling(self.factor), points)
        """68 × 2, in pixels of the canvas."""
        self.unit = np.linalg.norm(self.points[45] - self.points[36])
        """Distance of the outer eye corners."""
        down = self.points[8] - self.points[27]
        self.down = down / max(np.linalg.norm(down), 1e-6) * self.unit
        """From the nose's root to the chin, ``unit`` long."""

    def fill(self, line: np.ndarray, value: int) -> None:
        """Fill a polygon of N × 2 points."""
        cv2.fillPoly(self.mask, [np.round(line).astype(np.int32)], int(value))

    def trace(self, line: np.ndarray, value: int, width: float, closed: bool = False) -> None:
        """Draw a line through N × 2 points, ``width`` units wide."""
        thickness = max(1, round(width * self.unit))
        cv2.polylines(self.mask, [np.round(line).astype(np.int32)], closed, int(value), thickness)


def draw_partial_mask(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Draw the regions of one face.

    Args:
        points: 68 × 2 (x, y) in pixels, iBUG-68; they may be outside the image.
        shape: height and width of the image.

    Returns:
        H × W uint8: class ids, ids of ``UNIONS``, and IGNORE.
    """
    canvas = _Canvas(points, shape)
    for draw in (_draw_lower_face, _draw_brows, _draw_eyes, _draw_nose_and_mouth):
        draw(canvas)
    return canvas.mask[canvas.factor // 2 :: canvas.factor, canvas.factor // 2 :: canvas.factor]


def _draw_lower_face(canvas: _Canvas) -> None:
    """Draw the skin between nose and jaw, the band outside the jaw, and the ignored line between them."""
    points = canvas.points
    edge = smooth_curve(points[EDGE_POINTS])
    outwards = edge - points[30]
    outwards *= BACKGROUND_BAND * canvas.unit / np.linalg.norm(outwards, axis=1, keepdims=True).clip(1)
    canvas.fill(np.vstack([edge, (edge + outwards)[::-1]]), BESIDE_FACE)
    canvas.fill(np.vstack([smooth_curve(points[CHIN_POINTS]), points[35:30:-1]]), Region.SKIN)
    canvas.trace(edge, IGNORE, EDGE_UNCERTAINTY)


def _draw_brows(canvas: _Canvas) -> None:
    """Draw a strip below the points of each brow and, with a gap, a strip above them that is no brow."""
    for which, region in ((R_BROW_POINTS, Region.R_BROW), (L_BROW_POINTS, Region.L_BROW)):
        line, strip = smooth_curve(canvas.points[which]), BROW_STRIP * canvas.down
        canvas.fill(np.vstack([line - 2 * strip, (line - strip)[::-1]]), BESIDE_PART)
        canvas.fill(np.vstack([line, (line + strip)[::-1]]), region)


def _draw_eyes(canvas: _Canvas) -> None:
    """Draw each eye, and around it pixels that are no eye."""
    for which, region in ((R_EYE_POINTS, Region.R_EYE), (L_EYE_POINTS, Region.L_EYE)):
        lids = canvas.points[which]
        line = np.vstack([smooth_curve(lids[:4]), smooth_curve(lids[[3, 4, 5, 0]])])
        canvas.trace(line, BESIDE_PART, 2 * BROW_STRIP, closed=True)
        canvas.fill(line, region)


def _draw_nose_and_mouth(canvas: _Canvas) -> None:
    """Draw the nose from bridge to base, the lips, and the inside of an open mouth."""
    points = canvas.points
    is_open = np.linalg.norm(points[66] - points[62]) > OPEN_MOUTH * canvas.unit
    for lines, region in (
        (NOSE, Region.NOSE),
        (UPPER_LIP, Region.U_LIP),
        (LOWER_LIP, Region.L_LIP),
        (INNER_MOUTH, Region.MOUTH if is_open else IGNORE),
    ):
        canvas.fill(np.vstack([smooth_curve(points[line]) for line in lines]), region)
