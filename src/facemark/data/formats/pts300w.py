"""300-W and its sets (Sagonas et al., IVC 2016, https://ibug.doc.ic.ac.uk/resources/300-W/): 68 points, no masks.

A file ``*.pts`` next to each image, in folders of any depth: ``version: 1``, ``n_points: 68``, ``{``, 68 lines
``x y``, ``}``. Points are 1-based: the first pixel is (1, 1). The parser learns from partial masks:
:func:`facemark.data.partial_masks.draw_partial_mask`.
"""

from functools import partial
from pathlib import Path

import numpy as np

from facemark.data.samples import Published, read_xy, require_samples

SPLITS = {
    "trainset": "train",
    "afw": "train",
    "testset": "test",
    "ibug": "test",
    "01_Indoor": "test",
    "02_Outdoor": "test",
}
"""The split of each folder; HELEN and LFPW have a ``trainset`` and a ``testset`` each."""
SUFFIXES = (".png", ".jpg", ".jpeg")


def read_points(path: Path) -> np.ndarray:
    """Read a ``.pts`` file.

    Returns:
        1 × 68 × 2 float32 (x, y) in pixels, 0-based.

    Raises:
        ValueError: the file has another layout.
    """
    return read_xy(path, 68, before=("version: 1", "n_points: 68", "{"), after=("}",))[None] - 1


def image_path(points: Path) -> Path:
    """Return the image next to a file of points; where there is none, the path of the missing ``.jpg``."""
    return next((path for s in SUFFIXES if (path := points.with_suffix(s)).exists()), points.with_suffix(".jpg"))


def split_of(path: Path, root: Path) -> str | None:
    """Return the split of the innermost folder in ``SPLITS`` between ``root`` and a file; None where there is none.

    ``root`` itself counts, so a single set has the same split alone as among the others.
    """
    folders = path.parent.relative_to(root.parent).parts
    return next((SPLITS[folder] for folder in reversed(folders) if folder in SPLITS), None)


def samples(root: Path) -> list[Published]:
    """List the images under ``root`` that have points.

    Raises:
        FileNotFoundError: there are no points.
    """
    listed = [
        Published(image_path(path), split_of(path, root), points=partial(read_points, path))
        for path in sorted(root.rglob("*.pts"))
    ]
    return require_samples(listed, root, "**/*.pts, each with a .png or .jpg next to it")
