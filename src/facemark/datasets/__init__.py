"""Datasets: one module a format, all yielding the same :class:`Sample`."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
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


def read_image(path: Path | str) -> np.ndarray:
    """Read a picture as H × W × 3 RGB uint8; raises ValueError where it cannot be read."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} cannot be read as a picture")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


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
        counts = [int(row[0]) for row in rows if len(row) == 1]
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a landmark file: a line 68, then 68 lines x y, for each face") from error
    if counts != [68] * len(faces):
        raise ValueError(f"{path} announces {counts} points; each face has 68")
    return faces


def folder_samples(root: Path) -> list[Sample]:
    """List ``{train,val,test}/{images,labels,landmarks}`` under ``root``, whichever of the splits exist.

    A picture without a mask is listed all the same: reading it will say what is missing.

    Raises:
        FileNotFoundError: no split has a folder ``images``.
    """
    samples = [
        Sample(
            image,
            root / split / "labels" / f"{image.stem}.png",
            points if (points := root / split / "landmarks" / f"{image.stem}.txt").exists() else None,
            split,
        )
        for split in SPLITS
        for image in sorted((root / split / "images").glob("*"))
    ]
    if not samples:
        raise FileNotFoundError(f"no pictures under {root}/train/images; fetch the starter data with: dvc pull")
    return samples


def read_index(folders: Iterable[Path], split: str) -> list[Sample]:
    """The samples of one split from the indexes that ``prepare`` wrote into ``folders``."""
    samples = []
    for folder in folders:
        with (folder / "index.csv").open() as file:
            samples += [
                Sample(
                    Path(r["image"]),
                    Path(r["mask"]) if r["mask"] else None,
                    Path(r["points"]) if r["points"] else None,
                    r["split"],
                    tuple(r["classes"].split()),
                )
                for r in csv.DictReader(file)
                if r["split"] == split
            ]
    return samples
