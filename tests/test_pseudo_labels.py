import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from facemark import cli
from facemark.data import partial_masks, synthetic
from facemark.data.formats import landmarks68
from facemark.data.samples import folder_samples, read_mask, read_points
from facemark.data.splits import assign_splits
from facemark.datatools import pseudo_labels
from facemark.datatools.pseudo_labels import MIN_PROBABILITY
from facemark.images import read_image
from facemark.inference.parser import FaceParser
from facemark.labels import BESIDE_FACE, BESIDE_PART, CLASSES, IGNORE, Region
from facemark.settings import load_params


def probabilities(classes: np.ndarray, probability: float) -> np.ndarray:
    """Probabilities, 19 × H × W, of a parser that gives each pixel's class this probability."""
    predicted = np.full((len(CLASSES), *classes.shape), (1 - probability) / (len(CLASSES) - 1))
    np.put_along_axis(predicted, classes[None].astype(int), probability, 0)
    return predicted


@pytest.mark.parametrize(
    ("from_points", "predicted", "expected"),
    [
        (IGNORE, Region.HAIR, Region.HAIR),
        (BESIDE_FACE, Region.HAIR, Region.HAIR),
        (BESIDE_FACE, Region.SKIN, BESIDE_FACE),  # the points show that this is outside the face
        (BESIDE_PART, Region.SKIN, Region.SKIN),
        (BESIDE_PART, Region.L_EYE, BESIDE_PART),
        (Region.L_EYE, Region.SKIN, Region.L_EYE),
    ],
)
def test_predictions_are_used_only_where_the_points_leave_the_class_open(from_points, predicted, expected):
    partial = np.full((1, 1), from_points, np.uint8)
    mask = pseudo_labels.complete_mask(partial, probabilities(np.array([[predicted]]), 0.99))
    assert mask == [[expected]]
    assert mask.dtype == np.uint8


def test_uncertain_predictions_are_not_used():
    partial = np.array([[IGNORE, BESIDE_FACE, Region.NOSE]], np.uint8)
    mask = pseudo_labels.complete_mask(partial, probabilities(np.full((1, 3), Region.HAIR), MIN_PROBABILITY - 0.01))
    assert (mask == partial).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Drawn images, read as a dataset that has only points; their masks are for comparison."""
    root = tmp_path_factory.mktemp("pseudo_labels") / "faces"
    synthetic.write(root, {"train": 8, "val": 2, "test": 1})
    return root


def write(folder, out, form="landmarks68", *options):
    return CliRunner().invoke(
        cli.app, ["data", "pseudo-labels", str(folder), "--format", form, "-o", str(out), *options]
    )


def test_pseudo_labels_cover_more_than_partial_masks_and_are_mostly_right(released, folder, tmp_path):
    done = write(folder, tmp_path / "new" / "labelled")
    assert done.exit_code == 0, done.output
    written = folder_samples(tmp_path / "new" / "labelled")
    single = [points for points in sorted((folder / "train/landmarks").iterdir()) if len(read_points(points)) == 1]
    assert 0 < len(single) < 8
    several = sum(len(read_points(points)) > 1 for points in folder.rglob("landmarks/*.txt"))
    assert done.stderr.count("left out") == several
    assert [(sample.split, sample.image.stem[7:]) for sample in written] == [("train", each.stem) for each in single]
    partly, added, right = 0, 0, 0
    for sample, points in zip(written, single, strict=True):
        face, image = read_points(points)[0].astype(float), read_image(folder / f"train/images/{points.stem}.jpg")
        exact, _ = partial_masks.crop_context(read_mask(folder / f"train/labels/{points.stem}.png"), face)
        crop, moved = partial_masks.crop_context(image, face)
        partial, mask = partial_masks.draw_partial_mask(moved, crop.shape[:2]), read_mask(sample.mask)
        assert (mask == partial)[partial < len(CLASSES)].all()
        new = (partial >= len(CLASSES)) & (mask < len(CLASSES))
        partly, added = partly + (partial < len(CLASSES)).sum(), added + new.sum()
        right += (mask == exact)[new].sum()
    assert added > partly
    assert right > 0.9 * added


def test_faces_that_prepare_would_draw_for_validation_get_no_pseudo_labels(released, folder, tmp_path):
    shutil.copytree(folder / "train", tmp_path / "faces" / "train")
    sound = [sample for sample in landmarks68.samples(tmp_path / "faces") if len(read_points(sample.points)) == 1]
    prepare = load_params().prepare
    trained = [
        sample.image.stem for sample in assign_splits(sound, prepare.splits, prepare.seed) if sample.split == "train"
    ]
    for options, expected in (((), trained), (("--all-splits",), [sample.image.stem for sample in sound])):
        out = tmp_path / f"labelled{len(options)}"
        assert write(tmp_path / "faces", out, "landmarks68", *options).exit_code == 0
        assert [sample.image.stem[7:] for sample in folder_samples(out)] == expected
    assert 0 < len(trained) < len(sound)


def test_a_face_that_the_parser_does_not_find_keeps_its_partial_mask(released):
    drawn = synthetic.draw(2)
    partial = partial_masks.draw_partial_mask(drawn.points[0].astype(float), drawn.mask.shape)
    parser = FaceParser(released)
    _, mask = pseudo_labels.pseudo_label(drawn.image, partial, drawn.points[0], parser)
    assert (mask != partial).any()
    _, mask = pseudo_labels.pseudo_label(drawn.image, partial, drawn.points[0] + 500, parser)
    assert (mask == partial).all()


@pytest.mark.parametrize(
    ("form", "place", "why"), [("starter", "labelled", "has masks"), ("landmarks68", ".", "exists; name")]
)
def test_impossible_pseudo_labels_are_refused_and_nothing_is_written(released, folder, tmp_path, form, place, why):
    done = write(folder, tmp_path / place, form)
    assert done.exit_code == 1
    assert why in done.stderr
    assert not list(tmp_path.iterdir())
