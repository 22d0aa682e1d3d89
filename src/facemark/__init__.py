"""Facemark: facial landmarks by parsing the face first."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from facemark.parser import FaceParser

# Neither library may call home, nor wait for a network that is not there.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")


def load(folder: Path | str = ".") -> "FaceParser":
    """The parser that the command line uses: with what was trained in a project's folder, else the released weights.

    Raises:
        FileNotFoundError: there are neither.
        ValueError: a file is not what it should be.
    """
    from facemark.parser import FaceParser  # which takes seconds to import
    from facemark.settings import model_files

    return FaceParser(*model_files(folder))
