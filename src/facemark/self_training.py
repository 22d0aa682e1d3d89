"""Masks for faces that have points alone: what their points tell, and of the rest what a trained parser is sure of.

A parser that learns from its own sure answers, under harder conditions than it gave them in, gets better where nobody
has drawn masks (Xie et al., "Self-training with Noisy Student", CVPR 2020, https://arxiv.org/abs/1911.04252).
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image
from rich.progress import track

from facemark.data import contents
from facemark.datasets import Published
from facemark.labels import IGNORE, UNIONS
from facemark.parser import FaceParser, blend
from facemark.settings import Dataset
from facemark.stages.prepare import samples

SURE = 0.9
"""Probability from which the parser's answer is taken for the truth."""


def fill(partial: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """Say what the parser is sure of wherever the points leave it open.

    Args:
        partial: H × W as :func:`facemark.partial_masks.draw` makes it.
        regions: 19 × H × W probabilities.

    Returns:
        H × W uint8: class ids, and ids of ``UNIONS`` and IGNORE where neither points nor parser know.
    """
    classes = regions.argmax(0).astype(np.uint8)
    left_open = partial == IGNORE
    for value, union in UNIONS.items():
        left_open |= (partial == value) & np.isin(classes, union)
    return np.where(left_open & (regions.max(0) >= SURE), classes, partial)


def write(described: Dataset, parser: FaceParser, out: Path) -> int:
    """Write a dataset's training faces, cut out, into ``out``/train/images, their masks into labels; answers how many.

    Format ``celebamask`` reads them.

    Raises:
        SystemExit: the dataset has masks, or cannot be read; or ``out`` is there already.
    """
    listed = [each for each in samples(described) if each.split in (None, "train")]
    if any(each.mask for each in listed):
        raise SystemExit(f"{described.path} has masks; fill is for faces that have points alone")
    if out.exists():
        raise SystemExit(f"{out} is there already; name a folder that is not")
    images, labels = out / "train" / "images", out / "train" / "labels"
    for folder in (images, labels):
        folder.mkdir(parents=True)
    with TemporaryDirectory() as converted:
        for number, each in enumerate(track(listed, "filling in masks")):
            sample = each.convert(Path(converted) / "face") if isinstance(each, Published) else each
            image, partial, _ = contents(sample)
            (coarse,), (crops,) = parser.portraits([image])
            regions = blend(image.shape[:2], coarse, crops)
            size = regions.shape[:0:-1]  # smaller, where the picture is larger than the parser looks at
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            partial = cv2.resize(partial, size, interpolation=cv2.INTER_NEAREST)
            name = f"{number:06}_{sample.image.stem}"
            Image.fromarray(image).save(images / f"{name}.jpg", quality=95)
            Image.fromarray(fill(partial, regions)).save(labels / f"{name}.png")
    return len(listed)
