"""Checks of one sample: each is a function that names what is wrong with image, mask or points."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from facemark.data.outliers import NO_FACES
from facemark.data.samples import Sample, read_mask, read_points
from facemark.geometry import centroid, count_pieces
from facemark.images import read_image
from facemark.labels import CLASSES, IGNORE, L_EYE_POINTS, PAIRS, POINT_GROUPS, R_EYE_POINTS, UNIONS, Region

SIDE_MARGIN = 0.2
"""Share of a distance from which left and right count as swapped: of the pair's two centroids in a mask, of eyes and
mouth in points."""
MIN_SPAN = 8
"""Pixels that the points of a face must span; coordinates in 0–1 span less."""
MAX_COINCIDENT, COINCIDENT_SPAN = 6, 40
"""From this many points at one place, in a face that spans this many pixels, points are unknown: many files write them
as (0, 0). In smaller faces, rounding brings points together."""


@dataclass(frozen=True)
class Contents:
    """What the files of a sample hold."""

    image: np.ndarray
    """H × W × 3 RGB."""
    mask: np.ndarray | None
    """H × W class ids, None where the sample has no mask."""
    faces: np.ndarray
    """Faces × 68 × 2 (x, y) in pixels; none where the sample has no points."""
    has_points: bool
    """Whether the sample has a landmark file, which may hold no face."""


Check = Callable[[Contents], Iterator[str]]
"""Yields a phrase for each problem."""


def swapped_pairs(mask: np.ndarray) -> list[str]:
    """Return the names of the pairs whose left and right classes are on the wrong sides of a one-face mask.

    Sides are judged along the face's own axis, from brows and eyes to nose and mouth, so a face may be rotated.

    Args:
        mask: H × W class ids.
    """
    top = centroid(np.isin(mask, (Region.L_BROW, Region.R_BROW, Region.L_EYE, Region.R_EYE)))
    bottom = centroid(np.isin(mask, (Region.NOSE, Region.U_LIP, Region.L_LIP, Region.MOUTH)))
    down = (bottom - top) / (np.linalg.norm(bottom - top) + 1e-9)
    swapped = []
    for left, right in PAIRS:
        across = centroid(mask == left) - centroid(mask == right)
        # a class that is not shown has a centroid of NaN, and so is never swapped;
        # y points down: the subject's left is a quarter turn counter-clockwise from the face's own "down"
        if across @ (down[1], -down[0]) < -SIDE_MARGIN * np.linalg.norm(across):
            swapped.append(f"{CLASSES[left]}/{CLASSES[right]}")
    return swapped


def is_mirrored(face: np.ndarray) -> bool:
    """Whether 68 × 2 points have left and right swapped, judged along the axis from eyes to mouth."""
    down = np.median(face[POINT_GROUPS["mouth"]], 0) - np.median(face[POINT_GROUPS["eyes"]], 0)
    across = np.median(face[L_EYE_POINTS], 0) - np.median(face[R_EYE_POINTS], 0)
    return bool(across @ (down[1], -down[0]) < -SIDE_MARGIN * (down @ down))


def is_outside(points: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether the points of a face (68 × 2) are all beyond one edge of an image of this shape (height, width, …)."""
    return bool((points.max(0) < 0).any() or (points.min(0) > (shape[1] - 1, shape[0] - 1)).any())


def mirrored_points(contents: Contents) -> Iterator[str]:
    """Left and right are swapped in the points."""
    if any(is_mirrored(face) for face in contents.faces):
        yield "left and right are swapped in the points: 36–41 are the subject's right eye; or their x and y are"


def unknown_points(contents: Contents) -> Iterator[str]:
    """Points are not in pixels, or are not known."""
    for face in contents.faces:
        span = np.ptp(face, 0).max()
        if span < MIN_SPAN:
            yield f"the points of a face span less than {MIN_SPAN} pixels; are they shares of the picture?"
        most = np.unique(face, axis=0, return_counts=True)[1].max()
        if most >= MAX_COINCIDENT and span >= COINCIDENT_SPAN:
            yield f"{most} points of a face are at one place; leave out a face whose points are not all known"


def points_outside(contents: Contents) -> Iterator[str]:
    """The points of a face are outside the image."""
    if any(is_outside(face, contents.image.shape) for face in contents.faces):
        yield "the points of a face are outside the picture"


def not_one_face(contents: Contents) -> Iterator[str]:
    """No face or several have points, and there is no mask to learn from."""
    if contents.mask is None and len(contents.faces) != 1:
        yield f"{len(contents.faces)} faces have points; without a mask, exactly one must"


def other_size(contents: Contents) -> Iterator[str]:
    """The mask has another size than the image."""
    height, width = contents.image.shape[:2]
    if contents.mask is not None and contents.mask.shape != (height, width):
        yield f"the picture is {width}×{height}, its mask {contents.mask.shape[1]}×{contents.mask.shape[0]}"


def unknown_ids(contents: Contents) -> Iterator[str]:
    """The mask holds values that are no class."""
    if contents.mask is None:
        return
    if unknown := sorted(set(np.unique(contents.mask).tolist()) - {*range(len(CLASSES)), *UNIONS, IGNORE}):
        yield f"ids {unknown} are none of the classes 0–{len(CLASSES) - 1}"


def swapped_classes(contents: Contents) -> Iterator[str]:
    """Left and right are swapped in the mask; masks of several faces are not judged."""
    several_by_points = contents.has_points and len(contents.faces) != 1
    if contents.mask is None or several_by_points or count_pieces(contents.mask == Region.NOSE) > 1:
        return
    if pairs := swapped_pairs(contents.mask):
        yield f"left and right are swapped in {', '.join(pairs)}"


CHECKS: tuple[Check, ...] = (
    mirrored_points,
    unknown_points,
    points_outside,
    not_one_face,
    other_size,
    unknown_ids,
    swapped_classes,
)


def validate_sample(sample: Sample) -> list[str]:
    """Return everything that is wrong with a sample, each a phrase; an empty list where it is sound."""
    try:
        contents = Contents(
            read_image(sample.image),
            read_mask(sample.mask) if sample.mask else None,
            read_points(sample.points) if sample.points else NO_FACES,
            sample.points is not None,
        )
    except ValueError as error:
        return [str(error)]
    return [problem for check in CHECKS for problem in check(contents)]
