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

from facemark.data.copies import write_corrected_points
from facemark.data.splits import assign_splits
from facemark.data.validation import ValidationReport, validate_dataset
from facemark.datatools.contact_sheet import read_sample
from facemark.geometry import box_iom
from facemark.inference.compositing import blend_probabilities
from facemark.inference.parser import FaceParser
from facemark.labels import IGNORE, UNIONS
from facemark.settings import Dataset, Splits

MIN_PROBABILITY = 0.9
"""Probability from which the parser's answer is taken for the truth."""


def fill_mask(partial: np.ndarray, regions: np.ndarray) -> np.ndarray:
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
    return np.where(left_open & (regions.max(0) >= MIN_PROBABILITY), classes, partial)


def pseudo_label(
    image: np.ndarray, partial: np.ndarray, points: np.ndarray, parser: FaceParser
) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its filled mask, no larger than the parser looks at.

    The mask stays as it is where the parser finds other faces, but not the one that has the points (68 × 2): it would
    say of that one that it is none.
    """
    (coarse,), (crops,) = parser.segment([image])
    kept = parser.measure(crops, image.shape[:2])
    regions = blend_probabilities(image.shape[:2], coarse, [crop for _, crop in kept], parser.config)
    size = regions.shape[:0:-1]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    partial = cv2.resize(partial, size, interpolation=cv2.INTER_NEAREST_EXACT)
    box = np.r_[points.min(0), points.max(0)]
    found = any(box_iom(face.box, box) >= parser.config.nms_threshold for face, _ in kept)
    return image, fill_mask(partial, regions) if found else partial


def write_pseudo_labels(
    described: Dataset, shares: Splits, seed: int, parser: FaceParser, out: Path
) -> ValidationReport:
    """Write a dataset's training faces, cut out, into ``out``/train/images, and their masks into labels.

    Those are what ``prepare`` would train on, with these shares and this seed. Format ``celebamask`` reads what is
    written. Answers what ``prepare`` would say of the dataset: faces that are not sound are left out.

    Raises:
        SystemExit: the dataset has masks, or no training faces, or cannot be read; or ``out`` is there already.
    """
    if out.exists():
        raise SystemExit(f"{out} is there already; name a folder that is not")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}") as unfinished:
        made, converted = Path(unfinished) / "made", Path(unfinished) / "converted"
        found = validate_dataset(described, converted)
        if any(sample.mask for sample in found.sound):
            raise SystemExit(f"{described.path} has masks; fill is for faces that have points alone")
        listed = write_corrected_points(
            assign_splits(found.sound, shares, seed), found.outliers, Path(unfinished) / "corrected"
        )
        training = [sample for sample in listed if sample.split == "train"]
        if not training:
            raise SystemExit(f"{described.path} has no sound faces to train on")
        images, labels = made / "train" / "images", made / "train" / "labels"
        for folder in (images, labels):
            folder.mkdir(parents=True)
        for number, sample in enumerate(track(training, "filling in masks")):
            image, partial, points = read_sample(sample)
            image, mask = pseudo_label(image, partial, points[0], parser)
            name = f"{number:06}_{sample.image.stem}"
            Image.fromarray(image).save(images / f"{name}.jpg", quality=95)
            Image.fromarray(mask).save(labels / f"{name}.png")
        made.rename(out)
    return found
