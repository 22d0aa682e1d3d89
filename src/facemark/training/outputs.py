"""What a finished training leaves: the bundle, the curves and the figures."""

import json
from pathlib import Path

import lightning as L
import torch

from facemark.models.bundle import save_network
from facemark.models.unet import ParsingNet
from facemark.settings import Train
from facemark.training.curves import Curves
from facemark.training.datamodule import phase_at
from facemark.training.trainer import best_checkpoint, best_mean_f1


def write_outputs(trainer: L.Trainer, network: ParsingNet, settings: Train, out: Path) -> dict:
    """Write the bundle with the averaged weights of the best epoch, ``curves.csv`` and ``metrics.json``.

    Args:
        trainer: when training has ended.
        network: that was trained; the weights of the best epoch are loaded into it.
        settings: the section ``train``.
        out: folder.

    Returns:
        The figures: the number of ``epochs`` and ``best_mean_f1``.
    """
    [curves] = [each for each in trainer.callbacks if isinstance(each, Curves)]  # type: ignore[attr-defined]
    best = torch.load(best_checkpoint(trainer).best_model_path, map_location="cpu", weights_only=True)
    state = {k.removeprefix("network."): v for k, v in best["state_dict"].items() if k.startswith("network.")}
    network.load_state_dict(state)
    save_network(network, settings.network, phase_at(settings.phases, best["epoch"]).size, out)
    curves.write(out / "curves.csv")
    figures = {"epochs": trainer.current_epoch, "best_mean_f1": best_mean_f1(trainer, settings.phases)}
    (out / "metrics.json").write_text(json.dumps(figures, indent=1))
    return figures
