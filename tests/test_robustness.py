from dataclasses import replace

import numpy as np
import pytest
from scored import POINTS, detected, merge, score, write_sample

from facemark.evaluation import robustness
from facemark.evaluation.corruptions import CORRUPTION_SIDE, CORRUPTIONS, is_occluded
from facemark.evaluation.scoring import Example, evaluate_samples, read_example
from facemark.inference.types import Parse
from facemark.labels import IGNORE


@pytest.fixture
def sample(tmp_path):
    return write_sample(tmp_path)


class Oracle:
    """Knows the masks of a sample under every corruption, and its points but for a tenth of the eyes' distance."""

    def __init__(self, sample):
        example = read_example(sample)
        examples = [
            example,
            robustness.occlude_example(example),
            *(robustness.corrupt_example(example, name) for name in CORRUPTIONS),
        ]
        self.known = {known.image.tobytes(): known for known in examples}

    def __call__(self, images):
        known = [self.known[image.tobytes()] for image in images]
        return [
            Parse(np.where(k.truth == IGNORE, 0, k.truth), [detected(p + (p[45] - p[36]) / 10) for p in k.points])
            for k in known
        ]


def test_a_parser_that_is_not_misled_is_robust(sample):
    report = robustness.robustness(Oracle(sample), [sample])
    assert report.keys() == {*CORRUPTIONS, "half_occluded"}
    half = report.pop("half_occluded")
    assert (half["recall"], half["nme_ratio"], half["score_visible"]) == pytest.approx((100, 1, 1))
    for figures in report.values():
        assert figures["mean_f1"] == figures["recall"] == 100
        assert figures["nme"] == pytest.approx(10, rel=1e-3)
        assert (figures["mean_f1_retention"], figures["nme_ratio"]) == pytest.approx((1, 1), rel=1e-3)


def test_without_points_robustness_is_that_of_masks_alone(sample):
    report = robustness.robustness(Oracle(replace(sample, points=None)), [replace(sample, points=None)])
    assert report.keys() == set(CORRUPTIONS)
    assert all(figures == {"mean_f1": 100, "mean_f1_retention": 1} for figures in report.values())


def test_the_cost_of_occlusion_by_hand(sample):
    whole = read_example(sample)
    hidden = is_occluded(POINTS)

    def parser(images):
        occluded = (images[0] != whole.image).any()
        face = detected(POINTS + np.where(hidden, 9.0, 2.7 if occluded else 1.8)[:, None] * np.float32([1, 0]))
        return [Parse(whole.truth, [replace(face, scores=np.where(hidden & occluded, 0.2, 0.9))]) for _ in images]

    samples = [sample, replace(sample, points=None)]
    figures = robustness.half_occluded(parser, samples, evaluate_samples(parser, samples, "whole", 0))
    expected = {"recall": 100, "score_visible": 0.9, "score_hidden": 0.2, "nme": 15, "nme_ratio": 1.5}
    assert figures == pytest.approx(expected, rel=1e-4)


def test_occluded_faces_that_are_all_missed_have_no_other_figures(sample):
    whole = read_example(sample)

    def parser(images):
        return [Parse(whole.truth, [detected(POINTS)] if (i == whole.image).all() else []) for i in images]

    clean = evaluate_samples(parser, [sample], "whole", 0)
    assert robustness.half_occluded(parser, [sample], clean) == {"recall": 0}


def test_the_cost_of_a_corruption_by_hand(sample):
    clean, corrupted = merge(score(sample, shift=0.9)), merge(score(sample, shift=1.8, columns=4))
    figures = robustness.compare(clean, corrupted)
    # all 32 columns of skin are right, and 4 too many: F1 is 2·32 / (32 + 36)
    assert figures["mean_f1"] == pytest.approx(100 * 64 / 68)
    assert figures["mean_f1_retention"] == pytest.approx(64 / 68)
    assert figures["nme_ratio"] == pytest.approx(2, rel=1e-4)
    missed = robustness.compare(clean, merge(score(sample, faces=False)))
    assert missed["recall"] == 0
    assert "nme" not in missed


@pytest.mark.parametrize(("height", "width"), [(48, 64), (320, 200), (500, 1000)])
def test_large_examples_are_shrunk_to_the_size_of_the_corruptions(height, width):
    rows, columns = np.indices((height, width))
    mask = ((rows < height / 2) & (columns < width / 2)).astype(np.uint8)
    middle = np.full((1, 68, 2), (width / 2 - 0.5, height / 2 - 0.5))
    fitted = robustness.fit_example(Example("one", np.zeros((height, width, 3), np.uint8), mask, middle))
    scale = min(1, CORRUPTION_SIDE / max(height, width))
    assert fitted.image.shape[:2] == fitted.truth.shape == (height * scale, width * scale)
    assert fitted.truth.mean() == pytest.approx(mask.mean())
    assert fitted.points[0, 0] == pytest.approx((fitted.truth.shape[1] / 2 - 0.5, fitted.truth.shape[0] / 2 - 0.5))
