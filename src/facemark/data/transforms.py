"""Augmentation: what a training image and its mask go through before the network sees them."""

import albumentations as A
import cv2
import numpy as np

from facemark.data.synthetic import backdrop
from facemark.geometry import count_pieces
from facemark.labels import FACE, IGNORE, Region, mirror

MAX_STRETCH = 1.5
"""A necklace is pasted only where its scales in x and y differ by at most this factor."""
MIN_NECK_SHARE = 0.5
"""Share of a pasted necklace that must be on the neck: a chain over a suit would teach that collars are necklaces."""
MAX_GAIN = 2
"""Limit of the factor, and of its inverse, by which a pasted necklace is made brighter."""

Pair = tuple[np.ndarray, np.ndarray]
"""An H × W × 3 RGB uint8 image and its H × W uint8 mask."""


def resize(size: int) -> A.Compose:
    """Return a transform that fits image and mask into ``size`` × ``size`` pixels; the mask is padded with IGNORE."""
    return A.Compose(
        [
            A.LongestMaxSize(size, interpolation=cv2.INTER_AREA, mask_interpolation=cv2.INTER_NEAREST_EXACT),
            A.PadIfNeeded(size, size, border_mode=cv2.BORDER_CONSTANT, fill=0, fill_mask=IGNORE),
        ]
    )


def augment(size: int) -> A.Compose:
    """Return a transform of random pose, light and corruption, whose output has ``size`` × ``size`` pixels.

    Horizontal flips are not part of it: :func:`flip`.
    """
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
    """Flip an image and its mask horizontally; left and right classes are swapped."""
    return np.ascontiguousarray(image[:, ::-1]), mirror(mask)


def _face_box(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The low and the high (x, y) between which nearly all face pixels are; None where there are none."""
    face = np.argwhere(np.isin(mask, FACE))[:, ::-1]
    if not len(face):
        return None
    low, high = np.percentile(face, (2, 98), axis=0)
    return low, high


def paste_necklace(image: np.ndarray, mask: np.ndarray, source: Pair) -> Pair:
    """Paste the necklace of another image, moved and scaled as its face would be to match this one.

    The necklace covers neck and clothes, and is covered by chin and hair. Copy-paste of rare classes: Ghiasi et al.,
    "Simple Copy-Paste", CVPR 2021, https://arxiv.org/abs/2012.07177.

    Args:
        image: H × W × 3.
        mask: H × W class ids.
        source: the image with the necklace, and its mask.

    Returns:
        New image and mask; the given ones where either image shows no face or several, where the faces are of unlike
        shape (MAX_STRETCH), or where too little of the necklace would be on the neck (MIN_NECK_SHARE).
    """
    source_image, source_mask = source
    matrix = _face_to_face(source_mask, mask)
    if matrix is None:
        return image, mask
    size = mask.shape[1], mask.shape[0]
    alpha = cv2.warpAffine((source_mask == Region.NECK_L).astype(np.float32), matrix, size)
    if alpha[mask == Region.NECK].sum() < MIN_NECK_SHARE * alpha.sum():
        return image, mask
    alpha *= np.isin(mask, (Region.NECK, Region.CLOTH))
    brightness = image[np.isin(mask, FACE)].mean()
    gain = np.clip(brightness / max(source_image[np.isin(source_mask, FACE)].mean(), 1), 1 / MAX_GAIN, MAX_GAIN)
    pasted = np.clip(gain * cv2.warpAffine(source_image, matrix, size), 0, 255)
    image = (alpha[..., None] * pasted + (1 - alpha[..., None]) * image).astype(np.uint8)
    return image, np.where(alpha > 0.5, np.uint8(Region.NECK_L), mask)


def _face_to_face(source: np.ndarray, target: np.ndarray) -> np.ndarray | None:
    """The 2 × 3 matrix that maps the face box of one mask onto another's; None unless both show one face of like shape.

    It scales x and y independently and does not rotate.
    """
    if any(count_pieces(mask == Region.NOSE) > 1 for mask in (source, target)):
        return None
    source_box, target_box = _face_box(source), _face_box(target)
    if source_box is None or target_box is None:
        return None
    (source_low, source_high), (low, high) = source_box, target_box
    scale = (high - low) / np.maximum(source_high - source_low, 1)
    if scale.max() > MAX_STRETCH * scale.min():
        return None
    return np.c_[np.diag(scale), low - scale * source_low]


def add_occluder(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
    """Cover part of a face, or all of it, with a rectangle of random place, size, rotation and texture.

    The covered pixels become background, so the parser learns not to predict what it cannot see. Without a face,
    nothing is changed.

    Args:
        image: H × W × 3.
        mask: H × W class ids.
        rng: source of all random draws.
    """
    box = _face_box(mask)
    if box is None:
        return image, mask
    low, high = box
    centre = (low + high) / 2 + rng.uniform(-0.8, 0.8, 2) * (high - low)
    sides = max(high - low) * np.exp(rng.uniform(np.log(0.15), np.log(1.5), 2))
    corners = cv2.boxPoints((centre.tolist(), sides.tolist(), rng.uniform(0, 90))).astype(np.int32)
    covered = cv2.fillConvexPoly(np.zeros_like(mask), corners, 1) > 0
    image, mask = image.copy(), np.where(covered, np.uint8(Region.BACKGROUND), mask)
    left, top, width, height = cv2.boundingRect(covered.astype(np.uint8))
    around = slice(top, top + height), slice(left, left + width)
    plain = rng.integers(0, 256, 3, np.uint8)
    texture = plain if rng.random() < 0.5 or not covered.any() else backdrop(rng, height, width)
    image[around] = np.where(covered[around][..., None], texture, image[around])
    return image, mask


def compose_group(pairs: list[Pair], size: int, rng: np.random.Generator) -> Pair:
    """Compose several images, each 0.15 to 0.75 of the side in size, in front of a cluttered background.

    A later image may cover an earlier one. Half of them, at random, keep their own background, and so does each whose
    mask does not show where its background is.

    Args:
        pairs: images and masks.
        size: side of the result, in pixels.
        rng: source of all random draws.
    """
    image = backdrop(rng, size, size)
    mask = np.full((size, size), Region.BACKGROUND, np.uint8)
    for person, regions in pairs:
        side = size * rng.uniform(0.15, 0.75)
        scale = side / max(regions.shape)
        centre = rng.uniform(0.15, 0.85, 2) * size
        matrix = cv2.getRotationMatrix2D((regions.shape[1] / 2, regions.shape[0] / 2), rng.normal(0, 12), scale)
        matrix[:, 2] += centre - (regions.shape[1] / 2, regions.shape[0] / 2)
        person = cv2.GaussianBlur(person, (0, 0), 0.4 / scale) if scale < 0.8 else person
        kept = regions != Region.BACKGROUND if rng.random() < 0.5 else np.ones_like(regions, bool)
        alpha = cv2.warpAffine(kept.astype(np.float32), matrix, (size, size), flags=cv2.INTER_LINEAR)[..., None]
        image = (alpha * cv2.warpAffine(person, matrix, (size, size)) + (1 - alpha) * image).astype(np.uint8)
        moved = cv2.warpAffine(regions, matrix, (size, size), flags=cv2.INTER_NEAREST)
        mask = np.where(alpha[..., 0] > 0.5, moved, mask)
    return image, mask
