"""Training in several processes. Each starts Python anew, with all of its libraries: that is what takes long here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from facemark import synthetic
from facemark.settings import Prepare, load_params
from facemark.stages.prepare import prepare
from facemark.training import trainer

STAGE = [sys.executable, "-m", "facemark.stages.train"]


@pytest.fixture
def room(tmp_path, released, monkeypatch):
    """A working directory with 8 training and 5 validation faces and the released weights; answers what trains."""
    synthetic.write(tmp_path / "faces", {"train": 8, "val": 5})
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["prepare"]["datasets"] = {"drawn": {"format": "starter", "path": str(tmp_path / "faces")}}
    params["prepare"]["splits"]["test"] = 0
    params["train"] |= {"start_from": str(released[0].absolute()), "phases": [{"size": 64, "epochs": 1}]}
    params["train"] |= {"batch_size": 4, "workers": 0, "accelerator": "cpu"}
    monkeypatch.chdir(tmp_path)
    prepare("drawn", Prepare(**params["prepare"]), Path("build/prepare/drawn"))

    def train(**changes: object) -> subprocess.CompletedProcess:
        Path("params.yaml").write_text(yaml.safe_dump(params | {"train": params["train"] | changes}))
        return subprocess.run(STAGE, capture_output=True, text=True, timeout=600)

    return train


def test_two_processes_reach_the_figure_of_one(room):
    figures = {}
    for devices in (1, 2):
        done = room(devices=devices)
        assert done.returncode == 0, done.stderr
        assert ("distributed_backend=gloo" in done.stderr) == (devices == 2)
        figures[devices] = json.loads(Path("build/train/metrics.json").read_text())
    assert figures[1]["epochs"] == figures[2]["epochs"] == 1
    # a picture that is counted twice changes it by more
    assert figures[2]["best_mean_f1"] == pytest.approx(figures[1]["best_mean_f1"], abs=0.2)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    settings = load_params().train.model_copy(update={"batch_size": 3, "accelerator": "cpu", "devices": 2})
    with pytest.raises(SystemExit, match="batch_size 3 cannot be shared by 2 processes"):
        trainer(settings, tmp_path, [])
