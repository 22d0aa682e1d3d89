"""F1 without each part of the recipe, from the trainings of ``make ablations``: ``python benchmarks/ablations.py``.

Mean F1 of the network alone, at the side that it was trained for, on the validation images of each dataset. Faces with
points alone have masks of the nine face classes only, so theirs is the mean F1 of these.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import dvc.api
import numpy as np
import torch
from dvc.exceptions import DvcException
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemark.data.splits import read_index
from facemark.evaluation import metrics
from facemark.labels import CLASSES
from facemark.models.bundle import CONFIG, WEIGHTS, ModelBundle
from facemark.models.unet import ParsingNet
from facemark.settings import PREPARED, TRAINED
from facemark.training.datamodule import FaceDataset

EXPERIMENTS = ("small", "no-wild-faces", "no-starter-faces", "no-repeats", "no-averaging")
DATASETS = {"celebamask": metrics.mean_f1, "starter": metrics.mean_f1, "landmarks68": metrics.mean_f1_face}


def trained(experiment: str) -> tuple[ParsingNet, int]:
    """The network that an experiment trained, and its input side in pixels.

    Raises:
        SystemExit: the experiment was not run here.
    """
    with TemporaryDirectory() as folder:
        for name in (CONFIG, WEIGHTS):
            try:
                Path(folder, name).write_bytes(dvc.api.read(str(TRAINED / name), rev=experiment, mode="rb"))
            except DvcException as error:
                message = f"the experiment {experiment} is not here ({error}); run first: make ablations"
                raise SystemExit(message) from error
        bundle = ModelBundle.open(folder)
        return bundle.network(), bundle.config.input_size


@torch.inference_mode()
def f1(network: ParsingNet, size: int, dataset: str) -> float:
    """Mean F1 in per cent on the validation images of a dataset."""
    faces, confusion = FaceDataset(read_index([PREPARED / dataset], "val"), size, seed=0), np.zeros((len(CLASSES),) * 2)
    for image, mask in track((faces[i] for i in range(len(faces))), dataset, len(faces), transient=True):
        confusion += metrics.confusion(network(image[None]).argmax(1)[0].numpy(), mask.numpy())
    return DATASETS[dataset](confusion)


def main() -> None:
    """Print a row for each experiment."""
    table = Table("experiment", *(f"{name} val" for name in DATASETS))
    networks = {experiment: trained(experiment) for experiment in EXPERIMENTS}
    for experiment, (network, size) in networks.items():
        table.add_row(experiment, *(f"{f1(network, size, name):.1f}" for name in DATASETS))
    Console().print(table)


if __name__ == "__main__":
    main()
