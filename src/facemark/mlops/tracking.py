"""MLflow: one run a pass of the pipeline, and inside it one run a stage.

Runs go where MLFLOW_TRACKING_URI says, else to ``mlflow.db`` and ``mlruns/`` in the project's folder. DVC holds the
truth; a run mirrors it and leads back to it by its tags.
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
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.entities import Run, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from facemark.settings import load_params

EXPERIMENT = "facemark"
BUILD = Path("build")


class Runs(NamedTuple):
    """The runs that a stage writes into: its own, and that of the pass."""

    stage: str
    whole: str


def connect() -> None:
    """Name the store in the project's folder where no other is named: a queued experiment runs in a folder of its own.

    DVC tells its commands the project's folder in DVC_ROOT.
    """
    if "MLFLOW_TRACKING_URI" in os.environ:
        return
    root = Path(os.environ.get("DVC_ROOT", ".")).resolve()
    mlflow.set_tracking_uri(f"sqlite:///{root}/mlflow.db")
    with suppress(MlflowException):  # there is one already
        mlflow.create_experiment(EXPERIMENT, (root / "mlruns").as_uri())


@contextmanager
def stage(name: str, params: dict, build: Path = BUILD) -> Iterator[Runs | None]:
    """Hold the run of a stage open, inside the run of the pass; None in all processes of a training but the first.

    The pass is the one that stands in ``run_id.txt``, where it has these ``params`` and this stage has not finished in
    it; a stage that was cut off there goes on. Else a new pass begins; under ``mlflow run`` it is the run that MLflow
    has made already. For each earlier stage that the pass has not run, because DVC had its result, a run is made whose
    tag ``restored_from`` names the one that the result is from; DVC keeps that run's id, ``runs/NAME.txt``, beside the
    stage's other outputs.

    Args:
        name: as in ``dvc.yaml``, ``prepare@starter`` for one.
        params: nested, as in ``params.yaml``; logged with dotted names.
        build: the folder of ``run_id.txt`` and ``runs``.
    """
    if rank_zero_only.rank:
        yield None
        return
    connect()
    values = {key: str(value) for key, value in flatten(params).items()}
    with mlflow.start_run(_pass(name, values, build), run_name=os.environ.get("DVC_EXP_NAME")) as whole:
        _write(build / "run_id.txt", whole.info.run_id)
        mlflow.log_params(values)
        # DVC writes the md5 of what a stage read when it has ended
        mlflow.set_tags({tag: value for tag, value in lineage().items() if tag != f"data.{name.partition('@')[2]}.md5"})
        known = children(whole)
        for earlier in _earlier(name, params):
            if earlier not in known and (made := build / "runs" / f"{earlier}.txt").exists():
                _restored(whole, earlier, made.read_text())
        cut_off = known[name].info.run_id if name in known else None
        with mlflow.start_run(
            cut_off,
            experiment_id=whole.info.experiment_id,
            run_name=name,
            nested=True,
            tags={"stage": name},
            log_system_metrics=True,
        ) as own:
            mlflow.log_params({key: v for key, v in values.items() if key.startswith(f"{name.partition('@')[0]}.")})
            mlflow.set_tags(machine())
            mlflow.log_text(packages(), "packages.txt")
            yield Runs(own.info.run_id, whole.info.run_id)
            _write(build / "runs" / f"{name}.txt", own.info.run_id)


def _write(file: Path, run_id: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(run_id)


def _pass(name: str, values: dict[str, str], build: Path) -> str | None:
    """The run of the pass that the stage belongs to, None where a new one begins."""
    record = build / "run_id.txt"
    if made := os.environ.pop("MLFLOW_RUN_ID", None):  # start_run would take it for the stage's run too
        return made
    if record.exists() and _goes_on(record.read_text(), name, values):
        return record.read_text()
    mlflow.set_experiment(EXPERIMENT)
    return None


def _goes_on(run_id: str, name: str, values: dict[str, str]) -> bool:
    """Whether the store has this pass, with these very params and this stage not finished."""
    try:
        known = mlflow.get_run(run_id)
    except MlflowException:
        return False
    held = {key: v for key, v in known.data.params.items() if "." in key}  # mlflow run adds its own, without dots
    done = children(known).get(name)
    return (
        known.info.lifecycle_stage == "active"
        and held == values
        and not (done and done.info.status == RunStatus.to_string(RunStatus.FINISHED))
    )


def children(whole: Run) -> dict[str, Run]:
    """The runs of a pass by the names of their stages."""
    inside = f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{whole.info.run_id}'"
    runs = mlflow.MlflowClient().search_runs([whole.info.experiment_id], inside)
    return {run.data.tags["stage"]: run for run in runs if "stage" in run.data.tags}


def _earlier(name: str, params: dict) -> list[str]:
    """The stages whose results the stage ``name`` reads, first to last."""
    prepare = [f"prepare@{dataset}" for dataset in params["prepare"]["datasets"]]
    return [] if name in prepare else list(takewhile(lambda each: each != name, [*prepare, "train", "calibrate"]))


def _restored(whole: Run, name: str, original: str) -> None:
    client, experiment = mlflow.MlflowClient(), whole.info.experiment_id
    note = f"DVC had this result already, from [this run](#/experiments/{experiment}/runs/{original})."
    tags = {MLFLOW_PARENT_RUN_ID: whole.info.run_id, "stage": name, "restored_from": original, MLFLOW_RUN_NOTE: note}
    client.set_terminated(client.create_run(experiment, tags=tags, run_name=f"{name} (restored)").info.run_id)


def logger(runs: Runs) -> MLFlowLogger:
    """Lightning's logger, writing the curves of a training into the run of its stage."""
    return MLFlowLogger(EXPERIMENT, run_id=runs.stage, tracking_uri=mlflow.get_tracking_uri())


def tag(runs: Runs, tags: dict[str, str]) -> None:
    """Write tags onto the run of a stage and that of its pass."""
    for run_id in runs:
        for key, value in tags.items():
            mlflow.MlflowClient().set_tag(run_id, key, value)


def flatten(tree: dict, prefix: str = "") -> dict:
    """Turn nested dicts into one, ``{"a": {"b": 1}}`` into ``{"a.b": 1}``."""
    flat = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def dataset(name: str, index: Path, source: Path, split: str) -> PandasDataset:
    """The pictures of one split of a prepared dataset, for ``mlflow.log_input``, under DVC's md5 of its folder.

    Args:
        name: as in ``prepare.datasets``.
        index: the table that ``prepare`` wrote.
        source: the dataset's folder.
        split: one of SPLITS.
    """
    rows = pd.read_csv(index, dtype=str)
    digest = lineage().get(f"data.{name}.md5")
    return mlflow.data.from_pandas(rows[rows.split == split], str(source), name=f"{name}/{split}", digest=digest)


def lineage() -> dict[str, str]:
    """Tags that lead from a run back to its bytes: the git commit, and DVC's md5 of each dataset of ``params.yaml``.

    ``git.dirty`` says whether tracked files differed from that commit; ``dvc.lock`` does not count, as a running
    pipeline rewrites it. Tags that cannot be known (no git, no ``dvc.lock``) are left out.
    """
    tags = {}
    commit = _git("rev-parse", "HEAD")
    if commit:
        changes = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(exclude,top)dvc.lock")
        tags |= {"git.commit": commit, "git.dirty": str(bool(changes)).lower()}
    lock = Path("dvc.lock")
    if lock.exists():
        stages = yaml.safe_load(lock.read_text())["stages"]
        for name in load_params().prepare.datasets:  # the lock keeps those of days past too
            if stage := stages.get(f"prepare@{name}"):
                data = next(dep for dep in stage["deps"] if not dep["path"].startswith("src/facemark/"))
                tags[f"data.{name}.md5"] = data["md5"]
    return tags


def _git(*command: str) -> str:
    try:
        return subprocess.run(["git", *command], capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""


def identity(version: str) -> dict[str, str]:
    """What a model calls itself in every answer: its version, the git commit, and DVC's md5 of each training dataset.

    The commit ends in ``-dirty`` where tracked files differ from it; what cannot be known is ``unknown``.
    """
    tags = lineage()
    revision = tags.get("git.commit", "unknown") + ("-dirty" if tags.get("git.dirty") == "true" else "")
    data = " ".join(md5 for tag, md5 in tags.items() if tag.startswith("data.")) or "unknown"
    return {"name": "facemark", "version": version, "revision": revision, "data": data}


def machine() -> dict[str, str]:
    """Tags that say what the run ran on; figures of one seed agree only on one kind of machine."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"
    versions = {"python": platform.python_version(), "torch": torch.__version__, "platform": platform.platform()}
    return {f"machine.{name}": value for name, value in (versions | {"device": device}).items()}


def packages() -> str:
    """The installed packages, as pip reads them."""
    found = {f"{each.name}=={each.version}" for each in importlib.metadata.distributions()}
    return "\n".join(sorted(found, key=str.lower)) + "\n"
