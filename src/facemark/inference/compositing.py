"""One mask of the whole image, from the coarse pass and what the crops say closer by."""

import cv2
import numpy as np

from facemark.geometry import apply, chain, invert, scaled_size, scaling
from facemark.inference.alignment import crop_matrix
from facemark.inference.config import InferenceConfig
from facemark.inference.types import View
from facemark.labels import CLASSES


def compose_mask(shape: tuple[int, int], coarse: list[View], crops: list[View], config: InferenceConfig) -> np.ndarray:
    """The mask, H × W uint8 class ids, of an image of this height and width."""
    ids = blend_probabilities(shape, coarse, crops, config).argmax(0).astype(np.uint8)
    return cv2.resize(ids, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def blend_probabilities(
    shape: tuple[int, int], coarse: list[View], crops: list[View], config: InferenceConfig
) -> np.ndarray:
    """The mean of an image's coarse views, and within each crop mostly what was seen there.

    Returns:
        19 × H × W probabilities, where the longer side has at most ``config.max_side`` pixels.
    """
    scale = min(1, config.max_side / max(shape))
    width, height = scaled_size(shape, scale)
    canvas = np.zeros((len(CLASSES), height, width), np.float32)
    for view in coarse:
        for plane, region in zip(canvas, view.probabilities, strict=True):
            plane += cv2.resize(region, (width, height)) / len(coarse)
    for crop in crops:
        _blend_crop(canvas, crop, scale, config.crop_blend_weight)
    return canvas


def _blend_crop(canvas: np.ndarray, crop: View, scale: float, weight: float) -> None:
    """Blend a crop into the canvas, 19 × H × W, in place; ``scale`` is the canvas's share of the image's size."""
    size = crop.probabilities.shape[1]
    back = invert(chain(crop_matrix(crop.matrix, size), invert(scaling(scale))))
    corners = apply(back, np.array([(0, 0), (size, 0), (size, size), (0, size)], float))
    extent = canvas.shape[:0:-1]
    x0, y0 = np.clip(np.floor(corners.min(0)), 0, extent).astype(int)
    x1, y1 = np.clip(np.ceil(corners.max(0)), 0, extent).astype(int)
    if x1 <= x0 or y1 <= y0:
        return
    to_box = back - [(0, 0, x0), (0, 0, y0)]
    box = (int(x1 - x0), int(y1 - y0))
    weights = cv2.warpAffine(blend_window(size, weight), to_box, box)
    for plane, region in zip(canvas[:, y0:y1, x0:x1], crop.probabilities, strict=True):
        plane += weights * (cv2.warpAffine(region, to_box, box) - plane)


def blend_window(size: int, weight: float) -> np.ndarray:
    """The weight of each pixel of a crop, ``size`` × ``size``: ``weight`` in the middle, falling to 0 at the edges."""
    ramp = np.minimum(np.arange(size), np.arange(size)[::-1]) / (size / 8)
    ramp = np.clip(ramp, 0, 1).astype(np.float32)
    return weight * ramp[:, None] * ramp
