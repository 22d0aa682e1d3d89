"""Faces with 68 points and no masks, as HELEN and LFPW in 300-W (https://ibug.doc.ic.ac.uk/resources/300-W/).

``{train,val,test}/images/*.jpg`` and ``landmarks/*.txt``. They train the parser through partial masks drawn from the
points: :func:`facemark.data.partial_masks.draw_partial_mask`.
"""

from dataclasses import replace
from pathlib import Path

from facemark.data.samples import Sample, folder_samples, require_samples


def samples(root: Path) -> list[Sample]:
    """List the images under ``root`` that have landmarks, without their masks.

    Raises:
        FileNotFoundError: there are none.
    """
    listed = [replace(sample, mask=None) for sample in folder_samples(root) if sample.points]
    return require_samples(listed, root, "train/images, each with a file in train/landmarks")
