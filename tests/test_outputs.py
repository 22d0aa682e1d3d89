import csv
import json

import pytest
import torch
from training_set import settings, tiny_network, write_samples

from facemark.labels import CLASSES
from facemark.mlops.release import MAX_WEIGHTS_BYTES
from facemark.models.bundle import ModelBundle, save_network
from facemark.models.unet import build
from facemark.settings import Phase, load_params
from facemark.training.datamodule import FaceDataModule
from facemark.training.outputs import write_outputs
from facemark.training.task import ParsingTask
from facemark.training.trainer import LAST, best_checkpoint, create_trainer


def test_the_best_epoch_is_one_of_the_last_phase(tmp_path, monkeypatch):
    samples = write_samples(tmp_path)
    given = settings(phases=[Phase(size=64, epochs=2), Phase(size=32, epochs=2)], patience=2)
    scores = iter([40, 30, 20, 10])  # each worse than the last: the first of the second phase is the best
    monkeypatch.setattr("facemark.evaluation.metrics.mean_f1", lambda _: next(scores))
    trainer = create_trainer(given, tmp_path, [])
    task = ParsingTask(tiny_network(), given, [1.0] * len(CLASSES))
    trainer.fit(task, FaceDataModule(samples, samples, given))
    best = torch.load(best_checkpoint(trainer).best_model_path, map_location="cpu", weights_only=True)
    last = torch.load(tmp_path / f"{LAST}.ckpt", map_location="cpu", weights_only=True)
    assert (best["epoch"], last["epoch"], trainer.current_epoch) == (2, 3, 4)

    figures = write_outputs(trainer, task.network, given, tmp_path / "out")
    assert figures == {"epochs": 4, "best_mean_f1": 20} == json.loads((tmp_path / "out/metrics.json").read_text())
    with (tmp_path / "out/curves.csv").open() as file:
        assert [float(row["val/mean_f1"]) for row in csv.DictReader(file)] == [40, 30, 20, 10]
    bundle = ModelBundle.open(tmp_path / "out")
    assert (bundle.config.network, bundle.config.input_size) == (given.network, 32)
    name, weights = next(iter(bundle.network().named_parameters()))
    # fp16 keeps three digits
    assert torch.allclose(weights, best["state_dict"][f"network.{name}"], rtol=2e-3, atol=1e-6)
    assert not torch.allclose(weights, last["state_dict"][f"network.{name}"], rtol=2e-3, atol=1e-6)


def test_the_reference_network_survives_half_precision_and_may_be_released(tmp_path):
    torch.manual_seed(0)
    config = load_params().train.network
    assert (config.architecture, config.encoder) == ("Unet", "resnet50")
    network = build(config).eval()
    next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)).running_var.fill_(1e5)
    bundle = save_network(network, config, 64, tmp_path)
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        one, other = network(images), bundle.network()(images)
    assert (one - other).abs().max() < 0.02 * one.abs().max()
    assert bundle.weights.stat().st_size == pytest.approx(2 * sum(p.numel() for p in network.parameters()), rel=0.02)
    assert bundle.weights.stat().st_size < MAX_WEIGHTS_BYTES
