"""Lightning's trainer, and one training from its start or its last checkpoint to its end."""

import ctypes
import hashlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import CSVLogger, Logger
from torch.optim.swa_utils import get_ema_multi_avg_fn

from facemark.data.samples import Sample
from facemark.data.splits import class_weights, read_index
from facemark.models.bundle import ModelBundle
from facemark.models.unet import ParsingNet, build
from facemark.settings import PACKAGE, PREPARED, Params, Phase, Train
from facemark.training.datamodule import FaceDataModule, phase_number
from facemark.training.task import PHASE_RANK, RANK, ParsingTask

CHECKPOINTS = Path("build/checkpoints")
TRAINING_CODE = ("*.py", "data", "models", "training", "evaluation/metrics.py")
"""What of the package decides the result of a training."""
BEST, LAST = "best", "last"
"""Names of the checkpoints of the best and of the latest epoch."""


def product_time(dtype: torch.dtype) -> float:
    """Processor seconds that one thread takes for the product of two matrices of 512 × 512, the best of some tries.

    Not the clock's: by that, what else the machine does would decide on the number format.
    """
    matrix, times, threads = torch.ones(512, 512, dtype=dtype), [], torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(5):
        start = time.thread_time()
        matrix @ matrix
        times.append(time.thread_time() - start)
    torch.set_num_threads(threads)
    return min(times)


@cache
def training_dtype(device: str) -> torch.dtype:
    """The number format to train in on a type of device: on GPUs bf16, whose range is fp32's, or fp16 if they lack it.

    On CPUs bf16 where it is clearly faster than fp32. That is measured, because some processors that have instructions
    for bf16 are slower in it; near the same speed, chance would choose, and two trainings from one seed would differ.
    """
    if device == "cpu":
        return torch.bfloat16 if 1.25 * product_time(torch.bfloat16) < product_time(torch.float32) else torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def lightning_precision(accelerator: str) -> str:
    """Lightning's name of the number format that suits the device."""
    device = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    return {torch.float16: "16-mixed", torch.bfloat16: "bf16-mixed", torch.float32: "32-true"}[training_dtype(device)]


def exponential_average(decay: float) -> Callable[[list[torch.Tensor], list[torch.Tensor], torch.Tensor], None]:
    """An exponential moving average whose memory grows with its age, so that it soon forgets the random start."""

    def average(averaged: list[torch.Tensor], current: list[torch.Tensor], updates: torch.Tensor) -> None:
        kept = min(decay, (1 + float(updates)) / (10 + float(updates)))
        get_ema_multi_avg_fn(kept)(averaged, current, updates)

    return average


def best_mean_f1(done: L.Trainer, phases: list[Phase]) -> float:
    """Validation mean F1 of the best epoch of a finished training."""
    best = float(done.checkpoint_callback.best_model_score) - PHASE_RANK * phase_number(phases, done.current_epoch - 1)
    return round(best, 3)  # Lightning keeps it in float32


def keep_memory() -> None:
    """Tell glibc to keep freed blocks: handing big tensors back to the kernel at each step costs 40 % of a CPU step."""
    if sys.platform == "linux" and not torch.cuda.is_available():
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            trim_threshold, mmap_max = -1, -4
            libc.mallopt(trim_threshold, 2**31 - 1)
            libc.mallopt(mmap_max, 0)


def create_trainer(settings: Train, checkpoints: Path, logger: list) -> L.Trainer:
    """A Lightning trainer that keeps in ``checkpoints`` the latest epoch, and the best of the last phase it reached.

    Raises:
        SystemExit: its processes cannot share a batch evenly.
    """
    made = L.Trainer(
        max_epochs=sum(phase.epochs for phase in settings.phases),
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        precision=lightning_precision(settings.accelerator),
        gradient_clip_val=settings.clip,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        logger=logger,
        callbacks=[
            WeightAveraging(multi_avg_fn=exponential_average(settings.ema_decay)),
            ModelCheckpoint(checkpoints, BEST, monitor=RANK, mode="max", enable_version_counter=False),
            ModelCheckpoint(checkpoints, LAST, enable_version_counter=False),
            EarlyStopping(RANK, mode="max", patience=settings.patience),
            LearningRateMonitor("step"),
            RichProgressBar(leave=True),
        ],
    )
    if settings.batch_size % made.world_size:
        raise SystemExit(
            f"train.batch_size {settings.batch_size} cannot be shared by {made.world_size} processes; "
            "make it a multiple of their number"
        )
    return made


def fingerprint(params: Params) -> str:
    """A name for this very training: another dataset, start, parameter or code never resumes its checkpoints.

    Of the code, that which training runs counts: an edit elsewhere does not cost an interrupted training its state.
    """
    state = hashlib.sha256(params.model_dump_json(include={"prepare", "train"}).encode())
    indexes = [PREPARED / name / "index.csv" for name in params.prepare.datasets]
    starts = [Path(params.train.start_from, "model.safetensors"), Path(params.train.encoder_weights)]
    code = sorted(file for name in TRAINING_CODE for file in [*PACKAGE.glob(name), *PACKAGE.glob(f"{name}/**/*.py")])
    for path in [*indexes, *starts, *code]:
        if path.is_file():
            state.update(path.read_bytes())
    return state.hexdigest()[:16]


def initial_network(settings: Train) -> ParsingNet:
    """The network that training begins with.

    Raises:
        FileNotFoundError, ConnectionError: what it is to start from cannot be had.
        ValueError: the network cannot be built, or the weights are another network's.
    """
    if settings.start_from == "none":
        return build(settings.network, settings.encoder_weights)
    bundle = ModelBundle.open(settings.start_from)
    if bundle.config.network != settings.network:
        raise ValueError(
            f"train.start_from: {settings.start_from} holds {bundle.config.network}, and train.network asks for "
            f"{settings.network}; set start_from to none, or network to that of the weights"
        )
    return bundle.network().train()


def training_samples(params: Params) -> list[Sample]:
    """The training samples of all datasets that the parser is to learn from, each with its dataset's weight."""
    return [
        replace(sample, weight=dataset.weight)
        for name, dataset in params.prepare.datasets.items()
        if "parsing" in dataset.use
        for sample in read_index([PREPARED / name], "train")
    ]


def class_pixels(folders: list[Path]) -> np.ndarray:
    """Training pixels of each class over all prepared datasets."""
    counts = [json.loads((folder / "statistics.json").read_text())["pixels"].values() for folder in folders]
    return np.array([list(c) for c in counts]).sum(0)


def fit_network(params: Params, checkpoints: Path, loggers: list[Logger]) -> tuple[L.Trainer, ParsingNet]:
    """Train the network, or go on from the checkpoints; returns the trainer when all is done.

    Raises:
        SystemExit: there is nothing to train or to validate on, or training was interrupted.
    """
    settings = params.train
    L.seed_everything(settings.seed, workers=True, verbose=False)
    keep_memory()
    network = initial_network(settings)
    folders = [PREPARED / name for name in params.prepare.datasets]
    data = FaceDataModule(training_samples(params), read_index(folders, "val"), settings)
    if not data.train:
        raise SystemExit("no dataset has pictures in its train split; add one that has, or lower prepare.splits")
    if not data.val:
        raise SystemExit("no dataset has masks in its val split, by which the best epoch is told; add one that has")
    task = ParsingTask(network, settings, class_weights(class_pixels(folders)).tolist())
    done = create_trainer(settings, checkpoints, [CSVLogger(checkpoints, name="logs"), *loggers])
    last = checkpoints / f"{LAST}.ckpt"
    done.fit(task, data, ckpt_path=last if last.exists() else None)
    return done, network
