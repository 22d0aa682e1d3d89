"""MLflow: one run for each pipeline run, and a child run for each of its stages.

Runs go to the store that MLFLOW_TRACKING_URI names, else to ``mlflow.db`` and ``mlruns/`` in the project's folder. DVC
holds the truth; a run mirrors it, and its tags lead back to it.
"""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import mlflow
import pandas as pd
import torch
import yaml
from lightning.pytorch.loggers import MLFlowLogger
from lightning.pytorch.utilities import rank_zero_only
from mlflow.data.pandas_dataset import PandasDataset, from_pandas
from mlflow.entities import Run, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from facemark.settings import load_params

EXPERIMENT = "facemark"
BUILD = Path("build")


class Runs(NamedTuple):
    """The ids of the MLflow runs that a stage writes into: its own, and its parent, that of the pipeline run."""

    stage: str
    pipeline: str


def connect() -> None:
    """Use the store in the project's folder, unless MLFLOW_TRACKING_URI names another.

    A queued experiment runs in a folder of its own; DVC gives its commands the project's folder in DVC_ROOT.
    """
    if "MLFLOW_TRACKING_URI" in os.environ:
        return
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
    with suppress(MlflowException):  # it exists already
        mlflow.create_experiment(EXPERIMENT, (root / "mlruns").as_uri())


@contextmanager
def stage(name: str, params: dict, build: Path = BUILD) -> Iterator[Runs | None]:
    """Hold the MLflow run of a stage open, as a child of that of the pipeline run.

    The stage joins the pipeline run in ``run_id.txt`` if that has the same ``params`` and this stage has not finished
    there. A stage that was interrupted there resumes its own run. Otherwise a new pipeline run begins; under ``mlflow
    run``, it is the run that MLflow has created.

    DVC may have restored earlier stages from its cache. Each of them gets a child run whose tag ``restored_from`` names
    the run that made the result. DVC keeps the id of that run, in ``runs/NAME.txt``, with the stage's other outputs.

    Args:
        name: as in ``dvc.yaml``, for example ``prepare@starter``.
        params: nested, as in ``params.yaml``; logged with dotted names.
        build: the folder of ``run_id.txt`` and ``runs``.

    Yields:
        The runs. None in all processes of a distributed training but the first.
    """
    if getattr(rank_zero_only, "rank", 0):  # Lightning sets it as an attribute of the function
        yield None
        return
    connect()
    values = {key: str(value) for key, value in flatten(params).items()}
    run_name = os.environ.get("DVC_EXP_NAME")
    with mlflow.start_run(_current_pipeline_run(name, values, build), run_name=run_name) as pipeline:
        _write(build / "run_id.txt", pipeline.info.run_id)
        mlflow.log_params(values)
        # DVC writes the md5 of a stage's inputs only after the stage has ended
        mlflow.set_tags({tag: value for tag, value in lineage().items() if tag != f"data.{name.partition('@')[2]}.md5"})
        known = children(pipeline)
        for earlier in _earlier(name, params):
            if earlier not in known and (made := build / "runs" / f"{earlier}.txt").exists():
                _log_restored(pipeline, earlier, made.read_text())
        interrupted = known[name].info.run_id if name in known else None
        with mlflow.start_run(
            interrupted,
            experiment_id=pipeline.info.experiment_id,
            run_name=name,
            nested=True,
            tags={"stage": name},
            log_system_metrics=True,
        ) as own:
            mlflow.log_params({key: v for key, v in values.items() if key.startswith(f"{name.partition('@')[0]}.")})
            mlflow.set_tags(machine())
            mlflow.log_text(packages(), "packages.txt")
            yield Runs(own.info.run_id, pipeline.info.run_id)
            _write(build / "runs" / f"{name}.txt", own.info.run_id)


def _write(file: Path, run_id: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(run_id)


def _current_pipeline_run(name: str, values: dict[str, str], build: Path) -> str | None:
    """The id of the pipeline run that the stage belongs to; None where a new one begins."""
    record = build / "run_id.txt"
    if created := os.environ.pop("MLFLOW_RUN_ID", None):  # start_run would use it for the stage's run too
        return created
    if record.exists() and _continues(record.read_text(), name, values):
        return record.read_text()
    mlflow.set_experiment(EXPERIMENT)
    return None


def _continues(run_id: str, name: str, values: dict[str, str]) -> bool:
    """Whether the store has this pipeline run, with the same params, and without a finished run of this stage."""
    try:
        known = mlflow.get_run(run_id)
    except MlflowException:
        return False
    logged = {key: v for key, v in known.data.params.items() if "." in key}  # mlflow run adds its own, without dots
    done = children(known).get(name)
    return (
        known.info.lifecycle_stage == "active"
        and logged == values
        and not (done and done.info.status == RunStatus.to_string(RunStatus.FINISHED))
    )


def children(pipeline: Run) -> dict[str, Run]:
    """The child runs of a pipeline run, by the names of their stages."""
    inside = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{pipeline.info.run_id}'"
    runs = mlflow.MlflowClient().search_runs([pipeline.info.experiment_id], inside)
    return {run.data.tags["stage"]: run for run in runs if "stage" in run.data.tags}


def _earlier(name: str, params: dict) -> list[str]:
    """The stages whose results the stage ``name`` reads, first to last."""
    prepare = [f"prepare@{dataset}" for dataset in params["prepare"]["datasets"]]
    return [] if name in prepare else list(takewhile(lambda each: each != name, [*prepare, "train", "calibrate"]))


def _log_restored(pipeline: Run, name: str, original: str) -> None:
    """Create the child run of a stage whose result DVC restored, pointing to the run that made it."""
    client, experiment = mlflow.MlflowClient(), pipeline.info.experiment_id
    note = f"DVC restored this result from its cache; [this run](#/experiments/{experiment}/runs/{original}) made it."
    tags = {MLFLOW_PARENT_RUN_ID: pipeline.info.run_id, "stage": name, "restored_from": original, MLFLOW_RUN_NOTE: note}
    client.set_terminated(client.create_run(experiment, tags=tags, run_name=f"{name} (restored)").info.run_id)


def logger(runs: Runs) -> MLFlowLogger:
    """Lightning's logger, which writes the curves of a training into the run of its stage."""
    return MLFlowLogger(EXPERIMENT, run_id=runs.stage, tracking_uri=mlflow.get_tracking_uri())


def tag(runs: Runs, tags: dict[str, str]) -> None:
    """Write tags to the run of a stage and to that of its pipeline run."""
    for run_id in runs:
        for key, value in tags.items():
            mlflow.MlflowClient().set_tag(run_id, key, value)


def flatten(tree: dict, prefix: str = "") -> dict:
    """Flatten nested dicts into one, ``{"a": {"b": 1}}`` into ``{"a.b": 1}``."""
    flat: dict = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def dataset(name: str, index: Path, source: Path, split: str) -> PandasDataset:
    """The images of one split of a prepared dataset, for ``mlflow.log_input``; the digest is DVC's md5 of its folder.

    Args:
        name: as in ``prepare.datasets``.
        index: the table that ``prepare`` wrote.
        source: the dataset's folder.
        split: one of SPLITS.
    """
    rows = pd.read_csv(index, dtype=str)
    digest = lineage().get(f"data.{name}.md5")
    return from_pandas(rows[rows["split"] == split], str(source), name=f"{name}/{split}", digest=digest)


def lineage() -> dict[str, str]:
    """Tags that lead from a run back to its bytes: the git commit, and DVC's md5 of each dataset of ``params.yaml``.

    ``git.dirty`` says whether tracked files differ from that commit; ``dvc.lock`` does not count, because a running
    pipeline rewrites it. Tags that cannot be determined (no git, no ``dvc.lock``) are left out.
    """
    tags: dict[str, str] = {}
    commit = _git("rev-parse", "HEAD")
    if commit:
        changes = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)dvc.lock")
        tags |= {"git.commit": commit, "git.dirty": str(bool(changes)).lower()}
    lock = Path("dvc.lock")
    if lock.exists():
        stages = yaml.safe_load(lock.read_text())["stages"]
        for name in load_params().prepare.datasets:  # the lock also keeps datasets that params.yaml no longer has
            if stage := stages.get(f"prepare@{name}"):
                data = next(dep for dep in stage["deps"] if not dep["path"].startswith("src/facemark/"))
                tags[f"data.{name}.md5"] = data["md5"]
    return tags


def _git(*command: str) -> str:
    """The output of a git command; empty where it fails, or where there is no git."""
    try:
        return subprocess.run(["git", *command], capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def identity(version: str) -> dict[str, str]:
    """The identity of a model in every response: version, git commit, and DVC's md5 of each training dataset.

    The commit ends in ``-dirty`` where tracked files differ from it. What cannot be determined is ``unknown``.
    """
    tags = lineage()
    revision = tags.get("git.commit", "unknown") + ("-dirty" if tags.get("git.dirty") == "true" else "")
    data = " ".join(md5 for tag, md5 in tags.items() if tag.startswith("data.")) or "unknown"
    return {"name": "facemark", "version": version, "revision": revision, "data": data}


def machine() -> dict[str, str]:
    """Tags that describe the machine; results of one seed agree only on one kind of machine."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    versions = {"python": platform.python_version(), "torch": torch.__version__, "platform": platform.platform()}
    return {f"machine.{name}": value for name, value in (versions | {"device": device}).items()}


def packages() -> str:
    """The installed packages, as pip reads them."""
    installed = {f"{each.name}=={each.version}" for each in importlib.metadata.distributions()}
    return "\n".join(sorted(installed, key=str.lower)) + "\n"
