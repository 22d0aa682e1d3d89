"""The forward passes: whole images at each scale of their pyramid, and aligned crops."""

from dataclasses import replace

import numpy as np

from facemark.inference.alignment import warp_crop
from facemark.inference.backends import Backend
from facemark.inference.config import InferenceConfig
from facemark.inference.detection import image_pyramid
from facemark.inference.instances import suppress_other_faces
from facemark.inference.types import View
from facemark.labels import CLASSES, FLIP


def merge_hflip(probabilities: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """The mean of the probabilities, 19 × H × W, of an image and of its mirror image, in the image's own frame."""
    return (probabilities + mirrored[FLIP[: len(CLASSES)], :, ::-1]) / 2


def segment_images(
    backend: Backend, images: list[np.ndarray], size: int, turns: tuple[int, ...], hflip: bool, config: InferenceConfig
) -> list[list[View]]:
    """The coarse views of each image: after each of the quarter ``turns``, at each scale.

    With ``hflip``, the first view of each image is averaged with its mirror image.
    """
    levels = [[level for turn in turns for level in image_pyramid(image, size, turn, config)] for image in images]
    mirrored = [each[0][1][:, ::-1] for each in levels if hflip]
    probabilities = iter(backend([*(small for each in levels for _, small in each), *mirrored]))
    views = [[View(matrix, next(probabilities)) for matrix, _ in each] for each in levels]
    for each, other in zip(views, probabilities, strict=False):  # nothing is left of these without hflip
        each[0] = replace(each[0], probabilities=merge_hflip(each[0].probabilities, other))
    return views


def segment_crops(
    backend: Backend,
    images: list[np.ndarray],
    frames: list[list[np.ndarray]],
    size: int,
    hflip: bool,
    config: InferenceConfig,
) -> list[list[View]]:
    """The aligned crops of each image in its frames, other faces suppressed."""
    crops = [warp_crop(image, frame, size) for image, each in zip(images, frames, strict=True) for frame in each]
    probabilities = iter(segment_hflip(backend, crops) if hflip else backend(crops))
    return [[View(frame, suppress_other_faces(next(probabilities), config)) for frame in each] for each in frames]


def segment_hflip(backend: Backend, images: list[np.ndarray]) -> list[np.ndarray]:
    """Probabilities of images, each averaged with its mirror image."""
    probabilities = backend([*images, *(image[:, ::-1] for image in images)])
    pairs = zip(probabilities[: len(images)], probabilities[len(images) :], strict=True)
    return [merge_hflip(*pair) for pair in pairs]
