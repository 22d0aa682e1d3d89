"""DVC stage ``calibrate``: teach the landmark model on faces with points, as the trained network sees them."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
from rich.progress import track

from facemark import tracking
from facemark.damage import board
from facemark.datasets import Sample, read_image, read_index, read_points
from facemark.geometry import apply, rescaled
from facemark.labels import L_EYE_POINTS, OUTER_LIP, R_EYE_POINTS
from facemark.landmarks import LandmarkModel, readable
from facemark.parser import PORTRAIT, FaceParser
from facemark.partial_masks import around
from facemark.settings import LANDMARKS, WEIGHTS, Params, load_params
from facemark.stages.prepare import PREPARED

NEAR = 0.25
"""How far, as a share of a portrait's side, the eyes and lips of its face may lie from where they should."""
MOST = 5000
"""Pictures that are learned from; more would say little new and fill the memory."""
ENOUGH = 1.375
"""Longer side, in sides of the network's input, to which larger pictures are brought: of one face its surroundings, of
several all. From 1.4 on, the parser would look a second time."""
COVERED = 0.5
"""Share of the pictures that are looked at a second time, with a board before one half of each face."""


def portraits(parser: FaceParser, sample: Sample, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Maps and points, as the landmark model learns from them, of each of a sample's faces that the parser finds.

    Half a face is found askew, so boards in the picture teach more than boards in the maps.
    """
    image, truths = read_image(sample.image), read_points(sample.points).astype(float)
    enough = ENOUGH * parser.size
    if max(image.shape) > enough:
        if len(truths) == 1:
            image, face = around(image, truths[0])
            truths = face[None]
        image, _, truths = rescaled(image, image[..., 0], truths, min(1, enough / max(image.shape)))
    shown = [image]
    if rng.random() < COVERED:
        for truth in truths:
            image = board(image, truth, rng.uniform(0, 360), rng.integers(256))
        shown.append(image)
    for picture in shown:
        views = parser.portraits([picture])[1][0]
        for truth in truths:
            faces = [apply(view.matrix, truth) for view in views]
            off = [astray(face) for face in faces]
            if off and min(off) < NEAR:
                best = int(np.argmin(off))
                yield readable(views[best].regions), faces[best]


def astray(face: np.ndarray) -> float:
    """How far the eyes and lips of 68 × 2 points lie from where a portrait has them."""
    parts = {"right eye": R_EYE_POINTS, "left eye": L_EYE_POINTS, "lips": OUTER_LIP}
    offsets = [face[points].mean(0) - PORTRAIT[name][1] for name, points in parts.items()]
    return float(np.linalg.norm(offsets, axis=1).max())


def calibrate(params: Params, weights: Path, out: Path) -> int:
    """Show the parser the training faces that have points, teach them to the landmark model, and write it.

    Answers how many faces it learned from.

    Raises:
        SystemExit: there is no model to start from and no face to learn from.
    """
    samples = [s for s in read_index([PREPARED / name for name in params.prepare.datasets], "train") if s.points]
    rng = np.random.default_rng(0)
    some = rng.permutation(len(samples))[:MOST]
    parser = FaceParser(weights)
    faces = [face for i in track(some, "looking at faces") for face in portraits(parser, samples[i], rng)]
    if params.calibrate.start_from != "none":
        model = LandmarkModel.load(params.calibrate.start_from)
    elif faces:
        model = LandmarkModel.blank(np.array([points for _, points in faces]))
    else:
        raise SystemExit("no face with points was found to learn from; name a model in calibrate.start_from")
    if faces:
        model = model.learn(faces)
    model.save(out)
    print(f"learned from {len(faces)} faces in {len(some)} pictures")
    return len(faces)


if __name__ == "__main__":
    LANDMARKS.parent.mkdir(parents=True, exist_ok=True)
    params = load_params()
    with tracking.stage("calibrate", params.of_stages()):
        mlflow.log_metric("faces", calibrate(params, WEIGHTS, LANDMARKS))
