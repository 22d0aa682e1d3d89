"""Hand-made regions and starter pictures that tests of inference share."""

import cv2
import numpy as np

from facemark.data import synthetic
from facemark.labels import CLASSES, Region

Disc = tuple[int, tuple[int, int], int]
"""A region, and the centre and radius of the disc that it fills."""


def one_hot(*discs: Disc) -> np.ndarray:
    """Probabilities, 19 × 100 × 200, of discs painted in order."""
    ids = np.zeros((100, 200), np.uint8)
    for region, center, radius in discs:
        cv2.circle(ids, center, radius, int(region), -1)
    return (np.arange(len(CLASSES))[:, None, None] == ids).astype(np.float32)


def face(x: int) -> list[Disc]:
    """An upright face whose middle is at ``x``."""
    parts = [(Region.SKIN, (x, 50), 40), (Region.R_EYE, (x - 12, 42), 4), (Region.L_EYE, (x + 12, 42), 4)]
    return [*parts, (Region.NOSE, (x, 53), 6), (Region.U_LIP, (x, 69), 5)]


def starter_faces(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Starter pictures of one whole, upright face of some size, with its points."""
    found = []
    for seed in range(1000):
        drawn = synthetic.draw(seed)
        points = drawn.points[0]
        across = points[45] - points[36]
        whole = (points > 0).all() and (points < drawn.mask.shape[::-1]).all()
        if len(drawn.points) == 1 and whole and across[0] > 45 and abs(across[1]) < 0.1 * across[0]:
            found.append((drawn.image, points))
            if len(found) == count:
                return found
    raise AssertionError("too few such pictures among a thousand")
