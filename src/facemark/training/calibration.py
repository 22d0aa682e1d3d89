"""What the landmark model learns from: the faces that have points, as the trained network sees them."""

from collections.abc import Iterator

import numpy as np

from facemark.data.partial_masks import crop_context
from facemark.data.samples import Sample, read_points
from facemark.evaluation.corruptions import occlude_half
from facemark.geometry import apply, rescale
from facemark.images import read_image
from facemark.inference.alignment import FACE_TEMPLATE
from facemark.inference.landmarks import feature_maps
from facemark.inference.parser import FaceParser
from facemark.labels import L_EYE_POINTS, OUTER_LIP, R_EYE_POINTS

MAX_OFFSET = 0.25
"""How far, as a share of a portrait's side, the eyes and lips of its face may lie from where they should."""
MAX_IMAGES = 5000
"""Pictures that are learned from; more would say little new and fill the memory."""
INPUT_SIDES = 1.375
"""Longer side, in sides of the network's input, to which larger pictures are brought: of one face its surroundings, of
several all. From 1.4 on, the parser would look a second time."""
OCCLUDED_SHARE = 0.5
"""Share of the pictures that are looked at a second time, with a board before one half of each face."""


def calibration_crops(
    parser: FaceParser, sample: Sample, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Maps and points, as the landmark model learns from them, of each of a sample's faces that the parser finds.

    Half a face is found askew, so boards in the picture teach more than boards in the maps.
    """
    image, truths = read_image(sample.image), read_points(sample.points).astype(float)
    enough = INPUT_SIDES * parser.size
    if max(image.shape) > enough:
        if len(truths) == 1:
            image, face = crop_context(image, truths[0])
            truths = face[None]
        image, _, truths = rescale(image, image[..., 0], truths, min(1, enough / max(image.shape)))
    shown = [image]
    if rng.random() < OCCLUDED_SHARE:
        for truth in truths:
            image = occlude_half(image, truth, rng.uniform(0, 360), rng.integers(256))
        shown.append(image)
    for picture in shown:
        views = parser.segment([picture])[1][0]
        for truth in truths:
            faces = [apply(view.matrix, truth) for view in views]
            off = [template_offset(face) for face in faces]
            if off and min(off) < MAX_OFFSET:
                best = int(np.argmin(off))
                yield feature_maps(views[best].probabilities), faces[best]


def template_offset(face: np.ndarray) -> float:
    """How far the eyes and lips of 68 × 2 points lie from where a portrait has them."""
    parts = {"right eye": R_EYE_POINTS, "left eye": L_EYE_POINTS, "lips": OUTER_LIP}
    offsets = [face[points].mean(0) - FACE_TEMPLATE[name][1] for name, points in parts.items()]
    return float(np.linalg.norm(offsets, axis=1).max())
