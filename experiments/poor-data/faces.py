"""Training and test faces: the same crops with the same augmentation for every method.

Coordinates of labels and predictions are shares of the crop's side, from its top-left corner. A frame is the 2 × 3
matrix from an image to a crop of side 1. It is computed from the true box, so face detection is not part of the
comparison.
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

CROP_RATIO = 1.35
"""Side of a crop over the longer side of the box of its points."""
MAX_ROTATION, SCALE_STD, SHIFT_STD = 30, 0.1, 0.04
"""Jitter of training frames: degrees to each side, and standard deviations of the log scale and of the position."""
TEST_JITTER, TEST_SEED = 0.4, 68
"""Jitter of test frames relative to that of training, and its seed."""
TESTS = ("clean", "blur", "darkness", "occlusion", "rotation")
ROTATION = 30
"""Degrees of the test ``rotation``; the other tests are corruptions of :mod:`facemark.evaluation.corruptions`."""


@dataclass(frozen=True)
class Face:
    """An image of one face with its surroundings, and its true points, 68 × 2 pixels."""

    image: np.ndarray
    points: np.ndarray


def list_samples(folder: Path, split: str) -> list[Sample]:
    """The samples of a split, in a fixed order."""
    return [sample for sample in landmarks68.samples(folder) if sample.split == split]


def load_faces(samples: list[Sample]) -> list[Face]:
    """The largest face of each sample."""
    faces = []
    for sample in track(samples, "reading faces"):
        if sample.points is None:
            raise ValueError(f"{sample.image} has no points")
        points = max(read_points(sample.points).astype(float), key=lambda face: np.ptp(face, 0).max())
        image, points = crop_context(read_image(sample.image), points)
        image, _, points = rescale(image, image[..., 0], points, min(1, CORRUPTION_SIDE / max(image.shape)))
        faces.append(Face(image, points))
    return faces


def crop_frame(points: np.ndarray, turn: float = 0, zoom: float = 1, shift: np.ndarray | float = 0) -> np.ndarray:
    """The frame of the crop around 68 × 2 points.

    Args:
        points: (x, y) in pixels of the image.
        turn: degrees.
        zoom: scale.
        shift: (x, y) in sides of the crop.
    """
    low, high = points.min(0), points.max(0)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    matrix = zoom / (CROP_RATIO * (high - low).max()) * np.array([(cos, -sin), (sin, cos)])
    return np.c_[matrix, 0.5 + shift - matrix @ ((low + high) / 2)]


def jitter_frame(points: np.ndarray, rng: np.random.Generator, strength: float = 1) -> np.ndarray:
    """A frame that is rotated, scaled and shifted at random."""
    turn, log_scale, shift = (
        rng.uniform(-MAX_ROTATION, MAX_ROTATION),
        rng.normal(0, SCALE_STD),
        rng.normal(0, SHIFT_STD, 2),
    )
    return crop_frame(points, strength * turn, np.exp(strength * log_scale), strength * shift)


def photometric_augmentation(seed: int) -> A.Compose:
    """Random photometric augmentation, the same for the same seed."""
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
    """``count`` augmented crops, in a new order in each epoch. Every item has its own random state.

    Yields an image, uint8 3 × S × S, and its target.

    Args:
        faces: whose images are cropped.
        labels: of the faces, N × 68 × 2 pixels.
        known: which points of the faces are labelled, N × 68.
        count: length.
        size: side S of the crops in pixels.
        seed: of order and augmentation.
        target: from a crop's labels 68 × 2 and from which of them are known to the target.
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
        """The index of each item's face."""

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        which, rng = self.order[index], np.random.default_rng((self.seed, index))
        face, known = self.faces[which], self.known[which]
        frame = jitter_frame(face.points, rng)
        augment = photometric_augmentation(int(rng.integers(2**31)))
        image = augment(image=warp_crop(face.image, frame, self.size))["image"]
        points = apply(frame, self.labels[which])
        if rng.random() < 0.5:
            image, points, known = image[:, ::-1], flip_landmarks(points), known[FLIP_POINTS]
        image = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        return image, torch.as_tensor(self.target(points, known))


def crop_tests(faces: list[Face], name: str, size: int) -> tuple[torch.Tensor, np.ndarray]:
    """The crops of one of TESTS.

    Returns:
        Images, uint8 N × 3 × S × S, and their frames, N × 2 × 3.
    """
    images, frames = [], []
    rng = np.random.default_rng(TEST_SEED)
    for face in faces:
        image, frame = face.image, jitter_frame(face.points, rng, TEST_JITTER)
        if name in ("blur", "darkness"):
            image = corrupt(name, image, image[..., 0], face.points[None])[0]
        elif name == "occlusion":
            image = occlude_half(image, face.points)
        elif name == "rotation":
            frame = crop_frame(face.points, ROTATION)
        images.append(warp_crop(image, frame, size))
        frames.append(frame)
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), np.stack(frames)
