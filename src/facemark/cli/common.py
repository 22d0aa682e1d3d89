"""What commands share: the console, messages of errors, and the current model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import rich
import typer
from rich.console import Console

if TYPE_CHECKING:
    from facemark.inference.parser import FaceParser
    from facemark.models.bundle import ModelBundle

console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)  # no markup: a file may be named [b].jpg
rich.reconfigure(stderr=True)  # for the progress bars of the package


def print_error(message: object) -> None:
    """Print an error in red, on one line; of an OSError its file and reason, without its number."""
    if isinstance(message, OSError) and message.strerror:
        message = f"{message.filename}: {message.strerror}" if message.filename else message.strerror
    console.print(f"facemark: {message}", style="red")


def fail(message: object) -> typer.Exit:
    """Print an error.

    Returns:
        The exit with code 1, for the caller to raise.
    """
    print_error(message)
    return typer.Exit(1)


@dataclass
class ErrorCounter:
    """Prints errors after which the command continues, and counts them."""

    count: int = 0

    def __call__(self, message: object) -> None:
        """Print an error."""
        print_error(message)
        self.count += 1

    def exit(self) -> typer.Exit:
        """The exit at the end of the command, for the caller to raise: code 1 if there were errors, else 0."""
        return typer.Exit(int(self.count > 0))


def load_parser() -> "FaceParser":
    """Load the parser with the current model.

    Raises:
        typer.Exit: there is no model, or a file is not valid; the reason has been printed.
    """
    import facemark

    try:
        return facemark.load()
    except (OSError, ValueError) as error:
        raise fail(error) from error


def open_bundle() -> "ModelBundle":
    """Open the bundle of the current model.

    Raises:
        typer.Exit: as for :func:`load_parser`.
    """
    from facemark.models.bundle import ModelBundle
    from facemark.settings import model_folder

    try:
        return ModelBundle.open(model_folder())
    except (OSError, ValueError) as error:
        raise fail(error) from error


def model_identity(bundle: "ModelBundle") -> dict[str, str]:
    """The field ``model`` of responses, with the MD5 of the weights as ``weights``."""
    import hashlib

    from facemark.io.response import default_identity

    md5 = hashlib.md5(bundle.weights.read_bytes(), usedforsecurity=False).hexdigest()
    return default_identity() | {"weights": md5}
