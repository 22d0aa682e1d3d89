"""The 19 region classes and everything known about them: ids, names, colours, sides, groups.

Ids follow the official CelebAMask-HQ order (https://github.com/switchablenorms/CelebAMask-HQ).
Left and right are the subject's: ``L_EYE`` lies at the right of the picture of an upright face.
"""

import numpy as np


class Region:
    """Class ids, plain numbers; their lower-case names are those used in files, metrics and answers.

    Not an enum: whatever is raised while NumPy asks an enum's class for its attributes, a Ctrl-C for one, gets lost
    (https://github.com/numpy/numpy/issues/14801).
    """

    BACKGROUND = 0
    SKIN = 1
    NOSE = 2
    EYE_G = 3  # glasses
    L_EYE = 4
    R_EYE = 5
    L_BROW = 6
    R_BROW = 7
    L_EAR = 8
    R_EAR = 9
    MOUTH = 10  # the inside of the mouth
    U_LIP = 11
    L_LIP = 12  # the lower lip, not the left one
    HAIR = 13
    HAT = 14
    EAR_R = 15  # earring
    NECK_L = 16  # necklace
    NECK = 17
    CLOTH = 18


CLASSES = tuple(name.lower() for name in vars(Region) if name.isupper())
IGNORE = 255
"""Mask value of pixels that say nothing: neither loss nor metrics count them."""

UNIONS = {
    253: (Region.SKIN, Region.EYE_G, Region.HAIR),
    254: (Region.BACKGROUND, Region.L_EAR, Region.R_EAR, *range(Region.HAIR, Region.CLOTH + 1)),
}
"""Mask values of pixels known to be of one of several classes: beside an eye or a brow, and beside a face."""
BESIDE_PART, BESIDE_FACE = UNIONS

PAIRS = ((Region.L_EYE, Region.R_EYE), (Region.L_BROW, Region.R_BROW), (Region.L_EAR, Region.R_EAR))
"""(left, right) classes that trade places when a picture is mirrored."""

FACE_CORE = (
    Region.SKIN,
    Region.NOSE,
    Region.L_EYE,
    Region.R_EYE,
    Region.L_BROW,
    Region.R_BROW,
    Region.MOUTH,
    Region.U_LIP,
    Region.L_LIP,
)
"""The nine classes that carry the landmarks."""
FACE = [*FACE_CORE, Region.EYE_G]
"""What a face shows: those and glasses."""
EYES = [Region.L_EYE, Region.R_EYE, Region.EYE_G]
"""What shows where the eyes are: sunglasses hide them."""
LIPS = [Region.U_LIP, Region.L_LIP, Region.MOUTH]
"""The mouth as a whole."""

COLORS = np.array(
    [
        (0, 0, 0),
        (232, 176, 142),
        (244, 121, 94),
        (64, 64, 160),
        (60, 180, 230),
        (60, 230, 180),
        (170, 110, 40),
        (210, 160, 40),
        (240, 130, 180),
        (200, 90, 200),
        (120, 0, 40),
        (230, 40, 80),
        (190, 20, 130),
        (90, 70, 200),
        (40, 120, 60),
        (255, 215, 0),
        (255, 250, 160),
        (150, 200, 110),
        (110, 130, 150),
    ],
    np.uint8,
)
"""RGB colour of each class, 19 × 3."""


def _flip_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint8)
    for left, right in PAIRS:
        table[left], table[right] = right, left
    return table


FLIP = _flip_table()
"""Lookup table of 256 ids: the class that each id becomes in a mirrored picture."""


def mirror(mask: np.ndarray) -> np.ndarray:
    """Mirror an H × W mask of class ids left to right, swapping the classes that have a side."""
    return FLIP[mask[:, ::-1]]


# iBUG-68 (https://ibug.doc.ic.ac.uk/resources/facial-point-annotations/), 0-based.
JAW = slice(0, 17)
R_BROW_POINTS = slice(17, 22)
L_BROW_POINTS = slice(22, 27)
NOSE_BRIDGE = slice(27, 31)
NOSE_BASE = slice(31, 36)
R_EYE_POINTS = slice(36, 42)
L_EYE_POINTS = slice(42, 48)
OUTER_LIP = slice(48, 60)
INNER_LIP = slice(60, 68)
OUTER_EYE_CORNERS = [36, 45]
POINT_GROUPS = {
    "jaw": slice(0, 17),
    "brows": slice(17, 27),
    "nose": slice(27, 36),
    "eyes": slice(36, 48),
    "mouth": slice(48, 68),
}
"""The groups by which landmark error is reported."""

FLIP_POINTS = np.r_[
    16:-1:-1, 26:16:-1, 27:31, 35:30:-1, 45:41:-1, 47, 46, 39:35:-1, 41, 40,
    54:47:-1, 59:54:-1, 64:59:-1, 67:64:-1,
]  # fmt: skip
"""``points[FLIP_POINTS]`` names the points of a mirrored face, once their x are mirrored too."""
