"""300-W and its sets (Sagonas et al., IVC 2016, https://ibug.doc.ic.ac.uk/resources/300-W/): 68 points, no masks.

A file ``*.pts`` beside each picture, in folders of any depth: ``version: 1``, ``n_points: 68``, ``{``, 68 lines
``x y``, ``}``. Its first pixel is (1, 1). The parser learns from what :func:`facemark.partial_masks.draw` draws.
"""

from functools import partial
from pathlib import Path

import numpy as np

from facemark.data.samples import Published, not_empty, read_xy

SPLITS = {
    "trainset": "train",
    "afw": "train",
    "testset": "test",
    "ibug": "test",
    "01_Indoor": "test",
    "02_Outdoor": "test",
}
"""What its folders are for; HELEN and LFPW have a ``trainset`` and a ``testset`` each."""
SUFFIXES = (".png", ".jpg", ".jpeg")


def read_points(path: Path) -> np.ndarray:
    """Read a ``.pts`` file as float32 1 × 68 × 2, 0-based."""
    return read_xy(path, 68, before=("version: 1", "n_points: 68", "{"), after=("}",))[None] - 1


def picture(points: Path) -> Path:
    """The picture beside a file of points; where there is none, the ``.jpg`` that is missed."""
    return next((path for s in SUFFIXES if (path := points.with_suffix(s)).exists()), points.with_suffix(".jpg"))


def samples(root: Path) -> list[Published]:
    """List the pictures under ``root`` that have points."""
    listed = [
        Published(
            picture(path),
            next(
                (SPLITS[part] for part in reversed(path.parent.relative_to(root.parent).parts) if part in SPLITS), None
            ),
            points=partial(read_points, path),
        )
        for path in sorted(root.rglob("*.pts"))
    ]
    return not_empty(listed, root, "**/*.pts with a .png or .jpg beside each")
