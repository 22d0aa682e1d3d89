"""LaPa (Liu et al., AAAI 2020, https://github.com/JDAI-CV/lapa-dataset): 11 classes and 106 points.

``{train,val,test}/images/*.jpg``, ``labels/*.png`` and ``landmarks/*.txt``: a line ``106``, then 106 lines ``x y``.
"""

from functools import partial
from pathlib import Path

import numpy as np

from facemark.data.samples import Published, Sample, folder_samples, read_ids, read_mask, read_xy
from facemark.labels import BESIDE_FACE, FLIP, L_BROW_POINTS, L_EYE_POINTS, R_BROW_POINTS, R_EYE_POINTS, Region

VIEWERS = {
    0: BESIDE_FACE,
    1: Region.SKIN,
    2: Region.R_BROW,
    3: Region.L_BROW,
    4: Region.R_EYE,
    5: Region.L_EYE,
    6: Region.NOSE,
    7: Region.U_LIP,
    8: Region.MOUTH,
    9: Region.L_LIP,
    10: Region.HAIR,
}
"""Our ids of its ids, where its left is the viewer's. Its background holds ears, neck, clothes and hats as well."""
SUBJECTS = {theirs: int(FLIP[ours]) for theirs, ours in VIEWERS.items()}
"""The same where its left is the subject's."""
SIDED = ((2, R_BROW_POINTS, L_BROW_POINTS), (4, R_EYE_POINTS, L_EYE_POINTS))
"""Its left brow and eye, with the points of the subject's right and left ones."""
POINTS = np.r_[0:33:2, 33:38, 42:47, 51:55, 57, 58, 60, 62, 63, 66, 67, 69:72, 73, 75, 76, 78:81, 82, 84:104]
"""Which of the 106 points are those of iBUG-68; about those of the nose's base (57 to 63) sources disagree."""
VOTERS = 100
"""Masks that are looked at to find out whose left is meant."""


def read_points(path: Path) -> np.ndarray:
    """Read a landmark file as float32 1 × 68 × 2."""
    return read_xy(path, 106, before=("106",))[None, POINTS]


def left_is_viewers(listed: list[Sample]) -> bool:
    """Whether its left brow and eye lie at the points of the subject's right ones; sources disagree.

    Raises:
        ValueError: the first masks and landmarks do not tell.
    """
    votes = 0
    for sample in [s for s in listed if s.points][:VOTERS]:
        try:
            mask, (points,) = read_mask(sample.mask), read_points(sample.points)
        except ValueError:
            continue  # ``prepare`` will name it
        for theirs, right, left in SIDED:
            if (there := np.argwhere(mask == theirs)).size:
                centre = there.mean(0)[::-1]
                to_right, to_left = (np.linalg.norm(points[side].mean(0) - centre) for side in (right, left))
                votes += 1 if to_right < to_left else -1
    if not votes:
        raise ValueError(
            "the masks do not tell whose left is meant: no landmarks to hold brows and eyes against, or they disagree"
        )
    return votes > 0


def samples(root: Path) -> list[Published]:
    """List the pictures under ``root``."""
    listed = folder_samples(root)
    ids = VIEWERS if left_is_viewers(listed) else SUBJECTS
    return [
        Published(s.image, s.split, partial(read_ids, s.mask, ids), s.points and partial(read_points, s.points))
        for s in listed
    ]
