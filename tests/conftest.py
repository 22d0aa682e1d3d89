import socket

import mlflow
import numpy as np
import pytest
import torch
from clone import Clone

from facemark import model, serving, synthetic
from facemark.landmarks import LandmarkModel
from facemark.settings import RELEASED
from facemark.stages.archive import archive


def shapes() -> np.ndarray:
    """The points of four drawn faces, as shares of their pictures' sides."""
    drawn = [synthetic.draw(seed) for seed in range(4)]
    return np.stack([each.points[0] / max(each.mask.shape) for each in drawn])


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """Weights of an untrained network for 64 pixels, and a landmark model of four drawn faces."""
    folder = tmp_path_factory.mktemp("untrained")
    with torch.random.fork_rng():
        torch.manual_seed(3)  # one network, whatever was drawn before: they differ in what half precision does to them
        network = model.build()
    model.save(network, folder / "model.safetensors", 64)
    LandmarkModel.blank(shapes()).save(folder / "landmarks.npz")
    return folder / "model.safetensors", folder / "landmarks.npz"


@pytest.fixture(scope="session")
def released():
    """The released weights and landmark model; tests that need a trained network skip without them."""
    if not all(file.exists() for file in RELEASED):
        pytest.skip("the released weights are not here; fetch them with: dvc pull weights.dvc")
    return RELEASED


@pytest.fixture(scope="session")
def server_home(tmp_path_factory):
    """The folder of the endpoint's server."""
    return tmp_path_factory.mktemp("endpoint") / "josé" / "server"  # as a person's home may be called


@pytest.fixture(scope="session")
def endpoint(server_home, released):
    """A real TorchServe on free ports, serving a real archive of the released weights."""
    archive("0.0.1", *released, server_home.parent / "facemark.mar")
    yield serving.start(server_home.parent / "facemark.mar", free_port(), server_home)
    serving.stop(server_home)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone of the project with the pipeline run once, which takes a minute, and its dvc.lock committed.

    This process looks into its MLflow store.
    """
    clone = Clone(tmp_path_factory.mktemp("pipeline") / "clone")
    clone.run("dvc", "repro")
    clone.run("git", "add", "dvc.lock")
    clone.run("git", "commit", "--quiet", "--message", "A first pass")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{clone.folder}/mlflow.db")
    yield clone
    mlflow.set_tracking_uri(before)


def free_port() -> int:
    """A port that is free now, as are the four above it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if not any(serving.in_use(port + i) for i in range(5)):
            return port
