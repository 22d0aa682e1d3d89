"""Faces to learn from and to be tested on: the same crops, turned and lit the same way, whatever the method.

Coordinates of labels and predictions are shares of the crop's side, from its top-left corner. A crop is cut out by the
true box, so finding faces is not part of the comparison.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import albumentations as A
import numpy as np
import torch
from rich.progress import track
from torch.utils.data import Dataset

from facemark.data.formats import landmarks68
from facemark.data.partial_masks import crop_context
from facemark.data.samples import Sample, read_points
from facemark.evaluation.corruptions import CORRUPTION_SIDE, corrupt, occlude_half
from facemark.geometry import apply, rescale
from facemark.images import read_image
from facemark.inference.alignment import warp_crop
from facemark.inference.landmarks import flip_landmarks
from facemark.labels import FLIP_POINTS

ROOM = 1.35
"""Side of a crop, in sizes of the face's points."""
TURN, ZOOM, SHIFT = 30, 0.1, 0.04
"""Training crops lie askew: at most by these degrees, and with these standard deviations of log scale and place."""
TEST_JITTER, TEST_SEED = 0.4, 68
"""Test crops lie askew too, by this share of it, always the same way."""
TESTS = ("clean", "blur", "darkness", "occlusion", "rotation")
ROTATION = 30
"""Degrees of the test ``rotation``; the others are those of :mod:`facemark.damage`."""


@dataclass(frozen=True)
class Face:
    """A picture of one face and its surroundings, and its true points, 68 × 2 pixels."""

    image: np.ndarray
    points: np.ndarray


def listed(folder: Path, split: str) -> list[Sample]:
    """The pictures of a split, in a fixed order."""
    return [sample for sample in landmarks68.samples(folder) if sample.split == split]


def load(samples: list[Sample]) -> list[Face]:
    """The largest face of each picture."""
    faces = []
    for sample in track(samples, "reading faces"):
        points = max(read_points(sample.points).astype(float), key=lambda face: np.ptp(face, 0).max())
        image, points = crop_context(read_image(sample.image), points)
        image, _, points = rescale(image, image[..., 0], points, min(1, CORRUPTION_SIDE / max(image.shape)))
        faces.append(Face(image, points))
    return faces


def frame(points: np.ndarray, turn: float = 0, zoom: float = 1, shift: np.ndarray | float = 0) -> np.ndarray:
    """The matrix from a picture to the crop around 68 × 2 points, 1 × 1 in size; the turn is in degrees."""
    low, high = points.min(0), points.max(0)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    matrix = zoom / (ROOM * (high - low).max()) * np.array([(cos, -sin), (sin, cos)])
    return np.c_[matrix, 0.5 + shift - matrix @ ((low + high) / 2)]


def askew(points: np.ndarray, rng: np.random.Generator, much: float = 1) -> np.ndarray:
    """A frame that is turned, scaled and shifted at random."""
    turn, zoom, shift = rng.uniform(-TURN, TURN), rng.normal(0, ZOOM), rng.normal(0, SHIFT, 2)
    return frame(points, much * turn, np.exp(much * zoom), much * shift)


def light(seed: int) -> A.Compose:
    """Random light and damage, the same for the same seed."""
    return A.Compose(
        [
            A.RandomBrightnessContrast((-0.3, 0.3), (-0.5, 0.3), p=0.5),
            A.ToGray(p=0.1),
            A.GaussianBlur(blur_limit=0, sigma_limit=(0.3, 1.5), p=0.2),
            A.GaussNoise(std_range=(0.01, 0.08), p=0.2),
            A.CoarseDropout((1, 1), (0.2, 0.5), (0.2, 0.5), fill="random_uniform", p=0.2),
        ],
        seed=seed,
    )


class CropDataset(Dataset):
    """``count`` augmented faces, each epoch in a new order; every one has a random state of its own.

    Yields a uint8 tensor 3 × S × S and what ``target`` makes of the labels, 68 × 2, and of which of them are known.
    """

    def __init__(
        self,
        faces: list[Face],
        labels: np.ndarray,
        known: np.ndarray,
        count: int,
        size: int,
        seed: int,
        target: Callable[[np.ndarray, np.ndarray], np.ndarray],
    ):
        self.faces, self.labels, self.known = faces, labels, known
        self.size, self.seed, self.target = size, seed, target
        rng = np.random.default_rng(seed)
        epochs = -(-count // len(faces))
        self.order = np.concatenate([rng.permutation(len(faces)) for _ in range(epochs)])[:count]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        which, rng = self.order[index], np.random.default_rng((self.seed, index))
        face, known = self.faces[which], self.known[which]
        matrix = askew(face.points, rng)
        image = light(int(rng.integers(2**31)))(image=warp_crop(face.image, matrix, self.size))["image"]
        points = apply(matrix, self.labels[which])
        if rng.random() < 0.5:
            image, points, known = image[:, ::-1], flip_landmarks(points), known[FLIP_POINTS]
        image = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        return image, torch.as_tensor(self.target(points, known))


def tests(faces: list[Face], name: str, size: int) -> tuple[torch.Tensor, np.ndarray]:
    """The crops of one of TESTS, uint8 N × 3 × S × S, and their frames, N × 2 × 3."""
    images, frames = [], []
    rng = np.random.default_rng(TEST_SEED)
    for face in faces:
        image, matrix = face.image, askew(face.points, rng, TEST_JITTER)
        if name in ("blur", "darkness"):
            image = corrupt(name, image, image[..., 0], face.points[None])[0]
        elif name == "occlusion":
            image = occlude_half(image, face.points)
        elif name == "rotation":
            matrix = frame(face.points, ROTATION)
        images.append(warp_crop(image, matrix, size))
        frames.append(matrix)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), np.stack(frames)
