"""The models in MLflow: how one is logged, and which versions of ``facemark`` are challenger and champion."""

import hashlib
import importlib.metadata
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import mlflow
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.models.model import ModelInfo
from mlflow.types.schema import AnyType, Array, ColSpec, DataType, Map, ParamSchema, ParamSpec, Schema
from sqlalchemy.exc import SQLAlchemyError

from facemark.data import synthetic
from facemark.io.response import Options
from facemark.mlops import tracking
from facemark.models.bundle import ModelBundle
from facemark.serving.archive import BUNDLE, HANDLER, HANDLER_0_7, copy_package, write_archive
from facemark.settings import PACKAGE

NAME = "facemark"
CHALLENGER, CHAMPION = "challenger", "champion"
ROLLED_BACK = "rolled_back"
"""Tag of a champion that was replaced by the one before it; it is not promoted again."""
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""MLflow's error codes where there is no such model, version or alias."""
FAILURES = (LookupError, OSError, MlflowException, SQLAlchemyError)
"""What the functions here may raise: there is no such version, or the store, over HTTP or in a database, failed."""
ENTRY = Path(__file__).with_name("mlflow_model.py")
"""The file that MLflow runs to load a model."""
OPTIONS: dict[str, DataType] = {"mask": DataType.string, "max_faces": DataType.long, "min_score": DataType.double}
RESPONSE: dict[str, Array | DataType | Map | AnyType] = {
    "image": Map(DataType.long),
    "faces": Array(AnyType()),
    "model": Map(DataType.string),
    "mask": AnyType(),
    "code": DataType.long,
    "type": DataType.string,
    "message": DataType.string,
}
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.binary, "image")]),
    outputs=Schema([ColSpec(kind, name, required=False) for name, kind in RESPONSE.items()]),
    params=ParamSchema([ParamSpec(name, kind, getattr(Options(), name)) for name, kind in OPTIONS.items()]),
)
"""In: the bytes of an encoded image, with the endpoint's options. Out: the endpoint's response or error."""


@dataclass(frozen=True)
class Contents:
    """The parts of a downloaded model."""

    bundle: ModelBundle
    identity: dict[str, str]
    """Name, version, revision and data, as responses give them."""
    package: Path
    """The folder ``facemark`` with the code that it was evaluated with."""
    handler: Path
    """TorchServe's handler for that code."""


def log_model(bundle: ModelBundle, version: str) -> ModelInfo:
    """Log a bundle as ``model`` of the open MLflow run, with the code that runs it and the handler that serves it.

    The code is that which inference and serving import, see :func:`facemark.serving.archive.copy_package`.

    Args:
        bundle: with a landmark model.
        version: that responses give.
    """
    requirements = [r for r in importlib.metadata.requires("facemark") or [] if "extra ==" not in r]
    image = cv2.imencode(".jpg", synthetic.draw(1).image[..., ::-1])[1].tobytes()
    with tempfile.TemporaryDirectory() as folder:
        identity, code = Path(folder, "model.json"), Path(folder, "code")
        identity.write_text(json.dumps(tracking.identity(version)))
        for start in (ENTRY, HANDLER):
            copy_package(start, code)
        copied = Path(folder, BUNDLE)
        copied.mkdir()
        for file in bundle.files():
            shutil.copy(file, copied)
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(ENTRY),
            artifacts={"bundle": str(copied), "identity": str(identity), "handler": str(HANDLER)},
            code_paths=[str(code / PACKAGE.name)],
            pip_requirements=requirements,
            signature=SIGNATURE,
            input_example=pd.DataFrame({"image": [image]}),
        )


def md5(file: Path) -> str:
    """The MD5 of a file, as DVC records it."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def register(run_id: str) -> ModelVersion:
    """The version of the model that the stage ``evaluate`` logged in this run; registers it if need be.

    Raises:
        LookupError: the store has no such run, or no model in it.
    """
    tracking.connect()
    client = mlflow.MlflowClient()
    if known := client.search_model_versions(f"name = '{NAME}' and run_id = '{run_id}'"):
        return known[0]
    try:
        return mlflow.register_model(f"runs:/{run_id}/model", NAME)
    except MlflowException as error:
        raise LookupError(
            f"{mlflow.get_tracking_uri()} has no model of run {run_id}; evaluate here: dvc repro -f evaluate"
        ) from error


def find(which: str) -> ModelVersion:
    """The version with this alias or number.

    Raises:
        LookupError: there is none.
        MlflowException, SQLAlchemyError: the store failed.
    """
    tracking.connect()
    client = mlflow.MlflowClient()
    try:
        return (client.get_model_version if which.isdigit() else client.get_model_version_by_alias)(NAME, which)
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        raise LookupError(f"the registry has no {NAME} {which}; make one with: facemark promote") from error


def set_alias(version: ModelVersion, alias: str) -> None:
    """Give an alias to a version; another that had it loses it."""
    mlflow.MlflowClient().set_registered_model_alias(NAME, alias, version.version)


def tag(version: ModelVersion, tags: dict[str, str]) -> None:
    """Write tags onto a version."""
    for key, value in tags.items():
        mlflow.MlflowClient().set_model_version_tag(NAME, version.version, key, value)


def download(version: ModelVersion, folder: Path) -> Path:
    """Download a version's files into ``folder``; returns the model's folder in it, for :func:`contents`."""
    return Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/{version.version}", dst_path=str(folder)))


def contents(model: Path) -> Contents:
    """The parts of a downloaded model, in today's layout or in that of 0.7.0 and before.

    Raises:
        FileNotFoundError, ValueError: a file is missing or is not what it should be.
    """
    artifacts, package = model / "artifacts", model / "code" / PACKAGE.name
    identity = json.loads((artifacts / "model.json").read_text())
    if (artifacts / BUNDLE).is_dir():
        return Contents(ModelBundle.open(artifacts / BUNDLE), identity, package, artifacts / HANDLER.name)
    return Contents(ModelBundle.open(artifacts), identity, package, HANDLER_0_7)


def pack(which: str, out: Path) -> None:
    """Pack a registered version for TorchServe, with the code that it was evaluated with and that code's handler.

    Args:
        which: an alias or a number.
        out: the file to write.

    Raises:
        LookupError: the registry has no version with this alias or number.
    """
    version = find(which)
    with tempfile.TemporaryDirectory() as folder:
        model = contents(download(version, Path(folder, "model")))
        extra = Path(folder, "extra")
        shutil.copytree(model.package, extra / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        target = extra if model.handler == HANDLER_0_7 else extra / BUNDLE
        target.mkdir(exist_ok=True)
        for file in model.bundle.files():
            shutil.copy(file, target)
        write_archive(model.identity, model.handler, extra, out)


def roll_back() -> tuple[ModelVersion, ModelVersion]:
    """Make the version champion again that the current champion replaced.

    Versions that were rolled back earlier are skipped.

    Returns:
        The version that was champion, and the one that is champion now.

    Raises:
        LookupError: there is no champion, or none before it.
    """
    current = previous = find(CHAMPION)
    visited: set[str | None] = {None}
    while previous is current or ROLLED_BACK in previous.tags:
        visited.add(str(previous.version))
        if previous.tags.get("replaced") in visited:
            raise LookupError(f"version {current.version} is champion, and there is none before it to roll back to")
        previous = find(previous.tags["replaced"])
    tag(current, {ROLLED_BACK: "true"})
    set_alias(previous, CHAMPION)
    return current, previous


def rolled_back(tags: dict[str, str]) -> ModelVersion | None:
    """A version with these tags that was champion and was rolled back; None where there is none."""
    versions = mlflow.MlflowClient().search_model_versions(f"name = '{NAME}'")
    alike = [version for version in versions if version.tags.items() >= tags.items()]
    return next((version for version in alike if ROLLED_BACK in version.tags), None)
