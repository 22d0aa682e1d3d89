"""HELEN* (relabelled by Lin et al., "RoI Tanh-Warping", CVPR 2019, https://arxiv.org/abs/1906.01342).

``{train,test}/*_image.jpg`` and ``*_label.png`` beside it: LaPa's ids, left is the viewer's.
"""

from functools import partial
from pathlib import Path

from facemark.data.formats.lapa import VIEWERS
from facemark.data.samples import Published, not_empty, read_ids


def samples(root: Path) -> list[Published]:
    """List the pictures under ``root``."""
    listed = [
        Published(
            image, split, partial(read_ids, image.with_name(f"{image.stem.removesuffix('_image')}_label.png"), VIEWERS)
        )
        for split in ("train", "test")
        for image in sorted((root / split).glob("*_image.jpg"))
    ]
    return not_empty(listed, root, "{train,test}/*_image.jpg")
