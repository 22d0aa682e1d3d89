"""Reading the documents: their commands are run by the tests as a reader would paste them."""

import os
import re
import subprocess
import sys
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
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [*INTERPRETERS[language], code],
        cwd=folder,
        env=os.environ | {"PATH": path} | environment,
        capture_output=True,
        text=True,
    )
