from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from facemark.data import synthetic
from facemark.data.samples import Sample, folder_samples
from facemark.data.splits import write_index
from facemark.evaluation import metrics
from facemark.inference.landmarks import FEATURE_GROUPS, MAP_SIDE, LandmarkModel
from facemark.inference.parser import FaceParser
from facemark.models.bundle import ModelBundle
from facemark.settings import PREPARED, Dataset, load_params
from facemark.training.calibration import MAX_OFFSET, calibrate, calibration_crops, fit_landmarks, template_offset


def params(start: str, **datasets: Dataset):
    """The default params with these datasets, the landmark model starting from ``start``."""
    whole = load_params(Path(__file__).parents[1] / "params.yaml")
    return whole.model_copy(
        update={
            "prepare": whole.prepare.model_copy(update={"datasets": datasets}),
            "calibrate": whole.calibrate.model_copy(update={"start_from": start}),
        }
    )


def test_a_face_in_its_aligned_crop_is_on_the_template(released, tmp_path):
    synthetic.write(tmp_path, {"train": 6}, seed=1)
    parser, faces, rng = FaceParser(released, device="cpu"), [], np.random.default_rng(0)
    for sample in folder_samples(tmp_path):
        faces += calibration_crops(parser, Sample(sample.image, None, sample.points, "train"), rng)
    assert len(faces) >= 3
    for maps, face in faces:
        assert maps.shape[:2] == (MAP_SIDE, MAP_SIDE)
        assert template_offset(face) < MAX_OFFSET < template_offset(face + 0.4)
    model = LandmarkModel.load(released / "landmarks.npz")
    assert np.median([metrics.nme(model.place(maps)[0], face) for maps, face in faces]) < 8


def test_the_bundle_has_the_network_and_the_landmark_model_fitted_to_the_faces(released, tmp_path, monkeypatch):
    start = str((released / "landmarks.npz").resolve())
    released = released.resolve()
    synthetic.write(tmp_path / "faces", {"train": 4}, seed=1)
    monkeypatch.chdir(tmp_path)
    (PREPARED / "drawn").mkdir(parents=True)
    write_index(PREPARED / "drawn/index.csv", folder_samples(tmp_path / "faces"))
    dataset = Dataset(format="starter", path=Path("faces"))
    assert calibrate(params(start, drawn=dataset), released, tmp_path / "out") >= 2
    bundle, before = ModelBundle.open(tmp_path / "out"), LandmarkModel.load(start)
    after = LandmarkModel.load(bundle.landmarks)
    assert (after.mean == before.mean).all(), "the shapes are those of the model it starts from"
    assert not np.array_equal(after.steps, before.steps)
    old, new = ModelBundle.open(released).network().state_dict(), bundle.network().state_dict()
    assert all(torch.equal(values, new[name]) for name, values in old.items())


@pytest.mark.parametrize(("use", "images"), [(("landmarks",), 2), (("parsing",), 0), (("parsing", "landmarks"), 2)])
def test_the_landmark_model_is_fitted_to_datasets_for_landmarks_alone(
    untrained, tmp_path, monkeypatch, capsys, use, images
):
    synthetic.write(tmp_path / "faces", {"train": 3, "val": 1}, seed=1)
    monkeypatch.chdir(tmp_path)
    (PREPARED / "drawn").mkdir(parents=True)
    listed = sorted(folder_samples(tmp_path / "faces"), key=lambda sample: sample.split)
    write_index(PREPARED / "drawn/index.csv", [replace(listed[0], points=None), *listed[1:]])
    drawn = Dataset(format="starter", path=Path("faces"), use=use)
    calibrate(params(str(untrained / "landmarks.npz"), drawn=drawn), untrained, tmp_path / "out")
    assert f"faces in {images} pictures" in capsys.readouterr().out


def test_without_faces_the_model_stays_as_it_was(untrained, tmp_path):
    start = untrained / "landmarks.npz"
    assert calibrate(params(str(start)), untrained, tmp_path / "out") == 0
    before, after = (LandmarkModel.load(path) for path in (start, ModelBundle.open(tmp_path / "out").landmarks))
    assert (before.mean == after.mean).all()
    assert np.array_equal(before.steps, after.steps)


def test_without_model_and_faces_it_is_refused(untrained, tmp_path):
    with pytest.raises(SystemExit, match="name a model"):
        calibrate(params("none"), untrained, tmp_path / "out")


def test_without_a_model_to_start_from_the_shapes_are_those_of_the_faces():
    rng = np.random.default_rng(0)
    drawn = [synthetic.draw(seed) for seed in range(12)]
    shapes = [each.points[0] / max(each.mask.shape) for each in drawn]
    maps = rng.integers(0, 256, (12, MAP_SIDE, MAP_SIDE, len(FEATURE_GROUPS)), np.uint8)
    model = fit_landmarks("none", list(zip(maps, shapes, strict=True)))
    assert np.allclose(model.mean, LandmarkModel.from_shapes(np.array(shapes)).mean)
    assert model.steps.any()
