"""What each part of the recipe is worth, from what ``make ablations`` trained: ``python benchmarks/ablations.py``.

Mean F1 of the network alone at the side that it was trained at, on the validation pictures of each dataset. Faces with
points alone count in the pixels of which these are sure, so for them it is the mean over the nine classes of a face.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import dvc.api
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemark import metrics, model
from facemark.datasets import read_index
from facemark.stages.prepare import PREPARED
from facemark.training import Faces

EXPERIMENTS = ("small", "no-wild-faces", "no-starter-faces", "no-repeats", "no-averaging")
DATASETS = {"celebamask": metrics.mean_f1, "starter": metrics.mean_f1, "landmarks68": metrics.mean_f1_face}
WEIGHTS = "build/train/model.safetensors"


def fetched(experiment: str) -> tuple[model.ParsingNet, int]:
    """The network that an experiment trained, and its input side in pixels."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        file.write_bytes(dvc.api.read(WEIGHTS, rev=experiment, mode="rb"))
        return model.load(file)


@torch.inference_mode()
def f1(network: model.ParsingNet, size: int, dataset: str) -> float:
    """Mean F1 on the validation pictures of a dataset."""
    faces, confusion = Faces(read_index([PREPARED / dataset], "val"), size, seed=0), 0
    for image, mask in track((faces[i] for i in range(len(faces))), dataset, len(faces), transient=True):
        confusion += metrics.confusion(network(image[None]).argmax(1)[0].numpy(), mask.numpy())
    return DATASETS[dataset](confusion)


def main() -> None:
    """Print a row for each experiment."""
    missing = [name for name in DATASETS if not (PREPARED / name).exists()]
    if missing:
        raise SystemExit(f"{', '.join(missing)} was not prepared here; run first: make ablations")
    table = Table("experiment", *(f"{name} val" for name in DATASETS))
    for experiment in EXPERIMENTS:
        network, size = fetched(experiment)
        table.add_row(experiment, *(f"{f1(network, size, name):.1f}" for name in DATASETS))
    Console().print(table)


if __name__ == "__main__":
    main()
