"""What serving.py compares with: the bare network in eager torch and fp32, one image at a time.

TorchServe's examples run networks like this. The file replaces
facemark/inference/backends/__init__.py in the archive that is measured.
"""

import numpy as np
import torch

from facemark.inference.backends.base import Backend, pad_to_stride
from facemark.models.bundle import ModelBundle
from facemark.models.unet import ParsingNet

__all__ = ["Backend", "NaiveBackend", "create_backend"]


class NaiveBackend:
    """See :class:`facemark.inference.backends.base.Backend`."""

    precision = "f32"

    def __init__(self, network: ParsingNet, device: str):
        self.network, self.device = network.to(device), device

    def __call__(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """Class probabilities, 19 × H × W, of H × W × 3 RGB uint8 images, one after the other."""
        return [self._forward(image) for image in images]

    @torch.no_grad()
    def _forward(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        batch = torch.from_numpy(pad_to_stride(image)).to(self.device).permute(2, 0, 1)[None]
        return self.network(batch).softmax(1)[0, :, :height, :width].cpu().numpy()


def create_backend(bundle: ModelBundle, device: str | None = None) -> Backend:
    """See :func:`facemark.inference.backends.create_backend`."""
    return NaiveBackend(bundle.network(), device or ("cuda" if torch.cuda.is_available() else "cpu"))
