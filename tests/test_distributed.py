"""Training in several processes. Each starts Python anew, with all of its libraries: that is what takes long here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from torch.utils.data import DistributedSampler

from facemark import synthetic
from facemark.datasets import folder_samples
from facemark.labels import IGNORE
from facemark.settings import Phase, Prepare, load_params
from facemark.stages.prepare import prepare
from facemark.training import FaceData, Faces, trainer

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
    # what differs: Dice is reckoned over each half of a batch
    assert figures[2]["best_mean_f1"] == pytest.approx(figures[1]["best_mean_f1"], abs=0.3)


def test_two_processes_see_each_picture_once(tmp_path):
    synthetic.write(tmp_path, {"val": 5})
    held = folder_samples(tmp_path)
    settings = load_params().train.model_copy(update={"accelerator": "cpu", "devices": 2, "workers": 0})
    settings = settings.model_copy(update={"phases": [Phase(size=32, epochs=1)]})
    data = FaceData(held, held, settings)
    data.trainer = trainer(settings, tmp_path, [])
    seen = data.val_dataloader().dataset
    # as Lightning shares them
    shares = [list(DistributedSampler(seen, 2, rank, shuffle=False)) for rank in (0, 1)]
    assert len(shares[0]) == len(shares[1]) == 3
    counted = [int((seen[i][1] != IGNORE).sum()) for share in shares for i in share]
    faces = Faces(held, 32, settings.seed)
    assert sorted(counted) == sorted([0, *(int((faces[i][1] != IGNORE).sum()) for i in range(5))])
    assert data.train_dataloader().batch_size == data.val_dataloader().batch_size == settings.batch_size // 2


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    settings = load_params().train.model_copy(update={"batch_size": 3, "accelerator": "cpu", "devices": 2})
    with pytest.raises(SystemExit, match="batch_size 3 cannot be shared by 2 processes"):
        trainer(settings, tmp_path, [])
