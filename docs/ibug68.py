"""Draws the order of the points, docs/ibug68.png, on a drawn face: ``python docs/ibug68.py``."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from facemark.data import synthetic
from facemark.inference.types import Face, Parse
from facemark.io import drawing

SEED = 207
"""A face seen from the front with its mouth open, so that no point hides another."""
SIDE = 1000


def main() -> None:
    """Draw the face enlarged, without its mask, with the index of each point."""
    drawn = synthetic.draw(SEED)
    points = drawn.points[0].astype(float)
    low, high = points.min(0), points.max(0)
    scale = 0.82 * SIDE / max(high - low)
    matrix = np.c_[scale * np.eye(2), SIDE / 2 - scale * (low + high) / 2]
    points = points @ matrix[:, :2].T + matrix[:, 2]
    box = np.array([0.06, 0.03, 0.94, 0.97]) * SIDE
    face = Face(box, 1.0, points, np.ones(68), points[:2], points[2], {})
    image = cv2.warpAffine(drawn.image, matrix, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    numbered = drawing.draw(image // 2 + 20, Parse(np.zeros((SIDE, SIDE), np.uint8), [face]), numbers=True)
    Image.fromarray(numbered).quantize(128).save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
