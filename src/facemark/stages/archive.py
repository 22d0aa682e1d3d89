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

from facemark import registry, tracking
from facemark.settings import ARCHIVE, LANDMARKS, WEIGHTS, load_params

SERVE = Path("serve")
HASHES = "SHA256SUMS"
"""File of the archive with the SHA-256 of all others, as ``sha256sum --check`` reads it."""


def archive(
    version: str,
    weights: Path,
    landmarks: Path,
    out: Path,
    names: dict | None = None,
    package: Path = registry.PACKAGE,
) -> None:
    """Pack handler, package, weights, landmark model and their names into ``out``; the same in, the same bytes out.

    Args:
        version: of the archive.
        weights: file written by :func:`facemark.model.save`.
        landmarks: file written by :meth:`facemark.landmarks.LandmarkModel.save`.
        out: the file to write.
        names: what the model calls itself in answers; by default this version, commit and data.
        package: the folder of the package that is to run it.

    Raises:
        SystemExit: the archiver refused; its own words are printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        extra, work = Path(folder, "extra"), Path(folder, "work")
        work.mkdir()
        shutil.copytree(package, extra / "facemark", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(weights, extra / "model.safetensors")
        shutil.copy(landmarks, extra / "landmarks.npz")
        model = names or tracking.identity(version)
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
    print(f"{out}: version {version}, revision {model['revision']}", file=sys.stderr)


def pack(folder: Path, out: Path) -> None:
    """Zip what the archiver laid out, without the hour of its making, and the hashes that the handler checks."""
    manifest = folder / "MAR-INF" / "MANIFEST.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"createdOn": ""}))
    files = {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    files[HASHES] = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as mar:
        for name, data in files.items():
            mar.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def from_registry(which: str, out: Path) -> None:
    """Pack a registered version, with the package that it was evaluated with and this repository's handler.

    Raises:
        LookupError: the registry has no version with this alias or number.
    """
    version = registry.find(which)
    with tempfile.TemporaryDirectory() as folder:
        weights, landmarks, names, package = registry.parts(registry.fetch(version, Path(folder)))
        archive(names["version"], weights, landmarks, out, names, package)


if __name__ == "__main__":
    params = load_params()
    with tracking.stage("archive", params.of_stages()) as runs:
        archive(params.archive.version, WEIGHTS, LANDMARKS, ARCHIVE)
        tracking.tag(runs, {"archive.md5": registry.md5(ARCHIVE)})
