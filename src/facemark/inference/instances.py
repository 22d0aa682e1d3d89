"""Which face a face pixel belongs to: connected regions, split between the noses in them."""

from itertools import product

import cv2
import numpy as np

from facemark.geometry import CONTOUR_LEVEL
from facemark.inference.config import InferenceConfig
from facemark.labels import EYES, FACE, LIPS, Region

NOSE_MERGE_RATIO = 0.5
"""Two noses are one where they are closer together than this share of the distance from eyes to lips."""
CROP_CENTER = (0.55, 0.5)
"""Row and column, as shares of the side, where the face of an aligned crop is sought."""

Instance = tuple[tuple[slice, slice], np.ndarray]
"""One face: the rows and columns of its box, and its H × W mask in that box."""


def split_instances(probabilities: np.ndarray, config: InferenceConfig) -> list[Instance]:
    """The faces in 19 × H × W probabilities: connected face regions, those with several noses split between them."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(_inside(probabilities[FACE].sum(0)))
    _, nose_labels, nose_stats, nose_centers = cv2.connectedComponentsWithStats(_inside(probabilities[Region.NOSE]))
    areas = nose_stats[:, cv2.CC_STAT_AREA]
    instances: list[Instance] = []
    for i in range(1, count):
        left, top, width, height = stats[i, :4]
        if min(width, height) < config.min_face_side:
            continue
        box = slice(top, top + height), slice(left, left + width)
        face = labels[box] == i
        noses = _noses(nose_labels[box][face], areas, config)
        if len(noses) < 2:
            instances.append((box, face))
            continue
        nearest = assign_to_nose(probabilities[:, box[0], box[1]], face, nose_centers[noses] - (left, top), config)
        instances += [_trimmed(face & (nearest == k), top, left) for k in np.unique(nearest[face])]
    return instances


def _inside(region: np.ndarray) -> np.ndarray:
    return (region >= CONTOUR_LEVEL).astype(np.uint8)


def _noses(labels: np.ndarray, areas: np.ndarray, config: InferenceConfig) -> list[int]:
    """The noses in one face region that count, the largest first."""
    noses = [n for n in set(labels) - {0} if areas[n] >= config.min_nose_area]
    noses = [n for n in noses if areas[n] >= config.min_nose_ratio * max(areas[noses])]
    return sorted(noses, key=lambda n: -areas[n])[: config.max_candidates]


def _trimmed(piece: np.ndarray, top: int, left: int) -> Instance:
    (y0, y1), (x0, x1) = (np.flatnonzero(piece.any(axis))[[0, -1]] + (0, 1) for axis in (1, 0))
    return (slice(top + y0, top + y1), slice(left + x0, left + x1)), piece[y0:y1, x0:x1]


def assign_to_nose(
    probabilities: np.ndarray, face: np.ndarray, noses: np.ndarray, config: InferenceConfig
) -> np.ndarray:
    """Which of K × 2 nose centres is nearest to each pixel of an H × W face region, H × W indices.

    What lies across a nose makes two of it: one with eyes and no lips, the other with lips and no eyes, much closer to
    each other than eyes and lips are. They count as one.
    """
    rows, columns = np.indices(face.shape, np.float32)
    nearest, least = np.zeros(face.shape, int), np.full(face.shape, np.inf, np.float32)
    for k, (x, y) in enumerate(noses):
        distance = (columns - x) ** 2 + (rows - y) ** 2
        nearest[distance < least] = k
        least = np.minimum(least, distance)
    (eyes, has_eyes), (lips, has_lips) = (
        _part_centroids(nearest, face & (probabilities[parts].sum(0) >= CONTOUR_LEVEL), len(noses), config)
        for parts in (EYES, LIPS)
    )
    for upper, lower in product(np.flatnonzero(has_eyes & ~has_lips), np.flatnonzero(has_lips & ~has_eyes)):
        apart = np.linalg.norm(eyes[upper] - lips[lower])
        if np.linalg.norm(noses[upper] - noses[lower]) < NOSE_MERGE_RATIO * apart:
            nearest[nearest == lower] = upper
    return nearest


def _part_centroids(
    cells: np.ndarray, inside: np.ndarray, count: int, config: InferenceConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Centroid (x, y) of a part in each of ``count`` cells, K × 2, and whether it was seen there.

    Args:
        cells: H × W, the cell of each pixel.
        inside: H × W, whether it belongs to the part.
        count: of the cells.
        config: says from how many pixels on a part was seen.
    """
    rows, columns = np.nonzero(inside)
    which = cells[rows, columns]
    pixels = np.bincount(which, minlength=count)
    sums = np.stack([np.bincount(which, places, count) for places in (columns, rows)], -1)
    return sums / pixels.clip(1)[:, None], pixels >= config.min_region_area


def suppress_other_faces(probabilities: np.ndarray, config: InferenceConfig) -> np.ndarray:
    """The 19 × S × S probabilities of an aligned crop, face classes set to 0 in all faces but the one in its middle."""
    instances = split_instances(probabilities, config)
    if len(instances) < 2:
        return probabilities
    faces = np.zeros((len(instances), *probabilities.shape[1:]), bool)
    for whole, (box, face) in zip(faces, instances, strict=True):
        whole[box] = face
    row, column = (np.array(probabilities.shape[1:]) * CROP_CENTER).astype(int)

    def closeness(face: np.ndarray) -> float:
        distance = cv2.distanceTransform((~face).astype(np.uint8), cv2.DIST_L2, 3)[row, column]
        return face.sum() / (1 + distance) ** 2

    own = max(range(len(faces)), key=lambda i: closeness(faces[i]))
    others = np.delete(faces, own, 0).any(0)
    probabilities = probabilities.copy()
    probabilities[np.ix_(FACE)] *= ~others
    return probabilities
