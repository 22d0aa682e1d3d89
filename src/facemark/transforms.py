"""What a training picture goes through: mirrored, composed with others, turned, scaled, spoilt."""

import albumentations as A
import cv2
import numpy as np

from facemark.labels import FACE, IGNORE, Region, mirror
from facemark.synthetic import backdrop

METALS = np.array([(225, 190, 110), (215, 215, 220), (240, 235, 225), (60, 55, 55), (170, 40, 50), (60, 160, 165)])
"""RGB of gold, silver, pearls, jet, coral and turquoise."""

Pair = tuple[np.ndarray, np.ndarray]
"""An H × W × 3 RGB picture and its H × W mask."""


def resize(size: int) -> A.Compose:
    """Fit picture and mask into ``size`` × ``size`` pixels; what lies beside them is ignored."""
    return A.Compose(
        [
            A.LongestMaxSize(size, interpolation=cv2.INTER_AREA),
            A.PadIfNeeded(size, size, border_mode=cv2.BORDER_CONSTANT, fill=0, fill_mask=IGNORE),
        ]
    )


def augment(size: int) -> A.Compose:
    """Random pose, light and damage; answers ``size`` × ``size`` pixels. Mirroring is :func:`flip`'s."""
    return A.Compose(
        [
            resize(size),
            A.Affine(
                scale=(0.7, 1.4),
                translate_percent=(-0.12, 0.12),
                rotate=(-50, 50),
                shear=(-8, 8),
                fill_mask=IGNORE,
                p=0.8,
            ),
            A.RandomBrightnessContrast((-0.35, 0.35), (-0.7, 0.3), p=0.5),
            A.RandomGamma((60, 160), p=0.3),
            A.HueSaturationValue(12, 30, 0, p=0.3),
            A.ToGray(p=0.07),
            A.OneOf(
                [
                    A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 2.0)),
                    A.MotionBlur(blur_limit=(3, 7)),
                    A.Downscale(scale_range=(0.2, 0.7)),
                ],
                p=0.25,
            ),
            A.GaussNoise(std_range=(0.01, 0.12), p=0.15),
            A.ImageCompression(quality_range=(15, 80), p=0.25),
        ]
    )


def flip(image: np.ndarray, mask: np.ndarray) -> Pair:
    """Mirror a picture and its mask: the left eye becomes the right eye."""
    return np.ascontiguousarray(image[:, ::-1]), mirror(mask)


def necklace(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
    """Hang a chain of beads on a neck, under clothes and hair; where no neck is shown, nothing is changed.

    Over clothes, it would teach that every patterned collar is one.
    """
    rows, columns = np.nonzero(mask == Region.NECK)
    if len(rows) < 0.01 * mask.size:
        return image, mask
    left, right = np.percentile(columns, (2, 98))
    half = (right - left) / 2 * rng.uniform(0.8, 1.2)
    bead = half * rng.choice([rng.uniform(0.01, 0.03), rng.uniform(0.03, 0.14)])
    along = np.linspace(-1, 1, max(3, round(2.5 * half / bead / rng.uniform(1.5, 3))))
    side, drop = rng.uniform(*np.percentile(rows, (10, 90))), half * rng.uniform(0.05, 0.7)
    chain = np.c_[(left + right) / 2 + half * along, side + drop * (1 - along**2)]
    light = image[rows, columns].mean() / 170
    color = METALS[rng.integers(len(METALS))] * rng.uniform(0.7, 1.1, 3) * light
    drawn, there = image.copy(), np.zeros_like(mask)
    for place in chain:
        shine = rng.uniform(0.7, 1.2)
        for share, glow in ((1, 0.8), (0.65, 1.05), (0.25, 1.5)):
            centre = place - bead * (1 - share) * 0.4
            at, radius = np.round(16 * centre).astype(int).tolist(), max(1, round(16 * share * bead))
            cv2.circle(drawn, at, radius, np.clip(shine * glow * color, 0, 255).tolist(), -1, cv2.LINE_AA, 4)
        cv2.circle(there, np.round(place).astype(int).tolist(), max(1, round(bead)), 1, -1)
    shown = (there > 0) & (mask == Region.NECK)
    return np.where(shown[..., None], drawn, image), np.where(shown, Region.NECK_L, mask).astype(np.uint8)


def cover(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
    """Hold a board of any size and turn before a face: a corner of it is hidden, or all of it.

    Its pixels are background, so the parser learns to say what it does not see. Without a face nothing is changed.
    """
    face = np.argwhere(np.isin(mask, FACE))[:, ::-1]
    if not len(face):
        return image, mask
    low, high = np.percentile(face, (2, 98), axis=0)
    centre = (low + high) / 2 + rng.uniform(-0.8, 0.8, 2) * (high - low)
    sides = max(high - low) * np.exp(rng.uniform(np.log(0.15), np.log(1.5), 2))
    corners = cv2.boxPoints((centre.tolist(), sides.tolist(), rng.uniform(0, 90))).astype(np.int32)
    hidden = cv2.fillConvexPoly(np.zeros_like(mask), corners, 1) > 0
    image, mask = image.copy(), np.where(hidden, np.uint8(Region.BACKGROUND), mask)
    left, top, width, height = cv2.boundingRect(hidden.astype(np.uint8))
    around = slice(top, top + height), slice(left, left + width)
    plain = rng.integers(0, 256, 3, np.uint8)
    board = plain if rng.random() < 0.5 or not hidden.any() else backdrop(rng, height, width)
    image[around] = np.where(hidden[around][..., None], board, image[around])
    return image, mask


def compose(pairs: list[Pair], size: int, rng: np.random.Generator) -> Pair:
    """Stand several people, each a tenth to six tenths of the picture, before a cluttered backdrop.

    A later one may cover an earlier one. Half of them bring their own background along, and those whose mask does not
    say where it is.
    """
    image = backdrop(rng, size, size)
    mask = np.full((size, size), Region.BACKGROUND, np.uint8)
    for person, regions in pairs:
        side = size * rng.uniform(0.15, 0.75)
        scale = side / max(regions.shape)
        centre = rng.uniform(0.15, 0.85, 2) * size
        turn = cv2.getRotationMatrix2D((regions.shape[1] / 2, regions.shape[0] / 2), rng.normal(0, 12), scale)
        turn[:, 2] += centre - (regions.shape[1] / 2, regions.shape[0] / 2)
        person = cv2.GaussianBlur(person, (0, 0), 0.4 / scale) if scale < 0.8 else person
        cut_out = regions != Region.BACKGROUND if rng.random() < 0.5 else np.ones_like(regions, bool)
        there = cv2.warpAffine(cut_out.astype(np.float32), turn, (size, size), flags=cv2.INTER_LINEAR)[..., None]
        image = (there * cv2.warpAffine(person, turn, (size, size)) + (1 - there) * image).astype(np.uint8)
        moved = cv2.warpAffine(regions, turn, (size, size), flags=cv2.INTER_NEAREST)
        mask = np.where(there[..., 0] > 0.5, moved, mask)
    return image, mask
