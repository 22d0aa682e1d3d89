"""Drawing: the mask as translucent regions, the landmarks joined as iBUG-68 joins them and coloured by confidence.

Dark blue is a point that was guessed, yellow one that was seen: cividis (Nuñez, Anderton & Renslow, PLOS ONE 2018),
whose lightness says the same as its hue, so that it reads in colour-blind eyes and in print.
"""

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
LINES = (
    *((which, False) for which in (JAW, R_BROW_POINTS, L_BROW_POINTS, NOSE_BRIDGE, NOSE_BASE)),
    *((which, True) for which in (R_EYE_POINTS, L_EYE_POINTS, OUTER_LIP, INNER_LIP)),
)
"""Points that are joined, and whether the last one is joined to the first."""
CONFIDENCE = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_CIVIDIS)[:, 0, ::-1]
"""256 × 3 RGB, from a point with score 0 to one with score 1."""
WHITE, DARK = (255, 255, 255), (24, 24, 24)
ROOM, ROOM_TO_COUNT = 480, 1600
"""Pixels along the longer side under which a picture has no room for points, and none for their numbers."""
SHIFT = 4
"""OpenCV draws at 1/16 pixel."""


def draw(image: np.ndarray, parse: Parse, numbers: bool = False) -> np.ndarray:
    """Lay mask, boxes and landmarks over an H × W × 3 RGB picture; answers a new one of the same size.

    With ``numbers`` each point bears its index, 0 to 67.
    """
    mask, shrink = parse.mask, MODES[DEFAULT_MODE].max_side / max(parse.mask.shape)
    if shrink < 1:  # the parser sees no more than this, and what it saw is enlarged in steps
        mask = cv2.resize(mask, scaled_size(mask.shape, shrink), interpolation=cv2.INTER_NEAREST_EXACT)
    drawn = blend(image, mask)
    for face in parse.faces:
        _draw_face(drawn, face, numbers)
    return drawn


def enlarged(image: np.ndarray, parse: Parse, numbers: bool = False) -> tuple[np.ndarray, Parse]:
    """A small picture and its points, brought by a whole factor to a size that has room for what is drawn.

    The mask stays as it is; :func:`draw` enlarges it with round edges.
    """
    factor = -(-(ROOM_TO_COUNT if numbers else ROOM) // max(image.shape[:2]))
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


def blend(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tint each region of a picture with its class's colour and draw its edge; the background stays as it is.

    The mask may be smaller than the picture.
    """
    height, width = image.shape[:2]
    if mask.shape != (height, width):
        mask = smoothly(mask, (width, height))
    colors, inside = COLORS[mask], mask != Region.BACKGROUND
    drawn = cv2.addWeighted(image, 1 - OPACITY, colors, OPACITY, 0)
    cv2.copyTo(image, (~inside).astype(np.uint8), drawn)
    across = 1 + max(1, round(max(height, width) / 1000))
    edge = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((across, across), np.uint8)) > 0
    cv2.copyTo(colors, (edge & inside).astype(np.uint8), drawn)
    return drawn


def smoothly(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge a mask to ``size`` (width, height) with round edges: each pixel to the class that has most of it."""
    best, ids = np.zeros(size[::-1], np.uint8), np.zeros(size[::-1], np.uint8)
    for region in np.unique(mask):
        share = cv2.resize(np.where(mask == region, 255, 0).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
        ids[share > best] = region
        np.maximum(best, share, out=best)
    return ids


def _draw_face(drawn: np.ndarray, face: Face, numbers: bool) -> None:
    size = float(np.linalg.norm(face.box[2:] - face.box[:2]))
    thin, radius = max(1, round(size / 400)), max(0.5, size / 130)
    cv2.rectangle(drawn, *fixed(face.box.reshape(2, 2)), WHITE, thin, cv2.LINE_AA, SHIFT)
    for which, closed in LINES if radius >= 1 else ():
        cv2.polylines(drawn, [np.array(fixed(face.points[which]), np.int32)], closed, WHITE, thin, cv2.LINE_AA, SHIFT)
    for point, score in zip(fixed(face.points), face.scores, strict=True):
        color = shade(score)
        rim = DARK if color.mean() > 128 else WHITE
        if radius >= 2:
            cv2.circle(drawn, point, round((radius + thin) * 2**SHIFT), rim, -1, cv2.LINE_AA, SHIFT)
        cv2.circle(drawn, point, round(radius * 2**SHIFT), color.tolist(), -1, cv2.LINE_AA, SHIFT)
    if numbers:
        _number(drawn, face.points, size)


def _number(drawn: np.ndarray, points: np.ndarray, size: float) -> None:
    """Write each point's index beside it."""
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, max(6, round(size / 75)))
    thick = max(1, round(size / 500))
    for index, (point, outward) in enumerate(zip(points, directions(points), strict=True)):
        text = str(index)
        (width, tall), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
        corner = point + outward * (size / 50 + np.array([width, tall]) / 4) + (-width / 2, tall / 2)
        at = np.round(corner).astype(int).tolist()
        for color, stroke in ((DARK, 3 * thick), (WHITE, thick)):
            cv2.putText(drawn, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, color, stroke, cv2.LINE_AA)


def shade(score: float) -> np.ndarray:
    """The RGB colour of a point with this score."""
    return CONFIDENCE[round(255 * float(score))]


def directions(points: np.ndarray) -> np.ndarray:
    """68 × 2 unit vectors that lead from each point to where its number has room."""
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


def fixed(points: np.ndarray) -> list[tuple[int, int]]:
    """Points in OpenCV's fixed-point units."""
    return [tuple(point) for point in np.round(points * 2**SHIFT).astype(int).tolist()]
