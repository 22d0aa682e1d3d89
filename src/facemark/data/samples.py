"""Datasets: one module a format, all yielding the same :class:`Sample`.

A module's ``samples`` lists the pictures under a folder. Where a dataset has class ids, landmarks or files of its own,
it lists them as :class:`Published`; ``prepare`` converts these one by one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Sample:
    """One picture, its mask of class ids and, where there are some, its landmarks."""

    image: Path
    mask: Path | None
    """None where there are landmarks alone."""
    points: Path | None
    split: str | None
    """``train``, ``val``, ``test``, or None where the dataset does not say."""
    classes: tuple[str, ...] = ()
    """What the mask shows, once ``prepare`` has looked."""
    weight: float = 1
    """How often it is shown in training, relative to the others; as params say, not the index."""


@dataclass(frozen=True)
class Published:
    """One picture of a dataset with a form of its own, and how its files are read as ours.

    Both readers raise ValueError where the files are not what the dataset's page says.
    """

    image: Path
    split: str | None
    mask: Callable[[], np.ndarray] | None = None
    """Answers H × W class ids; None where the dataset has landmarks alone."""
    points: Callable[[], np.ndarray] | None = None
    """Answers faces × 68 × 2 (x, y), pixels, 0-based; None where there are masks alone."""

    def convert(self, stem: Path) -> Sample:
        """Write what there is in the project's own form, as ``stem``.png and ``stem``.txt."""
        regions, faces = self.mask and self.mask(), self.points and self.points()
        mask, points = stem.with_suffix(".png"), stem.with_suffix(".txt")
        stem.parent.mkdir(parents=True, exist_ok=True)
        if regions is not None:
            Image.fromarray(regions).save(mask)
        if faces is not None:
            write_points(points, faces)
        return Sample(self.image, None if regions is None else mask, None if faces is None else points, self.split)


def read_mask(path: Path | str) -> np.ndarray:
    """Read the H × W class ids of an 8-bit grey or indexed PNG; raises ValueError where there are none."""
    try:
        with Image.open(path) as file:
            if file.mode not in ("P", "L"):
                raise ValueError(f"{path} is a {file.mode} picture; a mask is an 8-bit grey or indexed PNG of ids")
            return np.array(file)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as a mask") from error


def read_points(path: Path | str) -> np.ndarray:
    """Read landmarks as float32 faces × 68 × 2 (x, y), pixels, 0-based.

    The file holds, for each face, a line ``68`` and 68 lines ``x y``: LaPa's layout, repeated.
    """
    try:
        rows = [line.split() for line in Path(path).read_text().splitlines() if line.strip()]
        faces = np.array([row for row in rows if len(row) == 2], np.float32).reshape(-1, 68, 2)
        counts = [int(" ".join(row)) for row in rows if len(row) != 2]
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a landmark file: a line 68, then 68 lines x y, for each face") from error
    if counts != [68] * len(faces):
        raise ValueError(f"{path} announces {counts} points; each face has 68")
    if not np.isfinite(faces).all():
        raise ValueError(f"{path} has points that are no numbers; leave out a face whose points are not all known")
    return faces


def write_points(path: Path, faces: np.ndarray) -> None:
    """Write faces × 68 × 2 (x, y) as :func:`read_points` reads them."""
    path.write_text("".join("68\n" + "".join(f"{x:.3f} {y:.3f}\n" for x, y in face) for face in faces))


def read_ids(path: Path, ids: Mapping[int, int]) -> np.ndarray:
    """Read a mask of other ids in ours.

    Raises:
        ValueError: there is no such mask, or it holds an id that ``ids`` (theirs: ours) does not name.
    """
    mask = read_mask(path)
    if strange := sorted(set(np.unique(mask).tolist()) - ids.keys()):
        raise ValueError(f"{path} holds ids {strange}; those of its dataset are {sorted(ids)}")
    table = np.zeros(256, np.uint8)
    table[list(ids)] = list(ids.values())
    return table[mask]


def read_xy(path: Path, count: int, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> np.ndarray:
    """Read ``count`` lines ``x y``, with the lines that are to stand before and after them, as float32 ``count`` × 2.

    Raises:
        ValueError: the file cannot be read or holds anything else.
    """
    form = ", ".join([*before, f"{count} times x y", *after])
    try:
        lines = [" ".join(line.split()) for line in path.read_text().splitlines() if line.strip()]
        rows = lines[len(before) : len(lines) - len(after)]
        points = np.array([row.split() for row in rows], np.float32)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as landmarks, which are the lines: {form}") from error
    if lines != [*before, *rows, *after] or points.shape != (count, 2) or not np.isfinite(points).all():
        raise ValueError(f"{path} has {len(rows)} points or other lines around them; it is to hold the lines: {form}")
    return points


def not_empty(samples: list, root: Path, layout: str) -> list:
    """The samples; raises FileNotFoundError, naming the layout, where there are none."""
    if not samples:
        raise FileNotFoundError(f"no pictures under {root}; they are to lie at {layout}")
    return samples


def folder_samples(root: Path) -> list[Sample]:
    """List ``{images,labels,landmarks}`` under ``root`` and its ``train``, ``val`` and ``test``, whichever exist.

    A picture without a mask is listed all the same: reading it will say what is missing.

    Raises:
        FileNotFoundError: there is no picture in any folder ``images``.
    """
    samples = [
        Sample(
            image,
            folder / "labels" / f"{image.stem}.png",
            points if (points := folder / "landmarks" / f"{image.stem}.txt").exists() else None,
            split,
        )
        for split, folder in ((None, root), *((name, root / name) for name in SPLITS))
        for image in sorted((folder / "images").glob("[!.]*"))  # no hidden files
    ]
    return not_empty(samples, root, "train/images; the starter data comes with: dvc pull")
