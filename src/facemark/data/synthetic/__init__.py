"""The starter data: drawn faces with exact masks and exact iBUG-68 points.

``python -m facemark.data.synthetic data`` writes it. A head is a set of points in space: x towards the image's right,
y down, z towards the viewer. The unit is the distance of the pupils, and the origin is between them. An image is drawn
in these steps:

1. ``people``: a random person varies the points of the average head.
2. ``shapes``: a random pose rotates the points and projects them into the image.
3. ``features`` and ``parts``: each region is the smooth outline through its points. Regions are painted enlarged, from
   back to front, into colours and labels at once.
4. ``light``: texture, shading and shadows.
5. Here: background, and the effects of a camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rich.progress import track

from facemark.data.synthetic.backdrop import backdrop
from facemark.data.synthetic.light import random_light, render
from facemark.data.synthetic.parts import paint_person
from facemark.data.synthetic.people import random_person
from facemark.data.synthetic.shapes import SUPERSAMPLING, Canvas, Pose, blur, chance
from facemark.labels import COLORS

__all__ = ["Drawn", "backdrop", "draw", "write"]


@dataclass(frozen=True)
class Drawn:
    """A drawn image with its labels."""

    image: np.ndarray
    """H × W × 3 RGB uint8."""
    mask: np.ndarray
    """H × W uint8 class ids."""
    points: np.ndarray
    """Faces × 68 × 2 float32 (x, y) in pixels, iBUG-68; they may be outside the image."""


def apply_camera(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Add the effects of a camera: exposure, colour cast, blur, noise, compression.

    Args:
        rng: source of all random draws.
        image: H × W × 3 RGB float, 0–255.

    Returns:
        H × W × 3 RGB uint8.
    """
    image = np.clip(image, 0, 255) / 255
    image = image ** rng.uniform(0.75, 1.25) * rng.normal(1, 0.05, 3) * rng.uniform(0.75, 1.15)
    if chance(rng, 0.06):
        image = image.mean(2, keepdims=True) * rng.uniform([0.9, 0.85, 0.75], [1, 1, 1])
    image = blur(image.astype(np.float32), rng.uniform(0.35, 0.7) + (rng.uniform(0, 1.2) if chance(rng, 0.2) else 0))
    image += rng.standard_normal(image.shape, np.float32) * rng.choice([0.006, 0.015, 0.04])
    image = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    if chance(rng, 0.3):
        # red and blue are swapped when encoding, and swapped back when decoding
        packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])[1]
        image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
    return image


def random_poses(rng: np.random.Generator, height: int, width: int) -> list[tuple[Pose, Pose]]:
    """Draw head and body poses of one to three people, the farthest first, for an H × W image."""
    count = int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
    largest = min(height, width) * (0.27 if count == 1 else 0.33 / count)
    places = (np.arange(count) + rng.uniform(0.35, 0.65, count)) / count
    scales = np.sort(largest * rng.uniform(0.4 if count == 1 else 0.6, 1, count))
    drawn, extent = [], np.array([width, height])
    for scale, place in zip(scales, rng.permutation(places), strict=True):
        angles = np.radians(np.clip(rng.normal(0, [20, 10, 9]), [-48, -25, -40], [48, 25, 40]))
        center = extent * (place, rng.uniform(0.4, 0.7))
        if chance(rng, 0.15):  # the face may be cut by the image's edge
            center += rng.normal(0, 0.18, 2) * extent
        elif count == 1:
            margin = np.maximum(extent - scale * np.array([2.6, 3.6]), 0) / 2
            center = extent * (0.5, 0.52) + rng.uniform(-1, 1, 2) * margin
        head = Pose(angles, scale, np.zeros(2))
        center = np.clip(center, 0.08 * extent, 0.92 * extent)
        offset = center - head(np.array([0, 0.4, -0.3]))
        drawn.append((Pose(angles, scale, offset), Pose(angles * [0.35, 0.1, 0.2], scale, offset)))
    return drawn


def draw(seed: int | Sequence[int]) -> Drawn:
    """Draw one image, 256–320 pixels a side, of one to three people; a seed always gives the same image."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(256, 321, 2)
    image, light = backdrop(rng, height, width).astype(np.float32), random_light(rng)
    mask, points = np.zeros((height, width), np.uint8), []
    for head, body in random_poses(rng, height, width):
        person, canvas = random_person(rng), Canvas(height, width)
        points.append(paint_person(rng, canvas, person, head, body))
        lit, coverage = render(rng, canvas, person, head, points[-1], light)
        image = lit + (1 - coverage[..., None]) * image
        label = canvas.label[SUPERSAMPLING // 2 :: SUPERSAMPLING, SUPERSAMPLING // 2 :: SUPERSAMPLING]
        mask = np.where(label > 0, label, mask)
    return Drawn(apply_camera(rng, image), mask, np.stack(points))


def write(folder: Path | str, counts: dict[str, int], seed: int = 0) -> None:
    """Draw a dataset in the format ``starter``.

    ``{split}/images/*.jpg``, ``labels/*.png`` (8-bit indexed, the value is the class id) and ``landmarks/*.txt`` (for
    each face a line ``68`` and 68 lines ``x y``).

    Args:
        folder: where to write; created when needed.
        counts: how many images to draw for each split.
        seed: an image depends only on the seed, the position of its split in ``counts``, and its number.
    """
    for position, (split, count) in enumerate(counts.items()):
        images, labels, landmark_files = (Path(folder) / split / part for part in ("images", "labels", "landmarks"))
        for part in (images, labels, landmark_files):
            part.mkdir(parents=True, exist_ok=True)
        for number in track(range(count), split):
            drawn = draw((seed, position, number))
            Image.fromarray(drawn.image).save(images / f"{number:05}.jpg", quality=88)
            mask = Image.fromarray(drawn.mask)
            mask.putpalette(COLORS.tobytes())
            mask.save(labels / f"{number:05}.png", optimize=True)
            blocks = ("68\n" + "".join(f"{x:.2f} {y:.2f}\n" for x, y in face) for face in drawn.points)
            (landmark_files / f"{number:05}.txt").write_text("".join(blocks))
