"""What people look like: the average face in space, and random variations of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from facemark.data.synthetic.shapes import chance, pick_color
from facemark.labels import FLIP_POINTS, JAW, L_EYE_POINTS, R_EYE_POINTS

# x, y of the points on the right half: rounded medians of frontal iBUG-68 faces, mouth closed
RIGHT_HALF = {
    **dict(enumerate([(-1.13, 0.04), (-1.11, 0.33), (-1.08, 0.62), (-1.02, 0.91), (-0.91, 1.18)])),
    **dict(enumerate([(-0.74, 1.42), (-0.52, 1.62), (-0.27, 1.77), (0, 1.82)], 5)),
    **dict(enumerate([(-0.92, -0.21), (-0.78, -0.33), (-0.58, -0.37), (-0.38, -0.34), (-0.19, -0.26)], 17)),
    **dict(enumerate([(0, -0.03), (0, 0.17), (0, 0.37), (0, 0.58)], 27)),
    **dict(enumerate([(-0.23, 0.70), (-0.12, 0.73), (0, 0.77)], 31)),
    **dict(enumerate([(-0.69, 0), (-0.57, -0.07), (-0.42, -0.07), (-0.30, 0.03), (-0.44, 0.06), (-0.58, 0.06)], 36)),
    **dict(enumerate([(-0.43, 1.08), (-0.27, 1.01), (-0.11, 0.97), (0, 0.99)], 48)),
    **dict(enumerate([(0, 1.24), (-0.12, 1.23), (-0.28, 1.18)], 57)),
    **dict(enumerate([(-0.36, 1.08), (-0.11, 1.085), (0, 1.09)], 60)),
    **dict(enumerate([(0, 1.09), (-0.11, 1.085)], 66)),
}
# How far each of those points is in front of the smooth face (positive) or behind it
RELIEF = {
    **dict(enumerate([-0.35, -0.3, -0.22, -0.15, -0.1, -0.05, 0, 0, 0.02])),
    **dict(enumerate([-0.05, 0.02, 0.06, 0.08, 0.08], 17)),
    **dict(enumerate([0.1, 0.23, 0.36, 0.47, 0.2, 0.26, 0.3], 27)),
    **dict(enumerate([-0.12, -0.04, -0.02, -0.04, -0.02, -0.04], 36)),
    **dict(enumerate([0.03, 0.14, 0.19, 0.2], 48)),
    **dict(enumerate([0.17, 0.17, 0.12, 0.03, 0.13, 0.14], 57)),
    **dict(enumerate([0.14, 0.13], 66)),
}

SKINS = [
    (244, 208, 188), (238, 196, 170), (230, 184, 152), (222, 172, 134), (204, 150, 110),
    (178, 122, 84), (146, 96, 66), (114, 72, 50), (84, 54, 40), (60, 40, 32),
]  # fmt: skip
HAIRS = [
    (20, 17, 18), (28, 22, 20), (40, 28, 24), (56, 38, 28), (74, 50, 34), (96, 66, 44), (126, 88, 56), (132, 66, 36),
    (176, 134, 86), (206, 172, 120), (150, 148, 146), (214, 212, 208), (70, 60, 110), (170, 60, 90),
]  # fmt: skip

# Volume over the skull, how far down it hangs behind and in front of the ears, and its probability
STYLES = {
    "bald": (0, 0, 0, 0.08),
    "cropped": (0.05, 0.3, 0.1, 0.14),
    "short": (0.2, 0.5, 0.25, 0.26),
    "afro": (0.55, 0.9, 0.1, 0.08),
    "bob": (0.24, 1.5, 1.5, 0.14),
    "long": (0.26, 3.1, 3.1, 0.18),
    "tucked": (0.22, 3.0, 0.2, 0.12),
}


def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the depth z of the smooth face, without features, at x, y."""
    return 1.3 * (np.sqrt(np.clip(1 - (x / 1.25) ** 2 - ((y - 0.2) / 2.4) ** 2, 0, 1)) - 1)


def on_face(flat: ArrayLike, lift: float = 0.02) -> np.ndarray:
    """Return N × 3 points ``lift`` in front of the smooth face at N × 2 places x, y."""
    points = np.array(flat, float)
    return np.column_stack([points, surface(*points.T) + lift])


def _template() -> np.ndarray:
    points = np.full((68, 3), np.nan)
    for index, place in RIGHT_HALF.items():
        points[index] = on_face([place], RELIEF[index])[0]
    return np.where(np.isnan(points), points[FLIP_POINTS] * [-1, 1, 1], points)


TEMPLATE = _template()
"""The 68 points of the average face in space, 68 × 3."""


@dataclass(frozen=True)
class Person:
    """What one person looks like: lengths in pupil distances, colours RGB 0–255."""

    shape: np.ndarray
    """68 × 3 points in space."""
    age: float
    """0 for a child to 1 for an old person."""
    skin: np.ndarray
    hair: np.ndarray
    style: str
    """Hair style, one of STYLES."""
    curl: float
    """0 for straight to 1 for curly hair."""
    hairline: float
    """y of the hairline."""
    fringe: bool
    hat: str | None
    """``cap``, ``beanie``, ``brim`` or None."""
    glasses: str | None
    """``clear``, ``sun`` or None."""
    beard: float
    """Density, 0–1."""
    smile: float
    """Negative for a sad mouth."""
    teeth: bool
    """Whether an open mouth shows them."""
    makeup: float
    """0 for none."""
    gaze: np.ndarray
    """Offset (x, y) of the irises."""


def face_shape(rng: np.random.Generator, age: float, openness: float, smile: float) -> np.ndarray:
    """Return the 68 × 3 points of a random person: the template with individual shape, age and expression."""
    p = TEMPLATE.copy()
    child = max(0, 0.3 - age) / 0.3
    own = rng.normal(0, 0.012, (68, 3))
    p += own + own[FLIP_POINTS] * [-1, 1, 1] + rng.normal(0, 0.006, (68, 3))
    jaw, low = p[JAW], p[:, 1] > 0.6
    jaw[:, 0] *= rng.normal(1 - 0.02 * child, 0.05) + rng.normal(0, 0.06) * (jaw[:, 1] - 0.6)
    for eye in (R_EYE_POINTS, L_EYE_POINTS):
        p[eye] = p[eye].mean(0) + (p[eye] - p[eye].mean(0)) * (1 + 0.2 * child)
        lids = p[eye]
        lids[1:3] = lids[[5, 4]] + openness * (lids[1:3] - lids[[5, 4]])
    p[36:48, 1] += rng.normal(0, 0.06) * (np.abs(p[36:48, 0]) - 0.5)  # slant
    brows = p[17:27]
    brows[:, 1] += rng.normal(-0.02, 0.05) + rng.normal(0, 0.12) * (np.abs(brows[:, 0]) - 0.55)
    p[31:36, 0] *= np.clip(rng.normal(1, 0.14), 0.75, 1.45)
    p[27:36, 1] *= rng.normal(1 - 0.08 * child, 0.05)
    p[29:36, 2] *= rng.normal(1 - 0.15 * child, 0.12)
    mouth = p[48:68]
    middle = mouth[:, 1].mean()
    mouth[:, 1] = middle + (mouth[:, 1] - middle) * np.clip(rng.normal(1 - 0.2 * age, 0.25), 0.5, 1.6)
    mouth[:, 0] *= rng.normal(1 - 0.1 * child, 0.07) + 0.2 * smile
    mouth[:, 1] -= 0.3 * smile * (np.abs(mouth[:, 0]) - 0.2)
    p[low, 1] = 0.6 + (p[low, 1] - 0.6) * rng.normal(1 - 0.12 * child, 0.06)
    return p


def open_mouth(shape: np.ndarray, amount: float) -> np.ndarray:
    """Return a shape, 68 × 3, with jaw and lower lip lowered by ``amount``; the lips part most in the middle."""
    p = shape.copy()
    for lower in (slice(55, 60), slice(65, 68)):
        p[lower, 1] += amount * (1 - 0.25 * (np.abs(p[lower, 0]) / 0.3) ** 2)
    p[[48, 54, 60, 64]] += [0, 0.4 * amount, 0]
    p[[48, 54, 60, 64], 0] *= 1 - 0.25 * amount
    p[61:64, 1] -= 0.12 * amount
    p[JAW, 1] += 0.7 * amount * np.clip(p[JAW, 1] / 1.8, 0, 1) ** 2
    return p


def random_person(rng: np.random.Generator) -> Person:
    """Draw a random person."""
    age = rng.random()
    openness = 0.04 if chance(rng, 0.07) else np.clip(rng.normal(1.05, 0.25), 0.35, 1.6)
    smile = rng.uniform(-0.2, 1.1)
    gap = rng.choice([0, 0.08, 0.2, 0.4], p=[0.5, 0.25, 0.17, 0.08]) * rng.uniform(0.7, 1.3)
    style = str(rng.choice(list(STYLES), p=[probability for *_, probability in STYLES.values()]))
    hair = pick_color(rng, HAIRS[:10] if chance(rng, 0.94) else HAIRS[10:])
    grey = np.clip((age - 0.7) * 3, 0, 1) * rng.random()
    masculine = style in ("bald", "cropped", "short") and age > 0.25
    return Person(
        shape=open_mouth(face_shape(rng, age, openness, smile), gap),
        age=age,
        skin=pick_color(rng, SKINS, 0.03),
        hair=hair + grey * (190 - hair),
        style=style,
        curl=1.0 if style == "afro" else rng.random() ** 2,
        hairline=rng.uniform(-1.2, -0.8) - 0.2 * max(0, age - 0.6),
        fringe=style in ("bob", "long", "short") and chance(rng, 0.35),
        hat=str(rng.choice(["cap", "beanie", "brim"])) if chance(rng, 0.16) else None,
        glasses=str(rng.choice(["clear", "clear", "sun"])) if chance(rng, 0.24) else None,
        beard=rng.uniform(0.2, 1) if masculine and chance(rng, 0.45) else 0,
        smile=smile,
        teeth=chance(rng, 0.8),
        makeup=0 if masculine else max(0, rng.normal(0, 0.6)),
        gaze=rng.normal(0, [0.045, 0.015]),
    )
