"""Where the error of the points comes from, side by side: ``python benchmarks/landmark_error.py``.

The same drawn faces, whose masks and points are exact, are placed on their true regions and on those that the parser
sees, by a landmark model learned for either on the training faces; and by the mean face alone.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemark import metrics
from facemark.datasets import read_image, read_mask, read_points
from facemark.geometry import apply
from facemark.labels import CLASSES, POINT_GROUPS
from facemark.landmarks import LandmarkModel, readable
from facemark.parser import FaceParser, View, candidates, crop_matrix, face_alone, upright
from facemark.stages.calibrate import NEAR, astray


def exact(mask: np.ndarray, size: int) -> list[View]:
    """The upright portraits of the faces of a true mask."""
    regions = np.stack([mask == i for i in range(len(CLASSES))]).astype(np.float32)
    found = []
    for frame in candidates([View(np.eye(2, 3), regions)]):
        for _ in range(2):
            matrix = crop_matrix(frame, size)
            view = View(frame, face_alone(np.stack([cv2.warpAffine(r, matrix, (size, size)) for r in regions])))
            frame = upright(view)
        found.append(view)
    return found


def faces(folder: Path, portraits: Callable[[Path], list[View]]) -> Iterable[tuple[np.ndarray, np.ndarray]]:
    """Regions and true points, in shares of the crop, of each face found."""
    for path in track(sorted((folder / "landmarks").glob("*.txt")), f"looking at {folder}"):
        views = portraits(next((folder / "images").glob(f"{path.stem}.*")))
        for truth in read_points(path).astype(float):
            placed = [(view.regions, apply(view.matrix, truth)) for view in views]
            best = min(placed, key=lambda each: astray(each[1]), default=None)
            if best and astray(best[1]) < NEAR:
                yield best


def main(data: Path = Path("data"), weights: Path = Path("weights/model.safetensors")) -> None:
    """Learn on DATA/train, measure on DATA/test."""
    parser = FaceParser(weights)

    def true_regions(image: Path) -> list[View]:
        return exact(read_mask(image.parents[1] / "labels" / f"{image.stem}.png"), parser.size)

    def seen_regions(image: Path) -> list[View]:
        return parser.portraits([read_image(image)])[1][0]

    table = Table("regions", "points by", "faces", "NME", *POINT_GROUPS)
    for source, portraits in (("true", true_regions), ("seen by the parser", seen_regions)):
        lessons = [(readable(regions), truth) for regions, truth in faces(data / "train", portraits)]
        blank = LandmarkModel.blank(np.array([truth for _, truth in lessons]))
        tested = list(faces(data / "test", portraits))
        for how, model in (("the mean face", blank), ("the landmark model", blank.learn(lessons))):
            errors = [metrics.point_errors((model(r)[0] + 0.5) / parser.size, truth) for r, truth in tested]
            groups = [f"{np.mean([e[which] for e in errors]):.2f}" for which in POINT_GROUPS.values()]
            table.add_row(source, how, str(len(errors)), f"{np.mean(errors):.2f}", *groups)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
