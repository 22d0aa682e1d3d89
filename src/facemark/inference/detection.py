"""Finding faces by parsing: the image at several scales, and a frame for each place that may be a face."""

import cv2
import numpy as np

from facemark.geometry import chain, quarter_turns, scaled_size, scaling
from facemark.inference.alignment import estimate_alignment, same_frame
from facemark.inference.confidence import face_confidence
from facemark.inference.config import InferenceConfig
from facemark.inference.instances import split_instances
from facemark.inference.types import View

NEXT_SCALE = 1.4
"""The pyramid has a further scale where the image is this many times larger than the last one."""


def pyramid_sides(longest: int, size: int, max_side: int) -> list[int]:
    """Longer sides, in pixels, at which an image of this longer side is parsed: the network's own, then doubled."""
    sides = [size]
    while NEXT_SCALE * sides[-1] < min(longest, max_side):
        sides.append(min(2 * sides[-1], longest, max_side))
    return sides


def image_pyramid(
    image: np.ndarray, size: int, turns: int, config: InferenceConfig
) -> list[tuple[np.ndarray, np.ndarray]]:
    """An image after so many quarter turns at each scale of its pyramid.

    Returns:
        For each scale the 2 × 3 matrix that leads there from the image, and the H × W × 3 pixels.
    """
    height, width = image.shape[:2]
    turned = np.rot90(image, turns)
    levels = []
    for side in pyramid_sides(max(height, width), size, config.max_side):
        scale = side / max(height, width)
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(turned, scaled_size(turned.shape, scale), interpolation=method)
        levels.append((chain(scaling(scale), quarter_turns(height, width, turns)), small))
    return levels


def propose_faces(views: list[View], config: InferenceConfig) -> list[np.ndarray]:
    """Frames of all that may be a face in the coarse views of one image, each face once, the surest first.

    A frame is the 2 × 3 matrix from the image to an aligned crop of side 1.
    """
    proposals = []
    for view in views:
        for (rows, columns), face in split_instances(view.probabilities, config):
            probabilities = np.where(face, view.probabilities[:, rows, columns], 0)
            matrix = estimate_alignment(probabilities)
            confidence = face_confidence(probabilities, config)
            if matrix is not None and confidence >= config.candidate_threshold:
                to_box = view.matrix - [(0, 0, columns.start), (0, 0, rows.start)]
                proposals.append((confidence, chain(matrix, to_box)))
    frames: list[np.ndarray] = []
    for _, frame in sorted(proposals, key=lambda each: -each[0]):
        if len(frames) < config.max_candidates and not any(same_frame(frame, other) for other in frames):
            frames.append(frame)
    return frames
