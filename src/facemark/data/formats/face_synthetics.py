"""FaceSynthetics (Wood et al., ICCV 2021, https://github.com/microsoft/FaceSynthetics): 19 classes and 70 points.

``<number>.png``, ``<number>_seg.png`` and ``<number>_ldmks.txt``: 70 lines ``x y``, iBUG-68 and the pupils. Right
classes come before left ones. The points are projected from a 3D head, so jaw points may be hidden.
"""

from functools import partial
from pathlib import Path

import numpy as np

from facemark.data.samples import Published, read_ids, read_xy, require_samples
from facemark.labels import IGNORE, Region

IDS = {
    0: Region.BACKGROUND,
    1: Region.SKIN,
    2: Region.NOSE,
    3: Region.R_EYE,
    4: Region.L_EYE,
    5: Region.R_BROW,
    6: Region.L_BROW,
    7: Region.R_EAR,
    8: Region.L_EAR,
    9: Region.MOUTH,
    10: Region.U_LIP,
    11: Region.L_LIP,
    12: Region.NECK,
    13: Region.HAIR,
    14: Region.SKIN,  # beard
    15: Region.CLOTH,
    16: Region.EYE_G,
    17: Region.HAT,
    18: IGNORE,  # facewear
    255: IGNORE,
}
"""Our id for each of its ids."""


def read_points(path: Path) -> np.ndarray:
    """Read a landmark file.

    Returns:
        1 × 68 × 2 float32 (x, y) in pixels, 0-based; the pupils are left out.

    Raises:
        ValueError: the file has another layout.
    """
    return read_xy(path, 70)[None, :68]


def samples(root: Path) -> list[Published]:
    """List the images under ``root``; the dataset has no split of its own.

    Raises:
        FileNotFoundError: there are none.
    """
    listed = [
        Published(
            image,
            None,
            partial(read_ids, image.with_name(f"{image.stem}_seg.png"), IDS),
            partial(read_points, image.with_name(f"{image.stem}_ldmks.txt")),
        )
        for image in sorted(root.glob("*.png"))
        if image.stem.isdecimal()
    ]
    return require_samples(listed, root, "<number>.png")
