"""One cell: corrupt the labels of some faces, train one method on them, test it on clean truth.

``python experiments/poor-data/cell.py run photos noise-8 parsing 1``, from the root; ``trial`` tries a learning rate,
``change`` compares a cell that has one bad face with the one that has none.
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
from faces import TESTS, Face, listed, load, tests
from methods import Direct, Settings, fit, precision, predict

from facemark.evaluation import metrics
from facemark.mlops import tracking

HERE = Path(__file__).parent
RESULTS = HERE / "results"
"""Figures are small and kept in Git; predictions, ``.npy``, are not."""
CELLS, CHANGES = RESULTS / "cells", RESULTS / "changes"
FAR = 20.0
"""A point that is further off than this many per cent is no small error any more."""
WORST = 0.05
"""Share of the faces that are the worst ones."""
TRIAL_SEED, HELD_OUT = 0, 200
"""Trials learn from faces of their own draw and are judged on so many others of the training pictures."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def params() -> dict[str, Any]:
    """The parameters of all cells."""
    return yaml.safe_load((HERE / "params.yaml").read_text())


def trained(wanted: dict[str, Any], source: str) -> dict[str, Any]:
    """The training parameters of a source: those of all, and what it sets itself."""
    return wanted["train"] | wanted[source].get("train", {})


def figures(errors: np.ndarray) -> dict[str, float]:
    """What faces × 68 errors in per cent come to."""
    nmes = np.sort(errors.mean(1))
    return {
        "nme": float(nmes.mean()),
        "fr8": metrics.fr8(nmes),
        "auc8": metrics.auc8(nmes),
        "worst5": float(nmes[-max(1, round(WORST * len(nmes))) :].mean()),
        "beyond20": 100 * float((errors > FAR).mean()),
    }


def chosen(samples: list[Any], condition: str, most: int, seed: int) -> list[Any]:
    """What to learn from under a condition: the first of an order that the seed draws."""
    kind, level = corrupt_labels.parse(condition)
    order = np.random.default_rng(seed).permutation(len(samples))
    return [samples[i] for i in order[: int(level) if kind in corrupt_labels.COUNTS else most]]


def cell(
    train: list[Face], test: list[Face], condition: str, method: str, seed: int, settings: Settings, rate: float
) -> tuple[dict[str, Any], np.ndarray]:
    """Train and test.

    Returns:
        The figures of each of TESTS, and of the clean one with the points of a direct method ``shaped`` and
        ``refitted``; and the points found in the clean test, faces × 68 × 2 in per cent of each face's distance of the
        outer eye corners.
    """
    start = time.perf_counter()
    truth = np.array([face.points for face in train])
    fitted = fit(method, train, corrupt_labels.corrupt(truth, condition, seed), settings, rate, seed)
    truth = np.array([face.points for face in test])
    found = {name: predict(fitted, *tests(test, name, settings.size)) for name in TESTS}
    if isinstance(fitted, Direct):
        for correction in (fitted.shaped, fitted.refitted):
            found[correction.__name__] = predict(fitted, *tests(test, "clean", settings.size), correction)
    report = {
        "faces": len(train),
        "rate": rate,
        "precision": str(precision()).removeprefix("torch."),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "minutes": (time.perf_counter() - start) / 60,
        "tests": {name: figures(metrics.point_errors(points, truth)) for name, points in found.items()},
    }
    return report, (100 * found["clean"] / corrupt_labels.eyes(truth)).astype(np.float32)


def change(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """How far apart two predictions, faces × 68 × 2, lie: in the mean, and in the 95th of 100 faces."""
    moved = np.linalg.norm(after - before, axis=-1).mean(1)
    return {"mean": float(moved.mean()), "of_95th": float(np.percentile(moved, 95))}


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


def log(name: str, known: dict[str, Any], report: dict[str, Any]) -> None:
    """Mirror a cell to MLflow, as a run within that of all cells."""
    os.environ.pop("DVC_ROOT", None)  # the store is that of the whole project, not of these cells
    tracking.connect()
    mlflow.set_experiment(tracking.EXPERIMENT)
    whole = mlflow.search_runs(filter_string="tags.matrix = 'poor-data'", max_results=1, output_format="list")
    tags = {"matrix": "poor-data"}
    with (
        mlflow.start_run(whole[0].info.run_id if whole else None, run_name="poor-data", tags=tags),
        mlflow.start_run(run_name=name, nested=True),
    ):
        mlflow.log_params(known | {key: report[key] for key in ("faces", "rate", "precision", "device")})
        mlflow.log_metrics(tracking.flatten(report["tests"]) | {"minutes": report["minutes"]})


@app.command()
def run(source: str, condition: str, method: str, seed: int) -> None:
    """Train and test one cell and write its figures and predictions."""
    known = {"source": source, "condition": condition, "method": method, "seed": seed}
    wanted = params()
    data = wanted[source]
    train = load(chosen(listed(Path(data["path"]), "train"), condition, data["faces"], seed))
    test = load(listed(Path(data["path"]), data["test"]))
    settings, rate = trained(wanted, source), best_rate(method, wanted["trial"]["rates"])
    report, points = cell(train, test, condition, method, seed, Settings(**settings), rate)
    report |= {"train": settings, "most_faces": data["faces"]}
    name = "-".join(map(str, known.values()))
    CELLS.mkdir(parents=True, exist_ok=True)
    np.save(CELLS / f"{name}.npy", points)
    (CELLS / f"{name}.json").write_text(json.dumps(known | report, indent=1))
    log(name, known, report)


@app.command("change")
def write_change(source: str, condition: str, method: str, seed: int) -> None:
    """Write how far one bad face among so many moves the predictions."""
    _, level = corrupt_labels.parse(condition)
    names = [f"{source}-{each}-{method}-{seed}" for each in (f"few-{level:.0f}", condition)]
    before, after = (json.loads((CELLS / f"{name}.json").read_text()) for name in names)
    if (before["train"], before["precision"]) != (after["train"], after["precision"]):
        raise SystemExit(f"{names[0]} and {names[1]} differ in parameters or precision; run both on one machine")
    found = change(*(np.load(CELLS / f"{name}.npy") for name in names))
    found["nme"] = after["tests"]["clean"]["nme"] - before["tests"]["clean"]["nme"]
    found["train"] = after["train"]
    CHANGES.mkdir(parents=True, exist_ok=True)
    (CHANGES / f"{names[1]}.json").write_text(json.dumps(found, indent=1))


@app.command()
def trial(method: str, rate: float) -> None:
    """Try a learning rate on clean labels, judged on training pictures that are not learned from."""
    known = params()
    data = known["photos"]
    samples = listed(Path(data["path"]), "train")
    samples = chosen(samples, "clean", len(samples), TRIAL_SEED)
    train, held = load(samples[:-HELD_OUT][: data["faces"]]), load(samples[-HELD_OUT:])
    report, _ = cell(train, held, "clean", method, TRIAL_SEED, Settings(**known["train"]), rate)
    out = RESULTS / "trials" / method
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{rate:g}.json").write_text(json.dumps({"method": method} | report, indent=1))


if __name__ == "__main__":
    app()
