"""CelebAMask-HQ (Lee et al., CVPR 2020, https://github.com/switchablenorms/CelebAMask-HQ) as it is released.

``CelebA-HQ-img/<number>.jpg`` (1024²), ``CelebAMask-HQ-mask-anno/<number // 2000>/<%05d>_<part>.png`` (512², no file
for a part that is not visible) and ``CelebA-HQ-to-CelebA-mapping.txt``, whose CelebA numbers determine the split.
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from facemark.data.samples import Published, require_samples
from facemark.images import read_image
from facemark.labels import CLASSES

REQUIRED_PARTS = {"skin", "nose"}
"""Parts that every image has."""
FIRST_VAL, FIRST_TEST = 162771, 182638
"""CelebA numbers at which its validation and test images begin, as in the release's own script."""
PART_SIDE = 512
"""Height and width of a part, in pixels."""


def read_parts(image: Path, folder: Path) -> np.ndarray:
    """Merge the parts of an image in the order of their ids: a later part covers an earlier one.

    Args:
        image: ``<number>.jpg``.
        folder: where the parts of this image are.

    Returns:
        H × W uint8 class ids, at the image's size.

    Raises:
        ValueError: there are no parts, a required part is missing, or a part cannot be read.
    """
    prefix = f"{int(image.stem):05}"
    mask = np.zeros((PART_SIDE, PART_SIDE), np.uint8)
    parts = {i: path for i, name in enumerate(CLASSES) if (path := folder / f"{prefix}_{name}.png").exists()}
    if not parts:
        raise ValueError(f"{folder} has no parts {prefix}_*.png; unpack CelebAMask-HQ-mask-anno as it is released")
    if missing := sorted(REQUIRED_PARTS - {CLASSES[i] for i in parts}):
        raise ValueError(f"{folder} has no part {prefix}_{missing[0]}.png, which every picture has; unpack it again")
    for i, path in parts.items():
        part = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if part is None or part.shape != mask.shape:
            raise ValueError(f"{path} cannot be read as a part; expected a picture of {PART_SIDE}×{PART_SIDE} pixels")
        mask[part > 0] = i
    height, width = read_image(image).shape[:2]
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def read_splits(path: Path) -> dict[int, str]:
    """Read the split of each image from the mapping to CelebA: a header, then rows ``idx orig_idx orig_file``.

    Returns:
        ``train``, ``val`` or ``test`` for each image number.

    Raises:
        ValueError: the file cannot be read as such.
    """
    try:
        rows = [line.split()[:2] for line in path.read_text().splitlines()[1:] if line.strip()]
        celeba = {int(number): int(original) for number, original in rows}
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read; expected a header and rows: idx orig_idx orig_file") from error
    return {n: "train" if o < FIRST_VAL else "val" if o < FIRST_TEST else "test" for n, o in celeba.items()}


def samples(root: Path) -> list[Published]:
    """List the images under ``root``.

    Raises:
        ValueError: the mapping to CelebA cannot be read, or lacks an image.
        FileNotFoundError: there are no images.
    """
    mapping = root / "CelebA-HQ-to-CelebA-mapping.txt"
    splits = read_splits(mapping)
    images = {int(path.stem): path for path in (root / "CelebA-HQ-img").glob("*.jpg") if path.stem.isdecimal()}
    if missing := sorted(images.keys() - splits.keys()):
        raise ValueError(f"{mapping} lacks {len(missing)} of the pictures, for example {missing[0]}")
    anno = root / "CelebAMask-HQ-mask-anno"
    listed = [
        Published(image, splits[number], partial(read_parts, image, anno / str(number // 2000)))
        for number, image in sorted(images.items())
    ]
    return require_samples(listed, root, "CelebA-HQ-img/<number>.jpg")
