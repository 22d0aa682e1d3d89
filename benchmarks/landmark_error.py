"""What the landmark model's parts are worth, and where its error comes from: ``python benchmarks/landmark_error.py``.

All variants learn from the same training faces and place the same others; on drawn faces also from their exact masks,
which tells the parser's share of the error. ``--data`` takes any folder with ``images`` and ``landmarks`` in a
training and a ``--split``; exact masks are its ``labels``, where it has any.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated
from unittest.mock import patch

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemark.data.samples import read_mask, read_points
from facemark.evaluation import metrics
from facemark.geometry import apply
from facemark.images import read_image
from facemark.inference import landmarks
from facemark.inference.alignment import crop_matrix, refine_alignment
from facemark.inference.detection import propose_faces
from facemark.inference.instances import suppress_other_faces
from facemark.inference.landmarks import SAMPLING_OFFSETS, SAMPLING_RADII, LandmarkModel, feature_maps
from facemark.inference.parser import FaceParser
from facemark.inference.types import View
from facemark.labels import CLASSES, POINT_GROUPS
from facemark.training.calibration import MAX_OFFSET, template_offset

VARIANTS = {
    "the landmark model": {},
    "one step": {"REACH": SAMPLING_RADII[:1]},
    "two steps": {"REACH": SAMPLING_RADII[:2]},
    "reading at the points alone": {"CROSS": SAMPLING_OFFSETS[:1], "MIRRORED_CROSS": [0]},
    "16 modes": {"MODES": 16},
    "no hidden parts in training": {"hide": lambda maps, _: maps},
}
Faces = list[tuple[np.ndarray, np.ndarray]]


def exact(mask: np.ndarray, size: int) -> list[View]:
    """The upright portraits of the faces of a true mask."""
    regions = np.stack([mask == i for i in range(len(CLASSES))]).astype(np.float32)
    found = []
    for frame in propose_faces([View(np.eye(2, 3), regions)]):
        for _ in range(2):
            matrix = crop_matrix(frame, size)
            view = View(
                frame, suppress_other_faces(np.stack([cv2.warpAffine(r, matrix, (size, size)) for r in regions]))
            )
            frame = refine_alignment(view)
        found.append(view)
    return found


def faces(folder: Path, limit: int, portraits: Callable[[Path], list[View]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Maps and true points, in shares of the crop, of each face found."""
    for path in track(sorted((folder / "landmarks").glob("*.txt"))[:limit], f"looking at {folder}"):
        views = portraits(next((folder / "images").glob(f"{path.stem}.*")))
        for truth in read_points(path).astype(float):
            placed = [(view.regions, apply(view.matrix, truth)) for view in views]
            best = min(placed, key=lambda each: template_offset(each[1]), default=None)
            if best and template_offset(best[1]) < MAX_OFFSET:
                yield feature_maps(best[0]), best[1]


def errors(model: LandmarkModel, tested: Faces) -> np.ndarray:
    """Faces × 68 errors in per cent."""
    return np.array([metrics.point_errors(model.place(maps)[0], truth) for maps, truth in tested])


def rows(lessons: Faces, tested: Faces) -> Iterator[list[str]]:
    """A row a variant: its name, NME, the groups' errors, and the NME with parts of each face hidden."""
    rng = np.random.default_rng(0)
    spoilt = [(landmarks.occlude_maps(maps, rng), truth) for maps, truth in tested]
    shapes = np.array([truth for _, truth in lessons])
    for name, changes in {"the mean face": None, **VARIANTS}.items():
        with ExitStack() as changed:
            for constant, value in (changes or {}).items():
                changed.enter_context(patch.object(landmarks, constant, value))
            blank = LandmarkModel.blank(shapes)
            model = blank if changes is None else blank.learn(lessons)
            clean, hidden = errors(model, tested), errors(model, spoilt)
        figures = [clean, *(clean[:, which] for which in POINT_GROUPS.values()), hidden]
        yield [name, *(f"{each.mean():.2f}" for each in figures)]


def main(
    data: Path = Path("data"),
    split: str = "test",
    weights: Path = Path("weights/model.safetensors"),
    limit: Annotated[int, typer.Option(help="pictures of each split")] = 5000,
) -> None:
    """Learn on DATA/train, measure on DATA/SPLIT."""
    parser = FaceParser(weights)
    sources = {"seen by the parser": lambda image: parser.portraits([read_image(image)])[1][0]}
    if (data / split / "labels").exists():
        sources["true"] = lambda image: exact(read_mask(image.parents[1] / "labels" / f"{image.stem}.png"), parser.size)
    table = Table("regions", "faces", "points by", "NME", *POINT_GROUPS, "parts hidden")
    for source, portraits in sources.items():
        lessons, tested = (list(faces(data / name, limit, portraits)) for name in ("train", split))
        for row in rows(lessons, tested):
            table.add_row(source, str(len(tested)), *row)
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
