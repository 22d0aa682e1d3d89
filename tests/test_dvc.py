"""DVC: what an edit makes run again, the run cache, remotes, queued experiments, and a stage that was killed."""

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

from facemark.mlops import tracking


@pytest.fixture
def edited(clone):
    """The clone, whose files are brought back after the test."""
    yield clone
    clone.run("git", "checkout", "--quiet", ".")


EDITS = {
    "README.md": set(),
    "src/facemark/cli.py": {"evaluate", "archive"},
    "src/facemark/images.py": {"prepare@starter", "train", "calibrate", "evaluate", "archive"},
    "src/facemark/training.py": {"train", "evaluate", "archive"},
    "src/facemark/landmarks.py": {"calibrate", "evaluate", "archive"},
    "src/facemark/stages/prepare.py": {"prepare@starter", "evaluate", "archive"},
    "serve/handler.py": {"archive"},
}
PARAMS = {
    "prepare.seed": {"prepare@starter"},
    "train.learning_rate": {"train"},
    "calibrate.start_from": {"calibrate"},
    "evaluate.overlays": {"evaluate"},
    "archive.version": {"evaluate", "archive"},  # the registered model bears it, too
    "promote.nme": set(),
}


def changed(clone) -> set[str]:
    """The stages that an edit reaches by itself, before any stage has run."""
    return set(json.loads(clone.run("dvc", "status", "--json")))


@pytest.mark.parametrize("file", EDITS)
def test_an_edited_file_reaches_the_stages_that_read_it(edited, file):
    with (edited.folder / file).open("a") as stream:
        stream.write("\n# edited\n")
    assert changed(edited) == EDITS[file]


@pytest.mark.parametrize("name", PARAMS)
def test_a_changed_param_reaches_the_stages_that_read_it(edited, name):
    section, key = name.split(".")
    edited.change({section: {key: "none" if key == "start_from" else 7}})
    assert changed(edited) == PARAMS[name]


def test_what_gives_the_same_result_stops_there(edited):
    """The starter faces have splits of their own, so another seed prepares the same."""
    edited.change({"prepare": {"seed": 7}, "archive": {"version": "7"}})
    assert ran(edited.run("dvc", "repro")) == {"prepare@starter", "evaluate", "archive"}
    edited.settle()


def test_a_new_picture_is_prepared(edited):
    data = edited.folder / "data" / "val"
    for file in list(data.glob("*/00000.*")):
        shutil.copy(file, file.with_stem("99999"))
    assert changed(edited) == {"data.dvc", "prepare@starter"}
    for file in data.glob("*/99999.*"):
        file.unlink()


def test_what_ran_before_is_restored_with_its_run(clone):
    first = clone.run_of("train")
    clone.change({"train": {"learning_rate": 1e-4}})
    assert ran(clone.run("dvc", "repro", "train")) == {"train"}
    assert clone.run_of("train") != first
    clone.run("git", "checkout", "--quiet", "params.yaml")  # but not dvc.lock: the run cache has to know
    assert ran(clone.run("dvc", "repro", "train")) == set()
    assert clone.run_of("train") == first
    clone.settle()


def lose(clone) -> None:
    """Lose data, outputs and cache."""
    for name in ("data", "weights", "build", ".dvc/cache"):
        shutil.rmtree(clone.folder / name)


def there(clone) -> dict[str, bytes]:
    """Some files of data, weights and outputs."""
    names = ("weights/model.safetensors", "build/facemark.mar", "build/runs/train.txt")
    files = [*(clone.folder / name for name in names), *(clone.folder / "data").rglob("*.jpg")]
    return {str(file): file.read_bytes() for file in files}


@pytest.fixture
def bucket(monkeypatch):
    """An S3-compatible server with a bucket, and the variables that lead to it."""
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


def test_a_folder_brings_back_all_and_what_ran(clone, tmp_path):
    before = there(clone)
    clone.run("dvc", "remote", "add", "--default", "folder", str(tmp_path / "remote"))
    clone.run("dvc", "push", "--run-cache")
    lose(clone)
    clone.run("dvc", "pull", "--run-cache")
    assert there(clone) == before
    # without dvc.lock, the run cache alone knows what each stage gave
    (clone.folder / "dvc.lock").unlink()
    assert ran(clone.run("dvc", "repro")) == set()
    assert there(clone) == before


def test_s3_brings_back_all(clone, bucket):
    url, keys = bucket
    before = there(clone)
    clone.run("dvc", "remote", "add", "--default", "--force", "s3", "s3://facemark/dvc")
    clone.run("dvc", "remote", "modify", "s3", "endpointurl", url)
    clone.run("dvc", "push", **keys)
    lose(clone)
    clone.run("dvc", "pull", **keys)
    assert there(clone) == before
    clone.run("git", "checkout", "--quiet", ".dvc/config")


def test_the_starter_remote_brings_data_and_weights(tmp_path):
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(tmp_path / "fresh")], check=True)
    dvc = str(Path(sys.executable).with_name("dvc"))
    for command in (["pull", "--quiet", "data.dvc", "weights.dvc"], ["push", "data.dvc", "weights.dvc"]):
        subprocess.run([dvc, *command], cwd=tmp_path / "fresh", check=True)
    assert (tmp_path / "fresh/weights/model.safetensors").exists()
    assert list((tmp_path / "fresh/data/train/images").glob("*.jpg"))


def test_a_grid_is_queued_and_run_into_the_projects_store(clone):
    clone.run("dvc", "exp", "run", "--queue", "--name", "seed-2", "-S", "train.seed=2", "train")
    clone.run("dvc", "exp", "run", "--queue", "-S", "train.batch_size=3,4", "train")
    assert clone.run("dvc", "queue", "status").count("Queued") == 3
    clone.run("dvc", "queue", "remove", "--queued")
    clone.run("dvc", "exp", "run", "--queue", "--name", "seed-2", "-S", "train.seed=2", "train")
    clone.run("dvc", "exp", "run", "--run-all", "--jobs", "1")
    rows = json.loads(clone.run("dvc", "exp", "show", "--json"))
    assert "seed-2" in json.dumps(rows)
    whole = mlflow.search_runs(experiment_names=["facemark"], filter_string="tags.`mlflow.runName` = 'seed-2'")
    assert whole["params.train.seed"].tolist() == ["2"]
    children = tracking.children(mlflow.get_run(whole.run_id[0]))
    assert children.keys() == {"prepare@starter", "train"}
    assert children["train"].data.metrics["val/mean_f1"] >= 0


def test_a_killed_evaluation_goes_on_in_its_run(clone):
    clone.change({"evaluate": TINY["evaluate"] | {"robustness": 2}})
    record = clone.folder / "build/run_id.txt"
    record.touch()  # a pull brings back no record of the last pass
    before = record.read_text()
    repro = clone.start("dvc", "repro", "evaluate")
    deadline = time.monotonic() + 300
    while record.read_text() in ("", before) or "evaluate" not in tracking.children(mlflow.get_run(record.read_text())):
        assert repro.poll() is None, "the evaluation ended before it could be killed"
        assert time.monotonic() < deadline, "no evaluation within five minutes"
        time.sleep(0.1)
    cut_off = tracking.children(mlflow.get_run(record.read_text()))["evaluate"].info.run_id
    os.killpg(repro.pid, signal.SIGKILL)
    repro.wait()
    assert not (clone.folder / "build/runs/evaluate.txt").exists()
    assert ran(clone.run("dvc", "repro", "evaluate")) == {"evaluate"}
    assert clone.run_of("evaluate") == cut_off
    assert mlflow.get_run(cut_off).info.status == "FINISHED"
