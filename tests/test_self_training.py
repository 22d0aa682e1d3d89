import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from facemark import cli, partial_masks, self_training, synthetic
from facemark.datasets import folder_samples, read_mask, read_points
from facemark.labels import BESIDE_FACE, BESIDE_PART, CLASSES, IGNORE, Region
from facemark.self_training import SURE


def regions(classes: np.ndarray, probability: float) -> np.ndarray:
    """Probabilities, 19 × H × W, of a parser that is so sure of each pixel's class."""
    said = np.full((len(CLASSES), *classes.shape), (1 - probability) / (len(CLASSES) - 1))
    np.put_along_axis(said, classes[None].astype(int), probability, 0)
    return said


@pytest.mark.parametrize(
    ("told", "said", "learned"),
    [
        (IGNORE, Region.HAIR, Region.HAIR),
        (BESIDE_FACE, Region.HAIR, Region.HAIR),
        (BESIDE_FACE, Region.SKIN, BESIDE_FACE),  # the points know that the face ends before here
        (BESIDE_PART, Region.SKIN, Region.SKIN),
        (BESIDE_PART, Region.L_EYE, BESIDE_PART),
        (Region.L_EYE, Region.SKIN, Region.L_EYE),
    ],
)
def test_the_parser_says_only_what_the_points_leave_open(told, said, learned):
    filled = self_training.fill(np.full((1, 1), told, np.uint8), regions(np.array([[said]]), 0.99))
    assert filled == [[learned]]
    assert filled.dtype == np.uint8


def test_what_the_parser_doubts_stays_open():
    partial = np.array([[IGNORE, BESIDE_FACE, Region.NOSE]], np.uint8)
    filled = self_training.fill(partial, regions(np.full((1, 3), Region.HAIR), SURE - 0.01))
    assert (filled == partial).all()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Drawn pictures of one face, as a dataset that has points alone: its masks are for the tests to compare with."""
    root = tmp_path_factory.mktemp("self_training") / "faces"
    synthetic.write(root, {"train": 8, "val": 2})
    for points in root.rglob("landmarks/*.txt"):
        if len(read_points(points)) != 1:
            (points.parents[1] / "images" / f"{points.stem}.jpg").unlink()
    return root


def fill(folder, out, form="landmarks68"):
    return CliRunner().invoke(cli.app, ["data", "fill", str(folder), "--format", form, "-o", str(out)])


def test_filled_masks_tell_more_than_the_points_and_little_that_is_wrong(released, folder, tmp_path):
    done = fill(folder, tmp_path / "filled")
    assert done.exit_code == 0, done.output
    written, drawn = folder_samples(tmp_path / "filled"), sorted((folder / "train" / "images").iterdir())
    assert [sample.split for sample in written] == ["train"] * len(drawn)
    told, more, right = 0, 0, 0
    for sample, image in zip(written, drawn, strict=True):
        mask, exact = read_mask(sample.mask), read_mask(folder / "train" / "labels" / f"{image.stem}.png")
        face = read_points(folder / "train" / "landmarks" / f"{image.stem}.txt")[0].astype(float)
        exact, _ = partial_masks.around(exact, face)
        cut, points = partial_masks.around(np.array(Image.open(image)), face)
        partial = partial_masks.draw(points, cut.shape[:2])
        assert (mask == partial)[partial < len(CLASSES)].all()
        told, more = told + (partial < len(CLASSES)).sum(), more + (mask < len(CLASSES)).sum()
        right += (mask == exact)[mask < len(CLASSES)].sum()
    assert more > 2 * told
    assert right > 0.9 * more


def test_a_dataset_with_masks_is_not_filled(released, folder, tmp_path):
    done = fill(folder, tmp_path / "filled", "starter")
    assert done.exit_code == 1
    assert "has masks" in done.stderr
    assert not (tmp_path / "filled").exists()


def test_nothing_is_written_over(released, folder, tmp_path):
    done = fill(folder, tmp_path)
    assert done.exit_code == 1
    assert "is there already" in done.stderr
    assert not list(tmp_path.iterdir())
