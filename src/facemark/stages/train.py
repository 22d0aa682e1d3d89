"""DVC stage ``train``: fit the parsing network. Interrupted, it goes on from its last finished epoch."""

import csv
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import CSVLogger

from facemark import model, tracking
from facemark.datasets import read_index
from facemark.settings import WEIGHTS, Params, load_params
from facemark.stages.prepare import PREPARED, class_weights
from facemark.training import LAST, FaceData, ParsingTask, keep_memory, trainer

OUT = WEIGHTS.parent
CHECKPOINTS = Path("build/checkpoints")


def fingerprint(params: Params, folders: list[Path]) -> str:
    """A name for this very training: another dataset, start or parameter never resumes its checkpoints."""
    state = hashlib.sha256(params.train.model_dump_json().encode())
    for path in [*(folder / "index.csv" for folder in folders), Path(params.train.start_from)]:
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


def write(fit: L.Trainer, network: model.ParsingNet, size: int, logs: Path, run_id: str) -> None:
    """Write what the stage declares: the best epoch's averaged weights, its figures, the curves, the run's id."""
    best = torch.load(fit.checkpoint_callback.best_model_path, map_location="cpu", weights_only=True)["state_dict"]
    network.load_state_dict({k.removeprefix("network."): v for k, v in best.items() if k.startswith("network.")})
    OUT.mkdir(parents=True, exist_ok=True)
    model.save(network, WEIGHTS, size)
    curves(logs, OUT / "curves.csv")
    figures = {"epochs": fit.current_epoch, "best_mean_f1": float(fit.checkpoint_callback.best_model_score)}
    (OUT / "metrics.json").write_text(json.dumps(figures, indent=1))
    (OUT / "run_id.txt").write_text(run_id)


def train(params: Params) -> None:
    """Train, or go on training, and write the result; every process of a distributed training runs this."""
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
    if not data.val:
        raise SystemExit("no dataset has masks in its val split, by which the best epoch is told; add one that has")
    task = ParsingTask(network, settings, class_weights(pixels(folders)).tolist())
    checkpoints = CHECKPOINTS / fingerprint(params, folders)
    record = checkpoints / "run_id.txt"
    with tracking.run(params.model_dump(mode="json"), record) as run_id:
        log = CSVLogger(checkpoints, name="logs")
        fit = trainer(settings, checkpoints, [log, tracking.logger(run_id)])
        if fit.is_global_zero:
            record.parent.mkdir(parents=True, exist_ok=True)
            record.write_text(run_id)
        last = checkpoints / f"{LAST}.ckpt"
        fit.fit(task, data, ckpt_path=last if last.exists() else None)
        if fit.interrupted:
            raise SystemExit("training was interrupted; the same command goes on from the last finished epoch")
        if fit.is_global_zero:
            write(fit, network, settings.phases[-1].size, checkpoints / "logs", run_id)
            shutil.rmtree(checkpoints)


if __name__ == "__main__":
    train(load_params())
