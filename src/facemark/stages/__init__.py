"""The DVC stages, a file each: they read params, call the package, and write the declared outputs.

Only the command line and tests import from here.
"""

import sys
from types import TracebackType

from mlflow.exceptions import MlflowException
from rich.console import Console
from sqlalchemy.exc import SQLAlchemyError


def report_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An exception hook: print one sentence for an interruption, and for a failure of file, disk, network or store.

    Any other exception is a bug, which is printed with its traceback.
    """
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    if isinstance(error, KeyboardInterrupt):
        console.print("interrupted; the same command repeats this stage, and training resumes after its last epoch")
    elif isinstance(error, (MlflowException, SQLAlchemyError)):
        console.print(f"MLflow's store failed: {error}", style="red")
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        console.print(f"{where}{error.strerror or error}", style="red")
    else:
        sys.__excepthook__(kind, error, trace)


if sys.orig_argv[1:2] == ["-m"] and sys.orig_argv[2].startswith("facemark.stages."):
    sys.excepthook = report_error
