import numpy as np
import pytest

from facemark.evaluation.corruptions import (
    CORRUPTIONS,
    GEOMETRIC,
    OCCLUDER_GREY,
    PHOTOMETRIC,
    corrupt,
    is_occluded,
    occlude_half,
)
from facemark.labels import IGNORE, Region


@pytest.fixture
def marked():
    """An image with a white square of 8 pixels whose centre is a landmark and whose pixels are nose."""
    image, mask = np.zeros((96, 128, 3), np.uint8), np.zeros((96, 128), np.uint8)
    image[40:48, 72:80], mask[40:48, 72:80] = 255, Region.NOSE
    return image, mask, np.array([[(75.5, 43.5)]], np.float32)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_image_mask_and_points_stay_aligned(marked, name):
    image, mask, points = corrupt(name, *marked)
    assert image.shape[:2] == mask.shape
    near = 0.51 if "turned" in name else 0.05  # a rotation leaves ragged edges
    rows, columns = np.nonzero(mask == Region.NOSE)
    assert points[0, 0] == pytest.approx([columns.mean(), rows.mean()], abs=near)
    if name not in ("noise", "patches"):
        rows, columns = np.nonzero(image.mean(2) > image.mean(2).max() / 2)
        assert points[0, 0] == pytest.approx([columns.mean(), rows.mean()], abs=0.51)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_deterministic_and_changes_the_image(marked, noise, name):
    one, other = (corrupt(name, noise, *marked[1:])[0] for _ in range(2))
    assert (one == other).all()
    assert one.shape != noise.shape or (one != noise).any()


@pytest.mark.parametrize("name", PHOTOMETRIC)
def test_photometric_corruptions_move_nothing(marked, name):
    _, mask, points = corrupt(name, *marked)
    assert (points == marked[2]).all()
    assert (mask == marked[1])[mask != IGNORE].all()
    assert (mask == IGNORE).any() == (name == "patches")


def test_severities_are_as_documented(noise):
    flat = np.full((96, 128, 3), 128, np.uint8)
    mask, points = np.zeros((96, 128), np.uint8), np.empty((0, 68, 2), np.float32)
    assert corrupt("darkness", noise, mask, points)[0].mean() == pytest.approx(noise.mean() / 4, abs=0.5)
    assert corrupt("noise", flat, mask, points)[0].std() == pytest.approx(0.1 * 255, rel=0.05)
    assert np.ptp(corrupt("grey", noise, mask, points)[0], axis=2).max() == 0
    # blurring white noise by σ leaves 1 / (2 σ √π) of its deviation; near the edges a little more
    assert corrupt("blur", noise, mask, points)[0].std() == pytest.approx(noise.std() / (4 * np.pi**0.5), rel=0.1)
    covered = (corrupt("patches", flat, mask, points)[1] == IGNORE).mean()
    assert 0.2**2 * 0.9 < covered < 3 * 0.2**2 * 1.1, "one patch to three, as they may overlap"


def test_covered_pixels_and_those_a_rotation_adds_are_ignored(marked):
    image, mask, _ = corrupt("patches", *marked)
    assert (mask == IGNORE)[(image != marked[0]).any(2)].all()
    image, mask, _ = corrupt("turned_left", *marked)
    assert mask[0, 0] == IGNORE
    assert (image[0, 0] == 0).all()


def test_geometric_corruptions_are_as_named(marked):
    assert corrupt("half_size", *marked)[1].shape == (48, 64)
    assert corrupt("quarter_size", *marked)[1].shape == (24, 32)
    assert GEOMETRIC["turned_left"] == -GEOMETRIC["turned_right"] == 45
    centre, right = np.array([63.5, 47.5]), np.array([[(83.5, 47.5)]], np.float32)
    # y points down, so a rotation to the left moves a point at the right upwards
    rotated = corrupt("turned_left", *marked[:2], right)[2][0, 0]
    assert rotated - centre == pytest.approx(np.array([20, -20]) * 0.5**0.5, abs=0.01)


@pytest.mark.parametrize("degrees", [0, 90, -30])
def test_the_occluder_covers_the_half_of_a_face_at_the_left_of_the_image(degrees):
    rng = np.random.default_rng(0)
    points = rng.uniform(-20, 20, (68, 2))
    points[27], points[8], points[36], points[45] = (0, -20), (0, 20), (-12, -8), (12, -8)
    left = points[:, 0] < 0
    turn = np.radians(degrees)
    points = points @ np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))]) + (60, 50)
    assert (is_occluded(points) == left)[[i for i in range(68) if i not in (8, 27)]].all()
    occluded = occlude_half(np.zeros((100, 120, 3), np.uint8), points)
    columns, rows = points.round().astype(int).T
    inner = np.abs((points - points[27]) @ (points[45] - points[36])) > 60  # not on the edge of the occluder
    assert inner.sum() > 20
    assert (occluded[rows, columns, 0][inner] == np.where(left, OCCLUDER_GREY, 0)[inner]).all()
    assert occluded[0, 0, 0] == occluded[-1, -1, 0] == 0


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_a_rotated_occluder_covers_another_half(angle):
    points = np.random.default_rng(0).uniform((40, 30), (80, 70), (68, 2))
    points[27], points[8] = (60, 45), (60, 55)
    covered = occlude_half(np.zeros((100, 120, 3), np.uint8), points, angle, grey=9)[..., 0] == 9
    corners = {(40, 45): (0, 90), (40, 75): (90, 180), (60, 75): (180, 270), (60, 45): (270, 0)}
    assert all(covered[place] == (angle in angles) for place, angles in corners.items())
