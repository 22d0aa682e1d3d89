"""DVC stage ``calibrate``: fit the landmark model to faces with points, as the trained network sees them."""

import tempfile
from pathlib import Path

import mlflow
import numpy as np
from rich.progress import track

from facemark.data.splits import read_index
from facemark.inference.landmarks import LandmarkModel
from facemark.inference.parser import FaceParser
from facemark.mlops import tracking
from facemark.models.bundle import ModelBundle, add_landmarks
from facemark.settings import BUILT, PREPARED, TRAINED, Params, load_params
from facemark.training.calibration import MAX_IMAGES, calibration_crops


def calibrate(params: Params, trained: Path, out: Path) -> int:
    """Fit a landmark model to the training faces that have points, and write it with the network as one bundle.

    Args:
        params: datasets whose ``use`` names landmarks count.
        trained: the bundle of the stage ``train``.
        out: folder of the new bundle.

    Returns:
        How many faces it was fitted to.

    Raises:
        SystemExit: there is no model to start from and no face to learn from.
    """
    folders = [PREPARED / name for name, dataset in params.prepare.datasets.items() if "landmarks" in dataset.use]
    samples = [sample for sample in read_index(folders, "train") if sample.points]
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(samples))[:MAX_IMAGES]
    bundle = ModelBundle.open(trained)
    parser = FaceParser(bundle)
    faces = [face for i in track(chosen, "parsing faces") for face in calibration_crops(parser, samples[i], rng)]
    if params.calibrate.start_from != "none":
        model = LandmarkModel.load(params.calibrate.start_from)
    elif faces:
        model = LandmarkModel.from_shapes(np.array([points for _, points in faces]))
    else:
        raise SystemExit("no face with points was found to learn from; name a model in calibrate.start_from")
    if faces:
        model = model.fit(faces)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "landmarks.npz")
        model.save(file)
        add_landmarks(bundle, file, out)
    print(f"fitted to {len(faces)} faces in {len(chosen)} pictures")
    return len(faces)


if __name__ == "__main__":
    params = load_params()
    with tracking.stage("calibrate", params.of_stages()):
        mlflow.log_metric("faces", calibrate(params, TRAINED, BUILT))
