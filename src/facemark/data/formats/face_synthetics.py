"""FaceSynthetics (Wood et al., ICCV 2021, https://github.com/microsoft/FaceSynthetics): 19 classes and 70 points.

``<number>.png``, ``<number>_seg.png`` and ``<number>_ldmks.txt``: 70 lines ``x y``, iBUG-68 and the pupils. Its right
classes come before its left ones. The points are projections of a head's, so those of the jaw may be hidden.
"""

from functools import partial
from pathlib import Path

import numpy as np

from facemark.data.samples import Published, not_empty, read_ids, read_xy
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
"""Our ids of its ids."""


def read_points(path: Path) -> np.ndarray:
    """Read a landmark file as float32 1 × 68 × 2."""
    return read_xy(path, 70)[None, :68]


def samples(root: Path) -> list[Published]:
    """List the pictures under ``root``; it has no split of its own."""
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
    return not_empty(listed, root, "<number>.png")
