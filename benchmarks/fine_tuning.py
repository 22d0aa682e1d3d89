"""F1 of models on photographs that they were not fine-tuned on: ``python benchmarks/fine_tuning.py``.

By default it compares the model that ``make repro`` fine-tunes on the starter faces with the released one that it
started from. The images are every fifth validation portrait of CelebAMask-HQ.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemark.data.samples import read_mask
from facemark.evaluation import metrics
from facemark.images import read_image
from facemark.inference.parser import FaceParser
from facemark.labels import CLASSES
from facemark.settings import BUILT, RELEASED


def main(
    models: Annotated[list[Path] | None, typer.Argument(help="bundles to compare with the released one")] = None,
    folder: Annotated[Path, typer.Option(help="images/ and labels/")] = Path("../shared/data/celebamask/val"),
    every: Annotated[int, typer.Option(help="n-th image")] = 5,
) -> None:
    """Parse the same images with each model."""
    images = sorted((folder / "images").glob("*"))[::every]
    if not images:
        raise SystemExit(f"no images under {folder}/images; name a folder with images/ and labels/ by --folder")
    table = Table("model", "images", "mean F1", "face F1")
    for model in (RELEASED, *(models or [BUILT])):
        parser, confusion = FaceParser(model), np.zeros((len(CLASSES), len(CLASSES)), int)
        for path in track(images, str(model)):
            (parse,) = parser([read_image(path)])
            confusion += metrics.confusion(parse.mask, read_mask(folder / "labels" / f"{path.stem}.png"))
        f1s = metrics.mean_f1(confusion), metrics.mean_f1_face(confusion)
        table.add_row(str(model), str(len(images)), *(f"{f1:.2f}" for f1 in f1s))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
