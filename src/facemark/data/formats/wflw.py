"""WFLW (Wu et al., CVPR 2018, https://wywu.github.io/projects/LAB/WFLW.html): 98 points, no masks.

``WFLW_images/`` and ``WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt``, a face a
row: 98 x and y, a box, six flags, the picture's path. A picture of several faces is listed once for each of them:
what is drawn from one face's points says nothing of the picture farther away.
"""

from functools import partial
from pathlib import Path

import numpy as np

from facemark.data.samples import Published, not_empty

POINTS = np.r_[0:33:2, 33:38, 42:47, 51:60, 60, 61, 63:66, 67, 68, 69, 71:74, 75, 76:96]
"""Which of the 98 points are those of iBUG-68."""
TOKENS = 2 * 98 + 4 + 6 + 1


def read_points(place: str, row: str) -> np.ndarray:
    """Read a row of a list as float32 1 × 68 × 2; ``place`` names it where it cannot be read."""
    tokens = row.split()
    try:
        points = np.array(tokens[: 2 * 98], np.float32)
    except ValueError as error:
        raise ValueError(f"{place} does not begin with 98 x and y") from error
    if len(tokens) != TOKENS:
        raise ValueError(f"{place} has {len(tokens)} values; it is to have {TOKENS}: 98 x and y, box, flags, path")
    return points.reshape(1, 98, 2)[:, POINTS]


def samples(root: Path) -> list[Published]:
    """List the faces under ``root``."""
    lists = {
        split: root / f"WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{split}.txt"
        for split in ("train", "test")
    }
    listed = [
        Published(root / "WFLW_images" / row.split()[-1], split, points=partial(read_points, f"{path}:{number}", row))
        for split, path in lists.items()
        if path.exists()
        for number, row in enumerate(path.read_text().splitlines(), 1)
        if row.strip()
    ]
    return not_empty(listed, root, "WFLW_images, with their lists in WFLW_annotations/list_98pt_rect_attr_train_test")
