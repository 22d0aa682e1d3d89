"""How surely a view shows a face."""

import numpy as np

from facemark.geometry import CONTOUR_LEVEL
from facemark.inference.config import InferenceConfig
from facemark.labels import EYES, LIPS, Region


def region_confidence(region: np.ndarray, config: InferenceConfig) -> float:
    """Mean probability, 0–1, inside the contour of an H × W probability map; 0 where nothing was seen."""
    inside = region >= CONTOUR_LEVEL
    return float(region[inside].mean()) if inside.sum() >= config.min_region_area else 0.0


def face_confidence(probabilities: np.ndarray, config: InferenceConfig) -> float:
    """Mean confidence, 0–1, in eyes or glasses, nose, lips and skin of 19 × H × W probabilities."""
    parts = [
        probabilities[EYES].sum(0),
        probabilities[Region.NOSE],
        probabilities[LIPS].sum(0),
        probabilities[Region.SKIN],
    ]
    return float(np.mean([region_confidence(part, config) for part in parts]))


def face_score(probabilities: np.ndarray, scores: np.ndarray, config: InferenceConfig) -> float:
    """Score of a face, 0–1: its confidence times the mean score of the surer half of its points.

    Hidden points do not lower it: half a face is a face.
    """
    return face_confidence(probabilities, config) * float(np.sort(scores)[len(scores) // 2 :].mean())
