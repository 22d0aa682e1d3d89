"""Fit the landmark model to faces with points, as the trained network segments them."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.progress import track

from facemark.data.partial_masks import crop_context
from facemark.data.samples import Sample, read_points
from facemark.data.splits import read_index
from facemark.evaluation.corruptions import occlude_half
from facemark.geometry import apply, rescale
from facemark.images import read_image
from facemark.inference.alignment import FACE_TEMPLATE
from facemark.inference.landmarks import LandmarkModel, feature_maps
from facemark.inference.parser import FaceParser
from facemark.labels import L_EYE_POINTS, OUTER_LIP, R_EYE_POINTS
from facemark.models.bundle import ModelBundle, add_landmarks
from facemark.settings import PREPARED, Params

MAX_OFFSET = 0.25
"""Largest distance of a face's eyes and lips from FACE_TEMPLATE, as a share of the side of its aligned crop."""
MAX_IMAGES = 5000
"""Images that the model is fitted to, at most: more would add little and fill the memory."""
INPUT_SIDES = 1.375
"""Longer side to which larger images are shrunk, in sides of the network's input. From 1.4 on, the parser would search
for faces at a second scale."""
OCCLUDED_SHARE = 0.5
"""Share of the images that are used twice, the second time with one half of each face occluded."""


def calibrate(params: Params, trained: Path, out: Path) -> int:
    """Fit a landmark model to the training faces that have points, and write it and the network as one bundle.

    Args:
        params: datasets whose ``use`` contains ``landmarks`` are used.
        trained: folder of the bundle with the network.
        out: folder of the new bundle.

    Returns:
        The number of faces that the model was fitted to.

    Raises:
        SystemExit: there is no model to start from and no face to fit.
        FileNotFoundError: ``trained`` or the model to start from is missing.
    """
    folders = [PREPARED / name for name, dataset in params.prepare.datasets.items() if "landmarks" in dataset.use]
    samples = [sample for sample in read_index(folders, "train") if sample.points]
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(samples))[:MAX_IMAGES]
    bundle = ModelBundle.open(trained)
    parser = FaceParser(bundle)
    faces = [face for i in track(chosen, "parsing faces") for face in calibration_crops(parser, samples[i], rng)]
    model = fit_landmarks(params.calibrate.start_from, faces)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "landmarks.npz")
        model.save(file)
        add_landmarks(bundle, file, out)
    print(f"fitted to {len(faces)} faces in {len(chosen)} pictures")
    return len(faces)


def fit_landmarks(start_from: str, faces: list[tuple[np.ndarray, np.ndarray]]) -> LandmarkModel:
    """Fit a landmark model.

    Args:
        start_from: file of a model whose shapes are kept; ``none``: they are those of the faces.
        faces: maps and points, as :func:`calibration_crops` yields them. Without any, the model stays as it is.

    Raises:
        SystemExit: there is no model and no face.
    """
    if start_from != "none":
        model = LandmarkModel.load(start_from)
    elif faces:
        model = LandmarkModel.from_shapes(np.array([points for _, points in faces]))
    else:
        raise SystemExit("no face with points was found to learn from; name a model in calibrate.start_from")
    return model.fit(faces) if faces else model


def calibration_crops(
    parser: FaceParser, sample: Sample, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Parse a sample and yield its detected faces as training data of the landmark model.

    Part of the images is parsed again with occluders: these also disturb the alignment, which occluded maps do not.

    Args:
        parser: with the network that the landmark model is for.
        sample: with points.
        rng: decides which images are occluded, and how.

    Yields:
        Maps as :func:`facemark.inference.landmarks.feature_maps` returns them, and the true 68 × 2 points, as shares
        of the aligned crop's side.
    """
    if sample.points is None:
        raise ValueError(f"{sample.image} has no points to calibrate on")
    image, faces = read_image(sample.image), read_points(sample.points).astype(float)
    image, faces = _shrink(image, faces, INPUT_SIDES * parser.size)
    images = [image]
    if rng.random() < OCCLUDED_SHARE:
        for face in faces:
            image = occlude_half(image, face, rng.uniform(0, 360), int(rng.integers(256)))
        images.append(image)
    for each in images:
        crops = parser.segment([each])[1][0]
        for face in faces:
            shapes = [apply(crop.matrix, face) for crop in crops]
            offsets = [template_offset(shape) for shape in shapes]
            if offsets and min(offsets) < MAX_OFFSET:
                best = int(np.argmin(offsets))
                yield feature_maps(crops[best].probabilities), shapes[best]


def _shrink(image: np.ndarray, faces: np.ndarray, longest: float) -> tuple[np.ndarray, np.ndarray]:
    """Shrink an image and its faces to a longer side; one that is larger and has one face is cropped to it first."""
    if max(image.shape) <= longest:
        return image, faces
    if len(faces) == 1:
        image, face = crop_context(image, faces[0])
        faces = face[None]
    image, _, faces = rescale(image, image[..., 0], faces, min(1, longest / max(image.shape)))
    return image, faces


def template_offset(face: np.ndarray) -> float:
    """The largest distance of the eyes and lips of a face from FACE_TEMPLATE.

    Args:
        face: 68 × 2 points as shares of the aligned crop's side, as the result is.
    """
    parts = {"right eye": R_EYE_POINTS, "left eye": L_EYE_POINTS, "lips": OUTER_LIP}
    offsets = [face[points].mean(0) - FACE_TEMPLATE[name][1] for name, points in parts.items()]
    return float(np.linalg.norm(offsets, axis=1).max())
