"""What params.yaml may say."""

from pathlib import Path

import pytest
import yaml

from facemark.settings import load_params, model_folder


@pytest.fixture
def refuses(tmp_path):
    """Whether params.yaml with a change, {section: {name: value}}, is refused with a message."""

    def check(change: dict, message: str) -> None:
        params = yaml.safe_load(Path("params.yaml").read_text())
        for section, values in change.items():
            params[section] |= values
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
        with pytest.raises(SystemExit, match=message):
            load_params(tmp_path / "params.yaml")

    return check


def test_an_untrained_network_has_no_statistics_to_freeze(refuses):
    refuses({"train": {"start_from": "none", "freeze_batchnorm": True}}, "without, set it to false")


@pytest.mark.parametrize(
    ("section", "name"), [("train", "batchsize"), ("train", "norm_statistics"), ("promote", "found")]
)
def test_unknown_params_are_refused_by_name(refuses, section, name):
    refuses({section: {name: 1}}, rf"{section}\.{name}")


@pytest.mark.parametrize("phase", [{"size": 100, "epochs": 1}, {"size": 64, "epochs": 0}, {"size": 64, "plain": 0.1}])
def test_phases_are_checked(refuses, phase):
    refuses({"train": {"phases": [{"epochs": 1} | phase]}}, r"train\.phases\.0")


@pytest.mark.parametrize("use", [[], ["parsing", "masks"]])
def test_a_dataset_is_used_for_parsing_or_landmarks(refuses, use):
    refuses({"prepare": {"datasets": {"a": {"format": "starter", "path": "a", "use": use}}}}, r"datasets\.a\.use")


def test_classes_of_a_folder_are_those_of_the_parser(refuses):
    dataset = {"format": "folder", "path": "a", "classes": {0: "background", 1: "beard"}}
    refuses({"prepare": {"datasets": {"a": dataset}}}, "beard is not a class; the classes are ignore, background, skin")


def test_text_that_is_not_yaml_is_refused(tmp_path):
    (tmp_path / "params.yaml").write_text("a: [")
    with pytest.raises(SystemExit, match="is not YAML"):
        load_params(tmp_path / "params.yaml")


def test_the_built_model_comes_before_the_released_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="dvc pull"):
        model_folder(tmp_path)
    for folder in ("weights", "build/model"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "model.safetensors").touch()
        assert model_folder(tmp_path) == tmp_path / folder
