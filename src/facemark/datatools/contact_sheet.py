"""A look at a dataset before training: what it holds, why ``prepare`` would refuse it, and a contact sheet."""

from bisect import bisect_left
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFont
from pydantic import ValidationError
from rich.console import Group
from rich.table import Table

from facemark.data import partial_masks
from facemark.data.outliers import NO_FACES
from facemark.data.sample_checks import validate_sample
from facemark.data.samples import SPLITS, Published, Sample, read_mask, read_points
from facemark.data.splits import count_pixels, shown_classes
from facemark.data.validation import ValidationReport, list_samples, validate_dataset
from facemark.evaluation.report import TILE, fitted
from facemark.images import read_image
from facemark.io.drawing import LINES, SHIFT, fixed
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
"""RGB colour of each mask value; magenta is what no value may be."""
PALETTE[: len(COLORS)] = COLORS
PALETTE[[BESIDE_PART, BESIDE_FACE, IGNORE]] = [[190, 190, 210], [70, 70, 90], [128, 128, 128]]
OPACITY = 0.7
RIGHT, LEFT, MIDDLE = (255, 70, 70), (80, 255, 110), (255, 255, 255)
"""RGB of the points of the subject's right and left side, as ships' lights, and of the others."""
COLUMNS, LINE, MARGIN = 3, 16, 6
"""Pairs of pictures in a row of the sheet, the height of its text and the space around it, in pixels."""
INK, ALARM = (0, 0, 0), (200, 0, 0)


def describe_dataset(folder: Path, form: str, classes: dict | None = None) -> Dataset:
    """A dataset as ``params.yaml`` would describe it; raises ValueError where it could not."""
    try:
        return Dataset(format=form, path=folder, classes=classes)
    except ValidationError as error:
        raise ValueError("; ".join(e["msg"].removeprefix("Value error, ") for e in error.errors())) from error


def check_dataset(described: Dataset) -> tuple[Group, ValidationReport]:
    """Read all of a dataset; answers a report to be printed, and what ``prepare`` would say.

    Raises:
        SystemExit: there are no pictures, or the files that list them are not those of the format.
    """
    with TemporaryDirectory() as folder:
        found = validate_dataset(described, Path(folder))
        return summarise(found), found


def summarise(found: ValidationReport) -> Group:
    """What the sound samples hold, all together and in each split: pictures, their sizes, points, classes."""
    splits = {str(name or "no split"): [s for s in found.sound if s.split == name] for name in (*SPLITS, None)}
    splits = {name: held for name, held in splits.items() if held} | {"all": found.sound}
    facts = Table("", "pictures", "masks", "with points", "faces", "points outside", "smallest, largest")
    for name, held in splits.items():
        shapes = [turned_size(s.image) for s in held]
        faces = [read_points(s.points) if s.points else NO_FACES for s in held]
        beyond = sum(outside(each, shape) for each, shape in zip(faces, shapes, strict=True))
        figures = len(held), sum(bool(s.mask) for s in held), sum(bool(s.points) for s in held), sum(map(len, faces))
        facts.add_row(name, *map(str, (*figures, beyond)), "\n".join(ends(shapes)))

    counts = {name: np.array([count_pixels(s) for s in held if s.mask]) for name, held in splits.items()}
    if not len(counts["all"]):
        return Group(facts)
    classes = Table("pictures that show", *splits, "pixels, %")
    shown = {name: [shown_classes(each) for each in held] for name, held in counts.items()}
    shares = 100 * counts["all"].sum(0) / max(counts["all"].sum(), 1)
    for name, share in zip(CLASSES, shares, strict=True):
        classes.add_row(name, *(str(sum(name in each for each in held)) for held in shown.values()), f"{share:.2f}")
    return Group(facts, classes)


def ends(shapes: list[tuple[int, int]]) -> list[str]:
    """The smallest and the largest of some widths and heights, none where there are none."""
    ordered = sorted(shapes, key=np.prod)
    return [f"{width}×{height}" for width, height in (ordered[:1] + ordered[-1:])]


def turned_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as :func:`read_image` turns it, by its header alone."""
    with Image.open(path) as picture:
        across = picture.getexif().get(ExifTags.Base.Orientation, 1) > 4  # by a quarter, mirrored or not
        return picture.size[::-1] if across and picture.format != "TIFF" else picture.size  # Pillow turns a TIFF's


def outside(faces: np.ndarray, shape: tuple[int, int]) -> int:
    """How many of N × 68 × 2 points lie beyond a picture's edges, for a shape of width and height."""
    return int(((faces < -0.5) | (faces > np.array(shape) - 0.5)).any(2).sum())


def draw_contact_sheet(described: Dataset, count: int) -> Image.Image:
    """A contact sheet of ``count`` pictures, evenly chosen: each with its points, beside it its mask.

    Faces that have points alone are shown as training sees them: cut out, with what their points tell of the regions.

    Raises:
        SystemExit: see :func:`check`.
    """
    listed = list_samples(described)
    chosen = sorted({round(i) for i in np.linspace(0, len(listed) - 1, count)})
    with TemporaryDirectory() as folder:
        tiles, values = zip(*(tile(listed[i], Path(folder) / str(i)) for i in chosen), strict=True)
    columns = min(COLUMNS, len(tiles))
    width, height = tiles[0].size
    key = legend(sorted(set().union(*values)), columns * width)
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height + key.height), "white")
    for i, each in enumerate(tiles):
        sheet.paste(each, (i % columns * width, i // columns * height))
    sheet.paste(key, (0, sheet.height - key.height))
    return sheet


def tile(listed: Sample | Published, stem: Path) -> tuple[Image.Image, set[int]]:
    """A picture and its mask side by side, its faults above in red, and the values of the mask."""
    wide = 2 * TILE + 3 * MARGIN
    drawn = Image.new("RGB", (wide, TILE + 2 * LINE + 3 * MARGIN), "white")
    caption, values = f"{listed.split or 'no split'}  {listed.image.name}", set()
    try:
        sample = listed.convert(stem) if isinstance(listed, Published) else listed
        image, mask, points = read_sample(sample)
    except ValueError as error:
        wrong = str(error)
    else:
        wrong, values = "; ".join(validate_sample(sample)), set(np.unique(mask).tolist())
        drawn.paste(Image.fromarray(draw_points(image, points)), (MARGIN, 2 * LINE + 2 * MARGIN))
        drawn.paste(Image.fromarray(fitted(blend_mask(image, mask))), (TILE + 2 * MARGIN, 2 * LINE + 2 * MARGIN))
    pen = ImageDraw.Draw(drawn)
    for line, (words, color) in enumerate(((caption, INK), (wrong, ALARM))):
        pen.text((MARGIN, MARGIN + line * LINE), cut(words, wide - 2 * MARGIN), color, FONT)
    return drawn, values


FONT = ImageFont.load_default(12)


def cut(words: str, width: int) -> str:
    """The end of a line that fits into so many pixels: there stand the file's name and what is wrong with it."""
    if FONT.getlength(words) <= width:
        return words
    start = bisect_left(range(len(words)), True, key=lambda i: FONT.getlength(f"… {words[i:]}") <= width)
    return f"… {words[start:]}"


def read_sample(sample: Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, mask and points (faces × 68 × 2) of a sample; raises ValueError where one cannot be read."""
    image = read_image(sample.image)
    points = read_points(sample.points) if sample.points else NO_FACES
    if sample.mask:
        return image, read_mask(sample.mask), points
    if len(points) != 1:
        raise ValueError(f"{sample.points} has the points of {len(points)} faces; without a mask there is to be one")
    image, face = partial_masks.crop_context(image, points[0].astype(float))
    return image, partial_masks.draw_partial_mask(face, image.shape[:2]), face[None]


def draw_points(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A picture, scaled into a square of TILE pixels, with its points joined."""
    drawn = np.ascontiguousarray(fitted(image))
    placed = (points + 0.5) * (TILE / max(image.shape[:2])) - 0.5
    placed = placed.clip(-9 * TILE, 10 * TILE)  # OpenCV cannot draw to what lies too far beyond the picture
    for face in placed:
        for which, closed in LINES:
            line = np.array(fixed(face[which]), np.int32)
            cv2.polylines(drawn, [line], closed, side(which), 1, cv2.LINE_AA, SHIFT)
    return drawn


def side(which: slice) -> tuple[int, int, int]:
    """The colour of a line through these points."""
    if which in (R_BROW_POINTS, R_EYE_POINTS):
        return RIGHT
    return LEFT if which in (L_BROW_POINTS, L_EYE_POINTS) else MIDDLE


def blend_mask(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """A mask in its colours, laid over its picture where they are of one size."""
    colored = PALETTE[mask]
    return cv2.addWeighted(image, 1 - OPACITY, colored, OPACITY, 0) if image.shape == colored.shape else colored


def legend(values: list[int], width: int) -> Image.Image:
    """The colours of some mask values with their names, so many pixels wide."""
    entries = [(PALETTE[value], NAMES.get(value, f"{value}, no class")) for value in values]
    entries += [(RIGHT, "points of the subject's right"), (LEFT, "of the subject's left")]
    places, x, y = [], MARGIN, MARGIN
    for _, name in entries:
        wide = LINE + MARGIN + round(FONT.getlength(name)) + 2 * MARGIN
        if x + wide > width:
            x, y = MARGIN, y + LINE + MARGIN
        places.append((x, y))
        x += wide
    drawn = Image.new("RGB", (width, y + LINE + MARGIN), "white")
    pen = ImageDraw.Draw(drawn)
    for (color, name), (x, y) in zip(entries, places, strict=True):
        pen.rectangle((x, y, x + LINE, y + LINE), tuple(int(c) for c in color), INK)
        pen.text((x + LINE + MARGIN, y), name, INK, FONT)
    return drawn
