"""Four images of noise, settings and a network for trainings of a second."""

from pathlib import Path

import cv2
import numpy as np
from clone import NETWORK

from facemark.data.samples import Sample
from facemark.models.unet import ParsingNet, build
from facemark.settings import Network, Phase, Train, load_params


def write_samples(folder: Path) -> list[Sample]:
    """Write images of 70 × 60 pixels with masks of random classes."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(4):
        image, mask = folder / f"{i}.jpg", folder / f"{i}.png"
        cv2.imwrite(str(image), rng.integers(0, 256, (70, 60, 3), np.uint8))
        cv2.imwrite(str(mask), rng.integers(0, 19, (70, 60), np.uint8))
        samples.append(Sample(image, mask, None, "train"))
    return samples


def settings(**changes) -> Train:
    """The section ``train`` of params.yaml with a tiny network, one epoch at 32 pixels, and these changes."""
    return load_params().train.model_copy(
        update={"start_from": "none", "network": Network.model_validate(NETWORK), "freeze_batchnorm": False}
        | {"phases": [Phase(size=32, epochs=1)], "batch_size": 2, "workers": 0, "accelerator": "cpu"}
        | changes
    )


def tiny_network() -> ParsingNet:
    """An untrained network of half a million weights."""
    return build(Network.model_validate(NETWORK))
