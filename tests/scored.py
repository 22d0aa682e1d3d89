"""A sample of 64 × 48 pixels with one face, and predictions of it whose errors are known."""

from pathlib import Path

import cv2
import numpy as np

from facemark.data.samples import Sample, write_points
from facemark.evaluation.scoring import Result, ScoredExample, merge_results, read_example, score_example
from facemark.inference.types import Face, Parse
from facemark.labels import IGNORE, Region

POINTS = np.stack(np.meshgrid(np.linspace(8, 40, 17), np.linspace(10, 28, 4)), -1).reshape(68, 2).astype(np.float32)
"""68 points on a grid; the outer eye corners, 36 and 45, are in one row, 18 pixels apart."""


def detected(points: np.ndarray) -> Face:
    """A face with these 68 × 2 points, sure of everything."""
    box = np.r_[points.min(0), points.max(0)]
    return Face(box, 1.0, points, np.ones(68, np.float32), points[[36, 45]], points[60], {})


def write_sample(folder: Path) -> Sample:
    """Write a grey image: the left half is skin, the right half background, the two uppermost rows are ignored."""
    image, mask = np.full((48, 64, 3), 100, np.uint8), np.zeros((48, 64), np.uint8)
    mask[:, :32], mask[:2] = Region.SKIN, IGNORE
    sample = Sample(folder / "face.png", folder / "mask.png", folder / "points.txt", "test")
    cv2.imwrite(str(sample.image), image)
    cv2.imwrite(str(sample.mask), mask)
    write_points(sample.points, POINTS[None])
    return sample


def score(sample: Sample, shift: float = 0, columns: int = 0, faces: bool = True) -> ScoredExample:
    """Score a prediction with the points shifted to the right, and some columns of the background taken for skin."""
    mask = np.zeros((48, 64), np.uint8)
    mask[:, : 32 + columns] = Region.SKIN
    parse = Parse(mask, [detected(POINTS + np.float32([shift, 0]))] if faces else [])
    return score_example(read_example(sample), parse)


def merge(*cases: ScoredExample, keep: int = 10) -> Result:
    """The result of these cases."""
    return merge_results([Result(case.confusion, case.errors, case.scores, [case]) for case in cases], keep)
