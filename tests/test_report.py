import csv

import cv2
import numpy as np
import pytest
from scored import merge, score, write_sample

from facemark.evaluation import report
from facemark.labels import CLASSES, POINT_GROUPS


@pytest.fixture
def sample(tmp_path):
    return write_sample(tmp_path)


def table(file) -> list[dict]:
    with file.open() as rows:
        return list(csv.DictReader(rows))


def test_tables_and_charts_agree_with_the_figures(sample, tmp_path):
    total = merge(score(sample, columns=8), score(sample, shift=0.9), score(sample, faces=False))
    empty = merge(score(sample))
    empty = type(empty)(empty.confusion * 0, empty.errors[:0], empty.scores[:0], [])
    figures = total.figures() | {
        "robustness": {
            "blur": {"mean_f1_retention": 0.9, "nme_ratio": 1.2},
            "noise": {"mean_f1_retention": 0.8},
            "half_occluded": {"nme_ratio": 1.5},
        }
    }
    report.write_report(figures, {"all": total, "none": empty}, 2, tmp_path / "report")
    plots = tmp_path / "report/plots"

    assert [row["class"] for row in table(plots / "f1_by_class.csv")] == ["background", "skin"]
    pairs = [(row["actual"], row["predicted"]) for row in table(plots / "confusion.csv")]
    assert pairs.count(("skin", "skin")) == 100
    assert pairs.count(("background", "skin")) == round(100 * 8 / 32 / 3)
    assert {name for pair in pairs for name in pair} <= set(CLASSES)
    faces = {float(row["nme"]): float(row["faces"]) for row in table(plots / "ced.csv")}
    assert (faces[0], faces[4.9], faces[5.1], faces[15]) == (33.33, 33.33, 66.67, 66.67)
    assert {row["group"]: row["nme"] for row in table(plots / "nme_by_group.csv")} == dict.fromkeys(POINT_GROUPS, "2.5")
    assert table(plots / "robustness.csv") == [
        {"corruption": "blur", "mean_f1_retention": "0.9", "nme_ratio": "1.2"},
        {"corruption": "noise", "mean_f1_retention": "0.8", "nme_ratio": ""},
        {"corruption": "half_occluded", "mean_f1_retention": "", "nme_ratio": "1.5"},
    ]
    for chart in ("plots/confusion.png", "plots/ced.png", "plots/robustness.png", "overlays.png"):
        drawn = cv2.imread(str(tmp_path / "report" / chart))
        assert drawn.std() > 10, chart


def test_without_masks_and_robustness_their_tables_are_left_out(sample, tmp_path):
    case = score(sample)
    bare = merge(type(case)(case.example, case.parse, case.confusion * 0, case.errors, case.scores))
    report.write_report(bare.figures(), {"all": bare}, 1, tmp_path / "report")
    assert {file.name for file in (tmp_path / "report/plots").iterdir()} == {"ced.csv", "ced.png", "nme_by_group.csv"}


@pytest.mark.parametrize("count", [1, 3, 4])
def test_the_page_has_a_panel_for_each_case(sample, count):
    page = report.draw_page([score(sample, shift=i) for i in range(count)])
    one = report.draw_page([score(sample)])
    rows, columns = -(-count // report.PAGE_COLUMNS), min(count, report.PAGE_COLUMNS)
    assert page.dtype == np.uint8
    assert page.shape == (one.shape[0] * rows, one.shape[1] * columns, 3)
    assert (page[: one.shape[0], : one.shape[1]] == one).all()


def test_a_panel_shows_image_truth_and_prediction(sample):
    panel = report.draw_panel(score(sample, columns=16))
    image, truth, prediction = (panel[22:, i * report.TILE : (i + 1) * report.TILE] for i in range(3))
    row, scale = 160, report.TILE / 64  # below the points, on the grey image of 64 × 48 pixels
    assert (image[row, 10] == 100).all()
    for tile, columns in ((truth, 32), (prediction, 48)):
        skin, background = tile[row, int((columns - 4) * scale)], tile[row, int((columns + 8) * scale)]
        assert (background == 100).all()
        assert (skin != 100).any()
