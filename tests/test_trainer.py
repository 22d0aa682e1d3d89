import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from training_set import settings, tiny_network, write_samples

from facemark import settings as package_settings
from facemark.data.splits import write_index
from facemark.labels import CLASSES
from facemark.models.bundle import ModelBundle
from facemark.models.unet import build
from facemark.settings import PREPARED, Dataset, Network, Phase, load_params
from facemark.training import trainer
from facemark.training.curves import Curves
from facemark.training.datamodule import FaceDataModule
from facemark.training.task import ParsingTask
from facemark.training.trainer import (
    class_pixels,
    create_trainer,
    exponential_average,
    fingerprint,
    fit_network,
    initial_network,
    training_samples,
)

WEIGHTS = [1.0] * len(CLASSES)
BOTH = ("parsing", "landmarks")


@pytest.fixture
def samples(tmp_path):
    return write_samples(tmp_path)


@pytest.fixture
def prepared(samples, tmp_path, monkeypatch):
    """Makes params of two prepared datasets, ``one`` with 10 pixels of skin, ``two`` with 5, by their ``use``.

    Each has two training samples and one validation sample.
    """
    params = load_params().model_copy(update={"train": settings()})
    monkeypatch.chdir(tmp_path)

    def prepare(**uses: tuple[str, ...]):
        datasets = {}
        for i, (name, use) in enumerate(uses.items()):
            (PREPARED / name).mkdir(parents=True, exist_ok=True)
            validation = replace(samples[i], split="val")
            write_index(PREPARED / name / "index.csv", [*samples[2 * i : 2 * i + 2], validation])
            pixels = dict.fromkeys(CLASSES, 0) | {"skin": 10 // (i + 1)}
            (PREPARED / name / "statistics.json").write_text(json.dumps({"pixels": pixels}))
            datasets[name] = Dataset(format="starter", path=Path(name), use=use, weight=i + 1)
        return params.model_copy(update={"prepare": params.prepare.model_copy(update={"datasets": datasets})})

    return prepare


@pytest.mark.parametrize(
    ("one", "two", "weights", "skin"),
    [(BOTH, BOTH, [1, 1, 2, 2], 15), (BOTH, ("landmarks",), [1, 1], 10), (("landmarks",), ("parsing",), [2, 2], 5)],
)
def test_the_parser_is_trained_on_datasets_for_parsing_alone(prepared, one, two, weights, skin):
    params = prepared(one=one, two=two)
    assert [sample.weight for sample in training_samples(params)] == weights
    assert class_pixels(params).tolist() == [skin if name == "skin" else 0 for name in CLASSES]


def test_a_dataset_for_landmarks_still_validates(prepared, tmp_path):
    fitted, network = fit_network(prepared(one=BOTH, two=("landmarks",)), tmp_path / "checkpoints", [])
    data = fitted.datamodule
    assert ([sample.image.name for sample in data.train], [sample.image.name for sample in data.val]) == (
        ["0.jpg", "1.jpg"],
        ["0.jpg", "1.jpg"],
    )
    assert fitted.train_dataloader.dataset.dataset.samples == data.train
    assert isinstance(network, torch.nn.Module)
    assert (tmp_path / "checkpoints/last.ckpt").exists()


def test_no_dataset_for_parsing_is_refused(prepared, tmp_path):
    with pytest.raises(SystemExit, match="no dataset that the parser is trained on"):
        fit_network(prepared(one=("landmarks",), two=("landmarks",)), tmp_path / "checkpoints", [])


def test_no_masks_to_validate_on_are_refused(prepared, samples, tmp_path):
    params = prepared(one=BOTH)
    write_index(PREPARED / "one/index.csv", [replace(samples[0], split="train")])
    with pytest.raises(SystemExit, match="no dataset has masks in its val split"):
        fit_network(params, tmp_path / "checkpoints", [])


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"architecture": "Nonet", "encoder": "resnet18"}, "cannot build Nonet with resnet18: .*Available options"),
        ({"architecture": "Unet", "encoder": "resnet51"}, "cannot build Unet with resnet51: .*supported encoders"),
        ({"architecture": "Unet", "encoder": "tu-nothing"}, "cannot build Unet with tu-nothing: Unknown model"),
        (
            {"architecture": "Unet", "encoder": "tu-test_resnet", "decoder_channels": (16, 8)},
            "depth is 5, but you provide `decoder_channels` for 2 blocks",
        ),
        ({"architecture": "FPN", "encoder": "tu-test_resnet", "decoder_channels": (16, 8)}, "cannot build FPN"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused_in_a_sentence(prepared, tmp_path, network, words):
    params = prepared(one=BOTH)
    train = params.train.model_copy(update={"network": Network.model_validate(network)})
    with pytest.raises(SystemExit, match=rf"train\.network: segmentation-models-pytorch .*{words}"):
        fit_network(params.model_copy(update={"train": train}), tmp_path / "checkpoints", [])


@pytest.mark.parametrize(
    "network",
    [
        {"architecture": "FPN", "encoder": "tu-test_resnet"},
        {"architecture": "FPN", "encoder": "tu-test_efficientnet"},
        {"architecture": "Unet", "encoder": "resnet50", "decoder_channels": (256, 128, 64, 32, 16)},  # the reference
    ],
    ids=lambda network: "-".join(list(network.values())[:2]),
)
def test_an_epoch_changes_the_weights_and_reports_figures(samples, tmp_path, network):
    given = settings(ema_decay=0.5, network=Network.model_validate(network))
    net = initial_network(given)
    before = [p.clone() for p in net.parameters()]
    fit = create_trainer(given, tmp_path / "checkpoints", [])
    fit.fit(ParsingTask(net, given, WEIGHTS), FaceDataModule(samples, samples, given))
    assert any(not torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))
    assert {"train/loss", "val/loss", "val/mean_f1", "val/mean_f1_face"} <= fit.callback_metrics.keys()
    assert 0 < fit.callback_metrics["val/mean_f1"] < 100
    assert (tmp_path / "checkpoints/last.ckpt").exists()


def test_an_interruption_changes_nothing(samples, tmp_path):
    given = settings(phases=[Phase(size=32, epochs=3)])

    class Stop(Callback):
        def on_train_epoch_end(self, trainer, _):
            trainer.should_stop = True

    def trained(folder, *callbacks):
        """Epochs, weights and curves after a training, or after the rest of it."""
        torch.manual_seed(0)
        task, last = ParsingTask(tiny_network(), given, WEIGHTS), folder / "last.ckpt"
        fit = create_trainer(given, folder, [])
        fit.callbacks += callbacks
        fit.fit(task, FaceDataModule(samples, samples, given), ckpt_path=last if last.exists() else None)
        [curves] = [each for each in fit.callbacks if isinstance(each, Curves)]
        return fit.current_epoch, task.network.state_dict(), curves.rows

    assert trained(tmp_path / "cut", Stop())[0] == 1
    (epochs, whole, curves), (_, resumed, resumed_curves) = trained(tmp_path / "whole"), trained(tmp_path / "cut")
    assert [row["epoch"] for row in curves] == list(range(epochs)) == [0, 1, 2]
    assert resumed_curves == curves
    for name, weights in resumed.items():
        assert torch.equal(weights, whole[name]), name


@pytest.mark.parametrize(("updates", "decay"), [(0, 0.1), (8, 0.5), (10**6, 0.9)])
def test_the_average_of_weights_grows_slower_with_its_age(updates, decay):
    averaged, current = [torch.tensor([10.0])], [torch.tensor([20.0])]
    exponential_average(0.9)(averaged, current, torch.tensor(updates))
    assert averaged[0] == pytest.approx(decay * 10 + (1 - decay) * 20)


def test_training_starts_from_a_bundle_of_the_same_network(untrained):
    bundle = ModelBundle.open(untrained)
    network = initial_network(settings(start_from=str(untrained)))
    assert network.training
    expected = bundle.network().state_dict()
    assert all(torch.equal(values, expected[name]) for name, values in network.state_dict().items())


@pytest.mark.parametrize(
    "change", [{"architecture": "FPN", "decoder_channels": None}, {"encoder": "resnet18"}, {"decoder_channels": None}]
)
def test_weights_of_another_network_are_refused(untrained, change):
    network = settings().network.model_copy(update=change)
    with pytest.raises(ValueError, match=r"train\.network is .* but .* contains .*tu-test_resnet.*; set train\.start_"):
        initial_network(settings(start_from=str(untrained), network=network))


def test_the_encoder_may_start_from_a_file(tmp_path):
    def start(file: str):
        return initial_network(settings(encoder_weights=str(tmp_path / file)))

    encoder = tiny_network().net.encoder
    # with the classifier that torchvision saves too
    torch.save(encoder.state_dict() | {"fc.weight": torch.zeros(1000, 8)}, tmp_path / "encoder.pt")
    started = start("encoder.pt").net.encoder.state_dict()
    assert all(torch.equal(values, started[name]) for name, values in encoder.state_dict().items())
    torch.save({"nothing": torch.zeros(1)}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for file in ("other.pt", "text.pt"):
        with pytest.raises(ValueError, match="is not the state dict of a tu-test_resnet"):
            start(file)
    with pytest.raises(FileNotFoundError, match="no file"):
        start("missing.pt")


def test_a_torchvision_resnet50_fits_the_reference_network(tmp_path):
    encoder = build(load_params().train.network).net.encoder
    torch.save(encoder.state_dict() | {"fc.bias": torch.zeros(1000)}, tmp_path / "resnet50.pt")
    started = build(load_params().train.network, str(tmp_path / "resnet50.pt")).net.encoder
    assert {"conv1.weight", "layer4.2.conv3.weight"} <= started.state_dict().keys(), "torchvision's names"
    assert torch.equal(started.conv1.weight, encoder.conv1.weight)


def package_code(stage: str) -> set[str]:
    """What of the package a stage of dvc.yaml depends on, but for the stage's own file."""
    deps = yaml.safe_load(Path("dvc.yaml").read_text())["stages"][stage]["deps"]
    code = {dep.removeprefix("src/facemark/") for dep in deps if dep.startswith("src/facemark/")}
    return code - {f"stages/{stage}.py"}


def test_a_training_is_another_one_when_dvc_would_repeat_it():
    # outputs are written when training has ended
    assert set(trainer.TRAINING_CODE) == package_code("train") - {"training/outputs.py"}


@pytest.mark.parametrize(
    ("file", "same"),
    [
        *((file, True) for file in ("__init__.py", "batch.py", "cli/__init__.py", "inference/parser.py")),
        *((file, True) for file in ("evaluation/scoring.py", "serving/archive.py", "stages/train.py")),
        *((file, True) for file in ("training/calibration.py", "training/outputs.py")),
        *((file, False) for file in ("labels.py", "images.py", "data/formats/lapa.py", "models/unet.py")),
        *((file, False) for file in ("training/task.py", "training/datamodule.py", "evaluation/metrics.py")),
    ],
)
def test_an_edit_outside_of_training_leaves_its_checkpoints_valid(tmp_path, monkeypatch, file, same):
    shutil.copytree(package_settings.PACKAGE, tmp_path / "facemark")
    monkeypatch.setattr(trainer, "PACKAGE", tmp_path / "facemark")
    before = fingerprint(load_params())
    with (tmp_path / "facemark" / file).open("a") as code:
        code.write("# edited\n")
    assert (fingerprint(load_params()) == before) == same


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


def test_params_of_other_stages_leave_the_training_as_it_is():
    params = load_params()
    evaluate = params.evaluate.model_copy(update={"split": "val"})
    archive = params.archive.model_copy(update={"version": "9.9"})
    assert fingerprint(params.model_copy(update={"evaluate": evaluate, "archive": archive})) == fingerprint(params)
