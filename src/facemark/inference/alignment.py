"""From the regions of a face to an aligned crop of it, in the framing of CelebAMask-HQ's portraits."""

import cv2
import numpy as np

from facemark.geometry import apply, chain, confident_centroid, fit_similarity, invert, scaling
from facemark.inference.types import View
from facemark.labels import LIPS, Region

FACE_TEMPLATE = {
    "right eye": ([Region.R_EYE], (0.377, 0.477), 1.0),
    "left eye": ([Region.L_EYE], (0.623, 0.477), 1.0),
    "right brow": ([Region.R_BROW], (0.370, 0.414), 0.3),
    "left brow": ([Region.L_BROW], (0.630, 0.414), 0.3),
    "nose": ([Region.NOSE], (0.5, 0.576), 0.5),
    "lips": (LIPS, (0.5, 0.751), 1.0),
}
"""Where the centroids of a face's parts lie in an aligned crop, as shares of its side, and their weights."""
TEMPLATE_CENTER = (0.5, 0.55)
MAX_CENTER_DISTANCE, MAX_SCALE_RATIO, MIN_SCALE_RATIO = 0.15, 1.7, 0.6
"""Two frames are of one face where their centres are closer than this share of a crop's side, and their sizes alike."""


def estimate_alignment(probabilities: np.ndarray) -> np.ndarray | None:
    """The similarity that brings a face onto FACE_TEMPLATE.

    Args:
        probabilities: 19 × H × W of a view with one face.

    Returns:
        A 2 × 3 matrix from the view's pixels to a square of side 1; None where fewer than two kinds of parts are seen.
    """
    centroids, targets, weights = [], [], []
    for regions, target, weight in FACE_TEMPLATE.values():
        center = confident_centroid(probabilities[regions].sum(0))
        if not np.isnan(center).any():
            centroids.append(center)
            targets.append(target)
            weights.append(weight)
    if len({y for _, y in targets}) < 2:
        return None
    return fit_similarity(np.array(centroids), np.array(targets), np.array(weights))


def refine_alignment(crop: View) -> np.ndarray:
    """The frame of a crop, aligned anew by its own parts; the one that it has where too few of them are seen."""
    own = estimate_alignment(crop.probabilities)
    return crop.matrix if own is None else chain(own, crop_matrix(crop.matrix, crop.probabilities.shape[1]))


def crop_matrix(frame: np.ndarray, size: int) -> np.ndarray:
    """The 2 × 3 matrix from the image to the pixels of an aligned crop of ``size`` × ``size``."""
    return size * frame - [(0, 0, 0.5), (0, 0, 0.5)]


def warp_crop(image: np.ndarray, frame: np.ndarray, size: int) -> np.ndarray:
    """The aligned crop, ``size`` × ``size`` pixels, of an H × W × C image; black beyond the image's edges."""
    matrix = crop_matrix(frame, size)
    shrink = np.linalg.norm(matrix[:, 0])
    if shrink < 0.5:  # bilinear sampling alone would skip pixels
        scale = float(max(2 * shrink, 1 / min(image.shape[:2])))  # never to nothing
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix = chain(matrix, invert(scaling(scale)))
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)


def same_frame(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two frames, 2 × 3, are of one face: of one size and way up, centre close to centre."""
    center = apply(invert(one), np.array(TEMPLATE_CENTER))
    sizes = np.linalg.norm(one[:, 0]), np.linalg.norm(other[:, 0])
    upright = one[:, 0] @ other[:, 0] > 0.5 * sizes[0] * sizes[1]
    near = np.linalg.norm(apply(other, center) - TEMPLATE_CENTER) < MAX_CENTER_DISTANCE
    return bool(near and upright and MIN_SCALE_RATIO < sizes[0] / sizes[1] < MAX_SCALE_RATIO)
