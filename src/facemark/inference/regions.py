"""The shape of each region of one face: area, centroid and contour in pixels of the image."""

import numpy as np

from facemark.geometry import apply, centroid, invert, longest_contour
from facemark.inference.config import InferenceConfig
from facemark.inference.types import RegionShape
from facemark.labels import CLASSES


def region_shapes(
    probabilities: np.ndarray, matrix: np.ndarray, shape: tuple[int, int], config: InferenceConfig
) -> dict[str, RegionShape]:
    """Measure the regions of an aligned crop.

    Args:
        probabilities: 19 × S × S of the crop.
        matrix: 2 × 3, from the image to the crop's pixels.
        shape: height and width of the image, beyond which nothing counts.
        config: says from how many pixels on a region was seen.

    Returns:
        The regions seen, by class name.
    """
    back, last = invert(matrix), np.array(shape[::-1]) - 0.5
    scale = abs(np.linalg.det(back[:, :2]))
    rows, columns = np.indices(probabilities.shape[1:])
    places = apply(back, np.stack([columns, rows], -1))
    probabilities = probabilities * ((places >= -0.5) & (places <= last)).all(-1)
    ids = probabilities.argmax(0)
    shapes = {}
    for region in range(1, len(CLASSES)):
        inside = ids == region
        contour = longest_contour(probabilities[region])
        if inside.sum() >= config.min_region_area and len(contour) >= 4:
            contour = contour[:: 1 + len(contour) // config.max_contour_points]
            center = centroid(np.where(inside, probabilities[region], 0))
            shapes[CLASSES[region]] = RegionShape(
                area=float(inside.sum() * scale),
                centroid=apply(back, center),
                contour=apply(back, contour).clip(-0.5, last),
            )
    return shapes
