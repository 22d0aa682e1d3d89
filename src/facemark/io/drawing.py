"""Drawing a parse over its image: translucent regions, region edges, boxes, and landmarks joined by lines.

The colour of a point shows its score, from dark blue (predicted from the rest of the face) to yellow (visible). The
colormap is cividis (Nuñez, Anderton & Renslow, PLOS ONE 2018). Its lightness grows with the score, so it can be read
with colour-vision deficiency and in greyscale print.

Images are H × W × 3 RGB uint8, masks H × W uint8 class ids, points N × 2 (x, y) in pixels of the image.
"""

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from facemark.geometry import apply, scaled_size, scaling
from facemark.inference.config import DEFAULT_MODE, MODES
from facemark.inference.types import Face, Parse
from facemark.labels import (
    COLORS,
    INNER_LIP,
    JAW,
    L_BROW_POINTS,
    L_EYE_POINTS,
    NOSE_BASE,
    NOSE_BRIDGE,
    OUTER_LIP,
    R_BROW_POINTS,
    R_EYE_POINTS,
    Region,
)

OPACITY = 0.35
"""Of the mask over its image."""
POLYLINES = (
    *((which, False) for which in (JAW, R_BROW_POINTS, L_BROW_POINTS, NOSE_BRIDGE, NOSE_BASE)),
    *((which, True) for which in (R_EYE_POINTS, L_EYE_POINTS, OUTER_LIP, INNER_LIP)),
)
"""Points that are joined by a line, and whether the line is closed."""
CONFIDENCE_COLORMAP = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_CIVIDIS)[:, 0, ::-1]
"""256 × 3 RGB, for scores from 0 to 1."""
WHITE, DARK = (255, 255, 255), (24, 24, 24)
MIN_SIDE, MIN_SIDE_WITH_NUMBERS = 480, 1600
"""Pixels of the longer side; smaller images are enlarged to it, so that points and their numbers do not overlap."""
SUBPIXEL_BITS = 4
"""Fractional bits of the coordinates passed to OpenCV, which draws at 1/16 pixel."""


def draw(image: np.ndarray, parse: Parse, numbers: bool = False) -> np.ndarray:
    """Draw a parse over its image.

    Args:
        image: H × W × 3 RGB uint8; it is not changed.
        parse: what was found in it.
        numbers: draw the index of each point as well, 0 to 67.

    Returns:
        A new image of the same size.
    """
    mask, scale = parse.mask, MODES[DEFAULT_MODE].max_side / max(parse.mask.shape)
    if scale < 1:  # the network saw no more pixels than this; upsampling from there gives smooth edges
        mask = cv2.resize(mask, scaled_size(mask.shape, scale), interpolation=cv2.INTER_NEAREST_EXACT)
    drawn = blend_mask(image, mask)
    for face in parse.faces:
        _draw_face(drawn, face, numbers)
    return drawn


def enlarge_small(image: np.ndarray, parse: Parse, numbers: bool = False) -> tuple[np.ndarray, Parse]:
    """Enlarge a small image and its points by a whole factor, so that there is room to draw points.

    Args:
        image: H × W × 3 RGB uint8.
        parse: what was found in it.
        numbers: make room for the index of each point as well.

    Returns:
        The image and its parse, without region shapes. The mask keeps its size, :func:`draw` upsamples it. Where the
        image is large enough, both are returned unchanged.
    """
    factor = -(-(MIN_SIDE_WITH_NUMBERS if numbers else MIN_SIDE) // max(image.shape[:2]))
    if factor == 1:
        return image, parse
    matrix, (height, width) = scaling(factor), image.shape[:2]
    faces = [
        replace(
            face,
            box=apply(matrix, face.box.reshape(2, 2)).ravel(),
            points=apply(matrix, face.points),
            pupils=apply(matrix, face.pupils),
            mouth_center=apply(matrix, face.mouth_center),
            regions={},
        )
        for face in parse.faces
    ]
    size = (factor * width, factor * height)
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), Parse(parse.mask, faces)


def blend_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tint each region of an image with the colour of its class, and draw its edge; the background is unchanged.

    Args:
        image: H × W × 3 RGB uint8.
        mask: class ids, of the image's size or smaller.

    Returns:
        A new image.
    """
    height, width = image.shape[:2]
    if mask.shape != (height, width):
        mask = upsample_mask(mask, (width, height))
    colors, inside = COLORS[mask], mask != Region.BACKGROUND
    drawn = cv2.addWeighted(image, 1 - OPACITY, colors, OPACITY, 0)
    cv2.copyTo(image, (~inside).astype(np.uint8), drawn)
    edge_width = 1 + max(1, round(max(height, width) / 1000))
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((edge_width, edge_width), np.uint8)) > 0
    cv2.copyTo(colors, (edge & inside).astype(np.uint8), drawn)
    return drawn


def upsample_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Upsample a mask of class ids to ``size`` (width, height) with smooth edges.

    Each class is interpolated alone; each pixel gets the class of the largest value.
    """
    best, ids = np.zeros(size[::-1], np.uint8), np.zeros(size[::-1], np.uint8)
    for region in np.unique(mask):
        coverage = cv2.resize(np.where(mask == region, 255, 0).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
        ids[coverage > best] = region
        np.maximum(best, coverage, out=best)
    return ids


def confidence_color(score: float) -> np.ndarray:
    """The RGB colour of a point with this score, 0–1."""
    return CONFIDENCE_COLORMAP[round(255 * float(score))]


def number_directions(points: np.ndarray) -> np.ndarray:
    """The side of each point on which its number is written: 68 × 2 unit vectors, away from the lines of the face."""
    down = points[OUTER_LIP].mean(0) - points[NOSE_BRIDGE][0]
    away = np.empty_like(points)
    away[JAW] = points[JAW] - points[NOSE_BASE].mean(0)
    away[R_BROW_POINTS] = away[L_BROW_POINTS] = -down
    away[NOSE_BRIDGE] = (down[1], -down[0])
    away[NOSE_BASE] = down
    for ring in (R_EYE_POINTS, L_EYE_POINTS, OUTER_LIP):
        away[ring] = points[ring] - points[ring].mean(0)
    away[INNER_LIP] = points[INNER_LIP].mean(0) - points[INNER_LIP]
    return away / (np.linalg.norm(away, axis=1, keepdims=True) + 1e-9)


def to_fixed_point(points: np.ndarray) -> list[Sequence[int]]:
    """Points N × 2 as whole multiples of 1/16 pixel, for OpenCV functions with ``shift=SUBPIXEL_BITS``."""
    return [tuple(point) for point in np.round(points * 2**SUBPIXEL_BITS).astype(int).tolist()]


def _draw_face(drawn: np.ndarray, face: Face, numbers: bool) -> None:
    diagonal = float(np.linalg.norm(face.box[2:] - face.box[:2]))
    thickness, radius = max(1, round(diagonal / 400)), max(0.5, diagonal / 130)
    corners = to_fixed_point(face.box.reshape(2, 2))
    cv2.rectangle(drawn, corners[0], corners[1], WHITE, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    for which, closed in POLYLINES if radius >= 1 else ():
        line = np.array(to_fixed_point(face.points[which]), np.int32)
        cv2.polylines(drawn, [line], closed, WHITE, thickness, cv2.LINE_AA, SUBPIXEL_BITS)
    for point, score in zip(to_fixed_point(face.points), face.scores, strict=True):
        color = confidence_color(score)
        rim = DARK if color.mean() > 128 else WHITE
        if radius >= 2:
            rim_radius = round((radius + thickness) * 2**SUBPIXEL_BITS)
            cv2.circle(drawn, point, rim_radius, rim, -1, cv2.LINE_AA, SUBPIXEL_BITS)
        cv2.circle(drawn, point, round(radius * 2**SUBPIXEL_BITS), color.tolist(), -1, cv2.LINE_AA, SUBPIXEL_BITS)
    if numbers:
        _draw_numbers(drawn, face.points, diagonal)


def _draw_numbers(drawn: np.ndarray, points: np.ndarray, diagonal: float) -> None:
    """Write each point's index next to it."""
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, max(6, round(diagonal / 75)))
    thickness = max(1, round(diagonal / 500))
    for index, (point, outward) in enumerate(zip(points, number_directions(points), strict=True)):
        text = str(index)
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
        corner = point + outward * (diagonal / 50 + np.array([width, height]) / 4) + (-width / 2, height / 2)
        origin = np.round(corner).astype(int).tolist()
        for color, stroke in ((DARK, 3 * thickness), (WHITE, thickness)):
            cv2.putText(drawn, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, color, stroke, cv2.LINE_AA)
