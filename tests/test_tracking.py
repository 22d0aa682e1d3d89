import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest
import yaml

from facemark.mlops import tracking

PARAMS = {
    "prepare": {"datasets": {"starter": {"format": "starter"}}},
    "train": {"batch_size": 2, "phases": [{"size": 64, "epochs": 1}]},
    "calibrate": {"start_from": "none"},
}
OWN_PARAMS = Path("params.yaml").resolve()
LOCK = """
stages:
  prepare@mine: {deps: [{path: src/facemark/data, md5: code.dir}, {path: wild, md5: 34.dir}]}
  prepare@starter: {deps: [{path: data, md5: 12.dir}]}
  train: {deps: []}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An MLflow store for the tests of this module."""
    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield folder
    mlflow.set_tracking_uri(before)


@pytest.fixture
def build(tmp_path, store):
    return tmp_path / "build"


def run(build, name: str, **changes) -> tracking.Runs:
    """Run a stage that does nothing, with some params of ``train`` changed."""
    with tracking.stage(name, PARAMS | {"train": PARAMS["train"] | changes}, build) as runs:
        pass
    return runs


def interrupt(build, name: str) -> tracking.Runs:
    with pytest.raises(KeyError), tracking.stage(name, PARAMS, build) as runs:
        raise KeyError
    return runs


def stages(pipeline: str) -> dict[str, str]:
    """For each stage of a pipeline run: its tag ``restored_from``, or ``ran``."""
    children = tracking.children(mlflow.get_run(pipeline))
    return {name: child.data.tags.get("restored_from", "ran") for name, child in children.items()}


def test_flatten_joins_names_with_dots():
    assert tracking.flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": "f"}) == {"a.b": 1, "a.c.d": [2], "e": "f"}


def test_the_stages_of_a_pipeline_run_are_its_child_runs(build):
    first, second = run(build, "prepare@starter"), run(build, "train")
    assert first.pipeline == second.pipeline
    assert stages(first.pipeline) == {"prepare@starter": "ran", "train": "ran"}
    pipeline, own = mlflow.get_run(second.pipeline), mlflow.get_run(second.stage)
    assert pipeline.data.params == {
        "prepare.datasets.starter.format": "starter",
        "train.batch_size": "2",
        "train.phases": "[{'size': 64, 'epochs': 1}]",
        "calibrate.start_from": "none",
    }
    assert own.data.params == {k: v for k, v in pipeline.data.params.items() if k.startswith("train.")}
    assert pipeline.info.status == own.info.status == "FINISHED"


def test_an_interrupted_stage_resumes_its_run(build):
    interrupted = interrupt(build, "train")
    assert {mlflow.get_run(run_id).info.status for run_id in interrupted} == {"FAILED"}
    assert not (build / "runs" / "train.txt").exists()
    assert run(build, "train") == interrupted
    assert {mlflow.get_run(run_id).info.status for run_id in interrupted} == {"FINISHED"}


def test_a_stage_that_runs_again_begins_a_new_pipeline_run(build):
    first, second = run(build, "train"), run(build, "train")
    assert first.pipeline != second.pipeline


def test_other_params_begin_a_new_pipeline_run(build):
    assert run(build, "train").pipeline != run(build, "calibrate", batch_size=4).pipeline


def test_another_dataset_begins_a_new_pipeline_run(build):
    first = run(build, "prepare@starter")
    more = PARAMS | {"prepare": {"datasets": PARAMS["prepare"]["datasets"] | {"more": {"format": "starter"}}}}
    with tracking.stage("prepare@more", more, build) as second:
        assert first.pipeline != second.pipeline
    assert run(build, "train").pipeline not in (first.pipeline, second.pipeline)


def test_a_restored_stage_points_to_the_run_that_made_its_result(build):
    prepared, trained = run(build, "prepare@starter"), run(build, "train")
    calibrated = run(build, "calibrate")
    again = run(build, "calibrate")
    originals = {"prepare@starter": prepared.stage, "train": trained.stage, "calibrate": "ran"}
    assert stages(calibrated.pipeline) == dict.fromkeys(originals, "ran")
    assert stages(again.pipeline) == originals
    # the third pipeline run points to the same original runs, not to the runs that point to them
    assert stages(run(build, "evaluate", batch_size=4).pipeline) == originals | {
        "calibrate": again.stage,
        "evaluate": "ran",
    }


def test_a_pipeline_run_that_the_store_lacks_is_replaced_by_a_new_one(build):
    first = run(build, "train")
    (build / "run_id.txt").write_text("0123456789abcdef0123456789abcdef")
    assert run(build, "calibrate").pipeline != first.pipeline


def test_a_deleted_pipeline_run_is_replaced_by_a_new_one(build):
    first = run(build, "train")
    mlflow.delete_run(first.pipeline)
    assert run(build, "calibrate").pipeline != first.pipeline


def test_the_run_that_mlflow_run_created_is_the_pipeline_run(build, monkeypatch):
    with mlflow.start_run() as created:
        pass
    run(build, "prepare@starter")
    for name in ("train", "calibrate"):
        monkeypatch.setenv("MLFLOW_RUN_ID", created.info.run_id)
        assert run(build, name).pipeline == created.info.run_id


def test_lightning_writes_into_the_run_of_the_stage(build):
    with tracking.stage("train", PARAMS, build) as runs:
        logger = tracking.logger(runs)
        logger.log_metrics({"val/mean_f1": 12.5, "epoch": 0}, step=3)
        logger.finalize("success")
    assert mlflow.get_run(runs.stage).data.metrics["val/mean_f1"] == 12.5


def test_the_machine_and_its_packages_are_logged(build):
    runs = run(build, "train")
    assert mlflow.get_run(runs.stage).data.tags.items() >= tracking.machine().items()
    logged = mlflow.artifacts.load_text(f"runs:/{runs.stage}/packages.txt").splitlines()
    assert f"torch=={importlib.metadata.version('torch')}" in logged


def test_a_queued_experiment_writes_into_the_projects_store(tmp_path):
    (tmp_path / "queue").mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | {"DVC_ROOT": str(tmp_path)}
    program = "from test_tracking import run, Path; run(Path('build'), 'train')"
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), environment.get("PYTHONPATH", "")])
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path / "queue", env=environment, check=True)
    assert (tmp_path / "mlflow.db").exists()
    assert list((tmp_path / "mlruns").rglob("packages.txt"))
    assert [file.name for file in (tmp_path / "queue").iterdir()] == ["build"]


def test_lineage_names_commit_and_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking.lineage() == {}

    def git(*command):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.check_output(["git", *identity, *command], text=True).strip()

    git("init", "-q")
    (tmp_path / "code.py").touch()
    shutil.copy(OWN_PARAMS, tmp_path)
    (tmp_path / "dvc.lock").write_text(LOCK)
    git("add", ".")
    git("commit", "-qm", "first")
    clean = {"git.commit": git("rev-parse", "HEAD"), "git.dirty": "false", "data.starter.md5": "12.dir"}
    assert tracking.lineage() == clean

    (tmp_path / "untracked").touch()
    (tmp_path / "dvc.lock").write_text(LOCK + "\n")
    assert tracking.lineage() == clean
    (tmp_path / "code.py").write_text("1")
    assert tracking.lineage() == clean | {"git.dirty": "true"}


def test_the_identity_of_a_model_names_all_its_datasets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking.identity("1.2.3")["data"] == "unknown"
    params = yaml.safe_load(OWN_PARAMS.read_text())
    params["prepare"]["datasets"] |= {"mine": {"format": "celebamask", "path": "x"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (tmp_path / "dvc.lock").write_text(LOCK)
    assert tracking.identity("1.2.3")["data"] == "12.dir 34.dir"
