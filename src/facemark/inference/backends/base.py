"""What all backends share: their interface, and how images of any sizes become batches."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from facemark.models.unet import STRIDE

MAX_BATCH = 16
"""Images of one size that go through the network at once, where batches are made."""


class Backend(Protocol):
    """A network, ready for a device."""

    device: str
    precision: str
    """The number format that it computes in: bf16, f16 or f32."""

    def __call__(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Class probabilities of images.

        Args:
            images: H × W × 3 RGB uint8, of any sizes.

        Returns:
            19 × H × W float32 of each.
        """


def pad_to_stride(image: np.ndarray) -> np.ndarray:
    """An image with black below and to the right, up to multiples of STRIDE pixels."""
    return np.pad(image, [*((0, -length % STRIDE) for length in image.shape[:2]), (0, 0)])


def batches(shapes: list[tuple[int, ...]]) -> Iterator[list[int]]:
    """The indices of equal shapes, at most MAX_BATCH together."""
    for shape in dict.fromkeys(shapes):
        same = [i for i, each in enumerate(shapes) if each == shape]
        yield from (same[i : i + MAX_BATCH] for i in range(0, len(same), MAX_BATCH))
