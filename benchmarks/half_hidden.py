"""What hiding one half of each face behind a board does: ``python benchmarks/half_hidden.py``.

Needs a folder with ``images/`` and ``landmarks/``; by default the validation faces of HELEN and LFPW.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from facemark.data.formats.landmarks68 import samples
from facemark.evaluation.robustness import fit_example, half_occluded
from facemark.evaluation.scoring import evaluate_samples
from facemark.inference.parser import FaceParser
from facemark.settings import RELEASED


def main(
    folder: Path = Path("../shared/data/landmarks68/val"),
    every: Annotated[int, typer.Option(help="n-th picture")] = 1,
) -> None:
    """Parse the same pictures with and without the board."""
    if not folder.is_dir():
        raise SystemExit(f"there is no folder {folder}; name one that has images/ and landmarks/")
    some, parser = samples(folder)[::every], FaceParser(*RELEASED)
    clean = evaluate_samples(parser, some, "unoccluded", 0, fit_example)
    table = Table("of the faces behind a board", "", title=f"{len(clean.errors)} faces")
    for name, value in half_occluded(parser, some, clean).items():
        table.add_row(name, f"{value:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
