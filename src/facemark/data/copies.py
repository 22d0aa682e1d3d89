"""Copies of training samples that training reads instead: with corrected points, or downscaled."""

from dataclasses import replace
from pathlib import Path

from PIL import Image
from rich.progress import track

from facemark.data.outliers import NO_FACES, Outliers
from facemark.data.samples import Sample, read_mask, write_points
from facemark.geometry import rescale
from facemark.images import read_image

MAX_SIDE = 1280
"""Longer side, in pixels, of training images that have a mask and no points. Training uses a few hundred pixels of
them, but decodes the whole file each time."""


def write_corrected_points(samples: list[Sample], outliers: list[Outliers], folder: Path) -> list[Sample]:
    """Replace the points of training samples that have outliers.

    Validation and test samples keep their points: what a model is measured by is not changed.

    Args:
        samples: with their splits assigned.
        outliers: from :func:`facemark.data.outliers.find_outliers`.
        folder: where corrected points are written; created when needed.

    Returns:
        The samples in order; a sample with outliers has the path of its corrected points.
    """
    corrected = {each.sample.points: each.corrected for each in outliers}
    replaced = []
    for number, sample in enumerate(samples):
        if sample.split == "train" and sample.points in corrected:
            file = folder / f"{number:06}.txt"
            folder.mkdir(parents=True, exist_ok=True)
            write_points(file, corrected[sample.points])
            sample = replace(sample, points=file)
        replaced.append(sample)
    return replaced


def is_large(sample: Sample) -> bool:
    """Whether :func:`downscale_large` replaces a sample.

    Samples with points are never replaced: ``calibrate`` measures them at their own size.
    """
    if sample.split != "train" or sample.mask is None or sample.points:
        return False
    with Image.open(sample.image) as image:
        return max(image.size) > MAX_SIDE


def downscale_large(samples: list[Sample], folder: Path) -> list[Sample]:
    """Replace training samples of more than MAX_SIDE pixels by copies of MAX_SIDE pixels.

    Args:
        samples: with their splits assigned.
        folder: where copies are written; created when needed.

    Returns:
        The samples in order; a large one has the paths of its copies.
    """
    replaced, chosen = list(samples), [i for i, sample in enumerate(samples) if is_large(sample)]
    for i in track(chosen, "downscaling large pictures", disable=not chosen):
        replaced[i] = _downscale(samples[i], folder / f"{i:06}-{samples[i].image.stem}")
    return replaced


def _downscale(sample: Sample, stem: Path) -> Sample:
    """Write image and mask, at MAX_SIDE pixels, as ``stem``.jpg and ``stem``.png."""
    assert sample.mask is not None  # is_large has checked it
    image, mask = read_image(sample.image), read_mask(sample.mask)
    image, mask, _ = rescale(image, mask, NO_FACES, MAX_SIDE / max(mask.shape))
    stem.parent.mkdir(parents=True, exist_ok=True)
    small_image, small_mask = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".jpg", ".png"))
    Image.fromarray(image).save(small_image, quality=95, subsampling=0)
    Image.fromarray(mask).save(small_mask)
    return replace(sample, image=small_image, mask=small_mask)
