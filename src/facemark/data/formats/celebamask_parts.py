"""CelebAMask-HQ (Lee et al., CVPR 2020, https://github.com/switchablenorms/CelebAMask-HQ) as it is released.

``CelebA-HQ-img/<number>.jpg`` (1024²), ``CelebAMask-HQ-mask-anno/<number // 2000>/<%05d>_<part>.png`` (512², a part
that is not there has no file) and ``CelebA-HQ-to-CelebA-mapping.txt``, whose numbers in CelebA say the split.
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np

from facemark.data.samples import Published, not_empty
from facemark.images import read_image
from facemark.labels import CLASSES

ALWAYS = {"skin", "nose"}
"""Parts that every picture has."""
FIRST_VAL, FIRST_TEST = 162771, 182638
"""Numbers in CelebA at which its validation and its test pictures begin, as the release's own script has them."""


def read_parts(image: Path, folder: Path) -> np.ndarray:
    """Merge the parts of a picture in the order of their ids, the later over the earlier, at the picture's size.

    Raises:
        ValueError: there are no parts, or not those that every picture has, or they cannot be read.
    """
    prefix = f"{int(image.stem):05}"
    mask = np.zeros((512, 512), np.uint8)
    parts = {i: path for i, name in enumerate(CLASSES) if (path := folder / f"{prefix}_{name}.png").exists()}
    if not parts:
        raise ValueError(f"{folder} has no parts {prefix}_*.png; unpack CelebAMask-HQ-mask-anno as it is released")
    if lost := sorted(ALWAYS - {CLASSES[i] for i in parts}):
        raise ValueError(f"{folder} has no part {prefix}_{lost[0]}.png, which every picture has; unpack it again")
    for i, path in parts.items():
        part = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if part is None or part.shape != mask.shape:
            raise ValueError(f"{path} cannot be read as a part; it is to be a picture of 512×512 pixels")
        mask[part > 0] = i
    height, width = read_image(image).shape[:2]
    return cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def read_splits(path: Path) -> dict[int, str]:
    """Read the split of each number from the mapping to CelebA: a header, then rows ``idx orig_idx orig_file``.

    Raises:
        ValueError: the file cannot be read as such.
    """
    try:
        rows = [line.split()[:2] for line in path.read_text().splitlines()[1:] if line.strip()]
        celeba = {int(number): int(original) for number, original in rows}
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read; it is to hold a header and rows: idx orig_idx orig_file") from error
    return {n: "train" if o < FIRST_VAL else "val" if o < FIRST_TEST else "test" for n, o in celeba.items()}


def samples(root: Path) -> list[Published]:
    """List the pictures under ``root``.

    Raises:
        ValueError: the mapping to CelebA lacks some of them.
    """
    mapping = root / "CelebA-HQ-to-CelebA-mapping.txt"
    splits = read_splits(mapping)
    images = {int(path.stem): path for path in (root / "CelebA-HQ-img").glob("*.jpg") if path.stem.isdecimal()}
    if missing := sorted(images.keys() - splits.keys()):
        raise ValueError(f"{mapping} lacks {len(missing)} of the pictures, {missing[0]} for one")
    anno = root / "CelebAMask-HQ-mask-anno"
    listed = [
        Published(image, splits[number], partial(read_parts, image, anno / str(number // 2000)))
        for number, image in sorted(images.items())
    ]
    return not_empty(listed, root, "CelebA-HQ-img/<number>.jpg")
