import numpy as np
import pytest
from scored import POINTS, detected, merge, score, write_sample

from facemark.data.samples import Sample
from facemark.evaluation import metrics, scoring
from facemark.inference.types import Parse
from facemark.labels import IGNORE


@pytest.fixture
def sample(tmp_path):
    return write_sample(tmp_path)


def test_a_perfect_parse_scores_perfectly(sample):
    perfect = score(sample)
    assert metrics.mean_f1(perfect.confusion) == perfect.quality == 100
    assert perfect.confusion.sum() == 46 * 64
    assert (perfect.errors == 0).all()
    assert perfect.caption == "face  face F1 100.0  NME 0.0"


def test_errors_are_those_of_the_matching_face(sample):
    # 1.8 of the 18 pixels between the outer eye corners
    assert score(sample, shift=1.8).errors == pytest.approx(np.full((1, 68), 10), rel=1e-4)


def test_a_missed_face_has_infinite_errors_and_no_scores(sample):
    for missed in (score(sample, faces=False), score(sample, shift=500)):
        assert np.isinf(missed.errors).all()
        assert (missed.scores == 0).all()
        assert missed.quality == 0
        assert missed.caption.endswith("NME missed")


def test_merging_sums_up_and_keeps_the_worst_first(sample):
    good, bad, worse = score(sample), score(sample, shift=3, columns=4), score(sample, faces=False)
    merged = merge(good, worse, bad, keep=2)
    assert merged.worst == [worse, bad]
    assert merged.confusion.sum() == 3 * 46 * 64
    figures = merged.figures()
    assert figures["landmarks"]["faces"] == 3
    assert figures["landmarks"]["recall"] == pytest.approx(200 / 3)
    assert figures["f1"]["skin"] == pytest.approx(100 * 2 * 96 / (2 * 96 + 4))


def test_without_points_there_are_no_landmark_figures(sample):
    bare = scoring.read_example(Sample(sample.image, sample.mask, None, "test"))
    figures = merge(scoring.score_example(bare, Parse(bare.truth, []))).figures()
    assert "landmarks" not in figures
    assert figures["f1"]["skin"] == 100


def test_without_masks_there_are_only_landmark_figures(sample):
    bare = scoring.read_example(Sample(sample.image, None, sample.points, "test"))
    figures = merge(scoring.score_example(bare, Parse(np.zeros((48, 64), np.uint8), [detected(POINTS)]))).figures()
    assert list(figures) == ["landmarks"]
    assert figures["landmarks"]["nme"] == 0


def test_an_image_without_a_face_in_which_none_is_detected_is_perfect():
    nothing = np.zeros((48, 64), np.uint8)
    empty = scoring.Example("empty", np.zeros((48, 64, 3), np.uint8), nothing, np.empty((0, 68, 2)))
    assert scoring.score_example(empty, Parse(nothing, [])).quality == 100


@pytest.mark.parametrize("count", [1, scoring.BATCH_SIZE + 3])
def test_all_samples_are_evaluated_in_batches_after_a_change(sample, count):
    sizes = []

    def parser(images):
        sizes.append(len(images))
        assert all((image == 7).all() for image in images)
        return [Parse(np.zeros((48, 64), np.uint8), [detected(POINTS)]) for _ in images]

    def change(example):
        return scoring.Example("changed", np.full_like(example.image, 7), example.truth, example.points)

    result = scoring.evaluate_samples(parser, [sample] * count, "evaluating", 2, change)
    assert sizes == [min(count, scoring.BATCH_SIZE), *([3] if count > 1 else [])]
    assert (len(result.errors), result.confusion.sum()) == (count, count * 46 * 64)
    assert [case.example.name for case in result.worst] == ["changed"] * min(2, count)
    assert (result.worst[0].example.truth == IGNORE).any()
