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
"""What MLflow calls it where there is no such model or version, and where no version has such an alias."""
FAILURES = (LookupError, OSError, MlflowException, SQLAlchemyError)
"""What may come out of here: there is no such version, or the store, over HTTP or in a database, cannot say."""
ENTRY = Path(__file__).with_name("mlflow_model.py")
"""The file that MLflow runs to load a model."""
OPTIONS = {"mask": DataType.string, "max_faces": DataType.long, "min_score": DataType.double}
ANSWER = {
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
    outputs=Schema([ColSpec(kind, name, required=False) for name, kind in ANSWER.items()]),
    params=ParamSchema([ParamSpec(name, kind, getattr(Options(), name)) for name, kind in OPTIONS.items()]),
)
"""A picture's bytes in, the endpoint's answer or error out, with the endpoint's options."""


@dataclass(frozen=True)
class Contents:
    """What lies in a downloaded model."""

    bundle: ModelBundle
    identity: dict[str, str]
    """Name, version, revision and data, as answers say them."""
    package: Path
    """The folder ``facemark`` with the code that it was evaluated with."""
    handler: Path
    """TorchServe's handler for that code."""


def log_model(bundle: ModelBundle, version: str) -> ModelInfo:
    """Log a bundle as ``model`` of the open run, with the code that runs it and the handler that serves it."""
    requirements = [r for r in importlib.metadata.requires("facemark") or [] if "extra ==" not in r]
    picture = cv2.imencode(".jpg", synthetic.draw(1).image[..., ::-1])[1].tobytes()
    with tempfile.TemporaryDirectory() as folder:
        identity, code = Path(folder, "model.json"), Path(folder, "code")
        identity.write_text(json.dumps(tracking.identity(version)))
        for start in (ENTRY, HANDLER):
            copy_package(start, code)
        model = Path(folder, BUNDLE)
        model.mkdir()
        for file in bundle.files():
            shutil.copy(file, model)
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(ENTRY),
            artifacts={"bundle": str(model), "identity": str(identity), "handler": str(HANDLER)},
            code_paths=[str(code / PACKAGE.name)],
            pip_requirements=requirements,
            signature=SIGNATURE,
            input_example=pd.DataFrame({"image": [picture]}),
        )


def md5(file: Path) -> str:
    """The MD5 of a file, by which DVC knows it too."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def register(run_id: str) -> ModelVersion:
    """The version that holds the model which a stage ``evaluate`` logged in this run, registered if it was not yet.

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
        MlflowException, SQLAlchemyError: the store cannot say.
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
    """Download a version's files into ``folder``; answers where the model lies in it, see :func:`contents`."""
    return Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/{version.version}", dst_path=str(folder)))


def contents(model: Path) -> Contents:
    """What lies in a downloaded model, logged by this version or up to 0.7.0."""
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
        held = contents(download(version, Path(folder, "model")))
        extra = Path(folder, "extra")
        shutil.copytree(held.package, extra / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
        target = extra if held.handler == HANDLER_0_7 else extra / BUNDLE
        target.mkdir(exist_ok=True)
        for file in held.bundle.files():
            shutil.copy(file, target)
        write_archive(held.identity, held.handler, extra, out)


def roll_back() -> tuple[ModelVersion, ModelVersion]:
    """Make the version champion that the champion replaced; answers the one that was and the one that is.

    Versions that were rolled back themselves are passed over.

    Raises:
        LookupError: there is no champion, or none before it.
    """
    fallen = back = find(CHAMPION)
    passed = {None}
    while back is fallen or ROLLED_BACK in back.tags:
        passed.add(str(back.version))
        if back.tags.get("replaced") in passed:
            raise LookupError(f"version {fallen.version} is champion, and there is none before it to go back to")
        back = find(back.tags["replaced"])
    tag(fallen, {ROLLED_BACK: "true"})
    set_alias(back, CHAMPION)
    return fallen, back


def rolled_back(contents: dict[str, str]) -> ModelVersion | None:
    """A version with these tags that was champion and was rolled back, if there is one."""
    versions = mlflow.MlflowClient().search_model_versions(f"name = '{NAME}'")
    fallen = [version for version in versions if version.tags.items() >= contents.items()]
    return next((version for version in fallen if ROLLED_BACK in version.tags), None)
