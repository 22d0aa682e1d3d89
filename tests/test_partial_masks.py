import numpy as np
import pytest

from facemark.data import partial_masks, synthetic
from facemark.labels import (
    BESIDE_FACE,
    BESIDE_PART,
    CLASSES,
    FACE,
    FACE_CORE,
    FLIP_POINTS,
    IGNORE,
    UNIONS,
    Region,
    mirror,
)


@pytest.fixture(scope="module")
def faces():
    """Of some starter faces, alone and without glasses: the exact masks, and the partial ones from their points."""
    drawn = [one for one in map(synthetic.draw, range(30)) if len(one.points) == 1 and (one.mask != Region.EYE_G).all()]
    exact = np.concatenate([one.mask.ravel() for one in drawn])
    made = np.concatenate(
        [partial_masks.draw_partial_mask(one.points[0].astype(float), one.mask.shape).ravel() for one in drawn]
    )
    return exact, made


@pytest.mark.parametrize("region", FACE_CORE)
def test_what_the_points_say_is_so(faces, region):
    exact, made = faces
    there = (made == region) & ~np.isin(exact, (Region.HAIR, Region.HAT))  # which the points know nothing of
    assert (exact == region)[there].mean() > 0.7


@pytest.mark.parametrize("region", [Region.L_EYE, Region.R_EYE, Region.U_LIP, Region.L_LIP, Region.MOUTH])
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
    one, other = (
        partial_masks.draw_partial_mask(mirrored, (height, width)),
        mirror(partial_masks.draw_partial_mask(points, (height, width))),
    )
    assert (one == other).mean() > 0.995


def test_what_is_far_from_the_face_is_cut_off():
    image = np.zeros((400, 500, 3), np.uint8)
    image[120, 250] = 255
    points = np.linspace((200, 100), (240, 140), 68)
    points[30] = (250, 120)
    cut, moved = partial_masks.crop_context(image, points)
    x, y = moved[30].astype(int)
    assert cut[y, x, 0] == 255
    assert cut.shape == (150, 150, 3)
    assert partial_masks.crop_context(image[:130, :260], points)[0].shape == (85, 110, 3)


def test_a_face_beyond_the_picture_is_no_fault():
    points = synthetic.draw(3).points[0].astype(float)
    assert (partial_masks.draw_partial_mask(points + 10_000, (40, 50)) == IGNORE).all()
    assert partial_masks.draw_partial_mask(points - 60, (40, 50)).shape == (40, 50)


def test_a_large_face_has_the_same_regions():
    drawn = synthetic.draw(3)
    points, (height, width) = drawn.points[0].astype(float), drawn.mask.shape
    times = partial_masks.MAX_SUPERSAMPLED_SIDE // max(height, width) + 1
    large = partial_masks.draw_partial_mask(times * (points + 0.5) - 0.5, (times * height, times * width))
    assert max(large.shape) > partial_masks.MAX_SUPERSAMPLED_SIDE
    small = partial_masks.draw_partial_mask(points, (height, width))
    assert (large[times // 2 :: times, times // 2 :: times] == small).mean() > 0.97
