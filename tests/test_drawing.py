import cv2
import numpy as np
import pytest

from facemark.evaluation.report import TILE, fit_tile
from facemark.inference.types import Face, Parse
from facemark.io import drawing
from facemark.labels import COLORS, Region


def make_face(points: np.ndarray, scores: np.ndarray) -> Face:
    return Face(np.r_[points.min(0), points.max(0)], 1.0, points, scores, points[:2], points[2], {})


def grid_points(width: int, height: int) -> np.ndarray:
    """68 points far from each other, in rows of 17."""
    rows = np.meshgrid(np.linspace(0.05, 0.95, 17) * width, np.linspace(0.05, 0.95, 4) * height)
    return np.stack(rows, -1).reshape(68, 2)


def luma(color: np.ndarray) -> float:
    """Rec. 709 luma, which is the same for colour-vision deficiency."""
    return float(color @ np.array([0.2126, 0.7152, 0.0722]))


def test_regions_are_tinted_with_an_edge_and_the_background_is_unchanged():
    image = np.full((12, 16, 3), 100, np.uint8)
    mask = np.zeros((12, 16), np.uint8)
    mask[:, 8:] = Region.HAIR
    drawn = drawing.draw(image, Parse(mask, []))
    assert (drawn[:, :8] == 100).all()
    expected = (1 - drawing.OPACITY) * 100 + drawing.OPACITY * COLORS[Region.HAIR].astype(float)
    assert np.abs(drawn[6, 12] - expected).max() <= 1
    assert (drawn[:, 8] == COLORS[Region.HAIR]).all()
    assert (image == 100).all(), "the input is not changed"


def test_points_with_higher_scores_are_lighter():
    points, scores = grid_points(1600, 1200), np.linspace(0, 1, 68)
    image, mask = np.zeros((1200, 1600, 3), np.uint8), np.zeros((1200, 1600), np.uint8)
    drawn = drawing.draw(image, Parse(mask, [make_face(points, scores)]))
    lumas = [luma(drawn[round(y), round(x)]) for x, y in points]
    assert all(np.diff(lumas) > -1.5)
    assert lumas[0] < 60
    assert lumas[-1] > 190


@pytest.mark.parametrize(("width", "height"), [(40, 60), (3000, 2200)])
def test_points_are_visible_at_any_size(width, height):
    points = grid_points(width, height)
    parse = Parse(np.zeros((height, width), np.uint8), [make_face(points, np.ones(68))])
    drawn = drawing.draw(np.zeros((height, width, 3), np.uint8), parse)
    assert drawn.shape == (height, width, 3)
    reds = [drawn[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2, 0].max() for x, y in points]
    assert min(reds) > 100


@pytest.mark.parametrize(("numbers", "factor"), [(False, 8), (True, 27)])
def test_a_small_image_is_enlarged_by_a_whole_factor_with_its_points(numbers, factor):
    image = np.zeros((60, 40, 3), np.uint8)
    image[20, 10] = 255
    face = make_face(np.full((68, 2), (10.0, 20.0)), np.ones(68))
    large, parse = drawing.enlarge_small(image, Parse(np.zeros((60, 40), np.uint8), [face]), numbers)
    assert large.shape == (60 * factor, 40 * factor, 3)
    rows, columns = np.nonzero(large[..., 0] == large.max())
    (moved,) = parse.faces
    for point in (moved.points[0], moved.pupils[1], moved.mouth_center, moved.box[:2], moved.box[2:]):
        assert point == pytest.approx((columns.mean(), rows.mean()), abs=1)
    assert drawing.draw(large, parse).shape == large.shape


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1)])
def test_an_image_one_pixel_wide_can_be_drawn(shape):
    image = np.zeros((*shape, 3), np.uint8)
    drawn = drawing.draw(image, Parse(np.full(shape, Region.HAIR, np.uint8), []))
    assert drawn.shape == image.shape
    assert drawn.any(axis=2).all(), "every pixel is tinted"
    assert fit_tile(image).shape == (TILE, TILE, 3)


def test_a_large_image_is_not_enlarged():
    image, parse = np.zeros((600, 800, 3), np.uint8), Parse(np.zeros((600, 800), np.uint8), [])
    assert drawing.enlarge_small(image, parse)[0] is image


def test_upsampled_masks_have_smooth_edges_and_no_new_classes():
    mask = np.zeros((8, 8), np.uint8)
    mask[np.indices((8, 8)).sum(0) >= 8] = Region.HAT
    large = drawing.upsample_mask(mask, (800, 800))
    assert set(np.unique(large)) == {0, Region.HAT}
    steps = np.diff((large == Region.HAT).argmax(1)[100:700])
    assert np.abs(steps).max() < 100 / 2, "a slanted edge has no steps of the size of a small pixel"


def test_fixed_point_coordinates_are_sixteenths_of_a_pixel():
    assert drawing.to_fixed_point(np.array([(0.0, 1.0), (2.5, -0.25)])) == [(0, 16), (40, -4)]


def test_numbers_are_written_next_to_every_point(monkeypatch):
    written, write = [], cv2.putText
    monkeypatch.setattr(cv2, "putText", lambda *args: written.append(args[1:3]) or write(*args))
    points = grid_points(1600, 1200)
    parse = Parse(np.zeros((1200, 1600), np.uint8), [make_face(points, np.ones(68))])
    image = np.zeros((1200, 1600, 3), np.uint8)
    changed = (drawing.draw(image, parse, numbers=True) != drawing.draw(image, parse)).any(2)
    for (x, y), (right, down) in zip(points, drawing.number_directions(points), strict=True):
        near = changed[max(0, int(y + 40 * down) - 45) :, max(0, int(x + 40 * right) - 45) :][:90, :90]
        assert near.any()
    assert {int(text) for text, _ in written} == set(range(68))
    assert all(np.linalg.norm(points[int(text)] - at) < 70 for text, at in written)
