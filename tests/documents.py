"""Reading the documents: their commands are run by the tests as a reader would paste them."""

import contextlib
import functools
import io
import json
import os
import re
import shlex
import subprocess
import sys
import traceback
from pathlib import Path

INTERPRETERS = {"bash": ["bash", "-e", "-o", "pipefail", "-c"], "python": [sys.executable, "-c"]}
INTERPRETERS |= {"javascript": ["node", "--eval"]}


def examples(document: str, section: str = "") -> list[tuple[str, str]]:
    """(language, code) of each fenced block of a document, or of those in the section with this ``##`` heading."""
    text = Path(document).read_text()
    if section:
        text = re.search(rf"^## {re.escape(section)}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
    return re.findall(r"^```(bash|python|javascript)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def run(language: str, code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    """Run an example in a folder, with the commands of this environment."""
    return _run([*INTERPRETERS[language], code], folder, **environment)


def run_together(blocks: list[tuple[str, str]], folder: Path) -> list[tuple[str, str]]:
    """Run examples in a folder, one after the other in one interpreter that loads the model once.

    Lines of bash must be plain ``facemark`` commands.

    Returns:
        What each example printed, and its traceback: empty where it succeeded.
    """
    (folder / "examples.json").write_text(json.dumps(blocks))
    done = _run([sys.executable, __file__], folder)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "results.json").read_text())


def _run(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path} | environment
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def _run_here(language: str, code: str) -> None:
    """Run an example in this process."""
    from facemark.cli import app

    if language == "python":
        exec(compile(code, "example", "exec"), {"__name__": "__main__"})
        return
    for line in code.splitlines():
        program, *arguments = shlex.split(line, comments=True)
        assert program == "facemark", f"not a facemark command: {line}"
        try:
            app(arguments)
        except SystemExit as end:
            assert not end.code, f"exit code {end.code}: {line}"


def _result(language: str, code: str) -> tuple[str, str]:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            _run_here(language, code)
        except Exception:
            return printed.getvalue(), traceback.format_exc()
    return printed.getvalue(), ""


if __name__ == "__main__":
    import facemark

    facemark.load = functools.cache(facemark.load)
    blocks = json.loads(Path("examples.json").read_text())
    Path("results.json").write_text(json.dumps([_result(*block) for block in blocks]))
