"""Recall and error with one half of each face occluded: ``python benchmarks/half_occluded.py``.

Needs a folder with ``images/`` and ``landmarks/``. The default is the validation faces of HELEN and LFPW.
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
    model: Annotated[Path, typer.Option(help="folder of the bundle")] = RELEASED,
    every: Annotated[int, typer.Option(help="n-th image")] = 1,
) -> None:
    """Parse the same images with and without an occluder."""
    if not folder.is_dir():
        raise SystemExit(f"there is no folder {folder}; name one that has images/ and landmarks/")
    some, parser = samples(folder)[::every], FaceParser(model)
    clean = evaluate_samples(parser, some, "unoccluded", 0, fit_example)
    table = Table("one half occluded", "", title=f"{len(clean.errors)} faces")
    for name, value in half_occluded(parser, some, clean).items():
        table.add_row(name, f"{value:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
