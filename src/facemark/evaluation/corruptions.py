"""Image corruptions for measuring robustness: ten, each at one severity.

After ImageNet-C (Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019, https://arxiv.org/abs/1903.12261). The severities are our own.
"""

import albumentations as A
import cv2
import numpy as np

from facemark.geometry import apply, rescale
from facemark.labels import IGNORE

SEED = 1
CORRUPTION_SIDE = 320
"""Longer side, in pixels, of the images that the severities are chosen for: the input size of the released network."""
PHOTOMETRIC = {
    "blur": A.GaussianBlur(blur_limit=0, sigma_limit=(2, 2), p=1),
    "noise": A.GaussNoise(std_range=(0.1, 0.1), p=1),
    "jpeg_20": A.ImageCompression(quality_range=(20, 20), p=1),
    "darkness": A.MultiplicativeNoise(multiplier=(0.25, 0.25), p=1),
    "grey": A.ToGray(p=1),
    "patches": A.CoarseDropout((3, 3), (0.2, 0.2), (0.2, 0.2), fill="random_uniform", fill_mask=IGNORE, p=1),
}
"""Corruptions that move nothing: blur with σ = 2 pixels, noise with σ = a tenth of the range, a quarter of the light.
The three patches are a fifth of the sides in size; their pixels are ignored."""
GEOMETRIC = {"turned_left": 45, "turned_right": -45, "half_size": 0.5, "quarter_size": 0.25}
"""Corruptions that move pixels: the degrees of a rotation, counterclockwise, or the scale."""
CORRUPTIONS = (*PHOTOMETRIC, *GEOMETRIC)
"""Names of all corruptions."""
OCCLUDER_GREY = 128
"""Grey value of the occluder of :func:`occlude_half`."""


def corrupt(
    name: str, image: np.ndarray, mask: np.ndarray, points: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Apply one corruption, always with the same random numbers.

    Args:
        name: one of CORRUPTIONS.
        image: H × W × 3 RGB uint8.
        mask: H × W class ids.
        points: faces × 68 × 2 (x, y), pixels.

    Returns:
        Corrupted image, mask and points. Pixels that a rotation adds are black and IGNORE.
    """
    if name in PHOTOMETRIC:
        corrupted = A.Compose([PHOTOMETRIC[name]], seed=SEED)(image=image, mask=mask)
        return corrupted["image"], corrupted["mask"], points
    height, width = mask.shape
    if "turned" in name:
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), GEOMETRIC[name], 1)
        rotated = cv2.warpAffine(image, matrix, (width, height))
        regions = cv2.warpAffine(mask, matrix, (width, height), flags=cv2.INTER_NEAREST, borderValue=IGNORE)
        return rotated, regions, apply(matrix, points).astype(np.float32)
    return rescale(image, mask, points, GEOMETRIC[name])


def is_occluded(points: np.ndarray) -> np.ndarray:
    """Which of a face's 68 × 2 points :func:`occlude_half` hides: a bool each."""
    return _side_of_midline(points, points) < 0


def occlude_half(image: np.ndarray, points: np.ndarray, angle: float = 0, grey: int = OCCLUDER_GREY) -> np.ndarray:
    """Cover one half of a face, with its forehead, by a uniform grey occluder.

    The edge of the occluder is the midline of the face, from nasion to chin.

    Args:
        image: H × W × 3 uint8.
        points: 68 × 2 (x, y) of the face, pixels.
        angle: degrees clockwise by which the midline is rotated about its centre. At 0 the half at the left of the
            image is covered, at 90 the upper one, at 180 that at the right.
        grey: of the occluder, 0–255.

    Returns:
        A new image.
    """
    low, high = points.min(0), points.max(0)
    reach = 0.75 * (high - low).max()
    rows, columns = np.indices(image.shape[:2])
    places = np.stack([columns, rows], -1)
    near = (np.abs(places - (low + high) / 2) < reach).all(-1)
    return np.where((near & (_side_of_midline(places, points, angle) < 0))[..., None], np.uint8(grey), image)


def _side_of_midline(places: np.ndarray, points: np.ndarray, angle: float = 0) -> np.ndarray:
    """Signed distance of places (… × 2) from a face's midline, times the length of that line.

    The midline is rotated about its centre by ``angle`` degrees. At 0, places at the left of the image are negative.
    """
    centre, along = (points[27] + points[8]) / 2, points[8] - points[27]
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    right, down = cos * along[0] - sin * along[1], sin * along[0] + cos * along[1]
    return (places[..., 0] - centre[0]) * down - (places[..., 1] - centre[1]) * right
