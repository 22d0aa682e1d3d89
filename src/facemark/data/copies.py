"""Copies of training samples that training reads in their place: with corrected points, or smaller."""

from dataclasses import replace
from pathlib import Path

from PIL import Image
from rich.progress import track

from facemark.data.outliers import NO_FACES, Outliers
from facemark.data.samples import Sample, read_mask, write_points
from facemark.geometry import rescale
from facemark.images import read_image

MAX_SIDE = 1280
"""Longer side in pixels of training pictures with masks alone: a few hundred are seen, but all read, each time."""


def write_corrected_points(samples: list[Sample], astray: list[Outliers], folder: Path) -> list[Sample]:
    """Give training samples that have misfits the points without them, written into a folder; others stay as they are.

    What a model is tested by is not made to suit it.
    """
    faces, mended = {each.sample.points: each.faces for each in astray}, []
    for number, sample in enumerate(samples):
        if sample.split == "train" and sample.points in faces:
            file = folder / f"{number:06}.txt"
            folder.mkdir(parents=True, exist_ok=True)
            write_points(file, faces[sample.points])
            sample = replace(sample, points=file)
        mended.append(sample)
    return mended


def is_large(sample: Sample) -> bool:
    """Whether a sample is of those that :func:`shrink` makes smaller copies of."""
    if sample.split != "train" or sample.mask is None or sample.points:
        return False
    with Image.open(sample.image) as picture:
        return max(picture.size) > MAX_SIDE


def downscale_large(samples: list[Sample], folder: Path) -> list[Sample]:
    """Give training samples of more than LARGEST pixels smaller copies, written into a folder; others stay as they are.

    So do those that have points, which ``calibrate`` measures as they are.
    """
    shrunk, chosen = list(samples), [i for i, sample in enumerate(samples) if is_large(sample)]
    for i in track(chosen, "making large pictures smaller", disable=not chosen):
        image, mask = read_image(samples[i].image), read_mask(samples[i].mask)
        image, mask, _ = rescale(image, mask, NO_FACES, MAX_SIDE / max(mask.shape))
        folder.mkdir(parents=True, exist_ok=True)
        picture, regions = (folder / f"{i:06}-{samples[i].image.stem}{suffix}" for suffix in (".jpg", ".png"))
        Image.fromarray(image).save(picture, quality=95, subsampling=0)
        Image.fromarray(mask).save(regions)
        shrunk[i] = replace(samples[i], image=picture, mask=regions)
    return shrunk
