"""DVC stage ``archive``: one file that TorchServe serves without this repository."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import yaml

import facemark
from facemark.settings import LANDMARKS, WEIGHTS, load_params
from facemark.tracking import lineage

OUT = Path("build/facemark.mar")
SERVE = Path("serve")
HASHES = "SHA256SUMS"
"""File of the archive with the SHA-256 of all others, as ``sha256sum --check`` reads it."""


def revision() -> str:
    """The git commit, with ``-dirty`` where tracked files differ from it; ``unknown`` outside a repository."""
    tags = lineage()
    return tags.get("git.commit", "unknown") + ("-dirty" if tags.get("git.dirty") == "true" else "")


def data_md5() -> str:
    """DVC's md5 of the training data; ``unknown`` where ``data.dvc`` is not there."""
    pointer = Path("data.dvc")
    return yaml.safe_load(pointer.read_text())["outs"][0]["md5"] if pointer.exists() else "unknown"


def archive(version: str, weights: Path, landmarks: Path, out: Path) -> None:
    """Pack handler, package, weights, landmark model and their names into ``out``; the same in, the same bytes out.

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
        command = [str(Path(sys.executable).with_name("torch-model-archiver")), "--archive-format", "no-archive"]
        command += ["--model-name", "facemark", "--version", version, "--export-path", folder]
        command += ["--handler", str(SERVE / "handler.py"), "--config-file", str(SERVE / "model-config.yaml")]
        command += ["--extra-files", str(extra)]
        # it unpacks into a fixed name under the temporary folder, where another archiver may be at work
        if subprocess.run(command, env=os.environ | {"TMPDIR": str(work)}).returncode:
            raise SystemExit("torch-model-archiver could not pack the archive; what it says above is why")
        out.parent.mkdir(parents=True, exist_ok=True)
        pack(Path(folder, "facemark"), out)
    print(f"{out}: version {version}, revision {model['revision']}")


def pack(folder: Path, out: Path) -> None:
    """Zip what the archiver laid out, without the hour of its making, and the hashes that the handler checks."""
    manifest = folder / "MAR-INF" / "MANIFEST.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"createdOn": ""}))
    files = {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    files[HASHES] = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as mar:
        for name, data in files.items():
            mar.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    archive(load_params().archive.version, WEIGHTS, LANDMARKS, OUT)
