from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scored import POINTS, detected, write_sample

from facemark.data.splits import write_index
from facemark.evaluation.corruptions import CORRUPTIONS
from facemark.evaluation.evaluate import evaluation_sets, measure_parser, round_figures
from facemark.inference.types import Parse
from facemark.settings import PREPARED, Dataset, load_params
from facemark.stages.evaluate import evaluate


@pytest.fixture
def params(tmp_path, monkeypatch):
    """Params of the datasets ``one`` and ``two``, unprepared, in a working directory of their own."""
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    monkeypatch.chdir(tmp_path)
    both = {name: Dataset(format="starter", path=Path(name), use=("landmarks",)) for name in ("one", "two")}
    for name in both:
        (PREPARED / name).mkdir(parents=True)
    return params.model_copy(update={"prepare": params.prepare.model_copy(update={"datasets": both})})


def test_datasets_without_images_in_the_split_are_left_out(params, tmp_path):
    sample = write_sample(tmp_path)
    write_index(PREPARED / "one/index.csv", [replace(sample, split="train")])
    write_index(PREPARED / "two/index.csv", [sample, replace(sample, split="val"), sample])
    assert {name: len(samples) for name, samples in evaluation_sets(params).items()} == {"two": 2}


def test_an_empty_split_is_refused(params):
    for name in params.prepare.datasets:
        write_index(PREPARED / name / "index.csv", [])
    with pytest.raises(SystemExit, match=r"no dataset has pictures in its test split; set evaluate\.split"):
        evaluate(params)


@pytest.mark.parametrize("count", [0, 2])
def test_figures_are_given_for_all_datasets_together_and_for_each(params, tmp_path, count):
    sample = write_sample(tmp_path)
    sets = {"good": [sample, sample], "none": [replace(sample, mask=None, points=None)], "bad": [sample] * 3}
    parsed = []

    def parser(images):
        parsed.extend(images)
        # a shift by 1.8 of the 18 pixels between the eye corners, for all but the first two images
        shifts = [0 if i < 2 else 1.8 for i in range(len(parsed) - len(images), len(parsed))]
        return [
            Parse(np.zeros(image.shape[:2], np.uint8), [detected(POINTS + np.float32([shift, 0]))])
            for image, shift in zip(images, shifts, strict=True)
        ]

    settings = params.evaluate.model_copy(update={"robustness": count, "overlays": 4})
    figures, results = measure_parser(parser, settings, sets)
    assert (figures["landmarks"]["faces"], figures["landmarks"]["nme"]) == (5, 6)
    assert figures["datasets"]["good"]["landmarks"]["nme"] == 0
    assert figures["datasets"]["bad"]["landmarks"]["nme"] == 10
    assert figures["datasets"]["none"] == {}
    assert {name: len(result.worst) for name, result in results.items()} == {"good": 2, "none": 1, "bad": 3}
    assert ("robustness" in figures) == bool(count)
    # with robustness, two images of each dataset: uncorrupted, under each corruption, and those with points occluded
    assert len(parsed) == 6 + (5 * (1 + len(CORRUPTIONS)) + 4 if count else 0)


def test_figures_are_rounded_at_every_depth():
    assert round_figures({"a": 1.23456, "b": {"c": 7, "d": {"e": 0.0004}}}) == {
        "a": 1.235,
        "b": {"c": 7, "d": {"e": 0}},
    }
