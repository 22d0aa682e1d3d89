"""DVC stage ``calibrate``: teach the landmark model on faces with points, as the trained network sees them."""

from pathlib import Path

import numpy as np
from rich.progress import track

from facemark import metrics
from facemark.datasets import read_image, read_points
from facemark.landmarks import LandmarkModel
from facemark.parser import FaceParser
from facemark.settings import Calibrate, load_params

WEIGHTS = Path("build/train/model.safetensors")
OUT = Path("build/calibrate/landmarks.npz")


def start(settings: Calibrate, truths: list[np.ndarray]) -> LandmarkModel:
    """The model to go on from: the one named, or one that knows the shapes of these faces and nothing else."""
    if settings.start_from == "none":
        return LandmarkModel.blank(np.concatenate(truths))
    return LandmarkModel.load(settings.start_from)


def calibrate(settings: Calibrate, weights: Path, out: Path) -> None:
    """Measure every face with points, add what the measurements lack to the landmark model, and write it.

    Raises:
        SystemExit: the folder holds no pictures with landmarks.
    """
    folder = settings.points
    files = sorted((folder / "landmarks").glob("*.txt"))
    images = {path.stem: path for path in (folder / "images").glob("*")}
    if not files or any(file.stem not in images for file in files):
        raise SystemExit(f"calibrate.points: {folder} needs landmarks/NAME.txt and a picture images/NAME.* for each")
    truths = [read_points(file).astype(float) for file in files]
    model = start(settings, truths)

    model.save(out)
    parser = FaceParser(weights, out)
    faces = []
    for file, truth in zip(track(files, "measuring faces"), truths, strict=True):
        measured = parser.measured([read_image(images[file.stem])])[0]
        found = [model(*each)[0] for each in measured]
        for i, face in zip(metrics.match(found, list(truth)), truth, strict=True):
            if i is not None:
                faces.append((*measured[i], face))
    if faces:
        model = model.add(faces)
    model.save(out)
    print(f"learned from {len(faces)} of {sum(map(len, truths))} faces")


if __name__ == "__main__":
    OUT.parent.mkdir(parents=True, exist_ok=True)
    calibrate(load_params().calibrate, WEIGHTS, OUT)
