"""Training in several processes. They are slow to start, as each imports all libraries."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from clone import NETWORK
from torch.utils.data import DistributedSampler

from facemark.data import synthetic
from facemark.data.preparation import prepare_dataset
from facemark.data.samples import folder_samples
from facemark.labels import IGNORE
from facemark.models.bundle import ModelBundle
from facemark.settings import PREPARED, TRAINED, Phase, Prepare, load_params
from facemark.training.datamodule import FaceDataModule, FaceDataset
from facemark.training.trainer import create_trainer

STAGE = ["-m", "facemark.stages.train"]
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture
def train(tmp_path, untrained, monkeypatch):
    """Trains in a working directory with 8 training and 5 validation faces; returns the figures and all weights."""
    synthetic.write(tmp_path / "faces", {"train": 8, "val": 5})
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["prepare"]["datasets"] = {"drawn": {"format": "starter", "path": str(tmp_path / "faces")}}
    params["prepare"]["splits"]["test"] = 0
    params["train"] |= {"start_from": str(untrained), "network": NETWORK, "phases": [{"size": 64, "epochs": 2}]}
    params["train"] |= {"batch_size": 4, "workers": 0, "accelerator": "cpu", "learning_rate": 1e-3}
    monkeypatch.chdir(tmp_path)
    prepare_dataset("drawn", Prepare(**params["prepare"]), PREPARED / "drawn")

    def run(devices: int, *launcher: str) -> tuple[dict, np.ndarray]:
        Path("params.yaml").write_text(yaml.safe_dump(params | {"train": params["train"] | {"devices": devices}}))
        done = subprocess.run([sys.executable, *launcher, *STAGE], capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        assert ("distributed_backend=gloo" in done.stderr) == (devices == 2)
        return json.loads((TRAINED / "metrics.json").read_text()), weights(TRAINED)

    return run


def weights(folder: Path) -> np.ndarray:
    """All weights of the bundle in a folder."""
    return np.concatenate([p.detach().numpy().ravel() for p in ModelBundle.open(folder).network().parameters()])


@pytest.mark.slow
def test_two_processes_train_as_one_does(train, untrained):
    shared, of_shared = train(2, *TORCHRUN)  # which starts both at once, on a store of runs that does not exist yet
    started_by_lightning, of_lightning = train(2)
    alone, of_alone = train(1)
    assert shared["epochs"] == started_by_lightning["epochs"] == alone["epochs"] == 2
    assert shared["best_mean_f1"] == pytest.approx(started_by_lightning["best_mean_f1"], abs=0.01)
    moved = np.linalg.norm(of_alone - weights(untrained))
    assert np.linalg.norm(of_shared - of_lightning) < 0.02 * moved
    # the difference: Dice is computed over each half of a batch
    assert np.linalg.norm(of_shared - of_alone) < 0.3 * moved


def test_two_processes_see_each_image_once(tmp_path):
    synthetic.write(tmp_path, {"val": 5})
    held = folder_samples(tmp_path)
    settings = load_params().train.model_copy(update={"accelerator": "cpu", "devices": 2, "workers": 0})
    settings = settings.model_copy(update={"phases": [Phase(size=32, epochs=1)]})
    data = FaceDataModule(held, held, settings)
    data.trainer = create_trainer(settings, tmp_path, [])
    seen = data.val_dataloader().dataset
    # as Lightning divides them
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
