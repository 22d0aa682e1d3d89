"""What weights are worth on portraits that they were not tuned for: ``python benchmarks/fine_tuning.py``.

By default those that ``make repro`` tunes on the starter faces, beside the released ones they come from, on every fifth
validation portrait of CelebAMask-HQ.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemark.data.samples import read_mask
from facemark.evaluation import metrics
from facemark.images import read_image
from facemark.inference.parser import FaceParser

RELEASED = Path("weights")


def main(
    weights: Annotated[list[Path] | None, typer.Argument(help="files to compare with the released one")] = None,
    folder: Annotated[Path, typer.Option(help="images/ and labels/")] = Path("../shared/data/celebamask/val"),
    every: Annotated[int, typer.Option(help="n-th picture")] = 5,
) -> None:
    """Parse the same pictures with each."""
    images = sorted((folder / "images").glob("*"))[::every]
    if not images:
        raise SystemExit(f"no pictures under {folder}/images; name a folder with images/ and labels/ by --folder")
    files = [RELEASED / "model.safetensors", *(weights or [Path("build/train/model.safetensors")])]
    table = Table("weights", "pictures", "mean F1", "face F1")
    for file in files:
        parser, confusion = FaceParser(file, RELEASED / "landmarks.npz"), 0
        for path in track(images, str(file)):
            (parse,) = parser([read_image(path)])
            confusion += metrics.confusion(parse.mask, read_mask(folder / "labels" / f"{path.stem}.png"))
        f1s = metrics.mean_f1(confusion), metrics.mean_f1_face(confusion)
        table.add_row(str(file), str(len(images)), *(f"{f1:.2f}" for f1 in f1s))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
