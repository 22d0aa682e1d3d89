"""What a training picture goes through: mirrored, composed with others, turned, scaled, spoilt."""

import albumentations as A
import cv2
import numpy as np

from facemark.labels import IGNORE, Region, mirror
from facemark.synthetic import backdrop

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


def augment(size: int, seed: int | None = None) -> A.Compose:
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
            A.CoarseDropout((1, 3), (0.05, 0.25), (0.05, 0.25), fill="random_uniform", fill_mask=IGNORE, p=0.15),
        ],
        seed=seed,
    )


def flip(image: np.ndarray, mask: np.ndarray) -> Pair:
    """Mirror a picture and its mask: the left eye becomes the right eye."""
    return np.ascontiguousarray(image[:, ::-1]), mirror(mask)


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
