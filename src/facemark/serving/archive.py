"""The archive (.mar): one file that TorchServe serves without this repository.

It holds the handler, the inference code, the bundle, and the identity of the model.
"""

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import resolve_name
from pathlib import Path

from facemark.models.bundle import ModelBundle
from facemark.settings import PACKAGE

SERVE = Path("serve")
HANDLER = SERVE / "handler.py"
HANDLER_0_7 = SERVE / "handler_0_7.py"
"""For models registered by 0.7.0 or earlier: no handler was logged with them."""
HASHES = "SHA256SUMS"
"""File of the archive with the SHA-256 of all others, in the format of ``sha256sum --check``."""
BUNDLE = "model"
"""Folder of the archive with the bundle."""


def imported_files(start: Path) -> set[Path]:
    """The files of this package that a Python file imports, directly or through other files of the package.

    Imports inside functions and under ``TYPE_CHECKING`` count. Modules that are only named at run time, as by
    ``importlib``, are not found.

    Args:
        start: a Python file, in the package or outside it. It is not in the result, unless one of the files imports it.
    """
    files: set[Path] = set()
    todo = [start]
    while todo:
        for name in _imported_modules(todo.pop()):
            base = PACKAGE.parent.joinpath(*name.split("."))
            for file in (base.with_suffix(".py"), base / "__init__.py"):
                if file.is_file() and file not in files:
                    files.add(file)
                    todo.append(file)
    return files


def _imported_modules(file: Path) -> set[str]:
    """Dotted names of the modules of this package that a file imports, and of the packages that contain them.

    Names that are imported from a module are among them, since each may be a module.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = ".".join(file.relative_to(PACKAGE.parent).parts[:-1])
                module = resolve_name("." * node.level + module, package)
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    own = {name for name in names if name.split(".")[0] == PACKAGE.name}
    return own | {name.rsplit(".", i)[0] for name in own for i in range(1, name.count(".") + 1)}


def copy_package(start: Path, target: Path) -> None:
    """Copy the files of this package that a Python file imports into a folder, as a package of the same name.

    Args:
        start: see :func:`imported_files`.
        target: folder in which ``facemark/`` is made.
    """
    for file in imported_files(start):
        copy = target / file.relative_to(PACKAGE.parent)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)


def pack_archive(identity: dict[str, str], bundle: ModelBundle, out: Path) -> None:
    """Pack this repository's handler, the code that it imports, and a bundle. The same input gives the same bytes.

    Args:
        identity: name, version, revision and data, as responses give them.
        bundle: with a landmark model.
        out: the file to write.

    Raises:
        FileNotFoundError: the bundle has no landmark model.
        SystemExit: torch-model-archiver failed; its message was printed.
    """
    if bundle.landmarks is None:
        raise FileNotFoundError(f"{bundle.folder} has no landmark model; calibrate it: dvc repro calibrate")
    with tempfile.TemporaryDirectory() as folder:
        extra = Path(folder)
        copy_package(HANDLER, extra)
        (extra / BUNDLE).mkdir()
        for file in bundle.files():
            shutil.copy(file, extra / BUNDLE)
        write_archive(identity, HANDLER, extra, out)


def write_archive(identity: dict[str, str], handler: Path, extra: Path, out: Path) -> None:
    """Pack a handler and the content of a folder.

    Args:
        identity: see :func:`pack_archive`. It is written to ``model.json`` in ``extra``.
        handler: the handler's file; it is named ``handler.py`` in the archive.
        extra: folder with the package and the bundle.
        out: the file to write.

    Raises:
        SystemExit: torch-model-archiver failed; its message was printed.
    """
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
        # it unpacks to a fixed path under the temporary folder, where another archiver may be running
        if subprocess.run(command, env=os.environ | {"TMPDIR": str(work)}).returncode:
            raise SystemExit("torch-model-archiver could not pack the archive; its message is above")
        out.parent.mkdir(parents=True, exist_ok=True)
        zip_archive(Path(folder, "facemark"), out)
    print(f"{out}: version {identity['version']}, revision {identity['revision']}", file=sys.stderr)


def zip_archive(folder: Path, out: Path) -> None:
    """Zip the archiver's output, with the hashes that the handler checks. No time of creation is stored.

    Args:
        folder: what torch-model-archiver wrote with ``--archive-format no-archive``; its manifest is changed.
        out: the file to write.
    """
    manifest = folder / "MAR-INF" / "MANIFEST.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"createdOn": ""}))
    files = {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
    files[HASHES] = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()).encode()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as mar:
        for name, data in files.items():
            mar.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
