"""Checks of one sample: each names what is wrong with its image, mask or points."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from facemark.data.outliers import NO_FACES
from facemark.data.samples import Sample, read_mask, read_points
from facemark.geometry import centroid, count_pieces
from facemark.images import read_image
from facemark.labels import CLASSES, IGNORE, L_EYE_POINTS, PAIRS, POINT_GROUPS, R_EYE_POINTS, UNIONS, Region

SIDE_MARGIN = 0.2
"""Left and right count as swapped from this share of the distance on by which sides are judged."""
MIN_SPAN = 8
"""Pixels that the points of a face span at least: coordinates in 0–1 span less."""
MAX_COINCIDENT, COINCIDENT_SPAN = 6, 40
"""From so many points at one place on, in a face that spans so many pixels, points are unknown: files then often say
(0, 0). In smaller faces, rounding brings points together."""


@dataclass(frozen=True)
class Contents:
    """The files of a sample, read."""

    image: np.ndarray
    mask: np.ndarray | None
    points: np.ndarray | None
    """Faces × 68 × 2 (x, y) in pixels."""

    @property
    def faces(self) -> np.ndarray:
        """The points, no faces where there are none."""
        return NO_FACES if self.points is None else self.points


Check = Callable[[Contents], Iterator[str]]
"""Yields a phrase for each fault."""


def swapped_pairs(mask: np.ndarray) -> list[str]:
    """Names of the pairs whose left and right classes are on the wrong sides of a one-face mask.

    Sides are judged along the face's own axis, from brows and eyes down to nose and mouth, so faces may be turned.

    Args:
        mask: H × W class ids.
    """
    top = centroid(np.isin(mask, (Region.L_BROW, Region.R_BROW, Region.L_EYE, Region.R_EYE)))
    bottom = centroid(np.isin(mask, (Region.NOSE, Region.U_LIP, Region.L_LIP, Region.MOUTH)))
    down = (bottom - top) / (np.linalg.norm(bottom - top) + 1e-9)
    swapped = []
    for left, right in PAIRS:
        across = centroid(mask == left) - centroid(mask == right)
        # what was not seen is NaN, and so never swapped;
        # y points down: the subject's left is a quarter turn against the clock from the face's own "down"
        if across @ (down[1], -down[0]) < -SIDE_MARGIN * np.linalg.norm(across):
            swapped.append(f"{CLASSES[left]}/{CLASSES[right]}")
    return swapped


def is_mirrored(face: np.ndarray) -> bool:
    """Whether 68 × 2 points have left and right swapped, seen from eyes to mouth."""
    down = np.median(face[POINT_GROUPS["mouth"]], 0) - np.median(face[POINT_GROUPS["eyes"]], 0)
    across = np.median(face[L_EYE_POINTS], 0) - np.median(face[R_EYE_POINTS], 0)
    return bool(across @ (down[1], -down[0]) < -SIDE_MARGIN * (down @ down))


def is_outside(points: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the points of a face (68 × 2) are all beyond one edge of an image of this shape (height, width, …)."""
    return bool((points.max(0) < 0).any() or (points.min(0) > (shape[1] - 1, shape[0] - 1)).any())


def is_one_face(mask: np.ndarray, points: np.ndarray | None) -> bool:
    """Whether a sample shows at most one face, by its points and the noses in its mask."""
    return (points is None or len(points) == 1) and count_pieces(mask == Region.NOSE) <= 1


def mirrored_points(contents: Contents) -> Iterator[str]:
    """Left and right swapped in the points."""
    if any(is_mirrored(face) for face in contents.faces):
        yield "left and right are swapped in the points: 36–41 are the subject's right eye; or their x and y are"


def unknown_points(contents: Contents) -> Iterator[str]:
    """Points that are no pixels, or not known."""
    for face in contents.faces:
        span = np.ptp(face, 0).max()
        if span < MIN_SPAN:
            yield f"the points of a face span less than {MIN_SPAN} pixels; are they shares of the picture?"
        most = np.unique(face, axis=0, return_counts=True)[1].max()
        if most >= MAX_COINCIDENT and span >= COINCIDENT_SPAN:
            yield f"{most} points of a face are at one place; leave out a face whose points are not all known"


def points_outside(contents: Contents) -> Iterator[str]:
    """Faces beyond the image."""
    if any(is_outside(face, contents.image.shape) for face in contents.faces):
        yield "the points of a face are outside the picture"


def several_faces(contents: Contents) -> Iterator[str]:
    """Several faces with points, and no mask that would say where each is."""
    if len(contents.faces) != 1:
        yield f"{len(contents.faces)} faces have points; without a mask there is to be one"


def other_size(contents: Contents) -> Iterator[str]:
    """A mask of another size than the image's."""
    height, width = contents.image.shape[:2]
    if contents.mask is not None and contents.mask.shape != (height, width):
        yield f"the picture is {width}×{height}, its mask {contents.mask.shape[1]}×{contents.mask.shape[0]}"


def unknown_ids(contents: Contents) -> Iterator[str]:
    """Mask values that are no class."""
    unknown = sorted(set(np.unique(contents.mask).tolist()) - {*range(len(CLASSES)), *UNIONS, IGNORE})
    if unknown:
        yield f"ids {unknown} are none of the classes 0–{len(CLASSES) - 1}"


def swapped_classes(contents: Contents) -> Iterator[str]:
    """Left and right swapped in the mask of one face."""
    if contents.mask is None or not is_one_face(contents.mask, contents.points):
        return
    if pairs := swapped_pairs(contents.mask):
        yield f"left and right are swapped in {', '.join(pairs)}"


POINT_CHECKS: tuple[Check, ...] = (mirrored_points, unknown_points, points_outside)
MASK_CHECKS: tuple[Check, ...] = (other_size, unknown_ids, swapped_classes)
UNMASKED_CHECKS: tuple[Check, ...] = (several_faces,)


def validate_sample(sample: Sample) -> list[str]:
    """Everything that is wrong with a sample, each a phrase; an empty list where it is sound."""
    try:
        contents = Contents(
            read_image(sample.image),
            read_mask(sample.mask) if sample.mask else None,
            read_points(sample.points) if sample.points else None,
        )
    except ValueError as error:
        return [str(error)]
    checks = POINT_CHECKS + (UNMASKED_CHECKS if sample.mask is None else MASK_CHECKS)
    return [fault for check in checks for fault in check(contents)]
