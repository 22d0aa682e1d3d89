"""One sample of a dataset, and how its files are read.

A format (:mod:`facemark.data.formats`) lists :class:`Sample` where its files are already in the project's own form.
Otherwise it lists :class:`Published`, which ``prepare`` converts one by one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

SPLITS = ("train", "val", "test")
POINT_LINES = "a line 68, then 68 lines x y, for each face"


@dataclass(frozen=True)
class Sample:
    """One image with its labels, in the project's own form: a mask of class ids, iBUG-68 landmarks, or both."""

    image: Path
    mask: Path | None
    """An 8-bit indexed PNG (:func:`read_mask`); None where the dataset has only landmarks."""
    points: Path | None
    """A landmark file (:func:`read_points`); None where the dataset has only masks."""
    split: str | None
    """``train``, ``val``, ``test``, or None where the dataset does not say."""
    classes: tuple[str, ...] = ()
    """Names of the classes that the mask shows; empty until ``prepare`` has counted them."""
    weight: float = 1
    """How often training shows it, relative to other samples. Set from ``params.yaml``; the index does not hold it."""


@dataclass(frozen=True)
class Published:
    """One image of a dataset in a form of its own, with readers that return its labels in ours.

    Both readers raise ValueError where the files are not as the dataset documents them.
    """

    image: Path
    split: str | None
    """``train``, ``val``, ``test``, or None where the dataset does not say."""
    mask: Callable[[], np.ndarray] | None = None
    """Returns the mask, H × W uint8 class ids; None where the dataset has only landmarks."""
    points: Callable[[], np.ndarray] | None = None
    """Returns the landmarks, faces × 68 × 2 (x, y) in pixels, 0-based; None where the dataset has only masks."""

    def convert(self, stem: Path) -> Sample:
        """Write its labels in the project's own form.

        Args:
            stem: path of the files to write, without suffix: ``stem``.png for the mask, ``stem``.txt for the points.

        Returns:
            A sample of the same image with the files written.

        Raises:
            ValueError: a file of the dataset cannot be read.
        """
        regions = self.mask() if self.mask else None
        faces = self.points() if self.points else None
        mask, points = stem.with_suffix(".png"), stem.with_suffix(".txt")
        stem.parent.mkdir(parents=True, exist_ok=True)
        if regions is not None:
            Image.fromarray(regions).save(mask)
        if faces is not None:
            write_points(points, faces)
        return Sample(self.image, None if regions is None else mask, None if faces is None else points, self.split)


def read_mask(path: Path | str) -> np.ndarray:
    """Read a mask from an 8-bit grey or indexed PNG.

    Returns:
        H × W uint8 class ids.

    Raises:
        ValueError: the file is missing, is no image, or is neither grey nor indexed.
    """
    try:
        with Image.open(path) as file:
            if file.mode not in ("P", "L"):
                raise ValueError(f"{path} is a {file.mode} picture; a mask is an 8-bit grey or indexed PNG of ids")
            return np.array(file)
    except OSError as error:
        raise ValueError(f"{path} cannot be read as a mask") from error


def read_points(path: Path | str) -> np.ndarray:
    """Read landmarks from a text file: for each face a line ``68`` and 68 lines ``x y`` (LaPa's layout, repeated).

    Returns:
        faces × 68 × 2 float32 (x, y) in pixels, 0-based.

    Raises:
        ValueError: the file is missing, has another layout, or holds a point that is not finite.
    """
    try:
        rows = [line.split() for line in Path(path).read_text().splitlines() if line.strip()]
        faces = np.array([row for row in rows if len(row) == 2], np.float32).reshape(-1, 68, 2)
        counts = [int(" ".join(row)) for row in rows if len(row) != 2]
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a landmark file: {POINT_LINES}") from error
    if counts != [68] * len(faces):
        raise ValueError(f"{path} announces {counts} points; each face has 68")
    if not np.isfinite(faces).all():
        raise ValueError(f"{path} has points that are no numbers; leave out a face whose points are not all known")
    return faces


def write_points(path: Path, faces: np.ndarray) -> None:
    """Write landmarks, faces × 68 × 2 (x, y) in pixels, in the layout of :func:`read_points`."""
    path.write_text("".join("68\n" + "".join(f"{x:.3f} {y:.3f}\n" for x, y in face) for face in faces))


def read_ids(path: Path, ids: Mapping[int, int]) -> np.ndarray:
    """Read a mask in the ids of another dataset.

    Args:
        path: a mask as :func:`read_mask` reads it.
        ids: our id, or IGNORE, or an id of ``UNIONS``, for each id of the dataset.

    Returns:
        H × W uint8, our ids.

    Raises:
        ValueError: the mask cannot be read, or holds an id that ``ids`` lacks.
    """
    mask = read_mask(path)
    if unknown := sorted(set(np.unique(mask).tolist()) - ids.keys()):
        raise ValueError(f"{path} holds ids {unknown}; those of its dataset are {sorted(ids)}")
    table = np.zeros(256, np.uint8)
    table[list(ids)] = list(ids.values())
    return table[mask]


def read_xy(path: Path, count: int, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> np.ndarray:
    """Read a text file of ``count`` lines ``x y``.

    Args:
        path: the file; empty lines and repeated spaces do not count.
        count: how many points the file must hold.
        before: the lines that must precede the points.
        after: the lines that must follow them.

    Returns:
        count × 2 float32 (x, y), as they are in the file.

    Raises:
        ValueError: the file is missing, holds anything else, or holds a point that is not finite.
    """
    layout = ", ".join([*before, f"{count} times x y", *after])
    try:
        lines = [" ".join(line.split()) for line in path.read_text().splitlines() if line.strip()]
        rows = lines[len(before) : len(lines) - len(after)]
        points = np.array([row.split() for row in rows], np.float32)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as landmarks; the expected lines are: {layout}") from error
    if lines != [*before, *rows, *after] or points.shape != (count, 2) or not np.isfinite(points).all():
        raise ValueError(f"{path} has {len(rows)} points or other lines around them; the expected lines are: {layout}")
    return points


Listed = TypeVar("Listed", Sample, Published)


def require_samples(listed: list[Listed], root: Path, layout: str) -> list[Listed]:
    """Return the listed samples.

    Raises:
        FileNotFoundError: there are none; the message names the expected layout under ``root``.
    """
    if not listed:
        raise FileNotFoundError(f"no pictures under {root}; expected: {layout}")
    return listed


def folder_samples(root: Path) -> list[Sample]:
    """List the images of ``{images,labels,landmarks}`` under ``root`` and under its ``train``, ``val`` and ``test``.

    Folders that do not exist are skipped. An image without a mask is listed too: reading the mask will report it.

    Raises:
        FileNotFoundError: no folder ``images`` holds an image.
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
    return require_samples(samples, root, "train/images; the starter data comes with: dvc pull")


def publish(listed: list[Sample], ids: Mapping[int, int], points: Callable[[Path], np.ndarray]) -> list[Published]:
    """Say how the files of listed images are read, where masks or landmark files are in another form than ours.

    Args:
        listed: images with paths to the dataset's own files.
        ids: our id for each id of its masks, see :func:`read_ids`.
        points: reads a landmark file and returns faces × 68 × 2 (x, y).
    """
    return [
        Published(
            sample.image,
            sample.split,
            partial(read_ids, sample.mask, ids) if sample.mask else None,
            partial(points, sample.points) if sample.points else None,
        )
        for sample in listed
    ]
