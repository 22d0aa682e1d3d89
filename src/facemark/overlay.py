"""Drawing: the mask as translucent regions, the landmarks joined as iBUG-68 joins them and coloured by confidence."""

import cv2
import numpy as np

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
from facemark.parser import Parse

OPACITY = 0.45
OPEN = (JAW, R_BROW_POINTS, L_BROW_POINTS, NOSE_BRIDGE, NOSE_BASE)
CLOSED = (R_EYE_POINTS, L_EYE_POINTS, OUTER_LIP, INNER_LIP)
GUESSED, SEEN = np.array([255, 60, 60]), np.array([60, 255, 120])
"""RGB of a point with score 0 and 1."""
SHIFT = 4
"""OpenCV draws at 1/16 pixel."""


def draw(image: np.ndarray, parse: Parse) -> np.ndarray:
    """Lay mask, boxes and landmarks over an H × W × 3 RGB picture; answers a new one of the same size."""
    drawn = blend(image, parse.mask)
    for face in parse.faces:
        size = float(np.linalg.norm(face.box[2:] - face.box[:2]))
        thin = max(1, round(size / 300))
        cv2.rectangle(drawn, *fixed(face.box.reshape(2, 2)), (255, 255, 255), thin, cv2.LINE_AA, SHIFT)
        for groups, closed in ((OPEN, False), (CLOSED, True)):
            lines = [np.array(fixed(face.points[group]), np.int32) for group in groups]
            cv2.polylines(drawn, lines, closed, (255, 255, 255), thin, cv2.LINE_AA, SHIFT)
        radius = round(max(1.0, size / 160) * 2**SHIFT)
        for point, score in zip(fixed(face.points), face.scores, strict=True):
            color = GUESSED + score * (SEEN - GUESSED)
            cv2.circle(drawn, point, radius, color.tolist(), -1, cv2.LINE_AA, SHIFT)
    return drawn


def blend(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tint each region of a picture with its class's colour; the background stays as it is."""
    tinted = cv2.addWeighted(image, 1 - OPACITY, COLORS[mask], OPACITY, 0)
    return np.where((mask == Region.BACKGROUND)[..., None], image, tinted)


def fixed(points: np.ndarray) -> list[tuple[int, int]]:
    """Points in OpenCV's fixed-point units."""
    return [tuple(point) for point in np.round(points * 2**SHIFT).astype(int).tolist()]
