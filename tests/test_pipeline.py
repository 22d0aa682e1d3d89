"""The pipeline from a clone to the archive, at a tiny size: DVC, MLflow, `mlflow run`, and a killed training."""

import csv
import io
import json
import os
import re
import signal
import time

import cv2
import mlflow
import pandas as pd
import yaml
from clone import ROOT, TINY

from facemark.data import synthetic
from facemark.mlops.tracking import flatten
from facemark.settings import load_params

STAGES = ("prepare@starter", "train", "calibrate", "evaluate", "archive")


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
    for plot in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]:
        ((name, shown),) = plot.items()
        for file, columns in shown["y"].items():
            with (clone.folder / file).open() as table:
                header, *rows = csv.reader(table)
            assert {shown["x"], *([columns] if isinstance(columns, str) else columns)} <= set(header)
            assert (f'"{name}"' in page) == bool(rows)  # so small a training may find no face


def test_one_run_holds_the_pass_and_its_stages(clone):
    whole = clone.pass_of("archive")
    assert clone.stages("archive") == dict.fromkeys(STAGES, "ran")
    assert whole.info.status == "FINISHED"
    assert whole.data.params.items() >= {"train.batch_size": "2", "evaluate.overlays": "2"}.items()
    assert whole.data.metrics["evaluate/test/mean_f1"] == clone.read("build/evaluate/metrics.json")["mean_f1"]
    data, lock = (yaml.safe_load((clone.folder / name).read_text()) for name in ("data.dvc", "dvc.lock"))
    outs = {out["path"]: out["md5"] for stage in lock["stages"].values() for out in stage["outs"]}
    expected = {
        "git.commit": clone.run("git", "rev-parse", "HEAD^").strip(),  # HEAD has the dvc.lock of it
        "git.dirty": "false",
        "data.starter.md5": data["outs"][0]["md5"],
        "model.md5": outs["build/train/model.safetensors"],
        "archive.md5": outs["build/facemark.mar"],
    }
    assert whole.data.tags.items() >= expected.items()


def test_the_run_of_training_has_curves_machine_and_data(clone):
    run = mlflow.get_run(clone.run_of("train"))
    assert {"train/loss", "val/loss", "val/mean_f1", "system/cpu_utilization_percentage"} <= run.data.metrics.keys()
    md5 = clone.pass_of("train").data.tags["data.starter.md5"]
    inputs = {tag.value: each.dataset for each in run.inputs.dataset_inputs for tag in each.tags}
    assert {name: (each.name, each.digest) for name, each in inputs.items()} == {
        "training": ("starter/train", md5),
        "validation": ("starter/val", md5),
    }
    assert json.loads(inputs["training"].profile)["num_rows"] == 8


def test_the_run_of_evaluation_has_pictures_and_its_model_the_figures(clone):
    run_id = clone.run_of("evaluate")
    client = mlflow.MlflowClient()
    pictures = {
        file.path for folder in ("evaluate", "evaluate/plots") for file in client.list_artifacts(run_id, folder)
    }
    plots = {f"evaluate/plots/{name}.png" for name in ("ced", "confusion", "robustness")}
    assert pictures >= plots | {"evaluate/overlays.png"}
    logged = mlflow.get_logged_model(mlflow.get_run(run_id).outputs.model_outputs[0].model_id)
    figures = {metric.key: metric.value for metric in logged.metrics}
    assert figures["evaluate/test/mean_f1"] == clone.read("build/evaluate/metrics.json")["mean_f1"]


def test_the_logged_model_loads_and_answers_like_the_endpoint(clone):
    model = mlflow.pyfunc.load_model(f"runs:/{clone.run_of('evaluate')}/model")
    assert "faces" in model.predict(model.input_example)[0]

    drawn = synthetic.draw(3).image
    picture = cv2.imencode(".png", drawn)[1].tobytes()
    good, broken = model.predict(pd.DataFrame({"image": [picture, picture[:99]]}), params={"mask": "png"})
    names = {"name", "version", "revision", "data"}
    assert good["image"] == {"width": drawn.shape[1], "height": drawn.shape[0]}
    assert good["model"].keys() == names
    assert good["model"]["revision"] == clone.pass_of("evaluate").data.tags["git.commit"]
    assert good["mask"]["encoding"] == "png"
    assert (broken["code"], broken["type"]) == (400, "UnreadableImage")


def test_a_second_repro_does_nothing(clone):
    before = (clone.folder / "dvc.lock").read_bytes()
    runs = len(mlflow.search_runs(search_all_experiments=True))
    assert "up to date" in clone.run("dvc", "repro")
    assert (clone.folder / "dvc.lock").read_bytes() == before
    assert len(mlflow.search_runs(search_all_experiments=True)) == runs


def test_two_trainings_from_one_seed_are_alike_to_four_digits(clone):
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


def test_mlflow_run_runs_the_pipeline(clone):
    clone.run("mlflow", "run", ".", "--env-manager", "local", "-P", "batch_size=4")
    whole, prepared = clone.pass_of("train"), clone.run_of("prepare@starter")
    assert whole.info.status == "FINISHED"
    assert whole.data.tags["mlflow.project.entryPoint"] == "main"
    assert whole.data.params["train.batch_size"] == "4"
    assert "evaluate/test/mean_f1" in whole.data.metrics
    assert clone.stages("train") == dict.fromkeys(STAGES, "ran") | {"prepare@starter": prepared}


def test_mlflow_run_evaluates_another_split(clone):
    trained = {name: clone.run_of(name) for name in STAGES[:3]}
    clone.run("mlflow", "run", ".", "--env-manager", "local", "-e", "evaluate", "-P", "split=val", "-P", "overlays=1")
    assert clone.stages("evaluate") == trained | {"evaluate": "ran"}
    figures = clone.pass_of("evaluate").data.metrics
    assert figures["evaluate/val/mean_f1"] == clone.read("build/evaluate/metrics.json")["mean_f1"]


def test_release_refuses_what_was_not_evaluated_and_hands_the_rest_to_dvc(clone, tmp_path):
    clone.run("dvc", "remote", "add", "--default", "here", str(tmp_path / "remote"))
    clone.run("dvc", "repro", "evaluate")
    tracked = (clone.folder / "weights.dvc").read_text()
    clone.change({"evaluate": TINY["evaluate"] | {"overlays": 3}})
    assert "dvc repro evaluate" in clone.run("python", "-m", "facemark.release", expect=1)
    assert (clone.folder / "weights.dvc").read_text() == tracked

    clone.run("dvc", "repro", "evaluate")
    for _ in range(2):  # the second time what was released is no change
        clone.run("python", "-m", "facemark.release")
    built, released = (clone.folder / name / "model.safetensors" for name in ("build/train", "weights"))
    assert built.read_bytes() == released.read_bytes()
    assert (clone.folder / "weights.dvc").read_text() != tracked
    assert "in sync" in clone.run("dvc", "status", "--cloud", "weights.dvc")
    clone.run("git", "checkout", "weights.dvc")
    clone.run("dvc", "checkout", "weights.dvc")


def test_a_killed_training_goes_on_where_it_was(clone):
    clone.change({"train": TINY["train"] | {"phases": [{"size": 64, "epochs": 6}]}})
    training = clone.start("dvc", "repro", "train")
    deadline = time.monotonic() + 300
    while not list((clone.folder / "build/checkpoints").glob("*/last.ckpt")):
        assert training.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < deadline, "no checkpoint within five minutes"
        time.sleep(0.1)
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    whole = (clone.folder / "build/run_id.txt").read_text()
    assert mlflow.get_run(whole).info.status == "RUNNING"

    printed = clone.run("dvc", "repro", "train")
    assert clone.pass_of("train").info.run_id == whole
    assert mlflow.get_run(clone.run_of("train")).info.status == "FINISHED"
    with (clone.folder / "build/train/curves.csv").open() as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == list(range(6))
    assert "Restored all states" in printed
