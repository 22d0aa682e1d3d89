"""What serving.py compares with: the network as the examples of TorchServe run it, eager, fp32, one picture at a time.

Stands in for facemark/engine.py in the archive that it measures.
"""

import numpy as np
import torch

from facemark.models.unet import STRIDE, ParsingNet


def engine(network: ParsingNet, device: torch.device):
    """As :func:`facemark.engine.engine`."""
    network = network.to(device)

    @torch.no_grad()
    def look(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        padded = np.pad(image, [(0, -height % STRIDE), (0, -width % STRIDE), (0, 0)])
        batch = torch.from_numpy(padded).to(device).permute(2, 0, 1)[None]
        return network(batch).softmax(1)[0, :, :height, :width].cpu().numpy()

    return lambda images: [look(image) for image in images]
