"""Cost of reading and augmenting next to the training step: ``python benchmarks/data_loading.py``.

Steps on batches from the loader are timed against the same steps on one batch in memory, in turn. The loader's workers
use the same cores. The first steps of each round are left out.
"""

import time
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from facemark.data.samples import Sample, folder_samples
from facemark.labels import CLASSES
from facemark.models.unet import build
from facemark.settings import load_params
from facemark.training.datamodule import FaceDataset
from facemark.training.precision import training_dtype
from facemark.training.task import ParsingTask
from facemark.training.trainer import keep_memory

WARM_UP = 5
"""Steps that are left out: the loader's workers start, and prefetched batches are used up."""


class Training:
    """The bare training step: forward, loss, backward, clipping, AdamW."""

    def __init__(self):
        self.settings = load_params().train
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        network = build(self.settings.network).to(memory_format=torch.channels_last)
        self.task = ParsingTask(network, self.settings, [1.0] * len(CLASSES)).to(self.device)
        self.optimizer = torch.optim.AdamW(self.task.parameters(), self.settings.learning_rate)
        self.dtype = training_dtype(self.device)

    def step(self, batch: list[torch.Tensor]) -> None:
        """Take one step on images N × 3 × S × S and masks N × S × S."""
        images, masks = (each.to(self.device) for each in batch)
        with torch.autocast(self.device, self.dtype, enabled=self.dtype != torch.float32):
            loss, _ = self.task.loss((images, masks))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.task.parameters(), self.settings.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if self.device == "cuda":
            torch.cuda.synchronize()

    def seconds(self, batches: Iterator, steps: int) -> float:
        """Mean seconds of a step, including those of its batch."""
        for batch in islice(batches, WARM_UP):
            self.step(batch)
        start = time.perf_counter()
        for batch in islice(batches, steps):
            self.step(batch)
        return (time.perf_counter() - start) / steps


def loader(samples: list[Sample], size: int, epoch: int, batch: int, workers: int) -> DataLoader:
    """The loader of training."""
    return DataLoader(FaceDataset(samples, size, 1, epoch), batch, shuffle=True, drop_last=True, num_workers=workers)


def main(
    data: Path = Path("data"),
    size: Annotated[int, typer.Option(help="input side, pixels")] = 256,
    steps: int = 12,
    rounds: int = 3,
) -> None:
    """Train on the images of DATA/train."""
    keep_memory()
    training = Training()
    batch, workers = training.settings.batch_size, training.settings.workers
    samples = [s for s in folder_samples(data) if s.split == "train"]
    samples = samples * (1 + (steps + WARM_UP) * batch // len(samples))
    in_memory = next(iter(loader(samples, size, 0, batch, workers)))
    bare, loaded = [], []
    for epoch in range(rounds):
        bare.append(training.seconds(repeat(in_memory), steps))
        loaded.append(training.seconds(iter(loader(samples, size, epoch, batch, workers)), steps))
    table = Table("", "ms an image", "relative to the bare step")
    table.add_row("bare step", f"{1000 * np.median(bare) / batch:.1f}", "")
    costs = np.array(loaded) / np.array(bare)
    spread = f"{np.median(costs):.0%} ({costs.min():.0%} to {costs.max():.0%})"
    table.add_row("with the loader", f"{1000 * np.median(loaded) / batch:.1f}", spread)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
