"""The archive: what it holds, that packing is reproducible, and that it runs without this repository."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from clone import IDENTITY

from facemark.models.bundle import ModelBundle, save_network
from facemark.models.unet import build
from facemark.serving import archive
from facemark.serving.archive import HANDLER, copy_package, imported_files, pack_archive
from facemark.settings import PACKAGE

MODULES = {
    "__init__.py": "",
    "bundle.py": "import os, json.decoder\nfrom facemark.io import reader",
    "io/__init__.py": "",
    "io/reader.py": "def read():\n    import facemark.io.pixels",
    "io/pixels.py": "from facemark import bundle  # a circle",
    "models/__init__.py": "from .unet import build",
    "models/unet.py": "from .. import labels\nfrom . import sizes",
    "models/sizes.py": "",
    "labels.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from facemark.types import Face",
    "types.py": "class Face: ...",
    "plots/__init__.py": "import facemark.bundle",
    "facemark.py": "import facemark.plots",
}
"""Files of a small package, most of them with one kind of import."""
RUN = """
import json, sys, types
from pathlib import Path
import yaml, handler

class Context:
    system_properties = {}
    model_yaml_config = yaml.safe_load(Path("model-config.yaml").read_text())
    metrics = types.SimpleNamespace(add_metric=lambda *_, **__: None)
    get_all_request_header = lambda self, index: {"accept": "image/png"} if index else {}
    get_request_id = lambda self, index: str(index)
    set_response_status = set_response_content_type = lambda *_: None

served = handler.FacemarkHandler()
served.initialize(Context())
first, second = served.handle(2 * [{"body": Path(sys.argv[1]).read_bytes()}], Context())
modules = [module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "facemark"]
print(json.dumps({"response": json.loads(first), "png": second[:4].hex(), "modules": modules}))
"""
"""Handles two requests as TorchServe does, with a JSON and a PNG response."""


@pytest.fixture
def small_package(tmp_path, monkeypatch):
    """A function that returns the files of a small package that a Python file with this text imports."""
    package = tmp_path / "src" / "facemark"
    for name, text in MODULES.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(archive, "PACKAGE", package)
    start = tmp_path / "start.py"

    def imported(text: str) -> set[str]:
        start.write_text(text)
        return {str(file.relative_to(package)) for file in imported_files(start)}

    return imported


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import numpy, facemarker", set()),
        ("import facemark", {"__init__.py"}),
        ("import facemark.types as types", {"__init__.py", "types.py"}),
        ("from facemark import types, draw", {"__init__.py", "types.py"}),
        ("from facemark.types import Face", {"__init__.py", "types.py"}),
        ("def f():\n    from facemark.models import sizes", {"__init__.py", "labels.py", "types.py"} | {
            f"models/{name}.py" for name in ("__init__", "unet", "sizes")}),
        ("import facemark.bundle", {"__init__.py", "bundle.py", "io/__init__.py", "io/reader.py", "io/pixels.py"}),
        ("from facemark import labels", {"__init__.py", "labels.py", "types.py"}),
    ],
    ids=["others", "package", "module", "from_package", "name", "in_function", "circle", "type_checking"],
)  # fmt: skip
def test_imports_are_followed_through_the_package(small_package, text, expected):
    assert small_package(text) == expected


def test_imported_files_are_copied_as_a_package(small_package, tmp_path):
    (tmp_path / "start.py").write_text("from facemark.models import unet")
    copy_package(tmp_path / "start.py", tmp_path / "copy")
    copied = {str(file.relative_to(tmp_path / "copy")) for file in (tmp_path / "copy").rglob("*") if file.is_file()}
    names = ("__init__.py", "labels.py", "types.py", "models/__init__.py", "models/unet.py", "models/sizes.py")
    assert copied == {f"facemark/{name}" for name in names}
    assert (tmp_path / "copy/facemark/models/unet.py").read_text() == MODULES["models/unet.py"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory, untrained):
    """A folder with the same archive packed twice, in ``one`` and ``two``."""
    folder = tmp_path_factory.mktemp("archive")
    for name in ("one", "two"):
        pack_archive(IDENTITY | {"version": "1.2.3"}, ModelBundle.open(untrained), folder / name / "facemark.mar")
    return folder


@pytest.fixture
def unpacked(packed, tmp_path):
    """The folder of an unpacked archive."""
    with zipfile.ZipFile(packed / "one" / "facemark.mar") as mar:
        mar.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


def test_the_same_input_gives_the_same_bytes(packed):
    one, two = ((packed / name / "facemark.mar").read_bytes() for name in ("one", "two"))
    assert one == two


def test_an_archive_holds_handler_settings_bundle_and_identity(packed, untrained):
    with zipfile.ZipFile(packed / "one" / "facemark.mar") as mar:
        names = {name for name in mar.namelist() if not name.startswith("facemark/")}
        identity = json.loads(mar.read("model.json"))
        manifest = json.loads(mar.read("MAR-INF/MANIFEST.json"))
        assert mar.read("handler.py") == HANDLER.read_bytes()
        for file in ModelBundle.open(untrained).files():
            assert mar.read(f"model/{file.name}") == file.read_bytes()
    expected = {"handler.py", "model-config.yaml", "model.json", "SHA256SUMS", "MAR-INF/MANIFEST.json"}
    assert names == expected | {f"model/{name}" for name in ("config.json", "model.safetensors", "landmarks.npz")}
    assert identity == IDENTITY | {"version": "1.2.3"}
    assert manifest["model"]["handler"] == "handler.py"


def test_no_file_of_the_archive_leaves_its_folder(packed):
    with zipfile.ZipFile(packed / "one" / "facemark.mar") as mar:
        assert not [name for name in mar.namelist() if name.startswith("/") or ".." in Path(name).parts]


def test_sha256sum_accepts_an_unpacked_archive(unpacked):
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=unpacked, check=True)
    listed = {line.split("  ")[1] for line in (unpacked / "SHA256SUMS").read_text().splitlines()}
    files = {str(file.relative_to(unpacked)) for file in unpacked.rglob("*") if file.is_file()}
    assert listed == files - {"SHA256SUMS"}


def test_the_handler_runs_without_the_repository_and_uses_all_code_of_its_archive(unpacked, tmp_path):
    """With -S, Python does not find the installed package, and PYTHONPATH names the folder of the dependencies."""
    dependencies = str(Path(np.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": dependencies, "PYTHONDONTWRITEBYTECODE": "1"}

    def run(program: str, folder: Path) -> subprocess.CompletedProcess:
        command = [sys.executable, "-S", "-c", program, str(tmp_path / "image.png")]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    assert "No module named 'facemark'" in run("import facemark", tmp_path).stderr
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((50, 60, 3), np.uint8))
    done = run(RUN, unpacked)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["response"]["image"] == {"width": 60, "height": 50}
    assert result["response"]["model"]["version"] == "1.2.3"
    assert bytes.fromhex(result["png"]) == b"\x89PNG"
    assert {Path(file).resolve() for file in result["modules"]} == {
        file.resolve() for file in (unpacked / "facemark").rglob("*.py")
    }


def test_the_package_of_the_archive_comes_before_an_installed_one(unpacked, tmp_path):
    program = f"import sys; sys.path.append({str(unpacked)!r}); import handler, facemark.inference.parser as p"
    command = [sys.executable, "-c", f"{program}; print(p.__file__)"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.strip() == str(unpacked / "facemark/inference/parser.py"), done.stderr
    assert Path(done.stdout.strip()) != PACKAGE / "inference/parser.py"


@pytest.mark.parametrize("name", ["model/model.safetensors", "facemark/io/response.py"])
def test_a_changed_file_is_reported_before_any_code_of_the_package_runs(unpacked, name):
    with (unpacked / name).open("ab") as file:
        file.write(b"\nprint('it runs')\n")
    done = subprocess.run([sys.executable, "-c", "import handler"], cwd=unpacked, capture_output=True, text=True)
    assert f"{name} is not the file that was archived" in done.stderr
    assert done.stdout == ""


def test_a_bundle_without_a_landmark_model_is_refused(untrained, tmp_path):
    config = ModelBundle.open(untrained).config.network
    bundle = save_network(build(config), config, 64, tmp_path / "bundle")
    with pytest.raises(FileNotFoundError, match="calibrate"):
        pack_archive(IDENTITY, bundle, tmp_path / "facemark.mar")
    assert not (tmp_path / "facemark.mar").exists()
