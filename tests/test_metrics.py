"""Metrics against values worked out by hand."""

import numpy as np
import pytest

from facemark.evaluation import metrics
from facemark.labels import BESIDE_FACE, CLASSES, FACE_CORE, IGNORE, Region


def face(x: float = 0, y: float = 0, size: float = 100) -> np.ndarray:
    """68 points spread over a square, outer eye corners `size` apart."""
    points = np.linspace((0, 0), (size, size), 68)
    points[36], points[45] = (0, size / 2), (size, size / 2)
    return points + np.array([x, y])


def test_confusion_counts_truth_in_rows_and_skips_ignored_pixels():
    truth = np.array([[1, 1, 2, BESIDE_FACE], [0, 18, IGNORE, IGNORE]], np.uint8)
    predicted = np.array([[1, 2, 2, 0], [0, 18, 7, 0]], np.uint8)
    counted = metrics.confusion(predicted, truth)
    assert (counted.shape, counted.dtype, counted.sum()) == ((19, 19), np.int64, 5)
    assert counted[1, 1] == counted[1, 2] == counted[2, 2] == counted[0, 0] == counted[18, 18] == 1


def test_confusion_refuses_masks_of_different_shape():
    with pytest.raises(ValueError, match="one shape"):
        metrics.confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))


def test_f1_and_iou_by_hand():
    table = np.zeros((19, 19), int)
    table[0, 0], table[0, 1], table[1, 0], table[1, 1], table[2, 1] = 90, 5, 3, 10, 2
    f1, iou = metrics.f1(table), metrics.iou(table)
    assert f1[:3] == pytest.approx([100 * 180 / 188, 100 * 20 / 30, 0])
    assert iou[:3] == pytest.approx([100 * 90 / 98, 100 * 10 / 20, 0])
    assert np.isnan(f1[3:]).all()
    assert np.isnan(iou[3:]).all()
    assert metrics.mean_f1(table) == pytest.approx((100 * 20 / 30 + 0) / 2)
    table[0, 3] = 7  # predicted, but not in the truth
    assert metrics.mean_f1(table) == pytest.approx((100 * 20 / 30 + 0) / 2)


def test_means_leave_out_background_and_face_means_all_but_the_face():
    table = np.diag(np.arange(1, 20))
    table[Region.HAIR, Region.HAT] = 1000
    others = [region for region in range(len(CLASSES)) if region not in (Region.BACKGROUND, Region.HAIR, Region.HAT)]
    hair, hat = metrics.f1(table)[[Region.HAIR, Region.HAT]]
    assert metrics.mean_f1(table) == pytest.approx((100 * len(others) + hair + hat) / 18)
    assert metrics.mean_f1_face(table) == 100
    assert len(FACE_CORE) == 9


def test_means_of_nothing_are_nan():
    nothing = np.zeros((19, 19), int)
    assert np.isnan([metrics.mean_f1(nothing), metrics.mean_f1_face(nothing)]).all()


def test_parsing_names_only_the_classes_that_occur():
    table = np.zeros((19, 19), int)
    table[0, 0], table[1, 1], table[1, 2] = 6, 3, 1
    figures = metrics.parsing(table)
    assert list(figures["f1"]) == list(figures["iou"]) == list(CLASSES[:3])
    assert figures["pixel_accuracy"] == pytest.approx(90)
    assert figures["mean_iou"] == pytest.approx((100 + 75) / 2)


def test_nme_is_the_mean_distance_over_that_of_the_outer_eye_corners():
    truth = face(size=50)
    moved = truth + np.array([3, 4])
    assert metrics.nme(truth, truth) == 0
    assert metrics.nme(moved, truth) == pytest.approx(10)
    assert metrics.nme(7 * moved, 7 * truth) == pytest.approx(10)


def test_match_assigns_each_face_once_and_misses_what_does_not_overlap():
    one, two = face(), face(x=60)
    assert metrics.match([two, one], [one, two]) == [1, 0]
    assert metrics.match([one + 5], [one, two]) == [0, None]
    assert metrics.match([], [one]) == [None]
    assert metrics.match([one], []) == []
    assert metrics.match([face(x=500)], [one]) == [None]


def test_match_maximises_the_sum_of_overlaps():
    # each true face overlaps the first predicted one most, but one of them must take the second
    assert metrics.match([face(), face(x=-30)], [face(x=10), face(x=-5)]) == [0, 1]


@pytest.mark.parametrize(("shift", "same"), [(66, True), (67, False)])
def test_match_needs_an_iou_of_a_fifth(shift, same):
    # squares of side 100 moved by s overlap by (100 - s) / (100 + s): 0.2 at s = 66.67
    assert metrics.match([face(x=shift)], [face()]) == [0 if same else None]


def test_error_distribution_counts_missed_faces_as_failures():
    errors = np.array([2.0, 4.0, 10.0, np.inf])
    assert metrics.ced(errors, np.array([1, 2, 5, 100])).tolist() == [0, 25, 50, 75]
    assert metrics.fr8(errors) == 50
    assert metrics.auc8(errors) == pytest.approx(100 * (0.75 + 0.5) / 4)
    assert metrics.fr8([8.0]) == 0


def test_landmark_figures_by_hand():
    errors = np.full((4, 68), 2.0)
    errors[1, 36:48] = 6.0
    errors[3] = np.inf
    scores = np.full((4, 68), 0.5)
    figures = metrics.landmarks(errors, scores)
    assert (figures["faces"], figures["recall"], figures["fr8"]) == (4, 75, 25)
    assert figures["nme"] == pytest.approx(2 + 4 * 12 / 68 / 3)
    assert figures["nme_by_group"]["eyes"] == pytest.approx(10 / 3)
    assert figures["nme_by_group"]["jaw"] == 2
    assert figures["auroc"] == {}  # no error above 8 % among the detected faces
    errors[2, :17] = 9
    assert metrics.landmarks(errors, scores)["auroc"] == {"points": 50}
    assert metrics.landmarks(errors[3:], scores[3:])["recall"] == 0
    assert "nme" not in metrics.landmarks(errors[3:], scores[3:])


def test_auroc_of_a_face_is_that_of_its_mean_score():
    errors = np.full((3, 68), 2.0)
    errors[2] = 20
    scores = np.repeat([[0.9], [0.4], [0.6]], 68, axis=1)
    # of two pairs of faces, one is in order; so is one of two among the points
    assert metrics.landmarks(errors, scores)["auroc"] == pytest.approx({"points": 50, "faces": 50})


def test_auroc_is_the_share_of_pairs_in_order():
    errors = np.array([1, 2, 3, 20, 30])
    assert metrics.auroc(np.array([0.9, 0.8, 0.7, 0.2, 0.1]), errors) == 100
    assert metrics.auroc(np.array([0.1, 0.2, 0.3, 0.8, 0.9]), errors) == 0
    # of six pairs, four are in order and one is a tie
    assert metrics.auroc(np.array([0.9, 0.5, 0.3, 0.4, 0.3]), errors) == pytest.approx(100 * 4.5 / 6)
    assert metrics.auroc(np.array([0.9, 0.1]), np.array([8.0, 8.1])) == 100, "8 % is not yet a failure"
    assert np.isnan(metrics.auroc(np.ones(3), errors[:3]))
    assert np.isnan(metrics.auroc(np.ones(2), errors[3:]))
