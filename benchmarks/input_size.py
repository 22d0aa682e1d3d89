"""Input side and horizontal-flip test-time augmentation against F1 and time: ``python benchmarks/input_size.py``.

Needs a folder of labelled portraits, ``images/`` and ``labels/``. The default is the validation set of CelebAMask-HQ.
"""

import time
from dataclasses import replace
from itertools import product
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
from facemark.inference.config import DEFAULT_MODE, MODES
from facemark.inference.parser import FaceParser
from facemark.labels import CLASSES
from facemark.settings import RELEASED

SIDES = (192, 256, 320, 384)


def main(
    folder: Path = Path("../shared/data/celebamask/val"),
    model: Annotated[Path, typer.Option(help="folder of the bundle")] = RELEASED,
    limit: Annotated[int, typer.Option(help="images")] = 100,
) -> None:
    """Parse the same images at each input side, with and without flip TTA, in turn."""
    images = sorted((folder / "images").glob("*"))[:limit]
    if not images:
        raise SystemExit(f"no images under {folder}/images; name a folder with images/ and labels/ by --folder")
    parsers = {}
    for side, hflip in product(SIDES, (False, True)):
        parser = FaceParser(model, config=replace(MODES[DEFAULT_MODE], hflip=hflip))
        parser.size = side
        parsers[side, hflip] = parser
    confusions = {setting: np.zeros((len(CLASSES), len(CLASSES)), int) for setting in parsers}
    times: dict[tuple[int, bool], list[float]] = {setting: [] for setting in parsers}
    for path in track(images, "parsing"):
        image, truth = read_image(path), read_mask(folder / "labels" / f"{path.stem}.png")
        for setting, parser in parsers.items():
            start = time.perf_counter()
            (parse,) = parser([image])
            times[setting].append(time.perf_counter() - start)
            confusions[setting] += metrics.confusion(parse.mask, truth)

    table = Table("side", "flip TTA", "mean F1", "face F1", "ms an image", "times the first")
    medians = {setting: float(np.median(each)) for setting, each in times.items()}
    first = next(iter(medians.values()))
    for (side, hflip), confusion in confusions.items():
        median = medians[side, hflip]
        f1s = f"{metrics.mean_f1(confusion):.2f}", f"{metrics.mean_f1_face(confusion):.2f}"
        table.add_row(str(side), "yes" if hflip else "no", *f1s, f"{1000 * median:.0f}", f"{median / first:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
