import numpy as np
import pytest

from facemark.data import synthetic
from facemark.data.samples import Sample
from facemark.evaluation import metrics
from facemark.inference.landmarks import MAP_SIDE, LandmarkModel
from facemark.inference.parser import FaceParser
from facemark.settings import load_params
from facemark.stages.calibrate import calibrate
from facemark.training.calibration import MAX_OFFSET, calibration_crops, template_offset


def params(start: str):
    """The default parameters without datasets, the landmark model starting from ``start``."""
    whole = load_params()
    prepare = whole.prepare.model_copy(update={"datasets": {}})
    return whole.model_copy(
        update={"prepare": prepare, "calibrate": whole.calibrate.model_copy(update={"start_from": start})}
    )


def test_a_face_in_its_portrait_lies_where_it_should(released, tmp_path):
    synthetic.write(tmp_path, {"train": 6}, seed=1)
    parser, found, rng = FaceParser(released, device="cpu"), [], np.random.default_rng(0)
    for points in sorted((tmp_path / "train/landmarks").glob("*.txt")):
        image = next((tmp_path / "train/images").glob(f"{points.stem}.*"))
        found += calibration_crops(parser, Sample(image, None, points, "train"), rng)
    assert len(found) >= 3
    for maps, face in found:
        assert maps.shape[:2] == (MAP_SIDE, MAP_SIDE)
        assert template_offset(face) < MAX_OFFSET < template_offset(face + 0.4)
    model = LandmarkModel.load(released / "landmarks.npz")
    assert np.median([metrics.nme(model.place(maps)[0], face) for maps, face in found]) < 8


def test_without_faces_the_model_stays_as_it_was(untrained, tmp_path):
    calibrate(params(str(untrained[1])), untrained[0], tmp_path / "landmarks.npz")
    before, after = (LandmarkModel.load(path) for path in (untrained[1], tmp_path / "landmarks.npz"))
    assert (before.mean == after.mean).all()
    assert np.array_equal(before.steps, after.steps)


def test_neither_model_nor_faces_is_refused(untrained, tmp_path):
    with pytest.raises(SystemExit, match="name a model"):
        calibrate(params("none"), untrained[0], tmp_path / "landmarks.npz")
