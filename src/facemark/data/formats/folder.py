"""A plain folder of pictures and indexed masks in classes of any order, named in ``params.yaml``.

``images/*`` and ``labels/*.png``, and ``landmarks/*.txt`` where there are some (iBUG-68, see
:func:`facemark.datasets.read_points`), under the folder or under its ``train``, ``val`` and ``test``.
"""

from functools import partial
from pathlib import Path

from facemark.data.samples import Published, folder_samples, read_ids, read_points
from facemark.labels import CLASSES, IGNORE


def samples(root: Path, classes: dict[int, str]) -> list[Published]:
    """List the pictures under ``root``; ``classes`` names, by one of ours or ``ignore``, each id of the masks."""
    ids = {theirs: IGNORE if name == "ignore" else CLASSES.index(name) for theirs, name in classes.items()}
    return [
        Published(s.image, s.split, partial(read_ids, s.mask, ids), s.points and partial(read_points, s.points))
        for s in folder_samples(root)
    ]
