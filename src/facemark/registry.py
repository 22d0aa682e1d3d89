"""The models in MLflow: how one is logged, and which versions of ``facemark`` are challenger and champion."""

import hashlib
import importlib.metadata
import json
import tempfile
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

import facemark
from facemark import synthetic, tracking
from facemark.answer import Options

NAME = "facemark"
CHALLENGER, CHAMPION = "challenger", "champion"
ROLLED_BACK = "rolled_back"
"""Tag of a champion that was replaced by the one before it; it is not promoted again."""
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow calls it where there is no such model or version, and where no version has such an alias."""
FAILURES = (LookupError, OSError, MlflowException, SQLAlchemyError)
"""What may come out of here: there is no such version, or the store, over HTTP or in a database, cannot say."""
PACKAGE = Path(facemark.__file__).parent
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


def log_model(weights: Path, landmarks: Path, version: str) -> ModelInfo:
    """Log weights and landmark model, with the package that runs them, as ``model`` of the open run."""
    requirements = [r for r in importlib.metadata.requires("facemark") or [] if "extra ==" not in r]
    picture = cv2.imencode(".jpg", synthetic.draw(1).image[..., ::-1])[1].tobytes()
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder, "model.json")
        names.write_text(json.dumps(tracking.identity(version)))
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(PACKAGE / "mlflow_model.py"),
            artifacts={"weights": str(weights), "landmarks": str(landmarks), "names": str(names)},
            code_paths=[str(PACKAGE)],
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


def name(version: ModelVersion, alias: str) -> None:
    """Give an alias to a version; another that had it loses it."""
    mlflow.MlflowClient().set_registered_model_alias(NAME, alias, version.version)


def tag(version: ModelVersion, tags: dict[str, str]) -> None:
    """Write tags onto a version."""
    for key, value in tags.items():
        mlflow.MlflowClient().set_model_version_tag(NAME, version.version, key, value)


def fetch(version: ModelVersion, folder: Path) -> Path:
    """Download a version's files into ``folder``; answers where the model lies in it, see :func:`parts`."""
    return Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/{version.version}", dst_path=str(folder)))


def parts(model: Path) -> tuple[Path, Path, dict, Path]:
    """Weights, landmark model, names and package of a downloaded model."""
    artifacts = model / "artifacts"
    names = json.loads((artifacts / "model.json").read_text())
    return artifacts / "model.safetensors", artifacts / "landmarks.npz", names, model / "code" / "facemark"


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
    name(back, CHAMPION)
    return fallen, back


def rolled_back(contents: dict[str, str]) -> ModelVersion | None:
    """A version with these tags that was champion and was rolled back, if there is one."""
    versions = mlflow.MlflowClient().search_model_versions(f"name = '{NAME}'")
    fallen = [version for version in versions if version.tags.items() >= contents.items()]
    return next((version for version in fallen if ROLLED_BACK in version.tags), None)
