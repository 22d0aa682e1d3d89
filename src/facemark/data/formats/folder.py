"""A plain folder of images and indexed masks in classes of any order, named in ``params.yaml``.

``images/*``, ``labels/*.png`` and, optionally, ``landmarks/*.txt`` (iBUG-68,
:func:`facemark.data.samples.read_points`), under the folder or under its ``train``, ``val`` and ``test``.
"""

from pathlib import Path

from facemark.data.samples import Published, folder_samples, publish, read_points
from facemark.labels import CLASSES, IGNORE


def samples(root: Path, classes: dict[int, str]) -> list[Published]:
    """List the images under ``root``.

    Args:
        root: the folder.
        classes: the name of one of our classes, or ``ignore``, for each id of the masks.

    Raises:
        FileNotFoundError: there are no images.
    """
    ids = {theirs: IGNORE if name == "ignore" else CLASSES.index(name) for theirs, name in classes.items()}
    return publish(folder_samples(root), ids, read_points)
