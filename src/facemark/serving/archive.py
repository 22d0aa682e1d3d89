"""One file that TorchServe serves without this repository: handler, inference code, model and its identity."""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from facemark.models.bundle import ModelBundle
from facemark.settings import PACKAGE

SERVE = Path("serve")
HANDLER = SERVE / "handler.py"
HANDLER_0_7 = SERVE / "handler_0_7.py"
"""For models that were registered up to 0.7.0, which have no handler of their own."""
HASHES = "SHA256SUMS"
"""File of the archive with the SHA-256 of all others, as ``sha256sum --check`` reads it."""
BUNDLE = "model"
"""Folder of the archive with the bundle."""


def imported_files(start: Path) -> set[Path]:
    """The files of this package that a Python file imports, and those that they import, at whatever place."""
    found: set[Path] = set()
    todo = [start]
    while todo:
        for name in _imported_names(todo.pop()):
            base = PACKAGE.parent.joinpath(*name.split("."))
            for file in (base.with_suffix(".py"), base / "__init__.py"):
                if file.is_file() and file not in found:
                    found.add(file)
                    todo.append(file)
    return found


def _imported_names(file: Path) -> set[str]:
    """Dotted names of all modules of this package that a file imports, with the packages that they lie in."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    own = {name for name in names if name.split(".")[0] == PACKAGE.name}
    return own | {name.rsplit(".", i)[0] for name in own for i in range(1, name.count(".") + 1)}


def copy_package(start: Path, target: Path) -> None:
    """Copy what a file imports of this package into a folder, as a package of the same name."""
    for file in imported_files(start):
        copy = target / file.relative_to(PACKAGE.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)


def pack_archive(identity: dict[str, str], bundle: ModelBundle, out: Path) -> None:
    """Pack this repository's handler, the code that it imports, and a bundle; the same in, the same bytes out.

    Args:
        identity: name, version, revision and data, as answers say them.
        bundle: with a landmark model.
        out: the file to write.

    Raises:
        SystemExit: the archiver refused; its own words are printed.
    """
    with tempfile.TemporaryDirectory() as folder:
        extra = Path(folder)
        copy_package(HANDLER, extra)
        (extra / BUNDLE).mkdir()
        for file in bundle.files():
            shutil.copy(file, extra / BUNDLE)
        write_archive(identity, HANDLER, extra, out)


def write_archive(identity: dict[str, str], handler: Path, extra: Path, out: Path) -> None:
    """Pack a handler and all that lies in the folder ``extra``; see :func:`pack_archive`."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "work")
        work.mkdir()
        (extra / "model.json").write_text(json.dumps(identity))
        entry = Path(folder, "handler.py")
        shutil.copy(handler, entry)
        command = [str(Path(sys.executable).with_name("torch-model-archiver")), "--archive-format", "no-archive"]
        command += ["--model-name", "facemark", "--version", identity["version"], "--export-path", folder]
        command += ["--handler", str(entry), "--config-file", str(SERVE / "model-config.yaml")]
        command += ["--extra-files", str(extra)]
        # it unpacks into a fixed name under the temporary folder, where another archiver may be at work
        if subprocess.run(command, env=os.environ | {"TMPDIR": str(work)}).returncode:
            raise SystemExit("torch-model-archiver could not pack the archive; what it says above is why")
        out.parent.mkdir(parents=True, exist_ok=True)
        zip_archive(Path(folder, "facemark"), out)
    print(f"{out}: version {identity['version']}, revision {identity['revision']}", file=sys.stderr)


def zip_archive(folder: Path, out: Path) -> None:
    """Zip what the archiver laid out, without the hour of its making, and the hashes that the handler checks."""
    manifest = folder / "MAR-INF" / "MANIFEST.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"createdOn": ""}))
    files = {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    files[HASHES] = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as mar:
        for name, data in files.items():
            mar.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
