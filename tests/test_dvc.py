"""DVC: which stages an edit reruns, the run cache, remotes, queued experiments, and a killed stage."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from clone import ROOT, TINY, ran
from conftest import free_port
from dvc.repo import Repo

from facemark.mlops import tracking


@pytest.fixture
def edited(clone):
    """The clone; its files are restored after the test."""
    yield clone
    clone.run("git", "checkout", "--quiet", ".")


EDITS = {
    "README.md": set(),
    "docs/mlops.md": set(),
    "src/facemark/cli/__init__.py": set(),
    "src/facemark/demo/app.py": set(),
    "src/facemark/mlops/promote.py": set(),
    "src/facemark/mlops/tracking.py": set(),
    "src/facemark/serving/client.py": set(),
    "src/facemark/serving/torchserve.py": set(),
    "src/facemark/images.py": {"prepare@starter", "train", "calibrate", "evaluate", "archive"},
    "src/facemark/data/anomalies.py": {"prepare@starter", "train", "calibrate", "evaluate"},
    "src/facemark/training/trainer.py": {"train"},
    "src/facemark/training/calibration.py": {"calibrate"},
    "src/facemark/evaluation/metrics.py": {"train", "evaluate"},
    "src/facemark/inference/landmarks.py": {"calibrate", "evaluate", "archive"},
    "src/facemark/serving/request.py": {"evaluate", "archive"},
    "src/facemark/stages/prepare.py": {"prepare@starter"},
    "serve/handler.py": {"evaluate", "archive"},  # the logged model has it, too
}
PARAMS = {
    "prepare.seed": {"prepare@starter"},
    "train.learning_rate": {"train"},
    "calibrate.start_from": {"calibrate"},
    "evaluate.overlays": {"evaluate"},
    "archive.version": {"evaluate", "archive"},  # the logged model has it, too
    "promote.nme": set(),
}


def changed(clone) -> set[str]:
    """The stages that ``dvc status`` reports as changed; those that follow from them only change when they run."""
    with Repo(clone.folder) as repo:
        return {name.rpartition("/")[2].removeprefix("dvc.yaml:") for name in repo.status()}


@pytest.mark.parametrize("file", EDITS)
def test_an_edited_file_reruns_the_stages_that_depend_on_it(edited, file):
    with (edited.folder / file).open("a") as stream:
        stream.write("\n# edited\n")
    assert changed(edited) == EDITS[file]


@pytest.mark.parametrize("name", PARAMS)
def test_a_changed_param_reruns_the_stages_that_read_it(edited, name):
    section, key = name.split(".")
    edited.change({section: {key: "none" if key == "start_from" else 7}})
    assert changed(edited) == PARAMS[name]


@pytest.mark.slow
def test_a_stage_with_the_same_result_as_before_reruns_no_later_stage(edited):
    """The starter faces come with splits, so the seed does not change what ``prepare`` writes."""
    edited.change({"prepare": {"seed": 7}, "archive": {"version": "7"}})
    assert ran(edited.run("dvc", "repro")) == {"prepare@starter", "evaluate", "archive"}
    edited.reset()


def test_a_new_image_reruns_prepare(edited):
    data = edited.folder / "data" / "val"
    for file in list(data.glob("*/00000.*")):
        shutil.copy(file, file.with_stem("99999"))
    assert changed(edited) == {"data.dvc", "prepare@starter"}
    for file in data.glob("*/99999.*"):
        file.unlink()


@pytest.mark.slow
def test_an_earlier_result_is_restored_with_its_run(clone):
    first = clone.run_of("train")
    clone.change({"train": {"learning_rate": 1e-4}})
    assert ran(clone.run("dvc", "repro", "train")) == {"train"}
    assert clone.run_of("train") != first
    clone.run("git", "checkout", "--quiet", "params.yaml")  # but not dvc.lock: the run cache must find the result
    assert ran(clone.run("dvc", "repro", "train")) == set()
    assert clone.run_of("train") == first
    clone.reset()


def delete_all(clone) -> None:
    """Delete data, weights, outputs and cache."""
    for name in ("data", "weights", "build", ".dvc/cache"):
        shutil.rmtree(clone.folder / name)


def contents(clone) -> dict[str, bytes]:
    """The bytes of some files of data, weights and outputs."""
    names = ("weights/model.safetensors", "build/facemark.mar", "build/runs/train.txt")
    files = [*(clone.folder / name for name in names), *(clone.folder / "data").rglob("*.jpg")]
    return {str(file): file.read_bytes() for file in files}


@pytest.fixture
def bucket(monkeypatch):
    """An S3-compatible server with a bucket: its URL, and the environment variables with its keys."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    import boto3

    try:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        store = boto3.client("s3", endpoint_url=url, **keys)
        for _ in range(300):
            try:
                store.create_bucket(Bucket="facemark")
                break
            except Exception:  # not up yet
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
        yield url, {name.upper(): value for name, value in keys.items() if name != "region_name"}
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
def test_a_remote_folder_restores_all_files_and_the_run_cache(clone, tmp_path):
    before = contents(clone)
    clone.run("dvc", "remote", "add", "--default", "folder", str(tmp_path / "remote"))
    clone.run("dvc", "push", "--run-cache")
    delete_all(clone)
    clone.run("dvc", "pull", "--run-cache")
    assert contents(clone) == before
    # without dvc.lock, only the run cache knows the results
    (clone.folder / "dvc.lock").unlink()
    assert ran(clone.run("dvc", "repro")) == set()
    assert contents(clone) == before


@pytest.mark.slow
def test_an_s3_remote_restores_all_files(clone, bucket):
    url, keys = bucket
    before = contents(clone)
    clone.run("dvc", "remote", "add", "--default", "--force", "s3", "s3://facemark/dvc")
    clone.run("dvc", "remote", "modify", "s3", "endpointurl", url)
    clone.run("dvc", "push", **keys)
    delete_all(clone)
    clone.run("dvc", "pull", **keys)
    assert contents(clone) == before
    clone.run("git", "checkout", "--quiet", ".dvc/config")


@pytest.mark.slow
def test_the_starter_remote_has_data_and_weights(tmp_path):
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(tmp_path / "fresh")], check=True)
    dvc = str(Path(sys.executable).with_name("dvc"))
    for command in (["pull", "--quiet", "data.dvc", "weights.dvc"], ["push", "data.dvc", "weights.dvc"]):
        subprocess.run([dvc, *command], cwd=tmp_path / "fresh", check=True)
    assert (tmp_path / "fresh/weights/model.safetensors").exists()
    assert list((tmp_path / "fresh/data/train/images").glob("*.jpg"))


@pytest.mark.slow
def test_a_queued_grid_logs_into_the_projects_store(clone):
    clone.run("dvc", "exp", "run", "--queue", "--name", "seed-2", "-S", "train.seed=2", "train")
    clone.run("dvc", "exp", "run", "--queue", "-S", "train.batch_size=3,4", "train")
    assert clone.run("dvc", "queue", "status").count("Queued") == 3
    clone.run("dvc", "queue", "remove", "--queued")
    clone.run("dvc", "exp", "run", "--queue", "--name", "seed-2", "-S", "train.seed=2", "train")
    clone.run("dvc", "exp", "run", "--run-all", "--jobs", "1")
    rows = json.loads(clone.run("dvc", "exp", "show", "--json"))
    assert "seed-2" in json.dumps(rows)
    found = mlflow.search_runs(experiment_names=["facemark"], filter_string="tags.`mlflow.runName` = 'seed-2'")
    assert found["params.train.seed"].tolist() == ["2"]
    children = tracking.children(mlflow.get_run(found.run_id[0]))
    assert children.keys() == {"prepare@starter", "train"}
    assert "val/mean_f1" in children["train"].data.metrics


@pytest.mark.slow
def test_a_killed_evaluation_resumes_its_run(clone):
    clone.change({"evaluate": TINY["evaluate"] | {"robustness": 2}})
    record = clone.folder / "build/run_id.txt"
    record.touch()  # after a pull, there is no record of the last pipeline run
    before = record.read_text()
    repro = clone.start("dvc", "repro", "evaluate")
    deadline = time.monotonic() + 300
    while record.read_text() in ("", before) or "evaluate" not in tracking.children(mlflow.get_run(record.read_text())):
        assert repro.poll() is None, "the evaluation ended before it could be killed"
        assert time.monotonic() < deadline, "no evaluation within five minutes"
        time.sleep(0.1)
    interrupted = tracking.children(mlflow.get_run(record.read_text()))["evaluate"].info.run_id
    os.killpg(repro.pid, signal.SIGKILL)
    repro.wait()
    assert not (clone.folder / "build/runs/evaluate.txt").exists()
    assert ran(clone.run("dvc", "repro", "evaluate")) == {"evaluate"}
    assert clone.run_of("evaluate") == interrupted
    assert mlflow.get_run(interrupted).info.status == "FINISHED"
