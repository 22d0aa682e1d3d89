"""HELEN* (relabelled by Lin et al., "RoI Tanh-Warping", CVPR 2019, https://arxiv.org/abs/1906.01342).

``{train,test}/*_image.jpg``, with ``*_label.png`` in the same folder: LaPa's ids, left is the viewer's left.
"""

from functools import partial
from pathlib import Path

from facemark.data.formats.lapa import VIEWERS
from facemark.data.samples import Published, read_ids, require_samples


def samples(root: Path) -> list[Published]:
    """List the images under ``root``.

    Raises:
        FileNotFoundError: there are none.
    """
    listed = [
        Published(
            image, split, partial(read_ids, image.with_name(f"{image.stem.removesuffix('_image')}_label.png"), VIEWERS)
        )
        for split in ("train", "test")
        for image in sorted((root / split).glob("*_image.jpg"))
    ]
    return require_samples(listed, root, "{train,test}/*_image.jpg")
