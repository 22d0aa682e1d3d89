"""The starter data: drawn faces with exact masks and exact iBUG-68 points. ``python -m facemark.synthetic data``.

A head is a set of points in space: x to the picture's right, y down, z towards the viewer, the unit is the distance
of the pupils and the origin lies between them. Every person varies them (``people``), a pose turns and projects them,
and each region is the smooth outline through its own points, painted enlarged and from back to front into colours and
labels alike (``shapes``, ``parts``); then light falls on them (``light``) and a camera takes the picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rich.progress import track

from facemark.data.synthetic.backdrop import backdrop
from facemark.data.synthetic.light import render, some_light
from facemark.data.synthetic.parts import paint_person
from facemark.data.synthetic.people import somebody
from facemark.data.synthetic.shapes import SUPER, Canvas, Pose, blur, chance
from facemark.labels import COLORS

__all__ = ["Drawn", "backdrop", "draw", "write"]


@dataclass(frozen=True)
class Drawn:
    """A picture, H × W × 3 RGB uint8; its H × W mask of class ids; its points, faces × 68 × 2 (x, y) float32 pixels."""

    image: np.ndarray
    mask: np.ndarray
    points: np.ndarray


def camera(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """What a camera does to H × W × 3 float colours: exposure, cast, blur, noise, compression; answers uint8."""
    image = np.clip(image, 0, 255) / 255
    image = image ** rng.uniform(0.75, 1.25) * rng.normal(1, 0.05, 3) * rng.uniform(0.75, 1.15)
    if chance(rng, 0.06):
        image = image.mean(2, keepdims=True) * rng.uniform([0.9, 0.85, 0.75], [1, 1, 1])
    image = blur(image.astype(np.float32), rng.uniform(0.35, 0.7) + (rng.uniform(0, 1.2) if chance(rng, 0.2) else 0))
    image += rng.standard_normal(image.shape, np.float32) * rng.choice([0.006, 0.015, 0.04])
    image = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    if chance(rng, 0.3):
        # red and blue change places on the way in and again on the way out
        packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])[1]
        image = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return image


def poses(rng: np.random.Generator, height: int, width: int) -> list[tuple[Pose, Pose]]:
    """Head and body poses of one to three people, the farthest first."""
    count = int(rng.choice([1, 2, 3], p=[0.7, 0.2, 0.1]))
    largest = min(height, width) * (0.27 if count == 1 else 0.33 / count)
    places = (np.arange(count) + rng.uniform(0.35, 0.65, count)) / count
    scales = np.sort(largest * rng.uniform(0.4 if count == 1 else 0.6, 1, count))
    answer, extent = [], np.array([width, height])
    for scale, place in zip(scales, rng.permutation(places), strict=True):
        angles = np.radians(np.clip(rng.normal(0, [20, 10, 9]), [-48, -25, -40], [48, 25, 40]))
        center = extent * (place, rng.uniform(0.4, 0.7))
        if chance(rng, 0.15):  # may be cut by the picture's edge
            center += rng.normal(0, 0.18, 2) * extent
        elif count == 1:
            room = np.maximum(extent - scale * np.array([2.6, 3.6]), 0) / 2
            center = extent * (0.5, 0.52) + rng.uniform(-1, 1, 2) * room
        head = Pose(angles, scale, np.zeros(2))
        center = np.clip(center, 0.08 * extent, 0.92 * extent)
        offset = center - head(np.array([0, 0.4, -0.3]))
        answer.append((Pose(angles, scale, offset), Pose(angles * [0.35, 0.1, 0.2], scale, offset)))
    return answer


def draw(seed: int | Sequence[int]) -> Drawn:
    """Draw one picture of 256–320 pixels a side with one to three people; a seed always gives the same picture."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(256, 321, 2)
    image, light = backdrop(rng, height, width).astype(np.float32), some_light(rng)
    mask, points = np.zeros((height, width), np.uint8), []
    for head, body in poses(rng, height, width):
        person, canvas = somebody(rng), Canvas(height, width)
        points.append(paint_person(rng, canvas, person, head, body))
        lit, cover = render(rng, canvas, person, head, points[-1], light)
        image = lit + (1 - cover[..., None]) * image
        label = canvas.label[SUPER // 2 :: SUPER, SUPER // 2 :: SUPER]
        mask = np.where(label > 0, label, mask)
    return Drawn(camera(rng, image), mask, np.stack(points))


def write(folder: Path | str, counts: dict[str, int], seed: int = 0) -> None:
    """Draw ``counts`` pictures a split into ``folder``, in LaPa's layout.

    ``{split}/images/*.jpg``, ``labels/*.png`` (8-bit indexed, the value is the class id) and ``landmarks/*.txt``:
    for each face a line ``68`` and 68 lines ``x y``. A picture depends on the seed, its split and its number alone.
    """
    for place, (split, count) in enumerate(counts.items()):
        images, labels, landmark_files = (Path(folder) / split / part for part in ("images", "labels", "landmarks"))
        for part in (images, labels, landmark_files):
            part.mkdir(parents=True, exist_ok=True)
        for number in track(range(count), split):
            drawn = draw((seed, place, number))
            Image.fromarray(drawn.image).save(images / f"{number:05}.jpg", quality=88)
            mask = Image.fromarray(drawn.mask)
            mask.putpalette(COLORS.tobytes())
            mask.save(labels / f"{number:05}.png", optimize=True)
            blocks = ("68\n" + "".join(f"{x:.2f} {y:.2f}\n" for x, y in face) for face in drawn.points)
            (landmark_files / f"{number:05}.txt").write_text("".join(blocks))
