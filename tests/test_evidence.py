"""The comparison on poor labels: that labels are corrupted as their names say, and that a tiny cell runs."""

import itertools
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest

from facemark.data.samples import read_points
from facemark.geometry import apply
from facemark.labels import IGNORE, JAW, L_EYE_POINTS, Region
from facemark.settings import Network

EXPERIMENT = Path("experiments/poor-data").resolve()
sys.path.insert(0, str(EXPERIMENT))

import cell  # noqa: E402
import corrupt_labels  # noqa: E402
import faces  # noqa: E402
import methods  # noqa: E402
import report  # noqa: E402

TINY = methods.Settings(
    size=32, updates=3, batch_size=4, weight_decay=0.01, warmup=0.2, clip=1.0, views=8, workers=0
)  # fmt: skip
# the encoder is not the point here
methods.NETWORK = Network(architecture="Unet", encoder="tu-test_resnet", decoder_channels=(16, 16, 8, 8, 8))
RATES = {method: cell.best_rate(method, cell.params()["trial"]["rates"]) for method in methods.METHODS}


@pytest.fixture(scope="module")
def some_faces():
    if not Path("data/train").exists():
        pytest.skip("the starter data are not here; fetch them with: dvc pull data.dvc")
    return faces.load(faces.listed(Path("data"), "val")[:14])


@pytest.fixture(scope="module")
def truth():
    """Thirty faces whose outer eye corners are 100 pixels apart."""
    points = np.random.default_rng(0).uniform(0, 200, (30, 68, 2))
    points[:, 36], points[:, 45] = (50, 80), (150, 80)
    return points


def test_no_noise_is_the_truth_and_noise_is_as_wide_as_it_says(truth):
    assert np.array_equal(corrupt_labels.corrupt(truth, "clean", 1), truth)
    off = corrupt_labels.corrupt(truth, "noise-8", 1) - truth
    assert off.std() == pytest.approx(8, rel=0.05)  # 8 % of 100 pixels
    assert np.allclose(corrupt_labels.corrupt(truth, "noise-16", 1) - truth, 2 * off)


def test_the_share_of_outliers_is_exact_and_they_stay_in_the_face(truth):
    corrupted = corrupt_labels.corrupt(truth, "outliers-30", 1)
    moved = (corrupted != truth).any(-1)
    assert moved.sum() == 612  # 30 % of 30 × 68
    assert (corrupted >= truth.min(1, keepdims=True)).all() and (corrupted <= truth.max(1, keepdims=True)).all()


def test_one_annotator_in_three_is_biased_downwards(truth):
    off = corrupt_labels.corrupt(truth, "bias-4", 1) - truth
    assert np.allclose(off[::3], (0, 4))
    assert not off[1::3].any() and not off[2::3].any()


def test_the_share_of_missing_points_is_exact(truth):
    gone = np.isnan(corrupt_labels.corrupt(truth, "missing-60", 1))
    assert (gone[..., 0] == gone[..., 1]).all()
    assert gone[..., 0].sum() == 1224  # 60 % of 30 × 68


def test_regions_are_missing_whole(truth):
    gone = np.isnan(corrupt_labels.corrupt(truth, "regions-40", 1)[..., 0])
    by_region = np.array([gone[:, region].mean(1) for region in corrupt_labels.REGIONS])
    assert set(by_region.ravel()) == {0, 1}
    assert by_region.sum() == 84  # 40 % of 30 × 7


def test_one_bad_face_is_turned_by_a_right_angle_and_the_others_are_left_alone(truth):
    corrupted = corrupt_labels.corrupt(truth, "bad-30", 1)
    assert np.array_equal(corrupted[1:], truth[1:])
    corners = corrupted[0, 45] - corrupted[0, 36]
    assert np.allclose(corners, (0, 100)) or np.allclose(corners, (0, -100))
    assert np.allclose(corrupted[0].mean(0), truth[0].mean(0))


def test_a_condition_that_is_none_is_refused():
    for name in ("noise", "noise-x", "blur-3", "clean-2", ""):
        with pytest.raises(ValueError, match="there is no condition"):
            corrupt_labels.parse(name)


def test_fewer_faces_are_some_of_more_and_a_seed_draws_others():
    some = list(range(100))
    few, more = (cell.chosen(some, condition, 80, 1) for condition in ("few-10", "clean"))
    assert len(few) == 10 and len(more) == 80 and more[:10] == few
    assert cell.chosen(some, "bad-10", 80, 1) == few
    assert cell.chosen(some, "few-10", 80, 2) != few


def test_missing_points_are_predicted_from_the_others():
    rng = np.random.default_rng(0)
    modes = rng.normal(size=(2, 136))
    points = (rng.normal(size=(200, 2)) @ modes + 5).reshape(200, 68, 2)  # two modes explain all
    gaps = np.where(corrupt_labels.some((200, 68), 20, rng)[..., None], np.nan, points)
    filled, known = methods.complete_points(gaps), np.isfinite(gaps)
    assert np.array_equal(filled[known], gaps[known])
    by_mean = np.broadcast_to(np.nanmean(gaps, 0), gaps.shape)
    error, error_of_mean = (np.abs(found - points)[~known].mean() for found in (filled, by_mean))
    assert error < error_of_mean / 5


def test_a_face_lies_in_the_middle_of_its_crop_and_a_quarter_turn_turns_it():
    points = np.array([(10, 20), (110, 20), (110, 120), (10, 120)], float)
    inside = apply(faces.frame(points), points)
    assert inside.mean(0) == pytest.approx((0.5, 0.5))
    assert np.ptp(inside, 0) == pytest.approx(1 / faces.ROOM)
    assert apply(faces.frame(points, turn=90), points) == pytest.approx(np.roll(inside, -1, 0))


def test_a_shape_model_keeps_shapes_and_corrects_what_is_none():
    rng = np.random.default_rng(0)
    direct = methods.Direct()
    direct.shapes = methods.LandmarkModel.from_shapes(
        0.5 + (rng.normal(size=(30, 3)) @ rng.normal(size=(3, 136))).reshape(30, 68, 2)
    )
    shapes = direct.shapes.mean + (rng.normal(size=(5, 48)) @ direct.shapes.modes).reshape(5, 68, 2)
    assert np.allclose(direct.shaped(shapes), shapes)
    off = rng.normal(size=shapes.shape)
    assert np.linalg.norm(direct.shaped(shapes + off) - shapes) < np.linalg.norm(off)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (0.8, 0.1)])
def test_a_second_fit_corrects_constant_errors_and_keeps_what_is_right(some_faces, scale, shift):
    labels = np.array([face.points for face in some_faces])
    known = np.random.default_rng(0).random(labels.shape[:2]) < 0.8
    settings = replace(TINY, views=200)
    truths = [told[..., :2].numpy() for _, told in methods.views(some_faces, labels, known, settings, 1)]

    class Oracle(methods.Direct):
        def points(self, images):
            return scale * truths[next(calls)] + shift

    method, calls = Oracle(), itertools.count()
    method.finish(some_faces, labels, known, settings, 1)
    mended = method.refitted(scale * truths[0] + shift)
    assert np.linalg.norm(mended - truths[0], axis=-1).mean() < 0.01 * (1 - scale) + 1e-9


def test_a_mask_says_nothing_around_missing_points():
    points = read_points_of_a_face()
    parsing = methods.Parsing(points[None], 64)
    whole = parsing.target(points, np.ones(68, bool))
    known = np.ones(68, bool)
    known[L_EYE_POINTS] = False
    part = parsing.target(points, known)
    assert (whole == Region.L_EYE).any() and not (part == Region.L_EYE).any()
    assert np.array_equal(part == Region.R_EYE, whole == Region.R_EYE)
    assert set(part[part != whole]) == {IGNORE}


def read_points_of_a_face() -> np.ndarray:
    """The points of a drawn face, in its crop."""
    path = next(iter(sorted(Path("data/val/landmarks").glob("*.txt"))), None)
    if path is None:
        pytest.skip("the starter data are not here; fetch them with: dvc pull data.dvc")
    points = read_points(path)[0].astype(float)
    return apply(faces.frame(points), points)


@pytest.fixture(scope="module")
def cells(some_faces, tmp_path_factory):
    """A folder with a tiny cell of each method, one of changes, and the parameters that it was made with."""
    folder, changes = tmp_path_factory.mktemp("cells"), tmp_path_factory.mktemp("changes")
    wanted = {
        "methods": list(methods.METHODS),
        "seeds": [1, 2],
        "train": vars(TINY),
        "trial": cell.params()["trial"],
        "photos": {"conditions": ["clean"], "faces": 8},
        "longer": {"conditions": ["clean"], "faces": 8, "train": {"updates": 9}},
        "starter": {"conditions": ["clean", "regions-40"], "faces": 8},
    }
    for method in methods.METHODS:
        found, points = cell.cell(some_faces[:8], some_faces[8:], "regions-40", method, 1, TINY, RATES[method])
        assert points.shape == (6, 68, 2)
        known = {"source": "starter", "condition": "regions-40", "method": method, "seed": 1}
        name = "-".join(map(str, known.values()))
        made = known | found | {"train": vars(TINY), "most_faces": 8}
        (folder / f"{name}.json").write_text(json.dumps(made))
    return folder, changes, wanted


def test_a_cell_of_each_method_has_all_figures(cells):
    found = report.gather(*cells)
    assert {key[2] for key in found} == set(methods.METHODS)
    for (_, _, method, _), each in found.items():
        assert each["faces"] == 8
        assert set(each["tests"]) == {*faces.TESTS, *([] if method == "parsing" else ["shaped", "refitted"])}
        for figures in each["tests"].values():
            assert set(figures) == set(report.FIGURES)
            assert np.isfinite(list(figures.values())).all()
            assert figures["nme"] <= figures["worst5"]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_points_and_one_face_changes_them(some_faces):
    def points(condition):
        return cell.cell(some_faces[:8], some_faces[8:], condition, "coordinate", 1, TINY, 1e-3)[1]

    before = points("few-8")
    assert np.array_equal(points("few-8"), before)
    assert not np.array_equal(points("bad-8"), before)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An MLflow store of a test's own."""
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield
    mlflow.set_tracking_uri(before)


def test_cells_are_runs_within_one(store):
    made = {"faces": 8, "rate": 1e-3, "precision": "float32", "device": "CPU", "minutes": 0.5}
    made["tests"] = {"clean": {"nme": 4.0}}
    for seed in (1, 2):
        cell.log(f"clean-{seed}", {"condition": "clean", "seed": seed}, made)
    runs = {run.info.run_name: run for run in mlflow.search_runs(search_all_experiments=True, output_format="list")}
    assert runs.keys() == {"poor-data", "clean-1", "clean-2"}
    for seed in (1, 2):
        run = runs[f"clean-{seed}"]
        assert run.data.tags["mlflow.parentRunId"] == runs["poor-data"].info.run_id
        assert run.data.params["seed"] == str(seed)
        assert run.data.metrics == {"clean.nme": 4, "minutes": 0.5}


def test_the_report_copes_with_missing_cells_and_can_be_written_again(cells, tmp_path):
    wanted = cells[-1]
    page = tmp_path / "evidence.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    found = report.gather(*cells)
    for _ in range(2):
        report.write(page, "\n\n".join(report.sections(found, wanted, page)))
    content = page.read_text()
    assert content.startswith("before\n") and content.endswith("\nafter\n") and "\nold\n" not in content
    assert "starter: 3 of 12 cells" in content and "photos: 0 of 6 cells" in content
    assert not report.influence_table(found, "starter")  # no change was measured
    for method in methods.METHODS:
        nme = found["starter", "regions-40", method, 1]["tests"]["clean"]["nme"]
        assert re.search(rf"\| regions-40 \| {method} \| 1 \| {nme:.2f} \|", content)


def test_the_curves_are_drawn_once_an_axis_has_two_levels(cells, tmp_path):
    wanted = cells[-1]
    found = report.gather(*cells)
    both = found | {(key[0], "clean", *key[2:]): each for key, each in found.items()}
    page = tmp_path / "evidence.md"
    "".join(report.sections(found, wanted, page))
    assert not list(tmp_path.glob("*.png"))
    assert f"({page.stem}-starter.png)" in "".join(report.sections(both, wanted, page))
    assert list(tmp_path.glob("*.png"))


def test_cells_of_other_parameters_are_left_out(cells, monkeypatch):
    folder, changes, wanted = cells
    monkeypatch.setattr(report, "best_rate", lambda *_: 1.0)
    assert not report.gather(*cells)
    monkeypatch.undo()
    assert not report.gather(folder, changes, wanted | {"train": wanted["train"] | {"updates": 4}})


def test_a_source_may_be_trained_in_its_own_way(cells):
    folder, changes, wanted = cells
    own = {source: wanted[source] | {"train": {"updates": 3}} for source in report.SOURCES}
    assert report.gather(folder, changes, wanted | own | {"train": wanted["train"] | {"updates": 4}})
    own = {source: wanted[source] | {"train": {"updates": 4}} for source in report.SOURCES}
    assert not report.gather(folder, changes, wanted | own)


def test_an_interval_is_students():
    assert report.interval([1.0, 2.0, 3.0]) == pytest.approx((2, 4.303 / 3**0.5), abs=1e-3)
    assert report.text([1.5]) == "1.50" and report.text([]) == "–"


def test_a_slope_is_that_of_the_line_through_the_levels_and_a_lead_is_that_of_levels_in_common():
    def made(nme):
        return {"faces": 8, "tests": {"clean": {"nme": nme}}}

    made_up = {
        **{("photos", name, "parsing", 1): made(nme) for name, nme in (("clean", 3), ("noise-8", 7), ("noise-16", 11))},
        **{("photos", name, "heatmap", 1): made(nme) for name, nme in (("clean", 4), ("noise-16", 20))},
        **{("photos", name, "heatmap", 2): made(nme) for name, nme in (("clean", 4), ("noise-8", 4))},
    }
    row = "| 0.50 | 0.50 ± 6.35 | +0.50 |"  # heatmap: 1 and 0; t is 12.7
    assert row in report.slopes_table(made_up, "photos")


def test_a_lead_is_paired_by_seed_and_its_mean_is_of_the_seeds_that_all_labels_have():
    def made(nme):
        tests = dict.fromkeys(("clean", "refitted", "occlusion"), dict.fromkeys(report.FIGURES, nme))
        return {"faces": 8, "tests": tests}

    nmes = {
        ("clean", "parsing"): (3, 5, 9), ("clean", "heatmap"): (4, 8),
        ("noise-8", "parsing"): (5, 5), ("noise-8", "heatmap"): (8, 6, 1),
        ("bias-8", "parsing"): (1,),
    }  # fmt: skip
    made_up = {("photos", *key, seed): made(nme) for key, each in nmes.items() for seed, nme in enumerate(each, 1)}
    rows = report.lead_table(made_up, "photos").splitlines()[2:]
    cells = [[cell.strip() for cell in row.split("|")[1:4]] for row in rows]
    # leads 1 and 3, of mean 2; 3 and 1; so seed by seed 2 and 2; t is 12.7, the standard error 1
    assert cells == [
        ["clean", "2", "+2.00 ± 12.71"], ["noise-8", "2", "+2.00 ± 12.71"], ["mean of these", "2", "+2.00 ± 0.00"],
    ]  # fmt: skip


def test_a_change_is_the_mean_distance_of_the_points():
    before = np.zeros((100, 68, 2))
    after = before.copy()
    after[90:] += (3, 4)
    assert cell.change(before, after) == pytest.approx({"mean": 0.5, "of_95th": 5})


def test_a_change_is_written_for_two_cells_of_one_precision_and_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(cell, "CELLS", tmp_path)
    monkeypatch.setattr(cell, "CHANGES", tmp_path / "changes")
    wanted = cell.params() | {"train": {}}
    for condition, nme in (("few-100", 4.0), ("bad-100", 4.5)):
        made = {"tests": {"clean": {"nme": nme}}, "precision": "float32", "train": {}, "most_faces": 400}
        made["rate"] = RATES["parsing"]
        (tmp_path / f"photos-{condition}-parsing-1.json").write_text(json.dumps(made))
        np.save(tmp_path / f"photos-{condition}-parsing-1.npy", np.full((5, 68, 2), (0, nme)))
    cell.write_change("photos", "bad-100", "parsing", 1)
    found = report.gather(tmp_path, tmp_path / "changes", wanted)
    assert "| bad-100 | parsing | 1 | 0.50 | 0.50 | +0.50 |" in report.influence_table(found, "photos")
    (tmp_path / "photos-few-100-parsing-1.json").write_text('{"precision": "bfloat16", "train": {}}')
    with pytest.raises(SystemExit, match="differ in parameters or precision"):
        cell.write_change("photos", "bad-100", "parsing", 1)


def test_params_name_conditions_and_methods_that_there_are():
    wanted = cell.params()
    assert set(wanted["methods"]) <= set(methods.METHODS)
    for source in report.SOURCES:
        methods.Settings(**cell.trained(wanted, source))
        for condition in wanted[source]["conditions"]:
            corrupt_labels.parse(condition)


def test_all_points_belong_to_one_of_the_regions():
    assert sorted(i for region in corrupt_labels.REGIONS for i in range(68)[region]) == list(range(68))
    assert corrupt_labels.REGIONS[0] == JAW
