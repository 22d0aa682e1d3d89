"""A clone of the project at a tiny size, in which tests run the real commands."""

import json
import os
import re
import shutil
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
"""A network of half a million weights, for tests of everything but what the ResNet50 itself does."""
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
    "promote": {"latency": 10},  # of a machine that has other things to do
    "sweep": {"phases": [{"size": 64, "epochs": 1}]},
}
LEFT_BEHIND = re.compile(r"(\.dvc|data|weights)/|(data|weights)\.dvc|dvc\.lock")
"""What a clone of these tests makes for itself."""


def untrained_bundle(folder: Path) -> ModelBundle:
    """A bundle of NETWORK, untrained, for 64 pixels, with a landmark model of four drawn faces."""
    config = Network.model_validate(NETWORK)
    drawn = [synthetic.draw(seed) for seed in range(4)]
    shapes = np.stack([each.points[0] / max(each.mask.shape) for each in drawn])
    folder.mkdir(parents=True, exist_ok=True)
    LandmarkModel.from_shapes(shapes).save(folder / "landmarks.npz")
    return add_landmarks(save_network(build(config), config, 64, folder), folder / "landmarks.npz", folder)


class Clone:
    """A copy of the project, uncommitted work and all, with a dozen starter faces, untrained weights, tiny params."""

    def __init__(self, folder: Path):
        self.folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "GIT_", "PYTHONDONT"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = inherited | {"PATH": path, "PYTHONPATH": str(folder / "src"), "DVC_NO_ANALYTICS": "1"}
        self.environment |= {
            "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "1",
            "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        }

        for name in subprocess.check_output(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True
        ).splitlines():
            if (ROOT / name).is_file() and not LEFT_BEHIND.match(name):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        synthetic.write(folder / "data", {"train": 8, "val": 2, "test": 2}, seed=1)
        untrained_bundle(folder / "weights")
        self.change(TINY)
        self.run("git", "init", "--quiet")
        self.run("git", "config", "user.name", "test")
        self.run("git", "config", "user.email", "test@localhost")
        self.run("dvc", "init", "--quiet")
        self.run("dvc", "add", "--quiet", "data", "weights")
        self.run("git", "add", ".")
        self.run("git", "commit", "--quiet", "--message", "A clone")

    def run(self, *command: str, expect: int = 0, **environment: str) -> str:
        """Run a command in the clone that ends with the expected status; answers what it printed."""
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
        """Start a command in the clone, in a process group of its own, to be killed."""
        return subprocess.Popen(command, cwd=self.folder, env=self.environment, start_new_session=True)

    def change(self, params: dict) -> None:
        """Set params, {section: {name: value}}."""
        file = self.folder / "params.yaml"
        held = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({name: section | params.get(name, {}) for name, section in held.items()}))

    def settle(self) -> None:
        """Bring params and outputs back to those of the first run; DVC has them all."""
        self.run("git", "checkout", "--quiet", ".")
        self.run("dvc", "repro")

    def read(self, path: str):
        """Read a JSON file of the clone."""
        return json.loads((self.folder / path).read_text())

    def run_of(self, stage: str) -> str:
        """The MLflow run that made what a stage left."""
        return (self.folder / f"build/runs/{stage}.txt").read_text()

    def pass_of(self, stage: str) -> mlflow.entities.Run:
        """The MLflow run of the pass in which a stage last ran."""
        return mlflow.get_run(mlflow.get_run(self.run_of(stage)).data.tags["mlflow.parentRunId"])

    def stages(self, stage: str) -> dict[str, str]:
        """Of each stage of that pass, the run that it was restored from, or that it ran."""
        children = tracking.children(self.pass_of(stage))
        return {name: run.data.tags.get("restored_from", "ran") for name, run in children.items()}


def ran(printed: str) -> set[str]:
    """The stages that DVC says it ran."""
    return set(re.findall(r"Running stage '([^']+)'", printed))
