from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from facemark import model
from facemark.datasets import Sample
from facemark.labels import CLASSES, IGNORE
from facemark.model import ParsingNet
from facemark.settings import Phase, Train, load_params
from facemark.training import FaceData, Faces, ParsingTask, phase_at, trainer


@pytest.fixture
def samples(tmp_path):
    rng = np.random.default_rng(0)
    made = []
    for i in range(4):
        image, mask = tmp_path / f"{i}.jpg", tmp_path / f"{i}.png"
        cv2.imwrite(str(image), rng.integers(0, 256, (70, 60, 3), np.uint8))
        cv2.imwrite(str(mask), rng.integers(0, 19, (70, 60), np.uint8))
        made.append(Sample(image, mask, None, "train"))
    return made


def settings(**changes) -> Train:
    return load_params().train.model_copy(
        update={"phases": [Phase(size=32, epochs=1)], "batch_size": 2, "workers": 0, "accelerator": "cpu"} | changes
    )


def test_faces_are_uint8_of_the_asked_size(samples):
    for epoch in (None, 0):
        image, mask = Faces(samples, 64, seed=1, epoch=epoch)[0]
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 64, 64))
        assert (mask.dtype, tuple(mask.shape)) == (torch.uint8, (64, 64))


def test_augmentation_depends_on_seed_epoch_and_picture_alone(samples):
    def image(seed, epoch):
        return Faces(samples, 64, seed, epoch)[1][0]

    assert torch.equal(image(1, 5), image(1, 5))
    assert not torch.equal(image(1, 5), image(1, 6))
    assert not torch.equal(image(1, 5), image(2, 5))


def test_phases_follow_each_other():
    phases = [Phase(size=128, epochs=2), Phase(size=256, epochs=1)]
    assert [phase_at(phases, epoch).size for epoch in range(5)] == [128, 128, 256, 256, 256]


def test_ignored_pixels_cost_nothing():
    task = ParsingTask(ParsingNet(), settings(), [1.0] * len(CLASSES)).eval()
    images, masks = torch.zeros(1, 3, 32, 32, dtype=torch.uint8), torch.full((1, 32, 32), IGNORE)
    masks[0, 0, 0] = 3
    with torch.no_grad():
        whole, logits = task._loss((images, masks))
        expected = torch.nn.functional.cross_entropy(logits[0, :, 0, 0], torch.tensor(3))
        assert task.cross_entropy(logits, masks.long()) == pytest.approx(float(expected), abs=1e-4)
    assert whole.isfinite()


def test_one_epoch_changes_the_weights_and_reports_figures(samples, tmp_path):
    network = ParsingNet()
    before = [p.clone() for p in network.parameters()]
    fit = trainer(settings(ema_decay=0.5), tmp_path / "checkpoints", [CSVLogger(tmp_path)])
    fit.fit(ParsingTask(network, settings(), [1.0] * len(CLASSES)), FaceData(samples, samples, settings()))
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert {"train/loss", "val/loss", "val/mean_f1", "val/mean_f1_face"} <= fit.callback_metrics.keys()
    assert fit.callback_metrics["val/mean_f1"] > 0
    assert (tmp_path / "checkpoints/last.ckpt").exists()


def test_weights_survive_saving_to_half_precision(tmp_path):
    torch.manual_seed(0)
    network = ParsingNet().eval()
    model.save(network, tmp_path / "model.safetensors", size=64)
    loaded, size = model.load(tmp_path / "model.safetensors")
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        one, other = network(images), loaded(images)
    assert size == 64
    assert (one - other).abs().max() < 0.02 * one.abs().max()
    assert (tmp_path / "model.safetensors").stat().st_size < 70e6


def test_other_files_are_no_weights(tmp_path):
    (tmp_path / "noise").write_bytes(b"0" * 100)
    with pytest.raises(ValueError, match="not a safetensors file"):
        model.load(tmp_path / "noise")
    with pytest.raises(FileNotFoundError, match=r"dvc pull weights\.dvc"):
        model.load(tmp_path / "nothing")


def test_encoder_weights_from_a_file(tmp_path):
    encoder = ParsingNet().unet.encoder
    torch.save(encoder.state_dict(), tmp_path / "resnet50.pt")
    started = model.build(str(tmp_path / "resnet50.pt")).unet.encoder
    assert torch.equal(started.conv1.weight, encoder.conv1.weight)
    torch.save({"nothing": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not the state dict of a ResNet50"):
        model.build(str(tmp_path / "other.pt"))
    with pytest.raises(FileNotFoundError, match="no file"):
        model.build(str(tmp_path / "missing.pt"))


def test_unknown_params_are_refused_by_name(tmp_path):
    text = Path("params.yaml").read_text().replace("batch_size", "batchsize")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SystemExit, match=r"train\.batchsize"):
        load_params(tmp_path / "params.yaml")
