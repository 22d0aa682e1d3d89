"""A small clone of the project, in which tests run the real commands."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import yaml

from facemark.data import synthetic
from facemark.inference.landmarks import LandmarkModel
from facemark.mlops import tracking
from facemark.models.bundle import ModelBundle, add_landmarks, save_network
from facemark.models.unet import build
from facemark.settings import Network

ROOT = Path(__file__).parents[1]
NETWORK = {"architecture": "Unet", "encoder": "tu-test_resnet", "decoder_channels": [16, 16, 8, 8, 8]}
"""A network of half a million weights, for tests that do not need the ResNet50."""
IDENTITY = {"name": "facemark", "version": "0.0.1", "revision": "unknown", "data": "unknown"}
TINY = {
    "train": {
        "network": NETWORK,
        "phases": [{"size": 64, "epochs": 1}],
        "batch_size": 2,
        "workers": 0,
        "accelerator": "cpu",
    },
    "evaluate": {"overlays": 2, "robustness": 1},
    "promote": {"latency": 10},  # tests share the machine with other processes
    "sweep": {"phases": [{"size": 64, "epochs": 1}]},
}
LEFT_BEHIND = re.compile(r"(\.dvc|data|weights)/|(data|weights)\.dvc|dvc\.lock")
"""Files that a clone creates itself."""


def untrained_bundle(folder: Path) -> ModelBundle:
    """A bundle of the untrained NETWORK for 64 × 64 pixels, with a landmark model of four drawn faces."""
    config = Network.model_validate(NETWORK)
    drawn = [synthetic.draw(seed) for seed in range(4)]
    shapes = np.stack([each.points[0] / max(each.mask.shape) for each in drawn])
    folder.mkdir(parents=True, exist_ok=True)
    LandmarkModel.from_shapes(shapes).save(folder / "landmarks.npz")
    return add_landmarks(save_network(build(config), config, 64, folder), folder / "landmarks.npz", folder)


class Clone:
    """A copy of the project with uncommitted changes, a dozen starter faces, untrained weights and tiny params."""

    def __init__(self, folder: Path):
        """Use the clone in ``folder``; :func:`create` and :meth:`copy` make one."""
        self.folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "GIT_", "PYTHONDONT"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = inherited | {"PATH": path, "PYTHONPATH": str(folder / "src"), "DVC_NO_ANALYTICS": "1"}
        self.environment |= {
            "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "1",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }

    @property
    def store(self) -> str:
        """The URI of its MLflow store."""
        return f"sqlite:///{self.folder}/mlflow.db"

    def copy(self, folder: Path) -> "Clone":
        """Copy this clone with everything in it: git history, DVC cache, outputs, and MLflow store."""
        shutil.copytree(self.folder, folder, symlinks=True)
        with sqlite3.connect(folder / "mlflow.db") as store:  # it has absolute paths of artifacts
            for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                for column in [row[1] for row in store.execute(f"PRAGMA table_info({table})")]:
                    update = f"UPDATE {table} SET {column} = replace({column}, ?, ?) WHERE instr({column}, ?)"
                    store.execute(update, (f"{self.folder}/", f"{folder}/", f"{self.folder}/"))
        return Clone(folder)

    def run(self, *command: str, expect: int = 0, **environment: str) -> str:
        """Run a command in the clone and return what it printed.

        Raises:
            AssertionError: its exit status is not ``expect``.
        """
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == expect, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def start(self, *command: str) -> subprocess.Popen:
        """Start a command in the clone in its own process group, which a test can kill."""
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, start_new_session=True)

    def change(self, params: dict) -> None:
        """Set params, {section: {name: value}}."""
        file = self.folder / "params.yaml"
        current = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({name: section | params.get(name, {}) for name, section in current.items()}))

    def reset(self) -> None:
        """Restore the committed params and their outputs, which DVC has cached."""
        self.run("git", "checkout", "--quiet", ".")
        self.run("dvc", "repro")

    def read(self, path: str):
        """Read a JSON file of the clone."""
        return json.loads((self.folder / path).read_text())

    def run_of(self, stage: str) -> str:
        """The id of the MLflow run that made the current result of a stage."""
        return (self.folder / f"build/runs/{stage}.txt").read_text()

    def pipeline_run(self, stage: str) -> mlflow.entities.Run:
        """The MLflow run of the pipeline run in which a stage last ran."""
        return mlflow.get_run(mlflow.get_run(self.run_of(stage)).data.tags["mlflow.parentRunId"])

    def stages(self, stage: str) -> dict[str, str]:
        """For each stage of that pipeline run: the run that it was restored from, or ``ran``."""
        children = tracking.children(self.pipeline_run(stage))
        return {name: run.data.tags.get("restored_from", "ran") for name, run in children.items()}


def create(folder: Path) -> Clone:
    """Create a clone: project files, data and weights, committed to git and DVC. No stage has run yet."""
    files = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True).splitlines()
    for name in files:
        if (ROOT / name).is_file() and not LEFT_BEHIND.match(name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    synthetic.write(folder / "data", {"train": 8, "val": 2, "test": 2}, seed=1)
    untrained_bundle(folder / "weights")
    clone = Clone(folder)
    clone.change(TINY)
    clone.run("git", "init", "--quiet")
    clone.run("git", "config", "user.name", "test")
    clone.run("git", "config", "user.email", "test@localhost")
    clone.run("dvc", "init", "--quiet")
    clone.run("dvc", "add", "--quiet", "data", "weights")
    clone.run("git", "add", ".")
    clone.run("git", "commit", "--quiet", "--message", "A clone")
    return clone


def ran(printed: str) -> set[str]:
    """The stages that DVC says it ran."""
    return set(re.findall(r"Running stage '([^']+)'", printed))
