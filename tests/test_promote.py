"""Promotion: the rules, and promoting, packing and rolling back with a store in SQLite and one over HTTP."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
import zipfile

import cv2
import mlflow
import pandas as pd
import pytest
from clone import TINY
from conftest import free_port

from facemark.data import synthetic
from facemark.mlops import registry
from facemark.mlops.promote import compare, rule_metrics
from facemark.models.bundle import ModelBundle
from facemark.settings import Promote

RULES = Promote(mean_f1=0.5, robustness=1, recall=1, nme=0.1, latency=0.2)
CHAMPION = {"mean_f1": 80.0, "robustness": 70.0, "recall": 99.0, "nme": 3.0, "latency": 100.0}


def worse(**changes) -> list[str]:
    """The metrics by which a challenger with these changes is worse than CHAMPION."""
    return [each.metric for each in compare(CHAMPION | changes, CHAMPION, RULES) if each.worse]


def test_as_good_or_better_is_not_worse():
    assert worse() == []
    assert worse(mean_f1=90, robustness=90, recall=100, nme=1, latency=10) == []
    assert worse(mean_f1=79.6, robustness=69.5, recall=98.5, nme=3.05, latency=115) == []


@pytest.mark.parametrize(
    ("metric", "value"),
    [("mean_f1", 79.4), ("robustness", 68.9), ("recall", 97.9), ("nme", 3.11), ("latency", 121)],
)
def test_each_rule_refuses_alone(metric, value):
    assert worse(**{metric: value}) == [metric]


def test_a_metric_that_only_the_champion_has_makes_the_challenger_worse():
    assert worse(nme=None) == ["nme"]
    assert [each.worse for each in compare(CHAMPION, CHAMPION | {"nme": None}, RULES)] == [False] * 5


def test_robustness_is_that_to_the_worst_corruption():
    summary = {"mean_f1": 80, "robustness": {"blur": {"mean_f1": 60}, "dark": {"mean_f1": 50}, "half_occluded": {}}}
    expected = {"mean_f1": 80, "robustness": 50, "recall": None, "nme": None}
    assert rule_metrics(summary) == expected
    assert rule_metrics({"landmarks": {"recall": 90, "nme": 4}}) == {
        "mean_f1": None,
        "robustness": None,
        "recall": 90,
        "nme": 4,
    }


def champion() -> str:
    return str(registry.find("champion").version)


@pytest.mark.slow
def test_promoting_packing_and_rolling_back(clone, tmp_path):
    assert "no facemark champion" in clone.run("facemark", "archive", expect=1)
    assert "version 1 is champion: it is the first" in clone.run("facemark", "promote")
    assert "champion already" in clone.run("facemark", "promote", expect=1)

    clone.run("facemark", "archive", "--out", str(tmp_path / "champion.mar"))
    assert (tmp_path / "champion.mar").read_bytes() == (clone.folder / "build/facemark.mar").read_bytes()

    clone.change({"evaluate": TINY["evaluate"] | {"overlays": 1}})
    assert "evaluate changed" in clone.run("facemark", "promote", expect=1)
    assert champion() == "1"
    clone.run("dvc", "repro", "evaluate")
    assert "no rule of params.yaml finds it worse than version 1" in clone.run("facemark", "promote")
    assert champion() == str(registry.find("challenger").version) == "2"

    assert "version 1 is champion again" in clone.run("facemark", "rollback")
    assert champion() == "1"
    assert "there is none before it" in clone.run("facemark", "rollback", expect=1)
    assert "is version 2, which was rolled back" in clone.run("facemark", "promote", expect=1)
    clone.change({"evaluate": TINY["evaluate"] | {"overlays": 4}})
    clone.run("dvc", "repro", "evaluate")  # another version of the same weights
    assert "is version 2, which was rolled back" in clone.run("facemark", "promote", expect=1)
    assert champion() == "1"


@pytest.fixture
def server(clone, tmp_path):
    """The URL of a real MLflow server with its own store; MLflow in this process uses it."""
    port = free_port()
    command = ["mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db"]
    command += ["--artifacts-destination", str(tmp_path / "artifacts")]
    url = f"http://127.0.0.1:{port}"
    environment = clone.environment | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"
    }  # the server needs no workers for jobs
    process = subprocess.Popen([sys.executable, "-m", *command], env=environment, start_new_session=True)
    before = mlflow.get_tracking_uri()
    try:
        deadline = time.monotonic() + 120
        while not responds(f"{url}/health"):
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not come up in two minutes"
            time.sleep(0.2)
        mlflow.set_tracking_uri(url)
        yield url
    finally:
        mlflow.set_tracking_uri(before)
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def responds(url: str) -> bool:
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False


@pytest.mark.slow
def test_a_worse_model_is_refused_over_http(clone, server, released):
    def run(*command: str, expect: int = 0) -> str:
        return clone.run(*command, expect=expect, MLFLOW_TRACKING_URI=server)

    clone.change({"evaluate": TINY["evaluate"] | {"overlays": 3}})
    run("dvc", "repro", "evaluate")
    logged = clone.pipeline_run("evaluate").data.metrics["evaluate/test/mean_f1"]
    assert logged == clone.read("build/evaluate/metrics.json")["mean_f1"]
    run("facemark", "promote")
    assert champion() == "1"

    with mlflow.start_run() as made:
        registry.log_model(ModelBundle.open(released), "9.9.9")
    better = registry.register(made.info.run_id)
    registry.tag(better, {"replaced": "1"})
    registry.set_alias(better, registry.CHAMPION)
    printed = run("facemark", "promote", expect=1)
    assert "version 1 was not promoted, version 2 stays champion: mean_f1 goes from" in printed
    assert champion() == "2"
    assert registry.find("challenger").tags["decision"] in printed.replace("\n", " ")

    run("facemark", "archive", "champion", "-o", "build/champion.mar")
    with zipfile.ZipFile(clone.folder / "build/champion.mar") as mar:
        assert mar.read("model/model.safetensors") == (released / "model.safetensors").read_bytes()
        assert b'"version": "9.9.9"' in mar.read("model.json")
    drawn = synthetic.draw(2)
    picture = cv2.imencode(".png", drawn.image[..., ::-1])[1].tobytes()
    response = mlflow.pyfunc.load_model("models:/facemark@champion").predict(pd.DataFrame({"image": [picture]}))[0]
    assert len(response["faces"]) == len(drawn.points)

    run("facemark", "rollback")
    assert champion() == "1"
