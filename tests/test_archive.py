import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from clone import IDENTITY

from facemark.models.bundle import ModelBundle
from facemark.serving.archive import pack_archive


@pytest.fixture(scope="module")
def packed(tmp_path_factory, untrained):
    """An archive, packed twice in two places."""
    folder = tmp_path_factory.mktemp("archive")
    for name in ("one", "two"):
        pack_archive(IDENTITY | {"version": "1.2.3"}, ModelBundle.open(untrained), folder / name / "facemark.mar")
    return folder


def test_the_same_in_gives_the_same_bytes(packed):
    one, two = ((packed / name / "facemark.mar").read_bytes() for name in ("one", "two"))
    assert one == two


def test_it_holds_what_serving_needs_and_nothing_else(packed):
    with zipfile.ZipFile(packed / "one" / "facemark.mar") as mar:
        names = set(mar.namelist())
        model = json.loads(mar.read("model.json"))
        manifest = json.loads(mar.read("MAR-INF/MANIFEST.json"))
    needed = {"handler.py", "model-config.yaml", "model.json", "SHA256SUMS", "MAR-INF/MANIFEST.json"}
    needed |= {f"model/{name}" for name in ("config.json", "model.safetensors", "landmarks.npz")}
    assert needed == {name for name in names if not name.startswith("facemark/")}
    rooms = {name.split("/")[1] for name in names - needed if name.count("/") > 1}
    assert rooms == {"inference", "io", "models", "serving"}
    assert {Path(name).suffix for name in names - needed} == {".py"}
    assert model.keys() == {"name", "version", "revision", "data"}
    assert (model["name"], model["version"]) == ("facemark", "1.2.3")
    assert manifest["model"]["handler"] == "handler.py"


def test_no_file_of_the_archive_leaves_its_folder(packed):
    with zipfile.ZipFile(packed / "one" / "facemark.mar") as mar:
        assert not [name for name in mar.namelist() if name.startswith("/") or ".." in Path(name).parts]


def test_its_own_package_goes_before_any_other(packed, tmp_path):
    with zipfile.ZipFile(packed / "one" / "facemark.mar") as mar:
        mar.extractall(tmp_path / "unpacked")
    append = f"import sys; sys.path.append({str(tmp_path / 'unpacked')!r})"
    program = f"{append}; import handler, facemark.inference.parser as p"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; print(p.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    own = tmp_path / "unpacked" / "facemark" / "inference" / "parser.py"
    assert done.stdout.strip().endswith(str(own)), done.stderr


@pytest.mark.parametrize("name", ["model/model.safetensors", "facemark/io/response.py"])
def test_a_file_that_was_changed_is_told_before_any_of_the_archive_runs(packed, tmp_path, name):
    with zipfile.ZipFile(packed / "one" / "facemark.mar") as mar:
        mar.extractall(tmp_path)

    def load() -> subprocess.CompletedProcess:
        program = "import handler; print('it runs')"
        return subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)

    assert load().stdout == "it runs\n"
    with (tmp_path / name).open("ab") as file:
        file.write(b"\nprint('so does this')\n")
    done = load()
    assert f"{name} is not the file that was archived" in done.stderr
    assert done.stdout == ""
