"""The DVC stages, one file each: read params, call the package, write the declared outputs."""

import sys
from types import TracebackType

from mlflow.exceptions import MlflowException
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError


def tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End a stage with a sentence where it was interrupted, or where a file, the disk or the network failed it."""
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    if issubclass(kind, KeyboardInterrupt):
        console.print(
            "interrupted; the same command does this stage again, and a training goes on after its last whole epoch"
        )
    elif issubclass(kind, (MlflowException, SQLAlchemyError)):
        console.print(f"MLflow's store failed: {error}", style="red")
    elif issubclass(kind, OSError):
        where = f"{error.filename}: " if error.filename else ""
        console.print(f"{where}{error.strerror or error}", style="red")
    else:
        sys.__excepthook__(kind, error, trace)


if sys.orig_argv[1:2] == ["-m"] and sys.orig_argv[2].startswith("facemark.stages."):
    sys.excepthook = tell
