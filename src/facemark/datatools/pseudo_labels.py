"""Pseudo-labels: masks for faces that have only points, from their points and a trained parser.

A partial mask is drawn from the points; where it leaves the class open, confident predictions of the parser fill it. A
parser that learns from its own confident predictions, under stronger augmentation, improves where nobody has drawn
masks (Xie et al., "Self-training with Noisy Student", CVPR 2020, https://arxiv.org/abs/1911.04252).
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image
from rich.progress import track

from facemark.data.copies import write_corrected_points
from facemark.data.samples import Sample
from facemark.data.splits import assign_splits
from facemark.data.validation import ValidationReport, validate_dataset
from facemark.datatools.contact_sheet import read_sample
from facemark.geometry import box_iom
from facemark.inference.compositing import blend_probabilities
from facemark.inference.parser import FaceParser
from facemark.labels import IGNORE, UNIONS
from facemark.settings import Dataset, Splits

MIN_PROBABILITY = 0.9
"""Probability from which a prediction of the parser becomes a label."""


def complete_mask(partial: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Add the parser's confident predictions to a partial mask, where they agree with it.

    Args:
        partial: H × W uint8 from :func:`facemark.data.partial_masks.draw_partial_mask`.
        probabilities: 19 × H × W.

    Returns:
        H × W uint8: class ids, and ids of ``UNIONS`` and IGNORE where neither points nor parser determine the class.
    """
    classes = probabilities.argmax(0).astype(np.uint8)
    left_open = partial == IGNORE
    for value, union in UNIONS.items():
        left_open |= (partial == value) & np.isin(classes, union)
    return np.where(left_open & (probabilities.max(0) >= MIN_PROBABILITY), classes, partial)


def pseudo_label(
    image: np.ndarray, partial: np.ndarray, points: np.ndarray, parser: FaceParser
) -> tuple[np.ndarray, np.ndarray]:
    """Make the pseudo-label of one face.

    The partial mask stays as it is where the parser does not find the face that has the points: its predictions would
    teach that this face is background.

    Args:
        image: H × W × 3 RGB uint8.
        partial: H × W partial mask of the face.
        points: 68 × 2 (x, y) in pixels of the image.
        parser: predicts the classes.

    Returns:
        The image and its mask, at the size that the parser segments, which is at most that of the image.
    """
    (coarse,), (crops,) = parser.segment([image])
    measured = parser.measure(crops, image.shape[:2])
    probabilities = blend_probabilities(image.shape[:2], coarse, [crop for _, crop in measured], parser.config)
    size = probabilities.shape[2], probabilities.shape[1]
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    partial = cv2.resize(partial, size, interpolation=cv2.INTER_NEAREST_EXACT)
    box = np.r_[points.min(0), points.max(0)]
    found = any(box_iom(face.box, box) >= parser.config.nms_threshold for face, _ in measured)
    return image, complete_mask(partial, probabilities) if found else partial


def write_pseudo_labels(dataset: Dataset, shares: Splits, seed: int, parser: FaceParser, out: Path) -> ValidationReport:
    """Write the training faces of a dataset that has only points, cropped, with pseudo-labels.

    They are the faces that ``prepare`` would train on with these shares and this seed, so none is for validation.

    Args:
        dataset: its folder and format.
        shares: of validation and test, where the dataset has no split of its own.
        seed: of that split.
        parser: predicts the classes.
        out: folder for ``train/images`` and ``train/labels``, which the format ``celebamask`` reads.

    Returns:
        What the checks of the dataset have found; samples that are not sound are left out.

    Raises:
        SystemExit: the dataset has masks, has no training faces, or cannot be read; or ``out`` exists.
    """
    if out.exists():
        raise SystemExit(f"{out} exists; name a folder that does not")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}") as unfinished:
        written, scratch = Path(unfinished) / "written", Path(unfinished) / "scratch"
        report = validate_dataset(dataset, scratch / "converted")
        if any(sample.mask for sample in report.sound):
            raise SystemExit(f"{dataset.path} has masks; pseudo-labels are for faces that have only points")
        samples = assign_splits(report.sound, shares, seed)
        samples = write_corrected_points(samples, report.outliers, scratch / "corrected")
        training = [sample for sample in samples if sample.split == "train"]
        if not training:
            raise SystemExit(f"{dataset.path} has no sound faces to train on")
        _write_samples(training, parser, written / "train")
        written.rename(out)
    return report


def _write_samples(samples: list[Sample], parser: FaceParser, folder: Path) -> None:
    """Write the image and the pseudo-label of each sample into a folder's ``images`` and ``labels``."""
    images, labels = folder / "images", folder / "labels"
    for part in (images, labels):
        part.mkdir(parents=True)
    for number, sample in enumerate(track(samples, "writing pseudo-labels")):
        image, partial, points = read_sample(sample)
        image, mask = pseudo_label(image, partial, points[0], parser)
        name = f"{number:06}_{sample.image.stem}"
        Image.fromarray(image).save(images / f"{name}.jpg", quality=95)
        Image.fromarray(mask).save(labels / f"{name}.png")
