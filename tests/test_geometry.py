import numpy as np
import pytest

from facemark import geometry


def disc(radius: float, centre: tuple[float, float], size: int = 64) -> np.ndarray:
    """Probabilities of a disc whose edge, one pixel soft, is half way at the radius."""
    y, x = np.mgrid[:size, :size]
    return np.clip(radius + 0.5 - np.hypot(x - centre[0], y - centre[1]), 0, 1)


def test_the_contour_of_a_disc_is_sub_pixel():
    line = geometry.longest_contour(disc(12.3, (30.2, 33.7)))
    assert np.hypot(*(line - (30.2, 33.7)).T) == pytest.approx(12.3, abs=0.1)


def test_the_contour_of_a_region_at_the_border_is_closed():
    line = geometry.longest_contour(np.ones((4, 6)))
    assert (line[0] == line[-1]).all()
    assert [*line.min(0), *line.max(0)] == pytest.approx([-0.5, -0.5, 5.5, 3.5])


def test_the_contour_of_nothing_is_empty():
    assert geometry.longest_contour(np.zeros((5, 5))).shape == (0, 2)


def test_centroid_by_hand():
    region = np.zeros((4, 5))
    region[1, 2], region[3, 4] = 3, 1
    assert geometry.centroid(region) == pytest.approx([2.5, 1.5])
    assert np.isnan(geometry.centroid(np.zeros((4, 5)))).all()


def test_sampling_is_bilinear_and_repeats_the_edge():
    maps = np.stack([np.array([[0.0, 1.0], [2.0, 3.0]]), np.full((2, 2), 7.0)], -1)
    found = geometry.sample_bilinear(maps, np.array([[(0.5, 0.5), (1, 0)], [(-5, 0), (9, 9)]]))
    assert found[..., 0] == pytest.approx(np.array([[1.5, 1], [0, 3]]))
    assert found[..., 1] == pytest.approx(np.full((2, 2), 7))


def test_fit_similarity_recovers_a_similarity():
    points = np.random.default_rng(0).uniform(0, 9, (7, 2))
    matrix = np.array([(0.0, -2.0, 3.0), (2.0, 0.0, -1.0)])  # a quarter turn, twice the size
    found = geometry.fit_similarity(points, geometry.apply(matrix, points), np.ones(7))
    assert found == pytest.approx(matrix, abs=1e-9)


def test_fit_similarity_counts_weights():
    points = np.array([(0.0, 0), (1, 0), (0, 1), (5, 5)])
    target = points + np.array([2, 3])
    target[3] = (90, -40)
    found = geometry.fit_similarity(points, target, np.array([1, 1, 1, 0.0]))
    assert geometry.apply(found, points[:3]) == pytest.approx(target[:3])


def test_invert_undoes():
    matrix = np.array([(0.3, -1.2, 4.0), (1.2, 0.3, 5.0)])
    points = np.random.default_rng(1).uniform(0, 99, (5, 2))
    assert geometry.apply(geometry.invert(matrix), geometry.apply(matrix, points)) == pytest.approx(points)


def test_chain_does_one_after_the_other():
    turn, shift = np.array([(0.0, -1.0, 0.0), (1.0, 0.0, 0.0)]), np.array([(1.0, 0.0, 5.0), (0.0, 1.0, 0.0)])
    assert geometry.apply(geometry.chain(shift, turn), np.array([2.0, 3.0])) == pytest.approx([2, 2])


def test_scaling_keeps_pixel_centres():
    # two pixels become four: the edges at -0.5 and 1.5 become -0.5 and 3.5
    assert geometry.apply(geometry.scaling(2), np.array([(-0.5, 1.5)])) == pytest.approx(np.array([(-0.5, 3.5)]))


def test_no_side_is_scaled_to_nothing():
    assert geometry.scaled_size((30, 40, 3), 0.5) == (20, 15)
    assert geometry.scaled_size((1, 3000, 3), 0.1) == (300, 1)


def test_sampling_many_maps_keeps_each_to_itself_to_a_thousandth():
    maps = np.random.default_rng(0).uniform(0, 1, (9, 7, 15))
    x, y = 3.017, 4.73  # OpenCV's own rounding, 1/32 of a pixel, would show
    low = (1 - 0.017) * maps[4, 3] + 0.017 * maps[4, 4]
    high = (1 - 0.017) * maps[5, 3] + 0.017 * maps[5, 4]
    assert geometry.sample_bilinear(maps, np.array([x, y])) == pytest.approx(0.27 * low + 0.73 * high, abs=1e-3)


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_are_those_of_numpy(turns):
    image = np.zeros((5, 9))
    image[1, 7] = 1
    x, y = geometry.apply(geometry.quarter_turns(5, 9, turns), np.array([7.0, 1.0]))
    assert np.rot90(image, turns)[round(y), round(x)] == 1


def test_box_iom_is_the_share_of_the_smaller_box():
    big, small, far = np.array([0, 0, 10, 10.0]), np.array([5, 5, 9, 15.0]), np.array([20, 20, 30, 30.0])
    assert geometry.box_iom(big, small) == pytest.approx(0.5)
    assert geometry.box_iom(big, far) == 0


def test_confident_centroid_leaves_out_what_is_unsure():
    region = np.array([[0.4, 0.6, 0.9, 0.4]])
    assert geometry.confident_centroid(region) == pytest.approx([(0.6 * 1 + 0.9 * 2) / 1.5, 0])
    assert np.isnan(geometry.confident_centroid(0.5 * region)).all()
