"""Faces with 68 points and no masks, as HELEN and LFPW in 300-W (https://ibug.doc.ic.ac.uk/resources/300-W/).

``{train,val,test}/images/*.jpg`` and ``landmarks/*.txt``. They train the parser through the regions that their points
tell of: :func:`facemark.partial_masks.draw`.
"""

from dataclasses import replace
from pathlib import Path

from facemark.data.samples import Sample, folder_samples, not_empty


def samples(root: Path) -> list[Sample]:
    """List the pictures under ``root`` that have landmarks."""
    listed = [replace(sample, mask=None) for sample in folder_samples(root) if sample.points]
    return not_empty(listed, root, "train/images, each with a file in train/landmarks")
