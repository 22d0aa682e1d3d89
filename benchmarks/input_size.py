"""Input side and mirrored look against F1 and time, side by side: ``python benchmarks/input_size.py``.

Needs a folder of labelled portraits, ``images/`` and ``labels/``; by default the validation set of CelebAMask-HQ.
"""

import time
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

SIDES = (192, 256, 320, 384)


def main(
    folder: Path = Path("../shared/data/celebamask/val"),
    weights: Path = Path("weights"),
    limit: Annotated[int, typer.Option(help="pictures")] = 100,
) -> None:
    """Parse the same pictures at each input side, upright alone and mirrored as well."""
    images = sorted((folder / "images").glob("*"))[:limit]
    if not images:
        raise SystemExit(f"no pictures under {folder}/images; name a folder with images/ and labels/")
    settings = [(side, flip) for side in SIDES for flip in (False, True)]
    parsers = {}
    for side, flip in settings:
        parsers[side, flip] = FaceParser(weights / "model.safetensors", weights / "landmarks.npz", flip=flip)
        parsers[side, flip].size = side
    confusions = dict.fromkeys(settings, 0)
    times = {setting: [] for setting in settings}
    for path in track(images, "parsing"):
        image, truth = read_image(path), read_mask(folder / "labels" / f"{path.stem}.png")
        for setting in settings:
            start = time.perf_counter()
            (parse,) = parsers[setting]([image])
            times[setting].append(time.perf_counter() - start)
            confusions[setting] += metrics.confusion(parse.mask, truth)

    table = Table("side", "mirrored too", "mean F1", "face F1", "ms a picture", "times the first")
    first = np.median(times[settings[0]])
    for side, flip in settings:
        confusion, middle = confusions[side, flip], np.median(times[side, flip])
        f1s = f"{metrics.mean_f1(confusion):.2f}", f"{metrics.mean_f1_face(confusion):.2f}"
        table.add_row(str(side), "yes" if flip else "no", *f1s, f"{1000 * middle:.0f}", f"{middle / first:.2f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
