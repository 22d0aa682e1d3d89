import json

import pytest

from facemark.mlops import release
from facemark.mlops.release import worse


def figures(f1: float, auc: float, split: str = "val") -> dict:
    return {"split": split, "datasets": {"a": {"mean_f1": f1}, "b": {"landmarks": {"auc8": auc}}}}


def test_better_or_equal_is_no_objection():
    assert worse(figures(80, 50), figures(80, 50)) == []
    assert worse(figures(85, 55), figures(80, 50)) == []
    assert worse(figures(79.8, 49.8), figures(80, 50)) == []


def test_each_figure_that_is_worse_is_named():
    assert worse(figures(79, 45), figures(80, 50)) == [
        "mean_f1 on a falls from 80.00 to 79.00",
        "landmarks.auc8 on b falls from 50.00 to 45.00",
    ]


def test_other_data_cannot_be_compared():
    assert "set evaluate.split" in worse(figures(80, 50, "test"), figures(80, 50))[0]
    less = {"split": "val", "datasets": {"a": {"mean_f1": 80}}}
    assert worse(less, figures(80, 50)) == ["the last release was evaluated on b too"]


def test_worse_weights_are_not_released(untrained, tmp_path, monkeypatch):
    for name, f1 in (("EVALUATED", 70), ("RELEASED", 80)):
        (tmp_path / name).mkdir()
        (tmp_path / name / release.FIGURES).write_text(json.dumps(figures(f1, 50)))
        monkeypatch.setattr(release, name, tmp_path / name)
    monkeypatch.setattr(release, "BUILT", untrained)
    monkeypatch.setattr(release, "stale", lambda: None)
    with pytest.raises(SystemExit, match=r"falls from 80\.00 to 70\.00"):
        release.release()
    assert [file.name for file in (tmp_path / "RELEASED").iterdir()] == [release.FIGURES]
