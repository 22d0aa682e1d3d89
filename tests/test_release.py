from facemark.release import worse


def figures(f1: float, nme: float, split: str = "val") -> dict:
    return {"split": split, "datasets": {"a": {"mean_f1": f1}, "b": {"landmarks": {"nme": nme}}}}


def test_better_or_equal_is_no_objection():
    assert worse(figures(80, 4), figures(80, 4)) == []
    assert worse(figures(85, 3), figures(80, 4)) == []
    assert worse(figures(79.8, 4.05), figures(80, 4)) == []


def test_each_figure_that_is_worse_is_named():
    assert worse(figures(79, 5), figures(80, 4)) == [
        "mean F1 on a falls from 80.00 to 79.00",
        "NME on b rises from 4.00 to 5.00",
    ]
    blind = {"split": "val", "datasets": {"a": {"mean_f1": 80}, "b": {"landmarks": {"found": 0}}}}
    assert worse(blind, figures(80, 4)) == ["NME on b rises from 4.00 to inf"]


def test_other_data_cannot_be_compared():
    assert "set evaluate.split" in worse(figures(80, 4, "test"), figures(80, 4))[0]
    assert "evaluated on b too" in worse({"split": "val", "datasets": {"a": {"mean_f1": 80}}}, figures(80, 4))[0]
