"""Reading the documents: their commands are run by the tests as a reader would paste them."""

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


def run_together(blocks: list[tuple[str, str]], folder: Path) -> list[str]:
    """Run examples in a folder, one after the other in one interpreter.

    Each start of Facemark takes seconds, and this takes one. Lines of bash must be plain ``facemark`` commands.

    Returns:
        The traceback of each example, empty where it succeeded.
    """
    (folder / "examples.json").write_text(json.dumps(blocks))
    done = _run([sys.executable, __file__], folder)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "failures.json").read_text())


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


def _failure(language: str, code: str) -> str:
    try:
        _run_here(language, code)
    except Exception:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    blocks = json.loads(Path("examples.json").read_text())
    Path("failures.json").write_text(json.dumps([_failure(*block) for block in blocks]))
