import numpy as np
import pytest

from facemark import partial, synthetic
from facemark.labels import BESIDE_FACE, BESIDE_PART, CLASSES, FACE, FLIP_POINTS, IGNORE, UNIONS, Region, mirror


@pytest.fixture(scope="module")
def faces():
    """Of some starter faces, alone and without glasses: the exact masks, and the partial ones from their points."""
    drawn = [one for one in map(synthetic.draw, range(30)) if len(one.points) == 1 and (one.mask != Region.EYE_G).all()]
    exact = np.concatenate([one.mask.ravel() for one in drawn])
    made = np.concatenate([partial.regions(one.points[0].astype(float), one.mask.shape).ravel() for one in drawn])
    return exact, made


@pytest.mark.parametrize("region", [Region.L_EYE, Region.R_EYE, Region.U_LIP, Region.L_LIP, Region.NOSE, Region.SKIN])
def test_what_the_points_say_is_so(faces, region):
    exact, made = faces
    assert (exact == region)[made == region].mean() > 0.75


@pytest.mark.parametrize("region", [Region.L_EYE, Region.R_EYE, Region.U_LIP, Region.L_LIP])
def test_eyes_and_lips_are_drawn_whole(faces, region):
    exact, made = faces
    assert (made == region).sum() == pytest.approx((exact == region).sum(), rel=0.35)


def test_pixels_of_several_classes_are_of_one_of_them(faces):
    exact, made = faces
    for value, classes in UNIONS.items():
        assert np.isin(exact, classes)[made == value].mean() > 0.85


def test_unions_are_no_classes_and_say_what_they_mean():
    assert not set(UNIONS) & {IGNORE, *range(len(CLASSES))}
    assert set(UNIONS[BESIDE_FACE]) == set(range(len(CLASSES))) - set(FACE)
    assert not set(UNIONS[BESIDE_PART]) & {Region.L_EYE, Region.R_EYE, Region.L_BROW, Region.R_BROW}


def test_a_mirrored_face_has_a_mirrored_mask():
    drawn = synthetic.draw(3)
    points = drawn.points[0].astype(float)
    height, width = drawn.mask.shape
    mirrored = points[FLIP_POINTS] * (-1, 1) + (width - 1, 0)
    one, other = partial.regions(mirrored, (height, width)), mirror(partial.regions(points, (height, width)))
    assert (one == other).mean() > 0.99


def test_a_face_beyond_the_picture_is_no_fault():
    points = synthetic.draw(3).points[0].astype(float)
    assert (partial.regions(points + 10_000, (40, 50)) == IGNORE).all()
    assert partial.regions(points - 60, (40, 50)).shape == (40, 50)
