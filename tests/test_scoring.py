import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from facemark.data.samples import Sample
from facemark.evaluation import metrics, report, scoring
from facemark.evaluation.corruptions import CORRUPTIONS, is_occluded
from facemark.inference.types import Face, Parse
from facemark.labels import CLASSES, IGNORE, POINT_GROUPS, Region
from facemark.settings import PREPARED, load_params
from facemark.stages.evaluate import evaluate

POINTS = np.stack(np.meshgrid(np.linspace(8, 40, 17), np.linspace(10, 30, 4)), -1).reshape(68, 2).astype(np.float32)
"""68 points on a grid; 36 and 45 lie in one row, 18 pixels apart."""


def found(points: np.ndarray) -> Face:
    box = np.r_[points.min(0), points.max(0)]
    return Face(box, 1.0, points, np.ones(68, np.float32), points[[36, 45]], points[60], {})


@pytest.fixture
def sample(tmp_path):
    """A picture of 64 × 48 pixels, half of it skin, a strip ignored, with one face."""
    image, mask = np.full((48, 64, 3), 100, np.uint8), np.zeros((48, 64), np.uint8)
    mask[:, :32], mask[:2] = Region.SKIN, IGNORE
    rows = "\n".join(f"{x} {y}" for x, y in POINTS.tolist())
    paths = [tmp_path / name for name in ("face.png", "mask.png", "points.txt")]
    cv2.imwrite(str(paths[0]), image)
    cv2.imwrite(str(paths[1]), mask)
    paths[2].write_text(f"68\n{rows}\n")
    return Sample(*paths, "test")


@pytest.fixture
def case(sample):
    """Judges a prediction that moves the points, and calls some columns of the background skin."""

    def judge(shift: float = 0, columns: int = 0, faces: bool = True) -> scoring.ScoredExample:
        mask = np.zeros((48, 64), np.uint8)
        mask[:, : 32 + columns] = Region.SKIN
        parse = Parse(mask, [found(POINTS + np.float32([shift, 0]))] if faces else [])
        return scoring.score_example(scoring.read_example(sample), parse)

    return judge


def result(*cases: scoring.ScoredExample, keep: int = 10) -> scoring.Result:
    return scoring.merge_results(
        [scoring.Result(case.confusion, case.errors, case.scores, [case]) for case in cases], keep
    )


def test_a_perfect_answer_is_judged_perfect(case):
    perfect = case()
    assert metrics.mean_f1(perfect.confusion) == perfect.quality == 100
    assert perfect.confusion.sum() == 46 * 64
    assert (perfect.errors == 0).all()
    assert perfect.caption == "face  face F1 100.0  NME 0.0"


def test_errors_are_those_of_the_face_that_matches(case):
    assert case(shift=1.8).errors == pytest.approx(np.full((1, 68), 10), rel=1e-4)


def test_a_missed_face_is_said_to_be_missed(case):
    for missed in (case(faces=False), case(shift=500)):
        assert np.isinf(missed.errors).all()
        assert (missed.scores == 0).all()
        assert missed.quality == 0
        assert missed.caption.endswith("NME missed")


def test_merging_adds_up_and_keeps_the_worst_first(case):
    good, bad, worse = case(), case(shift=3, columns=4), case(faces=False)
    merged = result(good, worse, bad, keep=2)
    assert merged.worst == [worse, bad]
    assert merged.confusion.sum() == 3 * 46 * 64
    figures = merged.figures()
    assert figures["landmarks"]["faces"] == 3
    assert figures["landmarks"]["found"] == pytest.approx(200 / 3)
    assert figures["f1"]["skin"] == pytest.approx(100 * 2 * 96 / (2 * 96 + 4))


def test_without_points_there_are_no_landmark_figures(sample):
    bare = scoring.read_example(Sample(sample.image, sample.mask, None, "test"))
    assert "landmarks" not in result(scoring.score_example(bare, Parse(bare.truth, []))).figures()


def test_without_masks_there_are_only_landmark_figures(sample):
    bare = scoring.read_example(Sample(sample.image, None, sample.points, "test"))
    figures = result(scoring.score_example(bare, Parse(np.zeros((48, 64), np.uint8), [found(POINTS)]))).figures()
    assert list(figures) == ["landmarks"]
    assert figures["landmarks"]["nme"] == 0


def test_a_picture_in_which_there_is_no_face_and_none_is_seen_is_perfect():
    nothing = np.zeros((48, 64), np.uint8)
    empty = scoring.Example("empty", np.zeros((48, 64, 3), np.uint8), nothing, np.empty((0, 68, 2)))
    assert scoring.score_example(empty, Parse(nothing, [])).quality == 100


class Oracle:
    """Knows the masks of a sample, however it is damaged, and its points but for a tenth of the eyes' distance."""

    def __init__(self, sample):
        example = scoring.read_example(sample)
        damages = [
            example,
            scoring.occlude_example(example),
            *(scoring.corrupt_example(example, name) for name in CORRUPTIONS),
        ]
        self.known = {known.image.tobytes(): known for known in damages}

    def __call__(self, images):
        known = [self.known[image.tobytes()] for image in images]
        return [
            Parse(np.where(k.truth == IGNORE, 0, k.truth), [found(p + (p[45] - p[36]) / 10) for p in k.points])
            for k in known
        ]


def test_what_is_not_misled_is_robust(sample):
    report = scoring.robustness(Oracle(sample), [sample])
    assert report.keys() == {*CORRUPTIONS, "half_hidden"}
    hidden = report.pop("half_hidden")
    assert (hidden["found"], hidden["nme_grown"], hidden["score_visible"]) == pytest.approx((100, 1, 1))
    for figures in report.values():
        assert figures["mean_f1"] == figures["found"] == 100
        assert figures["nme"] == pytest.approx(10, rel=1e-3)
        assert (figures["mean_f1_kept"], figures["nme_grown"]) == pytest.approx((1, 1), rel=1e-3)


def test_what_hiding_half_a_face_costs_is_told_by_hand(sample):
    whole = scoring.read_example(sample)
    under = is_occluded(POINTS)

    def parser(images):
        spoilt = (images[0] != whole.image).any()
        face = found(POINTS + np.where(under, 9.0, 2.7 if spoilt else 1.8)[:, None] * np.float32([1, 0]))
        return [Parse(whole.truth, [replace(face, scores=np.where(under & spoilt, 0.2, 0.9))]) for _ in images]

    samples = [sample, replace(sample, points=None)]
    figures = scoring.half_hidden(parser, samples, scoring.evaluate_samples(parser, samples, "whole", 0))
    expected = {"found": 100, "score_visible": 0.9, "score_hidden": 0.2, "nme": 15, "nme_grown": 1.5}
    assert figures == pytest.approx(expected, rel=1e-4)


def test_what_a_damage_costs_is_told_by_hand(case):
    clean, spoilt = result(case(shift=0.9)), result(case(shift=1.8, columns=4))
    figures = scoring.compare(clean, spoilt)
    # of 32 columns of skin all are found, and 4 too many: F1 is 2·32 / (32 + 36)
    assert figures["mean_f1_kept"] == pytest.approx(64 / 68)
    assert figures["nme_grown"] == pytest.approx(2, rel=1e-4)
    assert "nme" not in scoring.compare(clean, result(case(faces=False)))


def test_tables_say_what_the_matrix_says(case, tmp_path):
    total = result(case(columns=8), case(shift=0.9), case(faces=False))
    report.plot_f1(total.confusion, tmp_path)
    report.plot_confusion(total.confusion, tmp_path)
    report.plot_ced({"all": total.errors, "none": total.errors[:0]}, tmp_path)
    report.plot_groups(total.figures()["landmarks"], tmp_path)

    def table(name: str) -> list[dict]:
        with (tmp_path / name).open() as file:
            return list(csv.DictReader(file))

    assert [row["class"] for row in table("f1_by_class.csv")] == ["background", "skin"]
    pairs = [(row["actual"], row["predicted"]) for row in table("confusion.csv")]
    assert pairs.count(("skin", "skin")) == 100
    assert pairs.count(("background", "skin")) == round(100 * 8 / 32 / 3)
    assert {name for pair in pairs for name in pair} <= set(CLASSES)
    faces = {float(row["nme"]): float(row["faces"]) for row in table("ced.csv")}
    assert (faces[0], faces[4.9], faces[5.1], faces[15]) == (33.33, 33.33, 66.67, 66.67)
    assert {row["group"]: row["nme"] for row in table("nme_by_group.csv")} == dict.fromkeys(POINT_GROUPS, "2.5")
    assert all(cv2.imread(str(tmp_path / name)) is not None for name in ("confusion.png", "ced.png"))


@pytest.mark.parametrize("count", [1, 3, 4])
def test_the_page_has_a_panel_for_each_case(case, count):
    page = report.page([case(shift=i) for i in range(count)])
    one = report.page([case()])
    rows, columns = -(-count // report.PAGE_COLUMNS), min(count, report.PAGE_COLUMNS)
    assert page.dtype == np.uint8
    assert page.shape == (one.shape[0] * rows, one.shape[1] * columns, 3)
    assert (page[: one.shape[0], : one.shape[1]] == one).all()


def test_an_empty_split_is_refused(tmp_path, monkeypatch):
    params = load_params(Path(__file__).parents[1] / "params.yaml")
    monkeypatch.chdir(tmp_path)
    for name in params.prepare.datasets:
        index = PREPARED / name / "index.csv"
        index.parent.mkdir(parents=True)
        index.write_text("split,image,mask,points,sha256\n")
    with pytest.raises(SystemExit, match=r"no dataset has pictures in its test split; set evaluate\.split"):
        evaluate(params)
