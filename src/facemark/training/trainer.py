"""Lightning's trainer, and one training from its start or its last checkpoint to its end."""

import ctypes
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
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
from lightning.pytorch.loggers import Logger
from torch.optim.swa_utils import get_ema_multi_avg_fn

from facemark.data.samples import Sample
from facemark.data.splits import class_weights, read_index
from facemark.models.bundle import ModelBundle
from facemark.models.unet import ParsingNet, build
from facemark.settings import PACKAGE, PREPARED, Params, Phase, Train
from facemark.training.curves import Curves
from facemark.training.datamodule import FaceDataModule, phase_number
from facemark.training.precision import lightning_precision
from facemark.training.task import PHASE_RANK, RANK, ParsingTask

CHECKPOINTS = Path("build/checkpoints")
"""A folder for each unfinished training, named by its :func:`fingerprint`."""
TRAINING_CODE = (
    *("geometry.py", "images.py", "labels.py", "data", "models", "evaluation/metrics.py"),
    *(f"training/{name}.py" for name in ("curves", "datamodule", "precision", "task", "trainer")),
)
"""Files and folders of the package that decide the result of a training, as in ``dvc.yaml``."""
BEST, LAST = "best", "last"
"""Names of the checkpoints of the best and of the latest epoch."""


def exponential_average(decay: float) -> Callable[[list[torch.Tensor], list[torch.Tensor], torch.Tensor], None]:
    """Return the update of an exponential moving average of weights, for WeightAveraging.

    Its decay grows with the number of updates up to ``decay``, so that the random initial weights soon count little.
    """

    def average(averaged: list[torch.Tensor], current: list[torch.Tensor], updates: torch.Tensor) -> None:
        current_decay = min(decay, (1 + float(updates)) / (10 + float(updates)))
        get_ema_multi_avg_fn(current_decay)(averaged, current, updates)

    return average


def best_checkpoint(trainer: L.Trainer) -> ModelCheckpoint:
    """The callback of :func:`create_trainer` that keeps the best epoch.

    Raises:
        LookupError: the trainer has none.
    """
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor == RANK:
            return callback
    raise LookupError("the trainer keeps no best epoch")


def best_mean_f1(trainer: L.Trainer, phases: list[Phase]) -> float:
    """Validation mean F1 of the best epoch, in per cent with three decimals, when training has ended.

    Raises:
        LookupError: no epoch has ended.
    """
    rank = best_checkpoint(trainer).best_model_score
    if rank is None:
        raise LookupError("no epoch has ended")
    return round(float(rank) - PHASE_RANK * phase_number(phases, trainer.current_epoch - 1), 3)  # it is float32


def keep_memory() -> None:
    """Let glibc keep freed memory, on Linux without a GPU.

    Returning big tensors to the kernel and asking for them again takes 40 % of a training step there.
    """
    if sys.platform == "linux" and not torch.cuda.is_available():
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            trim_threshold, mmap_max = -1, -4
            libc.mallopt(trim_threshold, 2**31 - 1)
            libc.mallopt(mmap_max, 0)


def create_trainer(settings: Train, checkpoints: Path, loggers: list[Logger]) -> L.Trainer:
    """Create a Lightning trainer.

    Args:
        settings: the section ``train``.
        checkpoints: folder in which it keeps the latest epoch, and the best one of the latest phase.
        loggers: Lightning's.

    Raises:
        SystemExit: the batch cannot be divided among the processes.
    """
    trainer = L.Trainer(
        max_epochs=sum(phase.epochs for phase in settings.phases),
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        precision=lightning_precision(settings.accelerator),
        gradient_clip_val=settings.clip,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        logger=loggers,
        callbacks=[
            WeightAveraging(multi_avg_fn=exponential_average(settings.ema_decay)),
            ModelCheckpoint(checkpoints, BEST, monitor=RANK, mode="max", enable_version_counter=False),
            ModelCheckpoint(checkpoints, LAST, enable_version_counter=False),
            EarlyStopping(RANK, mode="max", patience=settings.patience),
            Curves(),
            RichProgressBar(leave=True),
            *([LearningRateMonitor("step")] if loggers else []),
        ],
    )
    if settings.batch_size % trainer.world_size:
        raise SystemExit(
            f"train.batch_size {settings.batch_size} cannot be shared by {trainer.world_size} processes; "
            "make it a multiple of their number"
        )
    return trainer


def fingerprint(params: Params) -> str:
    """Return a name of 16 hexadecimal digits for this very training.

    It depends on the params of ``prepare`` and ``train``, the indexes of the datasets, the initial weights and
    TRAINING_CODE. So a training resumes only its own checkpoints, and edits of other code do not lose them.
    """
    state = hashlib.sha256(params.model_dump_json(include={"prepare", "train"}).encode())
    indexes = [PREPARED / name / "index.csv" for name in params.prepare.datasets]
    starts = [Path(params.train.start_from, "model.safetensors"), Path(params.train.encoder_weights)]
    code = [file for name in TRAINING_CODE for file in (PACKAGE / name, *sorted((PACKAGE / name).glob("**/*.py")))]
    for path in [*indexes, *starts, *code]:
        if path.is_file():
            state.update(path.read_bytes())
    return state.hexdigest()[:16]


def initial_network(settings: Train) -> ParsingNet:
    """Return the network that training starts with.

    Raises:
        FileNotFoundError: ``start_from`` or ``encoder_weights`` does not exist.
        ConnectionError: ``encoder_weights`` is ``imagenet``, and the download failed.
        ValueError: the network cannot be built, or the weights are those of another one.
    """
    if settings.start_from == "none":
        return build(settings.network, settings.encoder_weights)
    bundle = ModelBundle.open(settings.start_from)
    if bundle.config.network != settings.network:
        raise ValueError(
            f"train.network is {settings.network}, but {settings.start_from} contains {bundle.config.network}; "
            "set train.start_from to none, or train.network to the network of those weights"
        )
    network = bundle.network()
    network.train()
    return network


def training_samples(params: Params) -> list[Sample]:
    """Return the training samples of the datasets that the parser is trained on, with the weight of their dataset."""
    return [
        replace(sample, weight=dataset.weight)
        for name, dataset in params.prepare.datasets.items()
        if "parsing" in dataset.use
        for sample in read_index([PREPARED / name], "train")
    ]


def class_pixels(params: Params) -> np.ndarray:
    """Return the number of training pixels of each class, 19 values, of the datasets that the parser is trained on."""
    counts = [
        list(json.loads((PREPARED / name / "statistics.json").read_text())["pixels"].values())
        for name, dataset in params.prepare.datasets.items()
        if "parsing" in dataset.use
    ]
    return np.array(counts).sum(0)


def fit_network(params: Params, checkpoints: Path, loggers: list[Logger]) -> tuple[L.Trainer, ParsingNet]:
    """Train the network, or resume from its checkpoints.

    Args:
        params: of the pipeline; the datasets must have been prepared.
        checkpoints: folder of this training's checkpoints.
        loggers: Lightning's.

    Returns:
        The trainer and the network, when training has ended.

    Raises:
        SystemExit: there is nothing to train or validate on, the network cannot be built, or training was interrupted.
        OSError: the initial weights cannot be read or downloaded.
    """
    settings = params.train
    L.seed_everything(settings.seed, workers=True, verbose=False)
    keep_memory()
    try:
        network = initial_network(settings)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    validation = read_index([PREPARED / name for name in params.prepare.datasets], "val")
    data = FaceDataModule(training_samples(params), validation, settings)
    if not data.train:
        raise SystemExit(
            "no dataset that the parser is trained on has pictures in its train split; add one, lower prepare.splits, "
            "or add parsing to a dataset's use"
        )
    if not data.val:
        raise SystemExit("no dataset has masks in its val split, by which the best epoch is chosen; add one that has")
    task = ParsingTask(network, settings, class_weights(class_pixels(params)).tolist())
    trainer = create_trainer(settings, checkpoints, loggers)
    last = checkpoints / f"{LAST}.ckpt"
    trainer.fit(task, data, ckpt_path=last if last.exists() else None)
    return trainer, network
