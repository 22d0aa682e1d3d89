"""Error of the landmark model without each of its parts, and of the mean face: ``python benchmarks/landmark_error.py``.

All variants are fitted to the same training faces and place the points of the same test faces. Where ``--data`` has
``labels`` next to ``images`` and ``landmarks``, this is repeated with exact masks. The difference is the parser's
share of the error.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any
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
from facemark.inference.config import DEFAULT_MODE, MODES
from facemark.inference.detection import propose_faces
from facemark.inference.instances import suppress_other_faces
from facemark.inference.landmarks import SAMPLING_OFFSETS, SAMPLING_RADII, LandmarkModel, feature_maps
from facemark.inference.parser import FaceParser
from facemark.inference.types import View
from facemark.labels import CLASSES, POINT_GROUPS
from facemark.settings import RELEASED
from facemark.training.calibration import MAX_OFFSET, template_offset

CONFIG = MODES[DEFAULT_MODE]
VARIANTS: dict[str, dict[str, Any]] = {
    "the landmark model": {},
    "one step": {"SAMPLING_RADII": SAMPLING_RADII[:1]},
    "two steps": {"SAMPLING_RADII": SAMPLING_RADII[:2]},
    "sampling at the points alone": {"SAMPLING_OFFSETS": SAMPLING_OFFSETS[:1], "FLIP_OFFSETS": [0]},
    "16 modes": {"SHAPE_MODES": 16},
    "no occluded maps in training": {"occlude_maps": lambda maps, _: maps},
}
"""By name, what replaces symbols of :mod:`facemark.inference.landmarks`."""
Faces = list[tuple[np.ndarray, np.ndarray]]
"""Of each face its maps (see :func:`feature_maps`) and its 68 × 2 points, in shares of the aligned crop's side."""


def exact_crops(mask: np.ndarray, size: int) -> list[View]:
    """Aligned crops, of ``size`` pixels, of the faces in a true H × W mask, with probabilities 0 and 1."""
    regions = np.stack([mask == i for i in range(len(CLASSES))]).astype(np.float32)
    crops = []
    for frame in propose_faces([View(np.eye(2, 3), regions)], CONFIG):
        for _ in range(2):
            matrix = crop_matrix(frame, size)
            warped = np.stack([cv2.warpAffine(region, matrix, (size, size)) for region in regions])
            crop = View(frame, suppress_other_faces(warped, CONFIG))
            frame = refine_alignment(crop)
        crops.append(crop)
    return crops


def aligned_faces(
    folder: Path, limit: int, segment: Callable[[Path], list[View]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Maps and true points of each face that has an aligned crop."""
    for path in track(sorted((folder / "landmarks").glob("*.txt"))[:limit], f"parsing {folder}"):
        crops = segment(next((folder / "images").glob(f"{path.stem}.*")))
        for truth in read_points(path).astype(float):
            placed = [(crop.probabilities, apply(crop.matrix, truth)) for crop in crops]
            best = min(placed, key=lambda each: template_offset(each[1]), default=None)
            if best and template_offset(best[1]) < MAX_OFFSET:
                yield feature_maps(best[0]), best[1]


def errors(model: LandmarkModel, faces: Faces) -> np.ndarray:
    """Faces × 68 errors in per cent of the distance of the outer eye corners."""
    return np.array([metrics.point_errors(model.place(maps)[0], truth) for maps, truth in faces])


def rows(training: Faces, test: Faces) -> Iterator[list[str]]:
    """A row for each variant: its name, NME, the groups' errors, and the NME with parts of each face occluded."""
    rng = np.random.default_rng(0)
    occluded = [(landmarks.occlude_maps(maps, rng), truth) for maps, truth in test]
    shapes = np.array([truth for _, truth in training])
    mean_face = LandmarkModel.from_shapes(shapes)
    yield row("the mean face", errors(mean_face, test), errors(mean_face, occluded))
    for name, changes in VARIANTS.items():
        with ExitStack() as changed:
            for symbol, value in changes.items():
                changed.enter_context(patch.object(landmarks, symbol, value))
            model = LandmarkModel.from_shapes(shapes).fit(training)
            yield row(name, errors(model, test), errors(model, occluded))


def row(name: str, clean: np.ndarray, occluded: np.ndarray) -> list[str]:
    """The means of faces × 68 errors, of all points and of each group, as text."""
    figures = [clean, *(clean[:, which] for which in POINT_GROUPS.values()), occluded]
    return [name, *(f"{each.mean():.2f}" for each in figures)]


def main(
    data: Path = Path("data"),
    split: str = "test",
    model: Annotated[Path, typer.Option(help="folder of the bundle")] = RELEASED,
    limit: Annotated[int, typer.Option(help="images of each split")] = 5000,
) -> None:
    """Fit to DATA/train, measure on DATA/SPLIT."""
    parser = FaceParser(model)
    sources = {"parsed": lambda image: parser.segment([read_image(image)])[1][0]}
    if (data / split / "labels").exists():
        sources["exact"] = lambda image: exact_crops(
            read_mask(image.parents[1] / "labels" / f"{image.stem}.png"), parser.size
        )
    table = Table("regions", "faces", "points by", "NME", *POINT_GROUPS, "parts occluded")
    for source, segment in sources.items():
        training, test = (list(aligned_faces(data / name, limit, segment)) for name in ("train", split))
        for cells in rows(training, test):
            table.add_row(source, str(len(test)), *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
