"""What goes wrong with photographs: ten damages, each at one strength, to measure what a parser stands."""

import albumentations as A
import cv2
import numpy as np

from facemark.geometry import apply, rescale
from facemark.labels import IGNORE

SEED = 1
CORRUPTION_SIDE = 320
"""Longer side in pixels of the pictures that these strengths are meant for: that of the portraits trained on."""
PHOTOMETRIC = {
    "blur": A.GaussianBlur(blur_limit=0, sigma_limit=(2, 2), p=1),
    "noise": A.GaussNoise(std_range=(0.1, 0.1), p=1),
    "jpeg_20": A.ImageCompression(quality_range=(20, 20), p=1),
    "darkness": A.MultiplicativeNoise(multiplier=(0.25, 0.25), p=1),
    "grey": A.ToGray(p=1),
    "patches": A.CoarseDropout((3, 3), (0.2, 0.2), (0.2, 0.2), fill="random_uniform", fill_mask=IGNORE, p=1),
}
"""Damages that leave everything in its place: σ of 2 pixels, σ of a tenth of the range, a quarter of the light, three
patches of a fifth of the sides under which no pixel is judged."""
GEOMETRIC = {"turned_left": 45, "turned_right": -45, "half_size": 0.5, "quarter_size": 0.25}
"""Degrees of a turn, or the scale."""
CORRUPTIONS = (*PHOTOMETRIC, *GEOMETRIC)
OCCLUDER_GREY = 128
"""Of the board behind which half a face is hidden."""


def corrupt(name: str, image: np.ndarray, mask: np.ndarray, points: np.ndarray) -> tuple:
    """Spoil a picture by one of DAMAGES, the same way each time.

    Args:
        name: one of DAMAGES.
        image: H × W × 3 RGB.
        mask: H × W class ids.
        points: faces × 68 × 2 (x, y), pixels.

    Returns:
        The three of them as they are afterwards; what a turn brings in is black and IGNORE.
    """
    if name in PHOTOMETRIC:
        spoilt = A.Compose([PHOTOMETRIC[name]], seed=SEED)(image=image, mask=mask)
        return spoilt["image"], spoilt["mask"], points
    height, width = mask.shape
    if "turned" in name:
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), GEOMETRIC[name], 1)
        turned = cv2.warpAffine(image, matrix, (width, height))
        regions = cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=IGNORE)
        return turned, regions, apply(matrix, points).astype(np.float32)
    return rescale(image, mask, points, GEOMETRIC[name])


def is_occluded(points: np.ndarray) -> np.ndarray:
    """Which of a face's 68 points lie at the picture's left of its middle, the line from nasion to chin."""
    return _side_of_middle(points, points) < 0


def occlude_half(image: np.ndarray, points: np.ndarray, turn: float = 0, shade: int = OCCLUDER_GREY) -> np.ndarray:
    """Hide the half of a face (68 × 2 points) at the picture's left behind a grey board, forehead and all.

    With a turn, in degrees clockwise, another half: at 90 the upper one, at 180 that at the picture's right.
    """
    low, high = points.min(0), points.max(0)
    reach = 0.75 * (high - low).max()
    rows, columns = np.indices(image.shape[:2])
    places = np.stack([columns, rows], -1)
    near = (np.abs(places - (low + high) / 2) < reach).all(-1)
    return np.where((near & (_side_of_middle(places, points, turn) < 0))[..., None], np.uint8(shade), image)


def _side_of_middle(places: np.ndarray, points: np.ndarray, turn: float = 0) -> np.ndarray:
    """Twice the area that each place (… × 2) spans with the middle of a face, negative at the picture's left.

    The middle is the line from nasion to chin, turned about its own middle.
    """
    centre, along = (points[27] + points[8]) / 2, points[8] - points[27]
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    right, down = cos * along[0] - sin * along[1], sin * along[0] + cos * along[1]
    return (places[..., 0] - centre[0]) * down - (places[..., 1] - centre[1]) * right
