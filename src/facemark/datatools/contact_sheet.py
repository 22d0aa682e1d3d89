"""Contact sheet of a dataset: images with their points, each next to its mask."""

from bisect import bisect_left
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from facemark.data import partial_masks
from facemark.data.outliers import NO_FACES
from facemark.data.sample_checks import validate_sample
from facemark.data.samples import Published, Sample, read_mask, read_points
from facemark.data.validation import list_samples
from facemark.evaluation.report import TILE, fit_tile
from facemark.images import read_image
from facemark.io.drawing import POLYLINES, SUBPIXEL_BITS, to_fixed_point
from facemark.labels import (
    BESIDE_FACE,
    BESIDE_PART,
    CLASSES,
    COLORS,
    IGNORE,
    L_BROW_POINTS,
    L_EYE_POINTS,
    R_BROW_POINTS,
    R_EYE_POINTS,
)
from facemark.settings import Dataset

NAMES = dict(enumerate(CLASSES)) | {BESIDE_PART: "one of several", BESIDE_FACE: "not the face", IGNORE: "ignored"}
PALETTE = np.full((256, 3), (255, 0, 255), np.uint8)
"""RGB colour of each mask value, 256 × 3; magenta marks values that are no class."""
PALETTE[: len(COLORS)] = COLORS
PALETTE[[BESIDE_PART, BESIDE_FACE, IGNORE]] = [[190, 190, 210], [70, 70, 90], [128, 128, 128]]
OPACITY = 0.7
"""Of a mask over its image."""
RIGHT_COLOR, LEFT_COLOR, MIDDLE_COLOR = (255, 70, 70), (80, 255, 110), (255, 255, 255)
"""RGB of points on the subject's right and left side, and of the others."""
COLUMNS, LINE_HEIGHT, MARGIN = 3, 16, 6
"""Tiles in a row of the sheet; height of a line of text, and the space around it, in pixels."""
TEXT_COLOR, ERROR_COLOR = (0, 0, 0), (200, 0, 0)
FONT = ImageFont.load_default(12)
MAX_REACH = 10
"""Tiles from the edge within which points are drawn: OpenCV cannot draw to points farther away."""


def draw_contact_sheet(dataset: Dataset, count: int) -> Image.Image:
    """Draw a contact sheet of ``count`` images, evenly chosen: each with its points, next to it its mask.

    Faces that have only points are shown as training sees them: cropped, with a partial mask.

    Raises:
        SystemExit: there are no images, or the dataset's own lists cannot be read.
    """
    listed = list_samples(dataset)
    chosen = sorted({round(i) for i in np.linspace(0, len(listed) - 1, count)})
    with TemporaryDirectory() as folder:
        tiles, values = zip(*(draw_tile(listed[i], Path(folder) / str(i)) for i in chosen), strict=True)
    columns = min(COLUMNS, len(tiles))
    width, height = tiles[0].size
    legend = draw_legend(sorted(set().union(*values)), columns * width)
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height + legend.height), "white")
    for i, tile in enumerate(tiles):
        sheet.paste(tile, (i % columns * width, i // columns * height))
    sheet.paste(legend, (0, sheet.height - legend.height))
    return sheet


def draw_tile(listed: Sample | Published, stem: Path) -> tuple[Image.Image, set[int]]:
    """Draw an image and its mask side by side, with its name and, in red, its problems above.

    Args:
        listed: the image.
        stem: path, without suffix, for converted labels.

    Returns:
        The tile, and the values that the mask holds.
    """
    width = 2 * TILE + 3 * MARGIN
    drawn = Image.new("RGB", (width, TILE + 2 * LINE_HEIGHT + 3 * MARGIN), "white")
    values: set[int] = set()
    try:
        sample = listed.convert(stem) if isinstance(listed, Published) else listed
        image, mask, points = read_sample(sample)
    except ValueError as error:
        problems = str(error)
    else:
        problems, values = "; ".join(validate_sample(sample)), set(np.unique(mask).tolist())
        top = 2 * LINE_HEIGHT + 2 * MARGIN
        drawn.paste(Image.fromarray(draw_points(image, points)), (MARGIN, top))
        drawn.paste(Image.fromarray(fit_tile(blend_mask(image, mask))), (TILE + 2 * MARGIN, top))
    pen = ImageDraw.Draw(drawn)
    caption = f"{listed.split or 'no split'}  {listed.image.name}"
    for line, (text, color) in enumerate(((caption, TEXT_COLOR), (problems, ERROR_COLOR))):
        pen.text((MARGIN, MARGIN + line * LINE_HEIGHT), shorten(text, width - 2 * MARGIN), color, FONT)
    return drawn, values


def shorten(text: str, width: int) -> str:
    """Cut the beginning of a line that is wider than ``width`` pixels: its end holds the file's name or the problem."""
    if FONT.getlength(text) <= width:
        return text
    start = bisect_left(range(len(text)), True, key=lambda i: FONT.getlength(f"… {text[i:]}") <= width)
    return f"… {text[start:]}"


def read_sample(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a sample as training sees it; one without a mask is cropped and gets a partial mask.

    Returns:
        Image H × W × 3, mask H × W, and points, faces × 68 × 2 (x, y) in pixels of the image.

    Raises:
        ValueError: a file cannot be read, or a sample without a mask has no face or several.
    """
    image = read_image(sample.image)
    points = read_points(sample.points) if sample.points else NO_FACES
    if sample.mask:
        return image, read_mask(sample.mask), points
    if len(points) != 1:
        raise ValueError(f"{sample.points} has the points of {len(points)} faces; without a mask, it must have one")
    image, face = partial_masks.crop_context(image, points[0].astype(float))
    return image, partial_masks.draw_partial_mask(face, image.shape[:2]), face[None]


def draw_points(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Scale an image into a square of TILE pixels, and draw its points (faces × 68 × 2), joined by lines."""
    drawn = np.ascontiguousarray(fit_tile(image))
    placed = (points + 0.5) * (TILE / max(image.shape[:2])) - 0.5
    placed = placed.clip((1 - MAX_REACH) * TILE, MAX_REACH * TILE)
    for face in placed:
        for which, closed in POLYLINES:
            line = np.array(to_fixed_point(face[which]), np.int32)
            cv2.polylines(drawn, [line], closed, line_color(which), 1, cv2.LINE_AA, SUBPIXEL_BITS)
    return drawn


def line_color(which: slice) -> tuple[int, int, int]:
    """Return the RGB colour of the line through these points."""
    if which in (R_BROW_POINTS, R_EYE_POINTS):
        return RIGHT_COLOR
    return LEFT_COLOR if which in (L_BROW_POINTS, L_EYE_POINTS) else MIDDLE_COLOR


def blend_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Blend a mask in its colours over its image; where the sizes differ, return the coloured mask alone."""
    colored = PALETTE[mask]
    return cv2.addWeighted(image, 1 - OPACITY, colored, OPACITY, 0) if image.shape == colored.shape else colored


def draw_legend(values: list[int], width: int) -> Image.Image:
    """Draw the colours of these mask values, and of the points, with their names, ``width`` pixels wide."""
    entries = [(PALETTE[value], NAMES.get(value, f"{value}, no class")) for value in values]
    entries += [(RIGHT_COLOR, "points of the subject's right"), (LEFT_COLOR, "of the subject's left")]
    places, x, y = [], MARGIN, MARGIN
    for _, name in entries:
        entry_width = LINE_HEIGHT + MARGIN + round(FONT.getlength(name)) + 2 * MARGIN
        if x + entry_width > width:
            x, y = MARGIN, y + LINE_HEIGHT + MARGIN
        places.append((x, y))
        x += entry_width
    drawn = Image.new("RGB", (width, y + LINE_HEIGHT + MARGIN), "white")
    pen = ImageDraw.Draw(drawn)
    for (color, name), (x, y) in zip(entries, places, strict=True):
        pen.rectangle((x, y, x + LINE_HEIGHT, y + LINE_HEIGHT), tuple(int(c) for c in color), TEXT_COLOR)
        pen.text((x + LINE_HEIGHT + MARGIN, y), name, TEXT_COLOR, FONT)
    return drawn
