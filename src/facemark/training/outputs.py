"""What a finished training leaves: the bundle, the curves and the figures."""

import csv
import json
from pathlib import Path

import lightning as L
import torch

from facemark.models.bundle import save_network
from facemark.models.unet import ParsingNet
from facemark.settings import Train
from facemark.training.datamodule import phase_at
from facemark.training.trainer import best_checkpoint, best_mean_f1

CURVES = ["epoch", "train/loss", "val/loss", "val/mean_f1", "val/mean_f1_face"]
"""Columns of the table of curves."""


def write_outputs(trainer: L.Trainer, network: ParsingNet, settings: Train, logs: Path, out: Path) -> dict:
    """Write the bundle with the averaged weights of the best epoch, ``curves.csv`` and ``metrics.json``.

    Args:
        trainer: when training has ended.
        network: that was trained; the weights of the best epoch are loaded into it.
        settings: the section ``train``.
        logs: folder of Lightning's CSV logs.
        out: folder.

    Returns:
        The figures: the number of ``epochs`` and ``best_mean_f1``.
    """
    best = torch.load(best_checkpoint(trainer).best_model_path, map_location="cpu", weights_only=True)
    state = {k.removeprefix("network."): v for k, v in best["state_dict"].items() if k.startswith("network.")}
    network.load_state_dict(state)
    save_network(network, settings.network, phase_at(settings.phases, best["epoch"]).size, out)
    write_curves(logs, out / "curves.csv")
    figures = {"epochs": trainer.current_epoch, "best_mean_f1": best_mean_f1(trainer, settings.phases)}
    (out / "metrics.json").write_text(json.dumps(figures, indent=1))
    return figures


def write_curves(logs: Path, out: Path) -> None:
    """Merge Lightning's CSV logs, one for each start of this training, into a table with one row for each epoch."""
    epochs: dict[int, dict] = {}
    for log in sorted(logs.glob("version_*/metrics.csv"), key=lambda path: int(path.parent.name.split("_")[1])):
        with log.open() as file:
            for row in csv.DictReader(file):
                if row.get("epoch"):  # a start that ended within its first epoch has logged none
                    epochs.setdefault(int(row["epoch"]), {}).update({k: v for k, v in row.items() if v})
    with out.open("w", newline="") as file:
        rows = csv.DictWriter(file, CURVES, extrasaction="ignore")
        rows.writeheader()
        rows.writerows(epoch for _, epoch in sorted(epochs.items()))
