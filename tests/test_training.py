import csv
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger

from facemark import settings
from facemark.data import synthetic, transforms
from facemark.data.samples import Sample
from facemark.images import read_image
from facemark.labels import BESIDE_FACE, CLASSES, FACE, IGNORE, Region
from facemark.mlops import registry
from facemark.models import bundle, unet
from facemark.models.unet import ParsingNet
from facemark.settings import Phase, Train, load_params
from facemark.stages.train import curves, write
from facemark.training import trainer
from facemark.training.datamodule import FaceDataModule, FaceDataset, phase_at, repeat_factor_sample
from facemark.training.task import ParsingTask
from facemark.training.trainer import create_trainer, fingerprint


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
        update={"phases": [Phase(size=32, epochs=1)], "norm_statistics": "learned"}
        | {"batch_size": 2, "workers": 0, "accelerator": "cpu"}
        | changes
    )


def test_faces_are_uint8_of_the_asked_size(samples):
    for epoch in (None, 0):
        image, mask = FaceDataset(samples, 64, seed=1, epoch=epoch)[0]
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 64, 64))
        assert (mask.dtype, tuple(mask.shape)) == (torch.uint8, (64, 64))


def test_augmentation_depends_on_seed_epoch_and_picture_alone(samples):
    def image(seed, epoch):
        return FaceDataset(samples, 64, seed, epoch)[1][0]

    assert torch.equal(image(1, 5), image(1, 5))
    assert not torch.equal(image(1, 5), image(1, 6))
    assert not torch.equal(image(1, 5), image(2, 5))


def test_an_interruption_changes_nothing(samples, tmp_path):
    given = settings(phases=[Phase(size=32, epochs=3)])

    class Stop(Callback):
        def on_train_epoch_end(self, trainer, _):
            trainer.should_stop = True

    def trained(folder, *callbacks):
        """The weights after a training, or after what of it was left."""
        torch.manual_seed(0)
        task, last = ParsingTask(ParsingNet(), given, [1.0] * len(CLASSES)), folder / "last.ckpt"
        fit = create_trainer(given, folder, CSVLogger(folder, name="logs"))
        fit.callbacks += callbacks
        fit.fit(task, FaceDataModule(samples, samples, given), ckpt_path=last if last.exists() else None)
        return fit.current_epoch, task.network.state_dict()

    assert trained(tmp_path / "cut", Stop())[0] == 1
    (epochs, whole), (_, resumed) = trained(tmp_path / "whole"), trained(tmp_path / "cut")
    assert epochs == 3
    for name, weights in resumed.items():
        assert torch.equal(weights, whole[name]), name


def test_batches_hang_on_seed_and_epoch_alone(samples):
    def shown(epoch, workers=0):
        data = FaceDataModule(samples, samples, settings(workers=workers))
        data.trainer = SimpleNamespace(world_size=1, current_epoch=epoch)
        loader = data.train_dataloader()
        return [[int(images.sum()) for images, _ in loader] for _ in range(2)]  # Lightning may begin it twice

    first, again = shown(1)
    assert first == again == shown(1, workers=2)[0]


@pytest.mark.parametrize(("times", "chosen"), [(0.6, torch.float32), (1.1, torch.float32), (6, torch.bfloat16)])
def test_bf16_is_for_processors_that_are_clearly_faster_in_it(times, chosen, monkeypatch):
    monkeypatch.setattr(unet, "product_time", {torch.float32: times, torch.bfloat16: 1}.get)
    assert trainer.training_dtype.__wrapped__("cpu") == chosen


def test_a_plain_share_is_at_most_mirrored(samples):
    read = [(read_image(sample.image), np.zeros((70, 60), np.uint8)) for sample in samples]
    either = [pair for each in read for pair in (each, transforms.flip(*each))]
    clean = {transforms.resize(64)(image=image, mask=mask)["image"].tobytes() for image, mask in either}
    # by chance, one augmentation in ten changes nothing
    for plain, expected in ((0, 0.1), (0.5, 0.55), (0.999, 1)):
        shown = [FaceDataset(samples, 64, 1, epoch, plain)[i][0] for epoch in range(25) for i in range(4)]
        unchanged = [image.permute(1, 2, 0).numpy().tobytes() in clean for image in shown]
        assert np.mean(unchanged) == pytest.approx(expected, abs=0.15)


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


def test_a_pixel_of_several_classes_costs_what_they_lack_together():
    task = ParsingTask(torch.nn.Identity(), settings(), [1.0] * len(CLASSES))
    masks = torch.full((1, 1, 2), BESIDE_FACE)
    masks[0, 0, 1] = Region.SKIN
    probabilities = torch.full((1, 19, 1, 2), 0.02)
    probabilities[:, list(FACE)] = (1 - 9 * 0.02) / 10
    costs = []
    for logits in (probabilities.log(), torch.where(torch.tensor([True, False]), 5.0, 0.0) + probabilities.log()):
        skin_alone = masks.masked_fill(masks == BESIDE_FACE, IGNORE)
        costs.append(task._loss((logits, masks))[0] - task._loss((logits, skin_alone))[0])
    # one pixel of two; the nine other classes share 18 %; what is added to all logits alike changes nothing
    assert torch.stack(costs) == pytest.approx(-np.log(0.18) / 2, abs=1e-4)


def test_rare_classes_come_more_often():
    def sample(i, *classes):
        return Sample(Path(f"{i}.jpg"), Path(f"{i}.png"), None, "train", classes)

    many = [sample(i, "skin") for i in range(300)]
    few = [sample(i, "skin", "hat") for i in range(300, 400)]
    unknown = [Sample(Path("u.jpg"), None, Path("u.txt"), "train")] * 50
    # hats: 100 of 400, so √(0.81 / 0.25) = 1.8 times
    shown = repeat_factor_sample(many + few + unknown, 0.81, seed=1)
    assert [s for s in shown if s in many or s in unknown] == many + unknown
    assert sum(s in few for s in shown) == pytest.approx(180, abs=25)
    assert set(few) <= set(shown)
    assert repeat_factor_sample(many + few, 0.0, seed=1) == many + few
    heavy = [replace(s, weight=2.5) for s in many + few]
    # 300 × 2.5 and 100 × 2.5 × 1.8
    assert len(repeat_factor_sample(heavy, 0.81, seed=1)) == pytest.approx(750 + 450, abs=40)


def test_points_alone_train_the_parser_but_do_not_judge_it(samples, tmp_path):
    drawn = synthetic.draw(3)
    cv2.imwrite(str(tmp_path / "face.png"), drawn.image[..., ::-1])
    points = tmp_path / "face.txt"
    points.write_text("68\n" + "\n".join(f"{x} {y}" for x, y in drawn.points[0].tolist()))
    bare = Sample(tmp_path / "face.png", None, points, "train")
    _, mask = FaceDataset([bare], 128, seed=1)[0]
    assert {Region.SKIN, Region.NOSE, IGNORE, BESIDE_FACE} <= set(np.unique(mask))
    assert FaceDataModule([bare], [bare, *samples], settings()).val == samples


def test_necklaces_are_lent_within_a_dataset(tmp_path):
    mask = np.full((60, 60), Region.SKIN, np.uint8)
    mask[30:] = Region.NECK
    adorned = mask.copy()
    adorned[45:50] = Region.NECK_L
    made = []
    for i, (folder, regions, classes) in enumerate(
        [("one", adorned, ("skin", "neck", "neck_l")), ("one", mask, ("skin", "neck")), ("two", mask, ("skin", "neck"))]
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        image, file = tmp_path / folder / f"{i}.jpg", tmp_path / folder / f"{i}.png"
        cv2.imwrite(str(image), np.full((60, 60, 3), 128, np.uint8))
        cv2.imwrite(str(file), regions)
        made.append(Sample(image, file, None, "train", classes))

    def shown(index: int) -> int:
        masks = [FaceDataset(made, 64, 1, epoch)._draw(index, np.random.default_rng(epoch))[1] for epoch in range(60)]
        return sum((m == Region.NECK_L).any() for m in masks if m.shape == mask.shape)

    assert 8 < shown(1) < 30
    assert shown(2) == 0


def test_one_epoch_changes_the_weights_and_reports_figures(samples, tmp_path):
    network = ParsingNet()
    before = [p.clone() for p in network.parameters()]
    fit = create_trainer(settings(ema_decay=0.5), tmp_path / "checkpoints", [CSVLogger(tmp_path)])
    fit.fit(ParsingTask(network, settings(), [1.0] * len(CLASSES)), FaceDataModule(samples, samples, settings()))
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert {"train/loss", "val/loss", "val/mean_f1", "val/mean_f1_face"} <= fit.callback_metrics.keys()
    assert fit.callback_metrics["val/mean_f1"] > 0
    assert (tmp_path / "checkpoints/last.ckpt").exists()


@pytest.mark.parametrize(("statistics", "moved"), [("kept", False), ("learned", True)])
def test_a_short_training_may_keep_the_statistics_it_starts_from(samples, tmp_path, statistics, moved):
    network, given = ParsingNet(), settings(norm_statistics=statistics)
    before = network.unet.encoder.bn1.running_mean.clone()
    fit = create_trainer(given, tmp_path / "checkpoints", [CSVLogger(tmp_path)])
    fit.fit(ParsingTask(network, given, [1.0] * len(CLASSES)), FaceDataModule(samples, samples, given))
    assert (not torch.equal(network.unet.encoder.bn1.running_mean, before)) == moved


def test_other_code_is_another_training(tmp_path, monkeypatch):
    shutil.copytree(settings.PACKAGE, tmp_path / "facemark")
    monkeypatch.setattr(registry, "PACKAGE", tmp_path / "facemark")
    before = fingerprint(load_params())
    with (tmp_path / "facemark/datasets/lapa.py").open("a") as file:
        file.write("# edited\n")
    assert fingerprint(load_params()) != before


def test_another_weight_or_start_is_another_training(tmp_path):
    params = load_params()
    (tmp_path / "encoder.pt").write_bytes(b"one")
    train = params.train.model_copy(update={"start_from": "none", "encoder_weights": str(tmp_path / "encoder.pt")})
    starter = params.prepare.datasets["starter"]
    prepare = params.prepare.model_copy(
        update={"datasets": {"starter": starter.model_copy(update={"weight": 2 * starter.weight})}}
    )
    names = [fingerprint(each) for each in (params, params.model_copy(update={"prepare": prepare}))]
    for content in (b"one", b"other"):
        (tmp_path / "encoder.pt").write_bytes(content)
        names.append(fingerprint(params.model_copy(update={"train": train})))
    assert len(set(names)) == 4
    assert fingerprint(load_params()) == names[0]


def test_the_best_epoch_is_one_of_the_last_phase(samples, tmp_path, monkeypatch):
    monkeypatch.setattr("facemark.stages.train.OUT", tmp_path)
    monkeypatch.setattr("facemark.stages.train.WEIGHTS", tmp_path / "model.safetensors")
    phases = [Phase(size=64, epochs=2), Phase(size=32, epochs=2)]
    with_two = settings(phases=phases, patience=2)
    scores = iter([40, 30, 20, 10])  # each worse than the last: the first of the second phase is the best
    monkeypatch.setattr("facemark.metrics.mean_f1", lambda _: next(scores))
    fit = create_trainer(with_two, tmp_path, CSVLogger(tmp_path, name="logs"))
    task = ParsingTask(ParsingNet(), with_two, [1.0] * len(CLASSES))
    fit.fit(task, FaceDataModule(samples, samples, with_two))
    best = torch.load(fit.checkpoint_callback.best_model_path, map_location="cpu", weights_only=True)["epoch"]
    assert (best, fit.current_epoch) == (2, 4)
    assert write(fit, task.network, phases, tmp_path / "logs")["best_mean_f1"] == 20
    assert bundle.load_network(tmp_path / "model.safetensors")[1] == 32


def test_curves_go_on_where_a_training_was_cut_short(tmp_path):
    logs = {
        0: "epoch,lr-AdamW,train/loss,val/mean_f1\n,0.1,,\n0,,2.0,\n0,,,30\n1,,1.5,\n1,,,40\n",
        2: "lr-AdamW,step\n0.1,9\n",  # killed before its first epoch's end
        10: "epoch,train/loss,val/mean_f1\n1,1.4,\n1,,41\n2,1.2,\n2,,50\n",
    }
    for version, text in logs.items():
        folder = tmp_path / f"version_{version}"
        folder.mkdir()
        (folder / "metrics.csv").write_text(text)
    curves(tmp_path, tmp_path / "curves.csv")
    with (tmp_path / "curves.csv").open() as file:
        rows = [(row["epoch"], row["train/loss"], row["val/mean_f1"]) for row in csv.DictReader(file)]
    assert rows == [("0", "2.0", "30"), ("1", "1.4", "41"), ("2", "1.2", "50")]


def test_weights_survive_saving_to_half_precision(tmp_path):
    torch.manual_seed(0)
    network = ParsingNet().eval()
    next(m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)).running_var.fill_(1e5)
    bundle.save_network(network, tmp_path / "model.safetensors", size=64)
    loaded, size = bundle.load_network(tmp_path / "model.safetensors")
    images = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        one, other = network(images), loaded(images)
    assert size == 64
    assert (one - other).abs().max() < 0.02 * one.abs().max()
    assert (tmp_path / "model.safetensors").stat().st_size < 70e6


def test_other_files_are_no_weights(tmp_path):
    (tmp_path / "noise").write_bytes(b"0" * 100)
    with pytest.raises(ValueError, match="not a safetensors file"):
        bundle.load_network(tmp_path / "noise")
    with pytest.raises(FileNotFoundError, match=r"dvc pull weights\.dvc"):
        bundle.load_network(tmp_path / "nothing")


def test_encoder_weights_from_a_file(tmp_path):
    encoder = ParsingNet().unet.encoder
    torch.save(encoder.state_dict(), tmp_path / "resnet50.pt")
    started = unet.build(str(tmp_path / "resnet50.pt")).unet.encoder
    assert torch.equal(started.conv1.weight, encoder.conv1.weight)
    torch.save({"nothing": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="not the state dict of a ResNet50"):
        unet.build(str(tmp_path / "other.pt"))
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(ValueError, match="not the state dict of a ResNet50"):
        unet.build(str(tmp_path / "text.pt"))
    with pytest.raises(FileNotFoundError, match="no file"):
        unet.build(str(tmp_path / "missing.pt"))


def test_statistics_of_nothing_cannot_be_kept(tmp_path):
    text = Path("params.yaml").read_text().replace("start_from: weights/model.safetensors", "start_from: none")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SystemExit, match="set it to learned"):
        load_params(tmp_path / "params.yaml")


def test_unknown_params_are_refused_by_name(tmp_path):
    text = Path("params.yaml").read_text().replace("batch_size", "batchsize")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(SystemExit, match=r"train\.batchsize"):
        load_params(tmp_path / "params.yaml")
