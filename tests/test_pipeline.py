"""The pipeline from a clone to the endpoint, at a tiny size: DVC, MLflow, ``mlflow run``, and a killed training."""

import csv
import io
import json
import os
import re
import signal
import time
import urllib.request
from zipfile import ZipFile

import cv2
import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml
from clone import ROOT, TINY
from conftest import free_port

from facemark.data import synthetic
from facemark.data.samples import read_mask
from facemark.labels import CLASSES
from facemark.mlops.tracking import flatten
from facemark.serving import torchserve
from facemark.settings import load_params

STAGES = ("prepare@starter", "train", "calibrate", "evaluate", "archive")


def test_the_pipeline_ends_in_a_model_an_archive_and_metrics(clone):
    with ZipFile(clone.folder / "build/facemark.mar") as archive:
        for name in ("config.json", "model.safetensors", "landmarks.npz"):
            assert archive.read(f"model/{name}") == (clone.folder / "build/model" / name).read_bytes()
    metrics = clone.read("build/evaluate/metrics.json")
    ids = np.unique([id for file in (clone.folder / "data/test/labels").iterdir() for id in np.unique(read_mask(file))])
    # the mean is over the classes of the masks, without the background
    assert metrics["mean_f1"] == pytest.approx(np.mean([metrics["f1"][CLASSES[i]] for i in ids if i]), abs=1e-3)
    points = [file.read_text().split() for file in (clone.folder / "data/test/landmarks").iterdir()]
    assert metrics["landmarks"]["faces"] == sum(words.count("68") for words in points)
    overlays = cv2.imread(str(clone.folder / "build/evaluate/overlays.png"))
    assert overlays.std() > 10  # it shows something


def test_dvc_reads_metrics_and_plots(clone):
    assert "mean_f1_face" in clone.run("dvc", "metrics", "show", "build/evaluate/metrics.json")
    clone.run("dvc", "plots", "show", "--out", "build/plots")
    page = (clone.folder / "build/plots/index.html").read_text()
    for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]:
        ((name, shown),) = plot.items()
        for file, columns in shown["y"].items():
            with (clone.folder / file).open() as table:
                header, *rows = csv.reader(table)
            assert {shown["x"], *([columns] if isinstance(columns, str) else columns)} <= set(header)
            assert (f'"{name}"' in page) == bool(rows)  # after such a short training there may be no face


def test_a_pipeline_run_has_the_runs_of_its_stages(clone):
    pipeline = clone.pipeline_run("archive")
    assert clone.stages("archive") == dict.fromkeys(STAGES, "ran")
    assert pipeline.info.status == "FINISHED"
    assert pipeline.data.params.items() >= {"train.batch_size": "2", "evaluate.overlays": "2"}.items()
    assert pipeline.data.metrics["evaluate/test/mean_f1"] == clone.read("build/evaluate/metrics.json")["mean_f1"]
    data, lock = (yaml.safe_load((clone.folder / name).read_text()) for name in ("data.dvc", "dvc.lock"))
    outs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    expected = {
        "git.commit": clone.run("git", "rev-parse", "HEAD^").strip(),  # HEAD adds the dvc.lock
        "git.dirty": "false",
        "data.starter.md5": data["outs"][0]["md5"],
        "model.md5": outs["build/train/model.safetensors"],
        "archive.md5": outs["build/facemark.mar"],
    }
    assert pipeline.data.tags.items() >= expected.items()


def test_the_run_of_training_has_curves_machine_and_data(clone):
    run = mlflow.get_run(clone.run_of("train"))
    assert {"train/loss", "val/loss", "val/mean_f1", "system/cpu_utilization_percentage"} <= run.data.metrics.keys()
    md5 = clone.pipeline_run("train").data.tags["data.starter.md5"]
    inputs = {tag.value: each.dataset for each in run.inputs.dataset_inputs for tag in each.tags}
    assert {name: (each.name, each.digest) for name, each in inputs.items()} == {
        "training": ("starter/train", md5),
        "validation": ("starter/val", md5),
    }
    assert json.loads(inputs["training"].profile)["num_rows"] == 8


def test_the_run_of_evaluation_has_plots_and_its_model_has_the_metrics(clone):
    run_id = clone.run_of("evaluate")
    client = mlflow.MlflowClient()
    logged = {file.path for folder in ("evaluate", "evaluate/plots") for file in client.list_artifacts(run_id, folder)}
    plots = {f"evaluate/plots/{name}.png" for name in ("ced", "confusion", "robustness")}
    assert logged >= plots | {"evaluate/overlays.png"}
    model = mlflow.get_logged_model(mlflow.get_run(run_id).outputs.model_outputs[0].model_id)
    metrics = {metric.key: metric.value for metric in model.metrics}
    assert metrics["evaluate/test/mean_f1"] == clone.read("build/evaluate/metrics.json")["mean_f1"]


def test_the_endpoint_serves_the_archive_and_the_logged_model_returns_the_same(clone, tmp_path):
    image = synthetic.draw(3).image
    picture = cv2.imencode(".png", image[..., ::-1])[1].tobytes()
    endpoint = torchserve.start(clone.folder / "build/facemark.mar", free_port(), tmp_path / "server")
    try:
        headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "image/png", "Facemark-Mask": "png"}
        with urllib.request.urlopen(urllib.request.Request(endpoint.url, picture, headers)) as response:
            served = json.load(response)
    finally:
        torchserve.stop(tmp_path / "server")
    assert served["image"] == {"width": image.shape[1], "height": image.shape[0]}
    assert served["model"]["revision"] == clone.pipeline_run("archive").data.tags["git.commit"]

    model = mlflow.pyfunc.load_model(f"runs:/{clone.run_of('evaluate')}/model")
    good, broken = model.predict(pd.DataFrame({"image": [picture, picture[:99]]}), params={"mask": "png"})
    assert good == served
    assert (broken["code"], broken["type"]) == (400, "UnreadableImage")
    assert model.predict(model.input_example)[0]["image"]["width"] == synthetic.draw(1).image.shape[1]


def test_a_second_repro_does_nothing(clone):
    before = (clone.folder / "dvc.lock").read_bytes()
    runs = len(mlflow.search_runs(search_all_experiments=True))
    assert "up to date" in clone.run("dvc", "repro")
    assert (clone.folder / "dvc.lock").read_bytes() == before
    assert len(mlflow.search_runs(search_all_experiments=True)) == runs


@pytest.mark.slow
def test_two_trainings_from_one_seed_agree_to_four_digits(clone):
    def curves() -> pd.DataFrame:
        return pd.read_csv(io.BytesIO((clone.folder / "build/train/curves.csv").read_bytes()))

    first, first_run = curves(), clone.run_of("train")
    clone.run("python", "-m", "facemark.stages.train")
    assert clone.run_of("train") != first_run
    pd.testing.assert_frame_equal(curves(), first, rtol=1e-4)
    clone.run("dvc", "checkout", "--force")


def test_mlproject_defaults_are_those_of_params():
    entries = yaml.safe_load((ROOT / "MLproject").read_text())["entry_points"]
    params = flatten(load_params(ROOT / "params.yaml").model_dump(mode="json"))
    for entry in (entries[name] for name in ("main", "train", "evaluate")):
        names = dict(re.findall(r"-S ([\w.]+)=\{(\w+)\}", entry["command"]))
        assert {n: params[n] for n in names} == {n: entry["parameters"][p]["default"] for n, p in names.items()}
        assert set(names.values()) == set(entry["parameters"])


@pytest.mark.slow
def test_mlflow_run_runs_the_pipeline(clone):
    clone.run("mlflow", "run", ".", "--env-manager", "local", "-P", "batch_size=4")
    pipeline, prepared = clone.pipeline_run("train"), clone.run_of("prepare@starter")
    assert pipeline.info.status == "FINISHED"
    assert pipeline.data.tags["mlflow.project.entryPoint"] == "main"
    assert pipeline.data.params["train.batch_size"] == "4"
    assert "evaluate/test/mean_f1" in pipeline.data.metrics
    assert clone.stages("train") == dict.fromkeys(STAGES, "ran") | {"prepare@starter": prepared}


@pytest.mark.slow
def test_mlflow_run_evaluates_another_split(clone):
    trained = {name: clone.run_of(name) for name in STAGES[:3]}
    clone.run("mlflow", "run", ".", "--env-manager", "local", "-e", "evaluate", "-P", "split=val", "-P", "overlays=1")
    assert clone.stages("evaluate") == trained | {"evaluate": "ran"}
    metrics = clone.pipeline_run("evaluate").data.metrics
    assert metrics["evaluate/val/mean_f1"] == clone.read("build/evaluate/metrics.json")["mean_f1"]


@pytest.mark.slow
def test_release_refuses_a_model_that_was_not_evaluated_and_pushes_one_that_was(clone, tmp_path):
    clone.run("dvc", "remote", "add", "--default", "here", str(tmp_path / "remote"))
    clone.run("dvc", "repro", "evaluate")
    tracked = (clone.folder / "weights.dvc").read_text()
    clone.change({"evaluate": TINY["evaluate"] | {"overlays": 3}})
    assert "dvc repro evaluate" in clone.run("python", "-m", "facemark.mlops.release", expect=1)
    assert (clone.folder / "weights.dvc").read_text() == tracked

    clone.run("dvc", "repro", "evaluate")
    for _ in range(2):  # the second time there is no change
        clone.run("python", "-m", "facemark.mlops.release")
    built, released = (clone.folder / name / "model.safetensors" for name in ("build/model", "weights"))
    assert built.read_bytes() == released.read_bytes()
    assert (clone.folder / "weights.dvc").read_text() != tracked
    assert "in sync" in clone.run("dvc", "status", "--cloud", "weights.dvc")
    clone.run("git", "checkout", "weights.dvc")
    clone.run("dvc", "checkout", "weights.dvc")


@pytest.mark.slow
def test_a_killed_training_resumes_after_its_last_epoch(clone):
    clone.change({"train": TINY["train"] | {"phases": [{"size": 64, "epochs": 6}]}})
    training = clone.start("dvc", "repro", "train")
    deadline = time.monotonic() + 300
    while not list((clone.folder / "build/checkpoints").glob("*/last.ckpt")):
        assert training.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint within five minutes"
        time.sleep(0.1)
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    pipeline = (clone.folder / "build/run_id.txt").read_text()
    assert mlflow.get_run(pipeline).info.status == "RUNNING"

    printed = clone.run("dvc", "repro", "train")
    assert clone.pipeline_run("train").info.run_id == pipeline
    assert mlflow.get_run(clone.run_of("train")).info.status == "FINISHED"
    with (clone.folder / "build/train/curves.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(6))
    assert "Restored all states" in printed
