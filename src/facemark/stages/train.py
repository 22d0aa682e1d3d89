"""DVC stage ``train``: fit the parsing network. Interrupted, it goes on from its last finished epoch."""

import csv
import json
import shutil
from pathlib import Path

import lightning as L
import mlflow
import torch

from facemark.mlops import registry, tracking
from facemark.models.bundle import save_network
from facemark.models.unet import ParsingNet
from facemark.settings import PREPARED, TRAINED, Params, Train, load_params
from facemark.training.datamodule import phase_at
from facemark.training.trainer import CHECKPOINTS, best_mean_f1, fingerprint, fit_network


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


def write(fit: L.Trainer, network: ParsingNet, settings: Train, logs: Path) -> dict:
    """Write what the stage declares: the best epoch's averaged weights, the curves, and its figures; returns these."""
    best = torch.load(fit.checkpoint_callback.best_model_path, map_location="cpu", weights_only=True)
    state = {k.removeprefix("network."): v for k, v in best["state_dict"].items() if k.startswith("network.")}
    network.load_state_dict(state)
    save_network(network, settings.network, phase_at(settings.phases, best["epoch"]).size, TRAINED)
    curves(logs, TRAINED / "curves.csv")
    figures = {"epochs": fit.current_epoch, "best_mean_f1": best_mean_f1(fit, settings.phases)}
    (TRAINED / "metrics.json").write_text(json.dumps(figures, indent=1))
    return figures


def train(params: Params) -> None:
    """Train, or go on training, and write the result; every process of a distributed training runs this."""
    checkpoints = CHECKPOINTS / fingerprint(params)
    with tracking.stage("train", params.of_stages()) as runs:
        try:
            # only the process that has runs opens MLflow's store: two that create it at once fail
            done, network = fit_network(params, checkpoints, [tracking.logger(runs)] if runs else [])
        except SystemExit as error:
            if error.code != 1:
                raise
            # by which Lightning ends what a person interrupts
            raise SystemExit(
                "training was interrupted; the same command goes on from the last finished epoch"
            ) from error
        if done.is_global_zero:
            figures = write(done, network, params.train, checkpoints / "logs")
            mlflow.log_metrics(tracking.flatten(figures, "train/"), run_id=runs.whole)
            tracking.tag(runs, {"model.md5": registry.md5(TRAINED / "model.safetensors")})
            for name, dataset in params.prepare.datasets.items():
                index = PREPARED / name / "index.csv"
                for split, context in (("train", "training"), ("val", "validation")):
                    mlflow.log_input(tracking.dataset(name, index, dataset.path, split), context)
            shutil.rmtree(checkpoints)


if __name__ == "__main__":
    train(load_params())
