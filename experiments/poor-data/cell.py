"""One cell: corrupt the labels of some faces, train one method on them, test it against clean labels.

``python experiments/poor-data/cell.py run photos noise-8 parsing 1``, from the root. ``trial`` tries a learning rate.
``change`` compares a cell that has one bad face with the same cell without it.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import corrupt_labels
import mlflow
import numpy as np
import torch
import typer
import yaml
from faces import TESTS, Face, crop_tests, list_samples, load_faces
from fitting import fit, predict
from methods import NETWORK, Direct
from runtime import Settings, compute_dtype

from facemark.evaluation import metrics
from facemark.mlops import tracking
from facemark.settings import Network

HERE = Path(__file__).parent
RESULTS = HERE / "results"
"""Git tracks the figures, which are small; it ignores the predictions, ``.npy``."""
CELLS, CHANGES = RESULTS / "cells", RESULTS / "changes"
LOST_THRESHOLD = 20.0
"""Error in per cent from which a point counts as lost."""
WORST_SHARE = 0.05
"""Share of the faces that ``worst5`` is the mean of."""
TRIAL_SEED, HELD_OUT = 0, 200
"""Trials have a seed of their own, and are tested on this many of the training images, which are held out."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def load_params() -> dict[str, Any]:
    """The parameters of all cells."""
    return yaml.safe_load((HERE / "params.yaml").read_text())


def train_params(params: dict[str, Any], source: str) -> dict[str, Any]:
    """The training parameters of a source: the common ones, updated by its own."""
    return params["train"] | params[source].get("train", {})


def summarise(errors: np.ndarray) -> dict[str, float]:
    """The figures of faces × 68 errors in per cent."""
    nmes = np.sort(errors.mean(1))
    return {
        "nme": float(nmes.mean()),
        "fr8": metrics.fr8(nmes),
        "auc8": metrics.auc8(nmes),
        "worst5": float(nmes[-max(1, round(WORST_SHARE * len(nmes))) :].mean()),
        "beyond20": 100 * float((errors > LOST_THRESHOLD).mean()),
    }


def draw_samples(samples: list[Any], condition: str, count: int, seed: int) -> list[Any]:
    """The training samples of a condition: the first ``count``, or the condition's own number, in random order."""
    kind, level = corrupt_labels.parse(condition)
    order = np.random.default_rng(seed).permutation(len(samples))
    return [samples[i] for i in order[: int(level) if kind in corrupt_labels.COUNTS else count]]


def run_cell(
    train: list[Face],
    test: list[Face],
    condition: str,
    method: str,
    seed: int,
    settings: Settings,
    rate: float,
    network: Network = NETWORK,
) -> tuple[dict[str, Any], np.ndarray]:
    """Train and test.

    Args:
        train: training faces; their labels are corrupted here.
        test: test faces.
        condition: see :func:`corrupt_labels.parse`.
        method: one of METHODS.
        seed: of corruption, initial weights, order and augmentation.
        settings: common to all methods.
        rate: highest learning rate.
        network: whose encoder all methods use.

    Returns:
        The figures of each of TESTS, for a direct method also those of the clean test after the corrections ``shaped``
        and ``refitted``; and the points predicted in the clean test, faces × 68 × 2 in per cent of each face's distance
        of the outer eye corners.
    """
    start = time.perf_counter()
    truth = np.array([face.points for face in train])
    fitted = fit(method, train, corrupt_labels.corrupt(truth, condition, seed), settings, rate, seed, network)
    truth = np.array([face.points for face in test])
    predicted = {name: predict(fitted, *crop_tests(test, name, settings.size)) for name in TESTS}
    if isinstance(fitted, Direct):
        for correction in (fitted.shaped, fitted.refitted):
            predicted[correction.__name__] = predict(fitted, *crop_tests(test, "clean", settings.size), correction)
    report = {
        "faces": len(train),
        "rate": rate,
        "precision": str(compute_dtype()).removeprefix("torch."),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "minutes": (time.perf_counter() - start) / 60,
        "tests": {name: summarise(metrics.point_errors(points, truth)) for name, points in predicted.items()},
    }
    return report, (100 * predicted["clean"] / corrupt_labels.eye_distances(truth)).astype(np.float32)


def prediction_change(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Mean distance between two predictions, faces × 68 × 2: over all faces, and its 95th percentile."""
    distances = np.linalg.norm(after - before, axis=-1).mean(1)
    return {"mean": float(distances.mean()), "of_95th": float(np.percentile(distances, 95))}


def best_rate(method: str, rates: list[float]) -> float:
    """The learning rate, of these, whose trial had the lowest error.

    Raises:
        SystemExit: there was no trial.
    """
    files = [RESULTS / "trials" / method / f"{rate:g}.json" for rate in rates]
    trials = [json.loads(file.read_text()) for file in files if file.exists()]
    if not trials:
        raise SystemExit(f"no learning rate was tried for {method}; run: dvc --cd experiments/poor-data repro trial")
    return min(trials, key=lambda trial: trial["tests"]["clean"]["nme"])["rate"]


def log_cell(name: str, identity: dict[str, Any], report: dict[str, Any]) -> None:
    """Log a cell to MLflow, as a child of the run of all cells."""
    os.environ.pop("DVC_ROOT", None)  # DVC sets it to this folder, but the store is that of the repository
    tracking.connect()
    mlflow.set_experiment(tracking.EXPERIMENT)
    parents = mlflow.search_runs(filter_string="tags.matrix = 'poor-data'", max_results=1, output_format="list")
    tags = {"matrix": "poor-data"}
    with (
        mlflow.start_run(parents[0].info.run_id if parents else None, run_name="poor-data", tags=tags),
        mlflow.start_run(run_name=name, nested=True),
    ):
        mlflow.log_params(identity | {key: report[key] for key in ("faces", "rate", "precision", "device")})
        mlflow.log_metrics(tracking.flatten(report["tests"]) | {"minutes": report["minutes"]})


@app.command()
def run(source: str, condition: str, method: str, seed: int) -> None:
    """Train and test one cell and write its figures and predictions."""
    identity = {"source": source, "condition": condition, "method": method, "seed": seed}
    params = load_params()
    data = params[source]
    train = load_faces(draw_samples(list_samples(Path(data["path"]), "train"), condition, data["faces"], seed))
    test = load_faces(list_samples(Path(data["path"]), data["test"]))
    settings, rate = train_params(params, source), best_rate(method, params["trial"]["rates"])
    report, points = run_cell(train, test, condition, method, seed, Settings(**settings), rate)
    report |= {"train": settings, "most_faces": data["faces"]}
    name = "-".join(map(str, identity.values()))
    CELLS.mkdir(parents=True, exist_ok=True)
    np.save(CELLS / f"{name}.npy", points)
    (CELLS / f"{name}.json").write_text(json.dumps(identity | report, indent=1))
    log_cell(name, identity, report)


@app.command("change")
def write_change(source: str, condition: str, method: str, seed: int) -> None:
    """Write how far one bad face among many moves the predictions."""
    _, level = corrupt_labels.parse(condition)
    names = [f"{source}-{each}-{method}-{seed}" for each in (f"few-{level:.0f}", condition)]
    before, after = (json.loads((CELLS / f"{name}.json").read_text()) for name in names)
    if (before["train"], before["precision"]) != (after["train"], after["precision"]):
        raise SystemExit(f"{names[0]} and {names[1]} differ in parameters or precision; run both on one machine")
    report: dict[str, Any] = dict(prediction_change(*(np.load(CELLS / f"{name}.npy") for name in names)))
    report["nme"] = after["tests"]["clean"]["nme"] - before["tests"]["clean"]["nme"]
    report["train"] = after["train"]
    CHANGES.mkdir(parents=True, exist_ok=True)
    (CHANGES / f"{names[1]}.json").write_text(json.dumps(report, indent=1))


@app.command()
def trial(method: str, rate: float) -> None:
    """Try a learning rate on clean labels, and test it on held-out training images."""
    params = load_params()
    data = params["photos"]
    samples = list_samples(Path(data["path"]), "train")
    samples = draw_samples(samples, "clean", len(samples), TRIAL_SEED)
    train, held_out = load_faces(samples[:-HELD_OUT][: data["faces"]]), load_faces(samples[-HELD_OUT:])
    report, _ = run_cell(train, held_out, "clean", method, TRIAL_SEED, Settings(**params["train"]), rate)
    out = RESULTS / "trials" / method
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{rate:g}.json").write_text(json.dumps({"method": method} | report, indent=1))


if __name__ == "__main__":
    app()
