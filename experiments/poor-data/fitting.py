"""Training one method on labels, and predicting points with it."""

import numpy as np
import torch
from faces import CropDataset, Face, crop_frame
from methods import METHODS, NETWORK, Correction, Method
from rich.progress import track
from runtime import DEVICE, Settings, autocast, inference
from torch import nn
from torch.utils.data import DataLoader

from facemark.data.outliers import correct_points
from facemark.geometry import apply, invert
from facemark.settings import Network
from facemark.training.trainer import keep_memory

TEST_BATCH = 32
"""Test crops in one batch."""
COMPLETION_RANK, COMPLETION_ITERATIONS = 20, 30
"""Of :func:`complete_points`: number of modes, and of iterations."""


def complete_points(points: np.ndarray) -> np.ndarray:
    """Predict missing points from the others, by a low-rank fit.

    Singular values are lowered by the first one beyond the rank, as in softImpute (Mazumder et al., JMLR 2010).

    Args:
        points: N × 68 × 2 of aligned faces, NaN where missing.

    Returns:
        N × 68 × 2, known points unchanged.
    """
    rows = points.reshape(len(points), -1)
    known = np.isfinite(rows)
    given = np.where(known, rows, 0)
    rows = np.where(known, rows, given.sum(0) / known.sum(0).clip(1))
    for _ in range(COMPLETION_ITERATIONS):
        mean = rows.mean(0)
        u, s, v = np.linalg.svd(rows - mean, full_matrices=False)
        s = (s - s[min(COMPLETION_RANK, len(s) - 1)]).clip(0)
        rows = np.where(known, given, (u * s) @ v + mean)
    return rows.reshape(points.shape)


def fit(
    name: str,
    faces: list[Face],
    labels: np.ndarray,
    settings: Settings,
    rate: float,
    seed: int,
    network: Network = NETWORK,
) -> Method:
    """Train one of METHODS. Outliers among the labels are corrected first, as the project's ``prepare`` does.

    Args:
        name: of the method.
        faces: to train on.
        labels: of these faces, N × 68 × 2 pixels of their images, NaN where missing.
        settings: common to all methods.
        rate: highest learning rate.
        seed: of initial weights, order and augmentation, which do not depend on the labels.
        network: whose encoder the method uses.
    """
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(seed)
    keep_memory()
    known = np.isfinite(labels).all(-1)
    labels = correct_points(labels)[0] if known.all() else labels
    frames = np.array([crop_frame(face.points) for face in faces])
    shapes = complete_points(np.array([apply(*each) for each in zip(frames, labels, strict=True)]))
    labels = np.array([apply(invert(matrix), shape) for matrix, shape in zip(frames, shapes, strict=True)])

    method = METHODS[name](shapes, settings.size, network)
    net = method.network.to(DEVICE).to(memory_format=torch.channels_last).train()
    count = settings.updates * settings.batch_size
    crops = CropDataset(faces, labels, known, count, settings.size, seed, method.target)
    optimizer = torch.optim.AdamW(net.parameters(), rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, settings.updates, pct_start=settings.warmup)
    batches = DataLoader(crops, settings.batch_size, num_workers=settings.workers)
    for images, targets in track(batches, f"training {name}"):
        with autocast():
            loss = method.loss(images.to(DEVICE), targets.to(DEVICE))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), settings.clip)
        optimizer.step()
        schedule.step()
    net.eval()
    method.finish(faces, labels, known, settings, seed)
    return method


def predict(
    method: Method, images: torch.Tensor, frames: np.ndarray, correction: Correction | None = None
) -> np.ndarray:
    """Predict points.

    Args:
        method: trained.
        images: crops, uint8 N × 3 × S × S.
        frames: of the crops, N × 2 × 3.
        correction: applied to the points in shares of the crops.

    Returns:
        N × 68 × 2 in pixels of the images that were cropped.
    """
    with inference():
        shares = np.concatenate([method.points(part.to(DEVICE)) for part in images.split(TEST_BATCH)])
    shares = correction(shares) if correction else shares
    return np.array([apply(invert(matrix), points) for matrix, points in zip(frames, shares, strict=True)])
