"""A bundle is written, read, verified; weights of 0.7.0 and before open as what they are."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from facemark.labels import CLASSES
from facemark.models.bundle import ModelBundle, save_network
from facemark.models.unet import ParsingNet, build
from facemark.settings import Network

TINY = Network(architecture="Unet", encoder="tu-test_resnet", decoder_channels=(16, 16, 8, 8, 8))
OTHERS = [
    Network(architecture="FPN", encoder="tu-test_efficientnet"),
    Network(architecture="Linknet", encoder="tu-test_resnet"),
]


def probabilities(network: ParsingNet) -> torch.Tensor:
    with torch.inference_mode():
        return network.eval()(torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)).softmax(1)


@pytest.mark.parametrize("config", [TINY, *OTHERS], ids=lambda config: config.architecture)
def test_a_network_comes_back_as_it_was_written_whatever_it_is(tmp_path, config):
    network = build(config)
    save_network(network, config, 96, tmp_path)
    bundle = ModelBundle.open(tmp_path)
    assert (bundle.config.network, bundle.config.input_size, bundle.config.classes) == (config, 96, CLASSES)
    assert bundle.landmarks is None
    # fp16 keeps three digits
    assert torch.allclose(probabilities(bundle.network()), probabilities(network), atol=0.01)


def test_statistics_of_batch_normalisation_beyond_fp16_are_kept(tmp_path):
    network = build(TINY)
    name = next(name for name, _ in network.named_buffers() if name.endswith("running_var"))
    network.get_buffer(name).fill_(2e5)  # fp16 ends at 65504
    save_network(network, TINY, 64, tmp_path)
    assert ModelBundle.open(tmp_path).network().get_buffer(name).max() == 2e5


@pytest.mark.parametrize("name", ["model.safetensors", "landmarks.npz"])
def test_a_file_that_was_exchanged_is_refused(untrained, tmp_path, name):
    shutil.copytree(untrained, tmp_path / "model")
    with (tmp_path / "model" / name).open("ab") as file:
        file.write(b"more")
    bundle = ModelBundle.open(tmp_path / "model")
    with pytest.raises(ValueError, match=f"{name} is not the file"):
        _ = bundle.network(), bundle.landmarks


def test_a_folder_without_weights_says_how_to_get_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc pull"):
        ModelBundle.open(tmp_path)


@pytest.mark.parametrize("text", ["no JSON", "{}", '{"network": 1}'])
def test_a_config_that_is_none_is_refused(untrained, tmp_path, text):
    shutil.copytree(untrained, tmp_path / "model")
    (tmp_path / "model/config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json is not the config of a bundle"):
        ModelBundle.open(tmp_path / "model")


def test_other_classes_are_refused(untrained, tmp_path):
    shutil.copytree(untrained, tmp_path / "model")
    file = tmp_path / "model/config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps(config | {"classes": config["classes"][::-1]}))
    with pytest.raises(ValueError, match="other classes"):
        ModelBundle.open(tmp_path / "model")


def test_weights_of_another_network_are_refused(untrained, tmp_path):
    shutil.copytree(untrained, tmp_path / "model")
    file = tmp_path / "model/config.json"
    file.write_text(file.read_text().replace("tu-test_resnet", "tu-test_efficientnet"))
    with pytest.raises(ValueError, match="does not hold the weights of the network"):
        ModelBundle.open(tmp_path / "model").network()


def test_weights_without_a_config_open_as_the_unet_they_are(tmp_path):
    config = Network(architecture="Unet", encoder="resnet18", decoder_channels=(256, 128, 64, 32, 16))
    network = build(config)
    header = {"classes": json.dumps(CLASSES), "size": "96", "encoder": "resnet18"}
    state = {f"unet.{name}": values.contiguous() for name, values in network.net.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors", metadata=header)
    for path in (tmp_path, tmp_path / "model.safetensors"):
        bundle = ModelBundle.open(path)
        assert (bundle.config.network, bundle.config.input_size) == (config, 96)
    assert torch.equal(probabilities(bundle.network()), probabilities(network))


@pytest.mark.parametrize("data", [b"", b"noise" * 100])
def test_other_files_are_no_weights(tmp_path, data):
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="not a safetensors file"):
        ModelBundle.open(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architecture": "Nonet"}, "cannot build Nonet"),
        ({"encoder": "resnet51"}, "cannot build Unet with resnet51"),
        ({"decoder_channels": (16, 8)}, "cannot build"),
    ],
)
def test_a_network_that_cannot_be_built_is_told(change, words):
    with pytest.raises(ValueError, match=words):
        build(TINY.model_copy(update=change))
