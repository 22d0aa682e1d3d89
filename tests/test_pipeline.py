"""The pipeline from a clone to the archive, at a tiny size: DVC, MLflow, `mlflow run`, and a killed training."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml

from facemark import model, synthetic
from facemark.landmarks import LandmarkModel
from facemark.settings import load_params
from facemark.tracking import flatten

ROOT = Path(__file__).parents[1]
TINY = {
    "train": {"phases": [{"size": 64, "epochs": 1}], "batch_size": 2, "workers": 0, "accelerator": "cpu"},
    "evaluate": {"overlays": 2, "robustness": 1},
}
LEFT_BEHIND = re.compile(r"(\.dvc|data|weights)/|(data|weights)\.dvc|dvc\.lock")
"""What a clone of these tests makes for itself."""


class Clone:
    """A copy of the project, uncommitted work and all, with a dozen starter faces, untrained weights, tiny params."""

    def __init__(self, folder: Path):
        self.folder = folder
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "GIT_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = inherited | {"PATH": path, "PYTHONPATH": str(folder / "src"), "DVC_NO_ANALYTICS": "1"}

        for name in subprocess.check_output(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True
        ).splitlines():
            if (ROOT / name).is_file() and not LEFT_BEHIND.match(name):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        synthetic.write(folder / "data", {"train": 8, "val": 2, "test": 2}, seed=1)
        (folder / "weights").mkdir()
        model.save(model.build(), folder / "weights/model.safetensors", 64)
        LandmarkModel.blank(np.stack([each.points[0] / 320 for each in map(synthetic.draw, range(4))])).save(
            folder / "weights/landmarks.npz"
        )
        self.change(TINY)
        self.run("git", "init", "--quiet")
        self.run("git", "config", "user.name", "test")
        self.run("git", "config", "user.email", "test@localhost")
        self.run("dvc", "init", "--quiet")
        self.run("dvc", "add", "--quiet", "data", "weights")
        self.run("git", "add", ".")
        self.run("git", "commit", "--quiet", "--message", "A clone")

    def run(self, *command: str, expect: int = 0) -> str:
        """Run a command in the clone that ends with the expected status; answers what it printed."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert done.returncode == expect, f"{' '.join(command)}\n{done.stdout}"
        return done.stdout

    def change(self, params: dict) -> None:
        """Set params, {section: {name: value}}."""
        file = self.folder / "params.yaml"
        held = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump({name: section | params.get(name, {}) for name, section in held.items()}))

    def read(self, path: str):
        """Read a JSON file of the clone."""
        return json.loads((self.folder / path).read_text())

    @property
    def run_id(self) -> str:
        """The MLflow run of the last training."""
        return (self.folder / "build/train/run_id.txt").read_text().strip()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """One clone with the pipeline run once; this process looks into its MLflow store."""
    clone = Clone(tmp_path_factory.mktemp("pipeline") / "clone")
    clone.run("dvc", "repro")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{clone.folder}/mlflow.db")
    yield clone
    mlflow.set_tracking_uri(before)


def test_the_pipeline_ends_in_an_archive_and_figures(clone):
    assert (clone.folder / "build/facemark.mar").stat().st_size > 1e6
    figures = clone.read("build/evaluate/metrics.json")
    assert all(0 <= figures[name] <= 100 for name in ("mean_f1", "mean_f1_face", "mean_iou", "pixel_accuracy"))
    assert figures["landmarks"]["faces"] >= 2
    assert (clone.folder / "build/evaluate/overlays.png").stat().st_size > 1e4


def test_dvc_reads_metrics_and_plots(clone):
    assert "mean_f1_face" in clone.run("dvc", "metrics", "show", "build/evaluate/metrics.json")
    clone.run("dvc", "plots", "show", "--out", "build/plots")
    page = (clone.folder / "build/plots/index.html").read_text()
    assert all(name in page for name in ("confusion", "val/mean_f1_face", "ced"))


def test_the_run_holds_everything(clone):
    run = mlflow.get_run(clone.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params.items() >= {"train.batch_size": "2", "evaluate.overlays": "2"}.items()
    assert run.data.metrics["evaluate/test/mean_f1"] == clone.read("build/evaluate/metrics.json")["mean_f1"]
    assert "val/mean_f1" in run.data.metrics
    data, weights = (yaml.safe_load((clone.folder / name).read_text()) for name in ("data.dvc", "dvc.lock"))
    outs = {out["path"]: out["md5"] for out in weights["stages"]["train"]["outs"]}
    assert (
        run.data.tags.items()
        >= {
            "git.commit": clone.run("git", "rev-parse", "HEAD").strip(),
            "git.dirty": "false",
            "data.starter.md5": data["outs"][0]["md5"],
            "model.md5": outs["build/train/model.safetensors"],
        }.items()
    )
    pictures = {file.path for file in mlflow.MlflowClient().list_artifacts(clone.run_id, "evaluate")}
    assert {"evaluate/overlays.png", "evaluate/plots"} <= pictures


def test_the_logged_model_loads_and_parses(clone):
    parser = mlflow.pyfunc.load_model(f"runs:/{clone.run_id}/model")
    assert parser.metadata.signature is not None
    masks = parser.predict(np.full((2, 64, 96, 3), 128, np.uint8))
    assert (masks.shape, masks.dtype) == ((2, 64, 96), np.uint8)


def test_a_second_repro_does_nothing(clone):
    before = (clone.folder / "dvc.lock").read_bytes()
    assert "up to date" in clone.run("dvc", "repro")
    assert (clone.folder / "dvc.lock").read_bytes() == before


def test_mlproject_defaults_are_those_of_params():
    entries = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    params = flatten(load_params(ROOT / "params.yaml").model_dump(mode="json"))
    for entry in entries.values():
        names = dict(re.findall(r"-S ([\w.]+)=\{(\w+)\}", entry["command"]))
        assert {params[name] for name in names} == {entry["parameters"][p]["default"] for p in names.values()}
        assert set(names.values()) == set(entry["parameters"])


def test_mlflow_run_runs_the_pipeline(clone):
    clone.run("mlflow", "run", ".", "--env-manager", "local", "-P", "batch_size=4")
    run = mlflow.get_run(clone.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["mlflow.project.entryPoint"] == "main"
    assert run.data.params["train.batch_size"] == "4"
    assert "evaluate/test/mean_f1" in run.data.metrics


def test_mlflow_run_evaluates_another_split(clone):
    trained = clone.run_id
    clone.run("mlflow", "run", ".", "--env-manager", "local", "-e", "evaluate", "-P", "split=val", "-P", "overlays=1")
    assert clone.run_id == trained
    runs = mlflow.search_runs(search_all_experiments=True, filter_string=f"tags.continues = '{trained}'")
    assert "metrics.evaluate/val/mean_f1" in runs
    assert clone.read("build/evaluate/metrics.json")["mean_f1"] == pytest.approx(
        runs["metrics.evaluate/val/mean_f1"][0]
    )


def test_release_refuses_what_was_not_evaluated_and_hands_the_rest_to_dvc(clone, tmp_path):
    clone.run("dvc", "remote", "add", "--default", "here", str(tmp_path / "remote"))
    clone.run("dvc", "repro", "evaluate")
    tracked = (clone.folder / "weights.dvc").read_text()
    clone.change({"evaluate": TINY["evaluate"] | {"overlays": 3}})
    assert "dvc repro evaluate" in clone.run("python", "-m", "facemark.release", expect=1)
    assert (clone.folder / "weights.dvc").read_text() == tracked

    clone.run("dvc", "repro", "evaluate")
    clone.run("python", "-m", "facemark.release")
    built, released = (clone.folder / name / "model.safetensors" for name in ("build/train", "weights"))
    assert built.read_bytes() == released.read_bytes()
    assert (clone.folder / "weights.dvc").read_text() != tracked
    assert "in sync" in clone.run("dvc", "status", "--cloud", "weights.dvc")


def test_a_killed_training_goes_on_where_it_was(clone):
    clone.change({"train": TINY["train"] | {"phases": [{"size": 64, "epochs": 6}]}})
    training = subprocess.Popen(
        ["dvc", "repro", "train"], cwd=clone.folder, env=clone.environment, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not (saved := list((clone.folder / "build/checkpoints").glob("*/last.ckpt"))):
        assert training.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint within five minutes"
        time.sleep(0.1)
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    run_id = (saved[0].parent / "run_id.txt").read_text()
    assert mlflow.get_run(run_id).info.status == "RUNNING"

    printed = clone.run("dvc", "repro", "train")
    assert clone.run_id == run_id
    assert mlflow.get_run(run_id).info.status == "FINISHED"
    with (clone.folder / "build/train/curves.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(6))
    assert "Restored all states" in printed
