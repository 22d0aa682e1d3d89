"""MLflow: one run a pass of the pipeline, begun by ``train`` and continued by ``evaluate``.

Runs go where MLFLOW_TRACKING_URI says, else to MLflow's own default: ``mlflow.db`` and ``mlruns/`` in the working
directory. DVC holds the truth; a run mirrors it and leads back to it by its tags.
"""

import hashlib
import importlib.metadata
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import yaml
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

import facemark

EXPERIMENT = "facemark"
PACKAGE = Path(facemark.__file__).parent
SIGNATURE = ModelSignature(
    inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))]),
    outputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1))]),
)


@contextmanager
def run(params: dict, record: Path) -> Iterator[str | None]:
    """Hold a run open and yield its id; None in all processes of a training but the first.

    The run goes on whose id stands in the file ``record``. A new one begins where there is no such file, where the
    store no longer has that run (the tag ``continues`` names it), or where it was made with other ``params``; under
    ``mlflow run`` it is the run that MLflow has made already.

    Args:
        params: nested, as in ``params.yaml``; logged with dotted names.
        record: a file that holds a run id, or is not there.
    """
    if rank_zero_only.rank:
        yield None
        return
    values = {name: str(value) for name, value in flatten(params).items()}
    recorded = record.read_text().strip() if record.exists() else None
    run_id = recorded if recorded and _agrees(recorded, values) else os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_id) as active:
        mlflow.log_params(values)
        mlflow.set_tags(lineage())
        if recorded and recorded != active.info.run_id:
            mlflow.set_tag("continues", recorded)
        yield active.info.run_id


def _agrees(run_id: str, values: dict[str, str]) -> bool:
    """Whether the store has this run, and with none of these params at another value."""
    try:
        known = mlflow.get_run(run_id)
    except MlflowException:
        return False
    held = known.data.params
    return known.info.lifecycle_stage == "active" and all(held.get(name, v) == v for name, v in values.items())


def logger(run_id: str | None) -> MLFlowLogger:
    """Lightning's logger, writing the curves of a training into the run that :func:`run` yielded."""
    return MLFlowLogger(EXPERIMENT, run_id=run_id, tracking_uri=mlflow.get_tracking_uri())


def flatten(tree: dict, prefix: str = "") -> dict:
    """Turn nested dicts into one, ``{"a": {"b": 1}}`` into ``{"a.b": 1}``."""
    flat = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def lineage() -> dict[str, str]:
    """Tags that lead from a run back to its bytes: the git commit, and DVC's md5 of each dataset.

    ``git.dirty`` says whether tracked files differed from that commit; ``dvc.lock`` does not count, as a running
    pipeline rewrites it. Tags that cannot be known (no git, no ``dvc.lock``) are left out.
    """
    tags = {}
    commit = _git("rev-parse", "HEAD")
    if commit:
        changes = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)dvc.lock")
        tags |= {"git.commit": commit, "git.dirty": str(bool(changes)).lower()}
    lock = Path("dvc.lock")
    stages = yaml.safe_load(lock.read_text())["stages"] if lock.exists() else {}
    for name, stage in stages.items():
        if name.startswith("prepare@"):
            tags[f"data.{name.removeprefix('prepare@')}.md5"] = stage["deps"][0]["md5"]
    return tags


def _git(*command: str) -> str:
    try:
        return subprocess.run(["git", *command], capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def log_model(weights: Path, landmarks: Path) -> None:
    """Log weights and landmark model, with the package that runs them, as ``model`` of the open run.

    The tag ``model.md5`` is that of the weights file.
    """
    requirements = [r for r in importlib.metadata.requires("facemark") or [] if "extra ==" not in r]
    mlflow.pyfunc.log_model(
        name="model",
        python_model=str(PACKAGE / "mlflow_model.py"),
        artifacts={"weights": str(weights), "landmarks": str(landmarks)},
        code_paths=[str(PACKAGE)],
        pip_requirements=requirements,
        signature=SIGNATURE,
        input_example=np.zeros((1, 64, 64, 3), np.uint8),
    )
    mlflow.set_tag("model.md5", hashlib.md5(weights.read_bytes(), usedforsecurity=False).hexdigest())
