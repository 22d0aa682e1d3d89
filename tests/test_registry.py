"""The registry: logged models, archives made from them, and rolling back."""

import json
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from zipfile import ZipFile

import cv2
import mlflow
import numpy as np
import pytest
from clone import ROOT
from conftest import free_port
from mlflow.exceptions import MlflowException
from typer.testing import CliRunner

from facemark.cli import app
from facemark.images import read_image
from facemark.inference.parser import FaceParser
from facemark.mlops import registry
from facemark.models.bundle import ModelBundle
from facemark.serving import torchserve
from facemark.serving.archive import imported_files

VERSION_0_7 = "2af2f6a"
"""The last commit of 0.7.0, before the modules were moved into packages."""
LOG_WITH_0_7 = """
import sys
from pathlib import Path
import mlflow
from facemark import registry
with mlflow.start_run() as run:
    registry.log_model(*map(Path, sys.argv[1:]), "0.7.0")
registry.name(registry.register(run.info.run_id), registry.CHAMPION)
"""
PARSE = """
import json, sys
from pathlib import Path
import cv2, numpy, handler
parser = handler.FaceParser(handler.HERE / "model")
parse = parser([cv2.imread(sys.argv[1])[..., ::-1]])[0]
print(json.dumps({"file": handler.request.__file__, "size": parser.size, "mask": parse.mask.shape}))
"""


@pytest.fixture
def store(monkeypatch):
    """A function that sets the MLflow store of this process and its children until the end of the test."""
    before = mlflow.get_tracking_uri()

    def use(uri: str) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        mlflow.set_tracking_uri(uri)

    yield use
    mlflow.set_tracking_uri(before)


def champion() -> str:
    return str(registry.find("champion").version)


def test_a_store_that_does_not_respond_is_not_one_without_a_champion(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    store(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(MlflowException, match="Max retries exceeded"):
        registry.find("champion")
    done = CliRunner().invoke(app, ["rollback"])
    assert (done.exit_code, done.exception.__class__) == (1, SystemExit)
    assert "Max retries exceeded" in done.stderr


def test_rolling_back_skips_versions_that_were_rolled_back_and_ends_at_the_first(store, tmp_path):
    store(f"sqlite:///{tmp_path}/mlflow.db")
    client = mlflow.MlflowClient()
    client.create_registered_model(registry.NAME)
    first, second, third = (client.create_model_version(registry.NAME, str(tmp_path)) for _ in range(3))
    registry.tag(second, {"replaced": "1", "weights.md5": "b"})
    registry.tag(third, {"replaced": "2"})
    registry.set_alias(third, registry.CHAMPION)
    assert [registry.roll_back()[1].version for _ in range(2)] == [second.version, first.version]
    with pytest.raises(LookupError, match="none before it"):
        registry.roll_back()
    assert champion() == "1"
    assert registry.rolled_back({"weights.md5": "b"}).version == second.version
    assert registry.rolled_back({"weights.md5": "a"}) is None
    registry.tag(first, {"replaced": "3"})  # promoted again, in place of the third, which was rolled back
    with pytest.raises(LookupError, match="none before it"):
        registry.roll_back()


@pytest.fixture
def project(store, tmp_path, monkeypatch):
    """A folder with what logging and packing read, as the working directory, and a store of its own."""
    for name in ("serve", "params.yaml"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    store(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.create_experiment("test", (tmp_path / "mlruns").as_uri())
    mlflow.set_experiment("test")
    return tmp_path


def unpack(archive: Path, folder: Path) -> set[str]:
    """Unpack an archive; the names of its files."""
    with ZipFile(archive) as packed:
        packed.extractall(folder)
        return set(packed.namelist())


def test_a_champion_is_served_by_the_code_and_the_handler_that_were_logged_with_it(project, untrained):
    with mlflow.start_run() as run:
        registry.log_model(ModelBundle.open(untrained), "1.2.3")
    registry.set_alias(registry.register(run.info.run_id), registry.CHAMPION)
    handler = Path("serve/handler.py")
    logged = handler.read_text()
    handler.write_text("raise ImportError('of a later version')\n")
    registry.pack("champion", Path("champion.mar"))

    names = unpack(Path("champion.mar"), Path("unpacked"))
    assert (project / "unpacked/handler.py").read_text() == logged
    assert json.loads(Path("unpacked/model.json").read_text())["version"] == "1.2.3"
    for file in ModelBundle.open(untrained).files():
        assert (project / "unpacked/model" / file.name).read_bytes() == file.read_bytes()
    handler.write_text(logged)
    code = {file for start in (registry.ENTRY, handler) for file in imported_files(start)}
    assert {name for name in names if name.startswith("facemark/")} == {
        str(file.relative_to(registry.PACKAGE.parent)) for file in code
    }

    cv2.imwrite("image.png", np.zeros((50, 60, 3), np.uint8))
    program = [sys.executable, "-c", PARSE, str(project / "image.png")]
    found = json.loads(subprocess.check_output(program, cwd=project / "unpacked", text=True))
    assert found == {"file": str(project / "unpacked/facemark/serving/request.py"), "size": 64, "mask": [50, 60]}


def test_a_logged_model_and_an_archive_have_no_code_of_training_evaluation_or_data():
    files = {file for start in (registry.ENTRY, registry.HANDLER) for file in imported_files(start)}
    rooms = {file.relative_to(registry.PACKAGE).parts[0] for file in files}
    assert rooms == {
        *("__init__.py", "errors.py", "geometry.py", "images.py", "labels.py", "settings.py"),
        *("models", "inference", "io", "serving"),
    }


@pytest.fixture
def code_0_7(tmp_path):
    """The folder ``src`` of 0.7.0, out of the history of this clone."""
    archive = tmp_path / "code.tar"
    done = subprocess.run(["git", "archive", "-o", str(archive), VERSION_0_7, "src"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip(f"the history of this clone does not have {VERSION_0_7}, the code of 0.7.0")
    shutil.unpack_archive(archive, tmp_path / "code")
    return tmp_path / "code" / "src"


@pytest.mark.slow
def test_a_champion_that_0_7_registered_is_served_and_compared(project, code_0_7, released, monkeypatch):
    files = [str(ROOT / released / name) for name in ("model.safetensors", "landmarks.npz")]
    monkeypatch.setenv("PYTHONPATH", str(code_0_7))
    subprocess.run([sys.executable, "-c", LOG_WITH_0_7, *files], check=True)
    monkeypatch.delenv("PYTHONPATH")
    registry.pack("champion", Path("champion.mar"))
    names = unpack(Path("champion.mar"), Path("unpacked"))
    assert {"facemark/parser.py", "model.safetensors", "landmarks.npz"} <= names
    assert not [name for name in names if name.startswith("facemark/inference")]

    sample = next((ROOT / "data/test/images").glob("00002.jpg"))
    image = read_image(sample)
    endpoint = torchserve.start(Path("champion.mar"), free_port(), project / "server")
    try:
        headers = {"Authorization": f"Bearer {endpoint.token}", "Content-Type": "image/jpeg"}
        request = urllib.request.Request(endpoint.url, sample.read_bytes(), headers)
        with urllib.request.urlopen(request) as response:
            served = json.load(response)
    finally:
        torchserve.stop(project / "server")
    assert served["model"]["version"] == "0.7.0"

    # promotion compares it with a model of today by today's code
    model = registry.contents(registry.download(registry.find("champion"), project / "downloaded"))
    (face,) = FaceParser(model.bundle)([image])[0].faces
    assert face.points == pytest.approx(np.array(served["faces"][0]["landmarks"]["points"]), abs=0.02)
    assert len(served["faces"]) == 1
