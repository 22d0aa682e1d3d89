"""What inference passes on and returns."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RegionShape:
    """One region of one face, in pixels of the image."""

    area: float
    """In square pixels."""
    centroid: np.ndarray
    """(x, y)."""
    contour: np.ndarray
    """K × 2 (x, y), closed."""


@dataclass(frozen=True)
class Face:
    """One face, all coordinates in pixels of the image: (0, 0) is the centre of its top-left pixel."""

    box: np.ndarray
    """x0, y0, x1, y1 of the landmarks."""
    score: float
    """How surely this is a face, 0–1."""
    points: np.ndarray
    """68 × 2 (x, y) landmarks in iBUG-68 order."""
    scores: np.ndarray
    """68 values in 0–1: 0 is guessed from the rest of the face, 1 is seen. See
    :class:`facemark.inference.landmarks.LandmarkModel`."""
    pupils: np.ndarray
    """2 × 2: the centroids of the subject's right eye, then of the left one."""
    mouth_center: np.ndarray
    """(x, y), the centroid of lips and mouth."""
    regions: dict[str, RegionShape]
    """By class name, those that were seen."""


@dataclass(frozen=True)
class Parse:
    """Everything found in one image."""

    mask: np.ndarray
    """H × W uint8 class ids, at the image's own size."""
    faces: list[Face]
    """The largest first."""


@dataclass(frozen=True)
class View:
    """An image, or an aligned crop of it, as the network saw it."""

    matrix: np.ndarray
    """2 × 3, from the image to the view: to its pixels, or for a crop to a square of side 1."""
    probabilities: np.ndarray
    """19 × H × W, of each class."""
