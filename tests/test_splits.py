"""Splits, class weights and the classes that a mask shows."""

from pathlib import Path

import numpy as np
import pytest

from facemark.data.samples import Sample
from facemark.data.splits import assign_splits, class_weights, shown_classes, split_statistics
from facemark.labels import CLASSES
from facemark.settings import Splits


def samples(count, name=None):
    return [Sample(path := Path(f"{i:05}.jpg"), path, None, name) for i in range(count)]


def test_split_has_the_requested_shares_and_is_stable():
    drawn = assign_splits(samples(4000), Splits(val=0.1, test=0.2), seed=3)
    share = {name: sum(s.split == name for s in drawn) / 4000 for name in ("train", "val", "test")}
    assert share == pytest.approx({"train": 0.7, "val": 0.1, "test": 0.2}, abs=0.02)
    assert assign_splits(samples(4000)[::2], Splits(val=0.1, test=0.2), seed=3) == drawn[::2]


def test_a_dataset_keeps_the_splits_it_has():
    given = samples(50, "train") + [Sample(s.image, s.mask, None, "val") for s in samples(5)]
    drawn = assign_splits(given, Splits(val=0.5, test=0.0), seed=1)
    assert drawn == given


def test_class_weights_by_hand():
    # rarities 16/15 and 16/1: eighth roots 1.0081 and 1.4142, mean 1.2112
    assert class_weights(np.array([15, 1, 0])) == pytest.approx([0.8324, 1.1676, 1], abs=1e-4)


def test_a_class_of_a_labelling_slip_is_not_shown():
    counts = np.zeros(len(CLASSES), int)
    counts[[0, 1, 2]] = 19_984, 11, 5  # 5 of 20 000 pixels are a quarter of a thousandth
    assert shown_classes(counts) == ("background", "skin")


def test_statistics_by_hand():
    counts = np.zeros((3, len(CLASSES)), int)
    counts[:, 0], counts[1:, 2] = 10, (6, 8)
    statistics = split_statistics(["train", "train", "val"], counts)
    assert statistics["samples"] == {"train": 2, "val": 1, "test": 0}
    assert (statistics["pixels"]["background"], statistics["pixels"]["nose"]) == (20, 6)
    assert (statistics["pictures"]["background"], statistics["pictures"]["nose"]) == (2, 1)
    assert statistics["class_weights"]["hat"] == 1
