"""Draws the picture of the README, docs/panels.jpg, on a starter face: ``python docs/panels.py``."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

import facemark
from facemark.geometry import apply
from facemark.io import drawing

PHOTO = Path("data/test/images/00050.jpg")
"""A face that is turned, so that some of its points are hidden."""
SIDE = 480
MARGIN = 0.25
"""Around the face, as a share of its longer side."""
GAP = 8
OUTLINED = {"skin", "nose", "l_eye", "r_eye", "l_brow", "r_brow", "mouth", "u_lip", "l_lip"}
"""The regions whose contours the points follow."""
WHITE, DARK = (255, 255, 255), (24, 24, 24)


def closeup(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the 2 × 3 matrix that brings a box x0, y0, x1, y1 with its margin to a square of ``SIDE`` pixels."""
    span = (1 + 2 * MARGIN) * float(np.max(box[2:] - box[:2]))
    span = min(span, *image.shape[:2])
    corner = (box[:2] + box[2:] - span) / 2
    corner = np.clip(corner, 0, np.array(image.shape[1::-1]) - span)
    scale = SIDE / span
    return np.c_[scale * np.eye(2), -scale * corner]


def caption(panel: np.ndarray, text: str) -> None:
    """Write the name of a panel into its lower left corner."""
    for color, stroke in ((DARK, 5), (WHITE, 2)):
        cv2.putText(panel, text, (14, SIDE - 16), cv2.FONT_HERSHEY_SIMPLEX, 0.9, color, stroke, cv2.LINE_AA)


def main() -> None:
    """Draw three panels: regions, points, and the confidence of each point."""
    image = facemark.read_image(PHOTO)
    (parse,) = facemark.load()([image])
    face = parse.faces[0]
    matrix = closeup(image, face.box)
    picture = cv2.warpAffine(image, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    mask = cv2.warpAffine(parse.mask, matrix / 2, (SIDE // 2, SIDE // 2), flags=cv2.INTER_NEAREST)
    points = apply(matrix, face.points)

    regions = drawing.blend_mask(picture, mask)
    placed = regions // 2 + picture // 2
    for name in OUTLINED & face.regions.keys():
        line = np.array(drawing.to_fixed_point(apply(matrix, face.regions[name].contour)), np.int32)
        cv2.polylines(placed, [line], True, WHITE, 1, cv2.LINE_AA, drawing.SUBPIXEL_BITS)
    for point in drawing.to_fixed_point(points):
        for radius, color in ((5, DARK), (4, WHITE)):
            cv2.circle(placed, point, radius << drawing.SUBPIXEL_BITS, color, -1, cv2.LINE_AA, drawing.SUBPIXEL_BITS)
    box = apply(matrix, face.box.reshape(2, 2)).ravel()
    alone = replace(parse, mask=np.zeros((SIDE, SIDE), np.uint8), faces=[replace(face, box=box, points=points)])
    confidence = drawing.draw(picture // 5 * 3 + 30, alone)

    panels = [regions, placed, confidence]
    for panel, text in zip(panels, ("1 regions", "2 points", "3 confidence"), strict=True):
        caption(panel, text)
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    joined = np.hstack([panels[0], gap, panels[1], gap, panels[2]])
    Image.fromarray(joined).save(Path(__file__).with_suffix(".jpg"), quality=88, optimize=True)


if __name__ == "__main__":
    main()
