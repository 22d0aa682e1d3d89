"""A hand-made mask of one face, which tests of dataset checks share."""

import cv2
import numpy as np

from facemark.labels import Region


def face_mask(turns: int = 0) -> np.ndarray:
    """A 96 × 96 mask of one face, rotated by this many quarter turns."""
    mask = np.zeros((96, 96), np.uint8)
    cv2.circle(mask, (48, 48), 40, int(Region.SKIN), -1)
    for region, centre in [
        (Region.R_BROW, (32, 28)),
        (Region.L_BROW, (64, 28)),
        (Region.R_EYE, (32, 36)),
        (Region.L_EYE, (64, 36)),
        (Region.NOSE, (48, 52)),
        (Region.U_LIP, (48, 66)),
        (Region.L_LIP, (48, 72)),
    ]:
        cv2.ellipse(mask, centre, (7, 3), 0, 0, 360, int(region), -1)
    return np.ascontiguousarray(np.rot90(mask, turns))
