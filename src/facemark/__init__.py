"""Facemark: facial landmarks by parsing the face first.

``load()`` gives a :class:`FaceParser`; it takes images as :func:`read_image` reads them and returns a :class:`Parse`
with a :class:`Face` for each face; :func:`draw` lays what was found over the image.
"""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from facemark.images import read_image
    from facemark.inference.parser import FaceParser
    from facemark.inference.types import Face, Parse
    from facemark.io.drawing import draw

__version__ = "0.7.0"
__all__ = ["Face", "FaceParser", "Parse", "__version__", "draw", "load", "read_image"]

# Neither library may call home, nor wait for a network that is not there.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

_HOMES = {
    "Face": "inference.types",
    "FaceParser": "inference.parser",
    "Parse": "inference.types",
    "draw": "io.drawing",
    "read_image": "images",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``import facemark`` alone is instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'facemark' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"facemark.{_HOMES[name]}"), name)


def load(folder: Path | str = ".") -> "FaceParser":
    """The parser that the command line uses: with what was trained in a project's folder, else the released weights.

    Raises:
        FileNotFoundError: there are neither.
        ValueError: a file is not what it should be.
    """
    from facemark.inference.parser import FaceParser
    from facemark.settings import model_folder

    return FaceParser(model_folder(folder))
