"""What each part of the recipe is worth, from what ``make ablations`` trained: ``python benchmarks/ablations.py``.

Mean F1 of the network alone at the side that it was trained at, on the validation pictures of each dataset. Faces with
points alone count in the pixels of which these are sure, so for them it is the mean over the nine classes of a face.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import dvc.api
import torch
from dvc.exceptions import DvcException
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemark.data.splits import read_index
from facemark.evaluation import metrics
from facemark.models import bundle, unet
from facemark.settings import PREPARED
from facemark.training.datamodule import FaceDataset

EXPERIMENTS = ("small", "no-wild-faces", "no-starter-faces", "no-repeats", "no-averaging")
DATASETS = {"celebamask": metrics.mean_f1, "starter": metrics.mean_f1, "landmarks68": metrics.mean_f1_face}
WEIGHTS = "build/train/model.safetensors"


def fetched(experiment: str) -> tuple[unet.ParsingNet, int]:
    """The network that an experiment trained, and its input side in pixels.

    Raises:
        SystemExit: it was not trained here.
    """
    try:
        weights = dvc.api.read(WEIGHTS, rev=experiment, mode="rb")
    except DvcException as error:
        raise SystemExit(f"the experiment {experiment} is not here ({error}); run first: make ablations") from error
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        file.write_bytes(weights)
        return bundle.load_network(file)


@torch.inference_mode()
def f1(network: unet.ParsingNet, size: int, dataset: str) -> float:
    """Mean F1 on the validation pictures of a dataset."""
    faces, confusion = FaceDataset(read_index([PREPARED / dataset], "val"), size, seed=0), 0
    for image, mask in track((faces[i] for i in range(len(faces))), dataset, len(faces), transient=True):
        confusion += metrics.confusion(network(image[None]).argmax(1)[0].numpy(), mask.numpy())
    return DATASETS[dataset](confusion)


def main() -> None:
    """Print a row for each experiment."""
    table = Table("experiment", *(f"{name} val" for name in DATASETS))
    networks = {experiment: fetched(experiment) for experiment in EXPERIMENTS}
    for experiment, (network, size) in networks.items():
        table.add_row(experiment, *(f"{f1(network, size, name):.1f}" for name in DATASETS))
    Console().print(table)


if __name__ == "__main__":
    main()
