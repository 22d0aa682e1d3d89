"""Training parameters and the number format of the networks, the same for all methods."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from facemark.training.precision import training_dtype

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Settings:
    """Training parameters, the same for all methods."""

    size: int
    """Side of a crop in pixels."""
    updates: int
    batch_size: int
    weight_decay: float
    warmup: float
    """Share of the updates."""
    clip: float
    """Gradient norm."""
    views: int
    """Crops that the fit after the network is made from; more where there are more faces."""
    workers: int


def compute_dtype() -> torch.dtype:
    """The number format of the networks: on a GPU bfloat16, which needs no scaling of gradients."""
    return torch.bfloat16 if DEVICE == "cuda" else training_dtype(DEVICE)


def autocast() -> torch.autocast:
    """Autocast to :func:`compute_dtype`; does nothing if that is float32."""
    return torch.autocast(DEVICE, compute_dtype(), enabled=compute_dtype() != torch.float32)


@contextmanager
def inference() -> Iterator[None]:
    """No gradients, and the number format of training."""
    with torch.inference_mode(), autocast():
        yield
