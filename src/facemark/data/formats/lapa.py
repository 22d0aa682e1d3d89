"""LaPa (Liu et al., AAAI 2020, https://github.com/JDAI-CV/lapa-dataset): 11 classes and 106 points.

``{train,val,test}/images/*.jpg``, ``labels/*.png`` and ``landmarks/*.txt``: a line ``106``, then 106 lines ``x y``.
"""

from contextlib import suppress
from pathlib import Path

import numpy as np

from facemark.data.samples import Published, Sample, folder_samples, publish, read_mask, read_xy
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
"""Our id for each of its ids, where its left is the viewer's. Its background includes ears, neck, clothes and hats."""
SUBJECTS = {theirs: int(FLIP[ours]) for theirs, ours in VIEWERS.items()}
"""The same where its left is the subject's."""
LEFT_PARTS = ((2, R_BROW_POINTS, L_BROW_POINTS), (4, R_EYE_POINTS, L_EYE_POINTS))
"""Its ids of the left brow and the left eye, each with the points of the subject's right and left part."""
POINTS = np.r_[0:33:2, 33:38, 42:47, 51:55, 57, 58, 60, 62, 63, 66, 67, 69:72, 73, 75, 76, 78:81, 82, 84:104]
"""Indices of the iBUG-68 points among the 106; for the base of the nose (57 to 63) sources disagree."""
MAX_VOTERS = 100
"""Masks that are read to find out whose left is meant."""


def read_points(path: Path) -> np.ndarray:
    """Read a landmark file.

    Returns:
        1 × 68 × 2 float32 (x, y) in pixels, 0-based.

    Raises:
        ValueError: the file has another layout.
    """
    return read_xy(path, 106, before=("106",))[None, POINTS]


def left_is_viewers(listed: list[Sample]) -> bool:
    """Whether its left brow and eye are at the points of the subject's right ones: published copies differ.

    Raises:
        ValueError: the first masks and landmarks do not determine it.
    """
    votes = 0
    for sample in [s for s in listed if s.points][:MAX_VOTERS]:
        with suppress(ValueError):  # ``prepare`` will name files that cannot be read
            votes += _vote(sample)
    if not votes:
        raise ValueError(
            "the masks do not show whose left is meant: there are no landmarks to compare brows and eyes with, "
            "or they disagree"
        )
    return votes > 0


def _vote(sample: Sample) -> int:
    """Count the left parts of a mask at the points of the subject's right, minus those at the subject's left."""
    if sample.mask is None or sample.points is None:
        return 0
    votes, mask, (points,) = 0, read_mask(sample.mask), read_points(sample.points)
    for theirs, right, left in LEFT_PARTS:
        if (pixels := np.argwhere(mask == theirs)).size:
            centre = pixels.mean(0)[::-1]
            to_right, to_left = (np.linalg.norm(points[side].mean(0) - centre) for side in (right, left))
            votes += 1 if to_right < to_left else -1
    return votes


def samples(root: Path) -> list[Published]:
    """List the images under ``root``.

    Raises:
        ValueError: see :func:`left_is_viewers`.
        FileNotFoundError: there are no images.
    """
    listed = folder_samples(root)
    return publish(listed, VIEWERS if left_is_viewers(listed) else SUBJECTS, read_points)
