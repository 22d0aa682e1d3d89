"""WFLW (Wu et al., CVPR 2018, https://wywu.github.io/projects/LAB/WFLW.html): 98 points, no masks.

``WFLW_images/`` and ``WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_{train,test}.txt``, one row
a face: 98 x and y, a box, six flags, the image's path. An image of several faces is listed once for each face, because
a partial mask covers only the surroundings of its own face.
"""

from functools import partial
from pathlib import Path

import numpy as np

from facemark.data.samples import Published, require_samples

LISTS = "WFLW_annotations/list_98pt_rect_attr_train_test"
POINTS = np.r_[0:33:2, 33:38, 42:47, 51:60, 60, 61, 63:66, 67, 68, 69, 71:74, 75, 76:96]
"""Indices of the iBUG-68 points among the 98."""
ROW_VALUES = 2 * 98 + 4 + 6 + 1
"""Values in a row: x and y of the points, box, flags, path."""


def read_points(place: str, row: str) -> np.ndarray:
    """Read a row of a list.

    Args:
        place: ``file:line``, for the error message.
        row: the row's text.

    Returns:
        1 × 68 × 2 float32 (x, y) in pixels, 0-based.

    Raises:
        ValueError: the row has other values.
    """
    tokens = row.split()
    try:
        points = np.array(tokens[: 2 * 98], np.float32)
    except ValueError as error:
        raise ValueError(f"{place} does not begin with 98 x and y") from error
    if len(tokens) != ROW_VALUES:
        raise ValueError(f"{place} has {len(tokens)} values; expected {ROW_VALUES}: 98 x and y, box, flags, path")
    return points.reshape(1, 98, 2)[:, POINTS]


def samples(root: Path) -> list[Published]:
    """List the faces under ``root``.

    Raises:
        FileNotFoundError: there are no lists.
    """
    lists = {split: root / LISTS / f"list_98pt_rect_attr_{split}.txt" for split in ("train", "test")}
    listed = [
        Published(root / "WFLW_images" / row.split()[-1], split, points=partial(read_points, f"{path}:{number}", row))
        for split, path in lists.items()
        if path.exists()
        for number, row in enumerate(path.read_text().splitlines(), 1)
        if row.strip()
    ]
    return require_samples(listed, root, f"WFLW_images, with its lists in {LISTS}")
