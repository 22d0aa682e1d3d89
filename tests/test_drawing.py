import cv2
import numpy as np
import pytest

from facemark.evaluation.report import TILE, fit_tile
from facemark.inference.types import Face, Parse
from facemark.io import drawing
from facemark.labels import COLORS, Region


def face(points: np.ndarray, scores: np.ndarray) -> Face:
    return Face(np.r_[points.min(0), points.max(0)], 1.0, points, scores, points[:2], points[2], {})


def spread(width: int, height: int) -> np.ndarray:
    """68 points that keep away from each other, in rows of 17."""
    rows = np.meshgrid(np.linspace(0.05, 0.95, 17) * width, np.linspace(0.05, 0.95, 4) * height)
    return np.stack(rows, -1).reshape(68, 2)


def lightness(color: np.ndarray) -> float:
    """Rec. 709 luma, which colour-blind eyes see as all others do."""
    return float(color @ np.array([0.2126, 0.7152, 0.0722]))


def test_background_stays_and_regions_are_tinted_inside_their_edges():
    image = np.full((12, 16, 3), 100, np.uint8)
    mask = np.zeros((12, 16), np.uint8)
    mask[:, 8:] = Region.HAIR
    drawn = drawing.draw(image, Parse(mask, []))
    assert (drawn[:, :8] == 100).all()
    expected = (1 - drawing.OPACITY) * 100 + drawing.OPACITY * COLORS[Region.HAIR].astype(float)
    assert np.abs(drawn[6, 12] - expected).max() <= 1
    assert (drawn[:, 8] == COLORS[Region.HAIR]).all()
    assert (image == 100).all()


def test_a_point_is_the_lighter_the_surer_it_is():
    points, scores = spread(1600, 1200), np.linspace(0, 1, 68)
    drawn = drawing.draw(
        np.zeros((1200, 1600, 3), np.uint8), Parse(np.zeros((1200, 1600), np.uint8), [face(points, scores)])
    )
    seen = [lightness(drawn[round(y), round(x)]) for x, y in points]
    assert all(np.diff(seen) > -1.5)
    assert seen[0] < 60
    assert seen[-1] > 190


@pytest.mark.parametrize(("width", "height"), [(40, 60), (3000, 2200)])
def test_points_show_at_any_size(width, height):
    points = spread(width, height)
    blank = Parse(np.zeros((height, width), np.uint8), [])
    drawn = drawing.draw(np.zeros((height, width, 3), np.uint8), Parse(blank.mask, [face(points, np.ones(68))]))
    assert drawn.shape == (height, width, 3)
    reds = [drawn[round(y) - 1 : round(y) + 2, round(x) - 1 : round(x) + 2, 0].max() for x, y in points]
    assert min(reds) > 100


def test_a_small_picture_is_enlarged_with_all_that_is_in_it():
    image = np.zeros((60, 40, 3), np.uint8)
    image[20, 10] = 255
    points = np.full((68, 2), (10.0, 20.0))
    large, parse = drawing.enlarged(image, Parse(np.zeros((60, 40), np.uint8), [face(points, np.ones(68))]))
    assert max(large.shape) >= drawing.ROOM
    y, x = np.unravel_index(large[..., 0].argmax(), large.shape[:2])
    assert parse.faces[0].points[0] == pytest.approx((x, y), abs=1)
    assert drawing.draw(large, parse).shape == large.shape


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1)])
def test_the_thinnest_picture_can_be_drawn(shape):
    image = np.zeros((*shape, 3), np.uint8)
    assert drawing.draw(image, Parse(np.full(shape, Region.HAIR, np.uint8), [])).shape == image.shape
    assert fit_tile(image).shape == (TILE, TILE, 3)


def test_a_large_picture_stays_as_it_is():
    image, parse = np.zeros((600, 800, 3), np.uint8), Parse(np.zeros((600, 800), np.uint8), [])
    assert drawing.enlarged(image, parse)[0] is image


def test_enlarged_regions_have_round_edges_and_no_new_classes():
    mask = np.zeros((8, 8), np.uint8)
    mask[np.indices((8, 8)).sum(0) >= 8] = Region.HAT
    large = drawing.smoothly(mask, (800, 800))
    assert set(np.unique(large)) == {0, Region.HAT}
    steps = np.diff((large == Region.HAT).argmax(1)[100:700])
    assert np.abs(steps).max() < 100 / 2, "a slanted edge goes on in steps of a small pixel"


def test_numbers_are_written_beside_every_point(monkeypatch):
    written, write = [], cv2.putText
    monkeypatch.setattr(cv2, "putText", lambda *args: written.append(args[1:3]) or write(*args))
    points = spread(1600, 1200)
    parse = Parse(np.zeros((1200, 1600), np.uint8), [face(points, np.ones(68))])
    image = np.zeros((1200, 1600, 3), np.uint8)
    changed = (drawing.draw(image, parse, numbers=True) != drawing.draw(image, parse)).any(2)
    for (x, y), (right, down) in zip(points, drawing.directions(points), strict=True):
        near = changed[max(0, int(y + 40 * down) - 45) :, max(0, int(x + 40 * right) - 45) :][:90, :90]
        assert near.any()
    assert {int(text) for text, _ in written} == set(range(68))
    assert all(np.linalg.norm(points[int(text)] - at) < 70 for text, at in written)
