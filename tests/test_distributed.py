"""Training in several processes. Each starts Python anew, with all of its libraries: that is what takes long here."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from torch.utils.data import DistributedSampler

from facemark.data import synthetic
from facemark.data.preparation import prepare_dataset
from facemark.data.samples import folder_samples
from facemark.labels import IGNORE
from facemark.settings import Phase, Prepare, load_params
from facemark.training.datamodule import FaceDataModule, FaceDataset
from facemark.training.trainer import create_trainer

STAGE = ["-m", "facemark.stages.train"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture
def room(tmp_path, released, monkeypatch):
    """A working directory with 8 training and 5 validation faces and the released weights; answers what trains."""
    synthetic.write(tmp_path / "faces", {"train": 8, "val": 5})
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["prepare"]["datasets"] = {"drawn": {"format": "starter", "path": str(tmp_path / "faces")}}
    params["prepare"]["splits"]["test"] = 0
    params["train"] |= {"start_from": str(released.absolute()), "phases": [{"size": 64, "epochs": 1}]}
    params["train"] |= {"batch_size": 4, "workers": 0, "accelerator": "cpu"}
    monkeypatch.chdir(tmp_path)
    prepare_dataset("drawn", Prepare(**params["prepare"]), Path("build/prepare/drawn"))

    def train(devices: int, *launcher: str) -> dict:
        Path("params.yaml").write_text(yaml.safe_dump(params | {"train": params["train"] | {"devices": devices}}))
        done = subprocess.run([sys.executable, *launcher, *STAGE], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        assert ("distributed_backend=gloo" in done.stderr) == (devices == 2)
        return json.loads(Path("build/train/metrics.json").read_text())

    return train


def test_two_processes_reach_the_figure_of_one(room):
    shared = room(2, *TORCHRUN)  # which starts both at once, on a store of runs that is not there yet
    started_by_lightning, alone = room(2), room(1)
    assert shared["epochs"] == started_by_lightning["epochs"] == alone["epochs"] == 1
    assert shared["best_mean_f1"] == pytest.approx(started_by_lightning["best_mean_f1"], abs=0.1)
    # what differs: Dice is reckoned over each half of a batch
    assert shared["best_mean_f1"] == pytest.approx(alone["best_mean_f1"], abs=0.3)


def test_two_processes_see_each_picture_once(tmp_path):
    synthetic.write(tmp_path, {"val": 5})
    held = folder_samples(tmp_path)
    settings = load_params().train.model_copy(update={"accelerator": "cpu", "devices": 2, "workers": 0})
    settings = settings.model_copy(update={"phases": [Phase(size=32, epochs=1)]})
    data = FaceDataModule(held, held, settings)
    data.trainer = create_trainer(settings, tmp_path, [])
    seen = data.val_dataloader().dataset
    # as Lightning shares them
    shares = [list(DistributedSampler(seen, 2, rank, shuffle=False)) for rank in (0, 1)]
    assert len(shares[0]) == len(shares[1]) == 3
    counted = [int((seen[i][1] != IGNORE).sum()) for share in shares for i in share]
    faces = FaceDataset(held, 32, settings.seed)
    assert sorted(counted) == sorted([0, *(int((faces[i][1] != IGNORE).sum()) for i in range(5))])
    assert data.train_dataloader().batch_size == data.val_dataloader().batch_size == settings.batch_size // 2


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    settings = load_params().train.model_copy(update={"batch_size": 3, "accelerator": "cpu", "devices": 2})
    with pytest.raises(SystemExit, match="batch_size 3 cannot be shared by 2 processes"):
        create_trainer(settings, tmp_path, [])
