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
  prepare@mine: {deps: [{path: src/facemark/datasets, md5: code.dir}, {path: wild, md5: 34.dir}]}
  prepare@starter: {deps: [{path: data, md5: 12.dir}]}
  train: {deps: []}
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An MLflow store of this module's own."""
    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield folder
    mlflow.set_tracking_uri(before)


@pytest.fixture
def build(tmp_path, store):
    return tmp_path / "build"


def run(build, name: str, **changes) -> tracking.Runs:
    """A stage that does nothing, with other params of ``train``."""
    with tracking.stage(name, PARAMS | {"train": PARAMS["train"] | changes}, build) as runs:
        pass
    return runs


def cut_off(build, name: str) -> tracking.Runs:
    with pytest.raises(KeyError), tracking.stage(name, PARAMS, build) as runs:
        raise KeyError
    return runs


def stages(whole: str) -> dict[str, str]:
    """The tag ``restored_from`` of each stage of a pass, or that it ran."""
    children = tracking.children(mlflow.get_run(whole))
    return {name: child.data.tags.get("restored_from", "ran") for name, child in children.items()}


def test_flatten_joins_names_with_dots():
    assert tracking.flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": "f"}) == {"a.b": 1, "a.c.d": [2], "e": "f"}


def test_the_stages_of_a_pass_are_runs_inside_its_run(build):
    first, second = run(build, "prepare@starter"), run(build, "train")
    assert first.whole == second.whole
    assert stages(first.whole) == {"prepare@starter": "ran", "train": "ran"}
    whole, own = mlflow.get_run(second.whole), mlflow.get_run(second.stage)
    assert whole.data.params == {
        "prepare.datasets.starter.format": "starter",
        "train.batch_size": "2",
        "train.phases": "[{'size': 64, 'epochs': 1}]",
        "calibrate.start_from": "none",
    }
    assert own.data.params == {k: v for k, v in whole.data.params.items() if k.startswith("train.")}
    assert whole.info.status == own.info.status == "FINISHED"


def test_a_stage_that_was_cut_off_goes_on_in_its_run(build):
    failed = cut_off(build, "train")
    assert {mlflow.get_run(run_id).info.status for run_id in failed} == {"FAILED"}
    assert not (build / "runs" / "train.txt").exists()
    assert run(build, "train") == failed
    assert {mlflow.get_run(run_id).info.status for run_id in failed} == {"FINISHED"}


def test_a_stage_that_runs_again_begins_a_new_pass(build):
    first, second = run(build, "train"), run(build, "train")
    assert first.whole != second.whole


def test_other_params_begin_a_new_pass(build):
    assert run(build, "train").whole != run(build, "calibrate", batch_size=4).whole


def test_another_dataset_begins_a_new_pass(build):
    first = run(build, "prepare@starter")
    more = PARAMS | {"prepare": {"datasets": PARAMS["prepare"]["datasets"] | {"more": {"format": "starter"}}}}
    with tracking.stage("prepare@more", more, build) as second:
        assert first.whole != second.whole
    assert run(build, "train").whole not in (first.whole, second.whole)


def test_what_dvc_restored_points_to_the_run_that_made_it(build):
    prepared, trained = run(build, "prepare@starter"), run(build, "train")
    calibrated = run(build, "calibrate")
    again = run(build, "calibrate")
    originals = {"prepare@starter": prepared.stage, "train": trained.stage, "calibrate": "ran"}
    assert stages(calibrated.whole) == dict.fromkeys(originals, "ran")
    assert stages(again.whole) == originals
    # of the third pass it is the same originals, not those that point to them
    assert stages(run(build, "evaluate", batch_size=4).whole) == originals | {
        "calibrate": again.stage,
        "evaluate": "ran",
    }


def test_a_pass_that_the_store_has_lost_is_begun_anew(build):
    first = run(build, "train")
    (build / "run_id.txt").write_text("0123456789abcdef0123456789abcdef")
    assert run(build, "calibrate").whole != first.whole


def test_a_deleted_pass_is_begun_anew(build):
    first = run(build, "train")
    mlflow.delete_run(first.whole)
    assert run(build, "calibrate").whole != first.whole


def test_the_run_that_mlflow_run_has_made_is_the_pass(build, monkeypatch):
    with mlflow.start_run() as made:
        pass
    run(build, "prepare@starter")
    for name in ("train", "calibrate"):
        monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
        assert run(build, name).whole == made.info.run_id


def test_lightning_writes_into_the_run_of_the_stage(build):
    with tracking.stage("train", PARAMS, build) as runs:
        logger = tracking.logger(runs)
        logger.log_metrics({"val/mean_f1": 12.5, "epoch": 0}, step=3)
        logger.finalize("success")
    assert mlflow.get_run(runs.stage).data.metrics["val/mean_f1"] == 12.5


def test_the_machine_and_its_packages_are_kept(build):
    runs = run(build, "train")
    assert mlflow.get_run(runs.stage).data.tags.items() >= tracking.machine().items()
    kept = mlflow.artifacts.load_text(f"runs:/{runs.stage}/packages.txt").splitlines()
    assert f"torch=={importlib.metadata.version('torch')}" in kept


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


def test_a_model_names_the_data_of_all_its_datasets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking.identity("1.2.3")["data"] == "unknown"
    params = yaml.safe_load(OWN_PARAMS.read_text())
    params["prepare"]["datasets"] |= {"mine": {"format": "celebamask", "path": "x"}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (tmp_path / "dvc.lock").write_text(LOCK)
    assert tracking.identity("1.2.3")["data"] == "12.dir 34.dir"
