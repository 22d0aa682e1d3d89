"""DVC stage ``archive``: one file that TorchServe serves without this repository."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

import facemark
from facemark.settings import load_params

WEIGHTS = Path("build/train/model.safetensors")
LANDMARKS = Path("build/calibrate/landmarks.npz")
OUT = Path("build/facemark.mar")
SERVE = Path("serve")


def revision() -> str:
    """The git commit, with ``-dirty`` where tracked files differ from it; ``unknown`` outside a repository."""
    found = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=40"], capture_output=True, text=True)
    return found.stdout.strip() or "unknown"


def data_md5() -> str:
    """DVC's md5 of the training data; ``unknown`` where ``data.dvc`` is not there."""
    pointer = Path("data.dvc")
    return yaml.safe_load(pointer.read_text())["outs"][0]["md5"] if pointer.exists() else "unknown"


def archive(version: str, weights: Path, landmarks: Path, out: Path) -> None:
    """Pack handler, package, weights, landmark model and their names into ``out``.

    Raises:
        SystemExit: the archiver refused; its own words are printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        extra, work = Path(folder, "extra"), Path(folder, "work")
        work.mkdir()
        shutil.copytree(
            Path(facemark.__file__).parent, extra / "facemark", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copy(weights, extra / "model.safetensors")
        shutil.copy(landmarks, extra / "landmarks.npz")
        model = {"name": "facemark", "version": version, "revision": revision(), "data": data_md5()}
        (extra / "model.json").write_text(json.dumps(model))
        out.parent.mkdir(parents=True, exist_ok=True)
        command = [str(Path(sys.executable).with_name("torch-model-archiver")), "--force"]
        command += ["--model-name", out.stem, "--version", version, "--export-path", str(out.parent)]
        command += ["--handler", str(SERVE / "handler.py"), "--config-file", str(SERVE / "model-config.yaml")]
        command += ["--extra-files", str(extra)]
        # it unpacks into a fixed name under the temporary folder, where another archiver may be at work
        if subprocess.run(command, env=os.environ | {"TMPDIR": str(work)}).returncode:
            raise SystemExit("torch-model-archiver could not pack the archive; what it says above is why")
    print(f"{out}: version {version}, revision {model['revision']}")


if __name__ == "__main__":
    archive(load_params().archive.version, WEIGHTS, LANDMARKS, OUT)
