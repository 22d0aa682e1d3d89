"""The network on a torch device, by default a GPU, in half precision."""

import numpy as np
import torch

from facemark.inference.backends.base import batches, pad_to_stride
from facemark.models.unet import SoftmaxNet


class TorchBackend:
    """Runs all images of one size together."""

    precision = "f16"

    def __init__(self, network: SoftmaxNet, device: torch.device):
        self.network, self.device = network.to(device).to(memory_format=torch.channels_last), str(device)

    def __call__(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """See :class:`facemark.inference.backends.base.Backend`."""
        probabilities: list = [None] * len(images)
        for batch in batches([image.shape for image in images]):
            found = self._forward(np.stack([pad_to_stride(images[i]) for i in batch]))
            height, width = images[batch[0]].shape[:2]
            for i, each in zip(batch, found[:, :, :height, :width], strict=True):
                probabilities[i] = each
        return probabilities

    @torch.inference_mode()
    def _forward(self, images: np.ndarray) -> np.ndarray:
        with torch.autocast(torch.device(self.device).type, torch.float16):
            return self.network(torch.from_numpy(images).to(self.device)).float().cpu().numpy()
