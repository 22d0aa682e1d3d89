import numpy as np
import pytest

from facemark.evaluation.corruptions import CORRUPTIONS, GEOMETRIC, OCCLUDER_GREY, corrupt, is_occluded, occlude_half
from facemark.labels import IGNORE, Region


@pytest.fixture
def marked():
    """A picture with a white square of 8 pixels whose centre is a landmark and whose pixels are nose."""
    image, mask = np.zeros((96, 128, 3), np.uint8), np.zeros((96, 128), np.uint8)
    image[40:48, 72:80], mask[40:48, 72:80] = 255, Region.NOSE
    return image, mask, np.array([[(75.5, 43.5)]], np.float32)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_picture_mask_and_points_stay_together(marked, name):
    image, mask, points = corrupt(name, *marked)
    assert image.shape[:2] == mask.shape
    near = 0.51 if "turned" in name else 0.05  # a turn leaves ragged edges
    rows, columns = np.nonzero(mask == Region.NOSE)
    assert points[0, 0] == pytest.approx([columns.mean(), rows.mean()], abs=near)
    if name not in ("noise", "patches"):
        rows, columns = np.nonzero(image.mean(2) > image.mean(2).max() / 2)
        assert points[0, 0] == pytest.approx([columns.mean(), rows.mean()], abs=0.51)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_damage_is_the_same_each_time_and_changes_something(marked, name):
    image = np.random.default_rng(0).integers(0, 256, marked[0].shape, np.uint8)
    one, other = (corrupt(name, image, *marked[1:])[0] for _ in range(2))
    assert (one == other).all()
    assert one.shape != image.shape or (one != image).any()


def test_what_is_hidden_or_turned_in_is_not_judged(marked):
    assert (corrupt("patches", *marked)[1] == IGNORE).mean() > 0.05
    assert (corrupt("turned_left", *marked)[1][0, 0]) == IGNORE


def test_sizes_are_as_named(marked):
    assert corrupt("half_size", *marked)[1].shape == (48, 64)
    assert corrupt("quarter_size", *marked)[1].shape == (24, 32)
    assert GEOMETRIC["turned_left"] == -GEOMETRIC["turned_right"] == 45


@pytest.mark.parametrize("degrees", [0, 90, -30])
def test_a_board_hides_the_half_of_a_face_that_is_at_the_pictures_left(degrees):
    rng = np.random.default_rng(0)
    points = rng.uniform(-20, 20, (68, 2))
    points[27], points[8], points[36], points[45] = (0, -20), (0, 20), (-12, -8), (12, -8)
    left = points[:, 0] < 0
    turn = np.radians(degrees)
    points = points @ np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))]) + (60, 50)
    assert (is_occluded(points) == left)[[i for i in range(68) if i not in (8, 27)]].all()
    hidden = occlude_half(np.zeros((100, 120, 3), np.uint8), points)
    columns, rows = points.round().astype(int).T
    inner = np.abs((points - points[27]) @ (points[45] - points[36])) > 60  # not on the board's edge
    assert (hidden[rows, columns, 0][inner] == np.where(left, OCCLUDER_GREY, 0)[inner]).all()
    assert hidden[0, 0, 0] == hidden[-1, -1, 0] == 0


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_turned_board_hides_another_half(turn):
    points = np.random.default_rng(0).uniform((40, 30), (80, 70), (68, 2))
    points[27], points[8] = (60, 45), (60, 55)
    hidden = occlude_half(np.zeros((100, 120, 3), np.uint8), points, turn, shade=9)[..., 0] == 9
    corners = {(40, 45): (0, 90), (40, 75): (90, 180), (60, 75): (180, 270), (60, 45): (270, 0)}
    assert all(hidden[place] == (turn in hides) for place, hides in corners.items())
