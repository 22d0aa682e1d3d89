import json

import pytest

from facemark.mlops import release
from facemark.mlops.release import worse
from facemark.models.bundle import ModelBundle, save_network


def metrics(f1: float, auc: float, split: str = "val") -> dict:
    return {"split": split, "datasets": {"a": {"mean_f1": f1}, "b": {"landmarks": {"auc8": auc}}}}


def test_equal_or_better_metrics_are_no_reason_to_refuse():
    assert worse(metrics(80, 50), metrics(80, 50)) == []
    assert worse(metrics(85, 55), metrics(80, 50)) == []
    assert worse(metrics(79.8, 49.8), metrics(80, 50)) == []


def test_each_worse_metric_is_named():
    assert worse(metrics(79, 45), metrics(80, 50)) == [
        "mean_f1 on a falls from 80.00 to 79.00",
        "landmarks.auc8 on b falls from 50.00 to 45.00",
    ]


def test_metrics_on_other_data_are_refused():
    assert "set evaluate.split" in worse(metrics(80, 50, "test"), metrics(80, 50))[0]
    less = {"split": "val", "datasets": {"a": {"mean_f1": 80}}}
    assert worse(less, metrics(80, 50)) == ["the last release was evaluated on b too"]


def test_worse_weights_are_not_released(untrained, tmp_path, monkeypatch):
    for name, f1 in (("EVALUATED", 70), ("RELEASED", 80)):
        (tmp_path / name).mkdir()
        (tmp_path / name / release.METRICS).write_text(json.dumps(metrics(f1, 50)))
        monkeypatch.setattr(release, name, tmp_path / name)
    monkeypatch.setattr(release, "BUILT", untrained)
    monkeypatch.setattr(release, "stale", lambda: None)
    with pytest.raises(SystemExit, match=r"falls from 80\.00 to 70\.00"):
        release.release()
    assert [file.name for file in (tmp_path / "RELEASED").iterdir()] == [release.METRICS]


def test_a_bundle_without_a_landmark_model_is_not_released(untrained, tmp_path, monkeypatch):
    bundle = ModelBundle.open(untrained)
    save_network(bundle.network(), bundle.config.network, bundle.config.input_size, tmp_path / "built")
    monkeypatch.setattr(release, "BUILT", tmp_path / "built")
    monkeypatch.setattr(release, "stale", lambda: None)
    assert release.objections() == [f"{tmp_path / 'built'} has no landmark model"]
