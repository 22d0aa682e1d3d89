"""Every threshold of inference, by name, and the modes that set them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InferenceConfig:
    """One mode: which forward passes run, and what counts as a face."""

    hflip: bool = True
    """Average the passes that are measured with those of the mirror image: test-time augmentation."""
    rotations: tuple[int, ...] = (1, 2, 3)
    """Quarter turns that are tried where the upright image shows no clear face."""

    max_side: int = 1024
    """Longer side in pixels of the largest image that the coarse pass sees."""
    max_candidates: int = 100
    """Places of one image that are parsed as crops: those of the highest confidence."""
    max_crops_per_batch: int = 32
    """Crops, of several images, that are held at once; each takes some 30 MB at 320 pixels."""

    min_face_side: int = 8
    """Pixels of a view: a face region is no face where its shorter side has fewer."""
    min_nose_area: int = 8
    """Pixels of a view: a smaller nose does not divide a face region."""
    min_nose_ratio: float = 0.3
    """Nor does one of a smaller share of the area of the largest nose in that region."""
    min_region_area: int = 4
    """Pixels of a view: a smaller region was not seen."""

    candidate_threshold: float = 0.3
    """Face confidence from which a place is parsed as a crop."""
    crop_threshold: float = 0.5
    """Face confidence under which a crop shows no face."""
    rotation_fallback_threshold: float = 0.85
    """Face confidence from which a crop is so clear that ``rotations`` are not tried."""
    score_threshold: float = 0.5
    """Score from which a face is reported."""
    nms_threshold: float = 0.5
    """Of two faces with this intersection over the smaller box, the one of the higher score is kept."""

    crop_blend_weight: float = 0.7
    """Weight of a crop against the coarse pass, in the middle of the crop."""
    max_contour_points: int = 48
    """About the most points of a region's contour."""


MODES = {"accurate": InferenceConfig()}
DEFAULT_MODE = "accurate"
