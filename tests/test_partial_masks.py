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
    """Pixels of starter faces, one in each image and without glasses: of exact masks, and of partial masks."""
    drawn = [d for d in map(synthetic.draw, range(30)) if len(d.points) == 1 and (d.mask != Region.EYE_G).all()]
    exact = np.concatenate([d.mask.ravel() for d in drawn])
    partial = np.concatenate(
        [partial_masks.draw_partial_mask(d.points[0].astype(float), d.mask.shape).ravel() for d in drawn]
    )
    return exact, partial


@pytest.mark.parametrize("region", FACE_CORE)
def test_a_drawn_region_agrees_with_the_exact_mask(faces, region):
    exact, partial = faces
    drawn = (partial == region) & ~np.isin(exact, (Region.HAIR, Region.HAT))  # points do not show what covers a face
    assert (exact == region)[drawn].mean() > 0.7


@pytest.mark.parametrize("region", [Region.L_EYE, Region.R_EYE, Region.U_LIP, Region.L_LIP, Region.MOUTH])
def test_eyes_and_lips_are_drawn_whole(faces, region):
    exact, partial = faces
    assert (partial == region).sum() == pytest.approx((exact == region).sum(), rel=0.35)


def test_pixels_of_a_union_are_of_one_of_its_classes(faces):
    exact, partial = faces
    for value, classes in UNIONS.items():
        assert np.isin(exact, classes)[partial == value].mean() > 0.85


def test_unions_are_no_classes_and_consist_of_those_that_their_names_imply():
    assert not set(UNIONS) & {IGNORE, *range(len(CLASSES))}
    assert set(UNIONS[BESIDE_FACE]) == set(range(len(CLASSES))) - set(FACE)
    assert not set(UNIONS[BESIDE_PART]) & {Region.L_EYE, Region.R_EYE, Region.L_BROW, Region.R_BROW}


def test_a_flipped_face_has_a_flipped_mask():
    drawn = synthetic.draw(3)
    points = drawn.points[0].astype(float)
    height, width = drawn.mask.shape
    flipped = points[FLIP_POINTS] * (-1, 1) + (width - 1, 0)
    of_flipped = partial_masks.draw_partial_mask(flipped, (height, width))
    assert (of_flipped == mirror(partial_masks.draw_partial_mask(points, (height, width)))).mean() > 0.995


def test_the_crop_is_three_faces_wide_and_moves_the_points():
    image = np.zeros((400, 500, 3), np.uint8)
    image[120, 250] = 255
    points = np.linspace((200, 100), (240, 140), 68)
    points[30] = (250, 120)
    crop, moved = partial_masks.crop_context(image, points)
    x, y = moved[30].astype(int)
    assert crop[y, x, 0] == 255
    assert crop.shape == (150, 150, 3)
    assert partial_masks.crop_context(image[:130, :260], points)[0].shape == (85, 110, 3)


def test_a_face_outside_the_image_draws_nothing():
    points = synthetic.draw(3).points[0].astype(float)
    assert (partial_masks.draw_partial_mask(points + 10_000, (40, 50)) == IGNORE).all()
    assert partial_masks.draw_partial_mask(points - 60, (40, 50)).shape == (40, 50)


def test_a_face_drawn_without_supersampling_has_the_same_regions():
    drawn = synthetic.draw(3)
    points, (height, width) = drawn.points[0].astype(float), drawn.mask.shape
    times = partial_masks.MAX_SUPERSAMPLED_SIDE // max(height, width) + 1
    large = partial_masks.draw_partial_mask(times * (points + 0.5) - 0.5, (times * height, times * width))
    assert max(large.shape) > partial_masks.MAX_SUPERSAMPLED_SIDE
    small = partial_masks.draw_partial_mask(points, (height, width))
    assert (large[times // 2 :: times, times // 2 :: times] == small).mean() > 0.97
