import subprocess

import mlflow
import pytest
import yaml

from facemark import tracking

PARAMS = {"train": {"batch_size": 2, "phases": [{"size": 64, "epochs": 1}]}}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An MLflow store of this module's own."""
    folder = tmp_path_factory.mktemp("mlflow")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield folder
    mlflow.set_tracking_uri(before)


@pytest.fixture
def record(tmp_path, store):
    return tmp_path / "run_id.txt"


def begin(record, params=PARAMS) -> str:
    with tracking.run(params, record) as run_id:
        record.write_text(run_id)
    return run_id


def test_flatten_joins_names_with_dots():
    assert tracking.flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": "f"}) == {"a.b": 1, "a.c.d": [2], "e": "f"}


def test_a_run_holds_params_and_finishes(record):
    run = mlflow.get_run(begin(record))
    assert run.data.params == {"train.batch_size": "2", "train.phases": "[{'size': 64, 'epochs': 1}]"}
    assert run.info.status == "FINISHED"


def test_a_recorded_run_goes_on_with_more_params(record):
    run_id = begin(record)
    assert begin(record, {"evaluate": {"split": "val"}}) == run_id
    assert begin(record) == run_id
    assert mlflow.get_run(run_id).data.params["evaluate.split"] == "val"


def test_other_params_begin_a_new_run_that_names_the_old_one(record):
    run_id = begin(record)
    other = begin(record, {"train": {"batch_size": 4}})
    assert other != run_id
    assert mlflow.get_run(other).data.tags["continues"] == run_id


def test_a_run_that_the_store_has_lost_is_begun_anew(record):
    lost = "0123456789abcdef0123456789abcdef"
    record.write_text(lost)
    run_id = begin(record)
    assert run_id != lost
    assert mlflow.get_run(run_id).data.tags["continues"] == lost


def test_a_deleted_run_is_begun_anew(record):
    run_id = begin(record)
    mlflow.delete_run(run_id)
    assert begin(record) != run_id


def test_a_failed_stage_leaves_a_failed_run(record):
    with pytest.raises(KeyError), tracking.run(PARAMS, record) as run_id:
        raise KeyError
    assert mlflow.get_run(run_id).info.status == "FAILED"


def test_the_run_that_mlflow_run_has_made_is_taken(record, monkeypatch):
    with mlflow.start_run() as made:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    assert begin(record) == made.info.run_id


def test_lightning_writes_into_the_same_run(record):
    with tracking.run(PARAMS, record) as run_id:
        logger = tracking.logger(run_id)
        logger.log_metrics({"val/mean_f1": 12.5, "epoch": 0}, step=3)
        logger.finalize("success")
    assert mlflow.get_run(run_id).data.metrics["val/mean_f1"] == 12.5


def test_lineage_names_commit_and_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert tracking.lineage() == {}

    def git(*command):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.check_output(["git", *identity, *command], text=True).strip()

    git("init", "-q")
    (tmp_path / "code.py").touch()
    lock = {"stages": {"prepare@starter": {"deps": [{"path": "data", "md5": "12.dir"}]}, "train": {"deps": []}}}
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock))
    git("add", ".")
    git("commit", "-qm", "first")
    clean = {"git.commit": git("rev-parse", "HEAD"), "git.dirty": "false", "data.starter.md5": "12.dir"}
    assert tracking.lineage() == clean

    (tmp_path / "untracked").touch()
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump(lock) + "\n")
    assert tracking.lineage() == clean
    (tmp_path / "code.py").write_text("1")
    assert tracking.lineage() == clean | {"git.dirty": "true"}
