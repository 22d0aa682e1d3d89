"""What a training picture goes through: mirrored, composed with others, turned, scaled, spoilt."""

import albumentations as A
import cv2
import numpy as np

from facemark.data.synthetic import backdrop
from facemark.geometry import count_pieces
from facemark.labels import FACE, IGNORE, Region, mirror

MAX_STRETCH = 1.5
"""How much more a necklace may grow one way than the other when it is lent."""

Pair = tuple[np.ndarray, np.ndarray]
"""An H × W × 3 RGB picture and its H × W mask."""


def resize(size: int) -> A.Compose:
    """Fit picture and mask into ``size`` × ``size`` pixels; what lies beside them is ignored."""
    return A.Compose(
        [
            A.LongestMaxSize(size, interpolation=cv2.INTER_AREA, mask_interpolation=cv2.INTER_NEAREST_EXACT),
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


def _face_box(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The (x, y) between which nearly all of a face lies; None where there is none."""
    face = np.argwhere(np.isin(mask, FACE))[:, ::-1]
    return tuple(np.percentile(face, (2, 98), axis=0)) if len(face) else None


def paste_necklace(image: np.ndarray, mask: np.ndarray, giver: Pair) -> Pair:
    """Put on the necklace of another person, moved and scaled as that person's face would be to come over this one.

    It hangs over neck and clothes, behind chin and hair. Copying what is rare onto other pictures is Ghiasi et al.'s,
    "Simple Copy-Paste", CVPR 2021, https://arxiv.org/abs/2012.07177. Nothing is changed where either picture shows no
    face or several, where the faces are of unlike shape, or where less than half of what would show lies on the neck: a
    chain over a suit teaches to take every collar for one.
    """
    if any(count_pieces(each == Region.NOSE) > 1 for each in (mask, giver[1])):
        return image, mask
    boxes = _face_box(giver[1]), _face_box(mask)
    if None in boxes:
        return image, mask
    (theirs, their_end), (ours, our_end) = boxes
    scale = (our_end - ours) / np.maximum(their_end - theirs, 1)
    if scale.max() > MAX_STRETCH * scale.min():
        return image, mask
    move = np.c_[np.diag(scale), ours - scale * theirs]
    size = mask.shape[::-1]
    alpha = cv2.warpAffine((giver[1] == Region.NECK_L).astype(np.float32), move, size)
    if alpha[mask == Region.NECK].sum() < 0.5 * alpha.sum():
        return image, mask
    alpha *= np.isin(mask, (Region.NECK, Region.CLOTH))
    bright, their_bright = (pixels[np.isin(regions, FACE)].mean() for pixels, regions in ((image, mask), giver))
    light = np.clip(bright / max(their_bright, 1), 0.5, 2)
    worn = np.clip(light * cv2.warpAffine(giver[0], move, size), 0, 255)
    image = (alpha[..., None] * worn + (1 - alpha[..., None]) * image).astype(np.uint8)
    return image, np.where(alpha > 0.5, np.uint8(Region.NECK_L), mask)


def add_occluder(image: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> Pair:
    """Hold a board of any size and turn before a face: a corner of it is hidden, or all of it.

    Its pixels are background, so the parser learns to say what it does not see. Without a face nothing is changed.
    """
    box = _face_box(mask)
    if box is None:
        return image, mask
    low, high = box
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


def compose_group(pairs: list[Pair], size: int, rng: np.random.Generator) -> Pair:
    """Stand several people, each 0.15 to 0.75 of the picture's side in size, before a cluttered backdrop.

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
