"""DVC stage ``train``: fit the parsing network. Interrupted, it goes on from its last finished epoch."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import lightning as L
import mlflow
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger

from facemark import model, registry, tracking
from facemark.datasets import read_index
from facemark.settings import WEIGHTS, Params, Phase, load_params
from facemark.stages.prepare import PREPARED, class_weights
from facemark.training import LAST, FaceData, ParsingTask, best_mean_f1, keep_memory, phase_at, trainer

OUT = WEIGHTS.parent
CHECKPOINTS = Path("build/checkpoints")


def fingerprint(params: Params) -> str:
    """A name for this very training: another dataset, start, parameter or code never resumes its checkpoints."""
    state = hashlib.sha256(params.model_dump_json(include={"prepare", "train"}).encode())
    starts, code = (params.train.start_from, params.train.encoder_weights), sorted(registry.PACKAGE.rglob("*.py"))
    for path in [*(PREPARED / name / "index.csv" for name in params.prepare.datasets), *map(Path, starts), *code]:
        if path.is_file():
            state.update(path.read_bytes())
    return state.hexdigest()[:16]


def pixels(folders: list[Path]) -> np.ndarray:
    """Training pixels of each class over all datasets."""
    counts = [json.loads((folder / "statistics.json").read_text())["pixels"].values() for folder in folders]
    return np.array([list(c) for c in counts]).sum(0)


def curves(logs: Path, out: Path) -> None:
    """Gather Lightning's logs, one for each start of this training, into one row an epoch."""
    epochs: dict[int, dict] = {}
    for log in sorted(logs.glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1])):
        with log.open() as file:
            for row in csv.DictReader(file):
                if row.get("epoch"):  # a start that was cut short has logged none
                    epochs.setdefault(int(row["epoch"]), {}).update({k: v for k, v in row.items() if v})
    names = ["epoch", "train/loss", "val/loss", "val/mean_f1", "val/mean_f1_face"]
    with out.open("w", newline="") as file:
        rows = csv.DictWriter(file, names, extrasaction="ignore")
        rows.writeheader()
        rows.writerows(epoch for _, epoch in sorted(epochs.items()))


def start(params: Params) -> model.ParsingNet:
    """The network that training begins with; refuses what cannot be had before anything else is done."""
    if params.train.start_from != "none":
        return model.load(params.train.start_from)[0].train()
    return model.build(params.train.encoder_weights)


def write(fit: L.Trainer, network: model.ParsingNet, phases: list[Phase], logs: Path) -> dict:
    """Write what the stage declares: the best epoch's averaged weights, the curves, and its figures; answers these."""
    best = torch.load(fit.checkpoint_callback.best_model_path, map_location="cpu", weights_only=True)
    state = {k.removeprefix("network."): v for k, v in best["state_dict"].items() if k.startswith("network.")}
    network.load_state_dict(state)
    OUT.mkdir(parents=True, exist_ok=True)
    model.save(network, WEIGHTS, phase_at(phases, best["epoch"]).size)
    curves(logs, OUT / "curves.csv")
    figures = {"epochs": fit.current_epoch, "best_mean_f1": best_mean_f1(fit, phases)}
    (OUT / "metrics.json").write_text(json.dumps(figures, indent=1))
    return figures


def fit(params: Params, checkpoints: Path, runs: tracking.Runs | None) -> tuple[L.Trainer, model.ParsingNet]:
    """Train the network, or go on from the checkpoints; answers the trainer when all is done.

    Raises:
        SystemExit: there is nothing to train or to validate on, or training was interrupted.
    """
    settings = params.train
    L.seed_everything(settings.seed, workers=True, verbose=False)
    keep_memory()
    network = start(params)
    folders = [PREPARED / name for name in params.prepare.datasets]
    weighted = [
        replace(sample, weight=dataset.weight)
        for folder, dataset in zip(folders, params.prepare.datasets.values(), strict=True)
        for sample in read_index([folder], "train")
    ]
    data = FaceData(weighted, read_index(folders, "val"), settings)
    if not data.train:
        raise SystemExit("no dataset has pictures in its train split; add one that has, or lower prepare.splits")
    if not data.val:
        raise SystemExit("no dataset has masks in its val split, by which the best epoch is told; add one that has")
    task = ParsingTask(network, settings, class_weights(pixels(folders)).tolist())
    loggers = [CSVLogger(checkpoints, name="logs")]
    if runs:  # only the process that has them opens MLflow's store: two that create it at once fail
        loggers.append(tracking.logger(runs))
    done = trainer(settings, checkpoints, loggers)
    last = checkpoints / f"{LAST}.ckpt"
    done.fit(task, data, ckpt_path=last if last.exists() else None)
    return done, network


def train(params: Params) -> None:
    """Train, or go on training, and write the result; every process of a distributed training runs this."""
    checkpoints = CHECKPOINTS / fingerprint(params)
    with tracking.stage("train", params.of_stages()) as runs:
        try:
            done, network = fit(params, checkpoints, runs)
        except SystemExit as error:
            if error.code != 1:
                raise
            # by which Lightning ends what a person interrupts
            raise SystemExit(
                "training was interrupted; the same command goes on from the last finished epoch"
            ) from error
        if done.is_global_zero:
            figures = write(done, network, params.train.phases, checkpoints / "logs")
            mlflow.log_metrics(tracking.flatten(figures, "train/"), run_id=runs.whole)
            tracking.tag(runs, {"model.md5": registry.md5(WEIGHTS)})
            for name, dataset in params.prepare.datasets.items():
                index = PREPARED / name / "index.csv"
                for split, context in (("train", "training"), ("val", "validation")):
                    mlflow.log_input(tracking.dataset(name, index, dataset.path, split), context)
            shutil.rmtree(checkpoints)


if __name__ == "__main__":
    train(load_params())
