import socket

import cv2
import mlflow
import numpy as np
import pytest
import torch
from clone import IDENTITY, create, untrained_bundle

from facemark.data import synthetic
from facemark.data.samples import write_points
from facemark.models.bundle import ModelBundle
from facemark.serving import torchserve
from facemark.serving.archive import pack_archive
from facemark.settings import RELEASED

SHARED = ("pipeline", "endpoint")
"""Fixtures that are costly to set up: with several processes, the tests of each run in the same one."""


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items):
    for item in items:
        group = next((name for name in SHARED if name in item.fixturenames), item.path.name)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session")
def untrained(tmp_path_factory):
    """The folder of an untrained bundle: a tiny network for 64 × 64 pixels, a landmark model of four drawn faces."""
    with torch.random.fork_rng():
        torch.manual_seed(3)  # always the same network: untrained ones differ in their rounding error at half precision
        return untrained_bundle(tmp_path_factory.mktemp("untrained")).folder


@pytest.fixture
def landmarks(tmp_path):
    """A dataset of points without masks: one drawn face, 60 times scaled and rotated, 48 times in train.

    Point 30 of the first sample of each split is an outlier; the points of the second sample are shuffled.
    """
    root, rng, drawn = tmp_path / "faces", np.random.default_rng(1), synthetic.draw(0).points[0].astype(float)
    drawn -= drawn.mean(0)
    for i in range(60):
        folder, angle = root / ("train" if i < 48 else "val"), rng.normal(0, 0.5)
        for part in ("images", "landmarks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        matrix = rng.uniform(0.8, 1.2) * np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
        face = drawn @ matrix.T + 300
        if i in (0, 48):
            face[30] = 50, 60
        if i == 1:
            face[:] = rng.permutation(face)
        cv2.imwrite(str(folder / f"images/{i:02}.jpg"), np.zeros((600, 600, 3), np.uint8))
        write_points(folder / f"landmarks/{i:02}.txt", face[None])
    return root


@pytest.fixture(scope="session")
def released():
    """The folder of the released bundle; tests that need a trained network skip without it."""
    if not (RELEASED / "model.safetensors").exists():
        pytest.skip("the released weights are not here; fetch them with: dvc pull weights.dvc")
    return RELEASED


@pytest.fixture(scope="session")
def server_home(tmp_path_factory):
    """The home folder of the endpoint's server."""
    return (
        tmp_path_factory.mktemp("endpoint") / "josé" / "server"
    )  # with a letter that is not ASCII, as in a home directory


@pytest.fixture(scope="session")
def endpoint(server_home, released):
    """A real TorchServe on free ports, serving a real archive of the released weights."""
    pack_archive(IDENTITY, ModelBundle.open(released), server_home.parent / "facemark.mar")
    yield torchserve.start(server_home.parent / "facemark.mar", free_port(), server_home)
    torchserve.stop(server_home)


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory):
    """A clone in which the pipeline ran once, with its dvc.lock committed. Tests use copies of it, see ``clone``."""
    clone = create(tmp_path_factory.mktemp("pipeline") / "clone")
    clone.run("dvc", "repro")
    clone.run("git", "add", "dvc.lock")
    clone.run("git", "commit", "--quiet", "--message", "A first run of the pipeline")
    return clone


@pytest.fixture(scope="module")
def clone(pipeline, tmp_path_factory):
    """A clone in which the pipeline ran once, for the tests of one module; MLflow in this process uses its store."""
    clone = pipeline.copy(tmp_path_factory.mktemp("module") / "clone")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(clone.store)
    yield clone
    mlflow.set_tracking_uri(before)


def free_port() -> int:
    """A free port; the four above it are free too."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if not any(torchserve.in_use(port + i) for i in range(5)):
            return port
