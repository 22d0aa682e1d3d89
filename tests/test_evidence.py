"""The comparison on poor labels: label corruptions, a tiny cell of each method, and the report."""

import itertools
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from clone import NETWORK
from threadpoolctl import threadpool_limits

from facemark.data.samples import read_points
from facemark.geometry import apply
from facemark.labels import IGNORE, JAW, L_EYE_POINTS, Region
from facemark.settings import Network

EXPERIMENT = Path("experiments/poor-data").resolve()
sys.path.insert(0, str(EXPERIMENT))

import cell  # noqa: E402
import collect  # noqa: E402
import corrupt_labels  # noqa: E402
import faces  # noqa: E402
import fitting  # noqa: E402
import methods  # noqa: E402
import report  # noqa: E402
import tables  # noqa: E402
from runtime import Settings  # noqa: E402

TINY = Settings(
    size=32, updates=3, batch_size=4, weight_decay=0.01, warmup=0.2, clip=1.0, views=8, workers=0
)  # fmt: skip
TINY_NETWORK = Network.model_validate(NETWORK)
REPORTING = {"report", "collect", "tables", "charts"}
"""Modules that no cell depends on."""
RATES = {method: cell.best_rate(method, cell.load_params()["trial"]["rates"]) for method in methods.METHODS}


@pytest.fixture(scope="module", autouse=True)
def quick_fits():
    """Fewer penalties, both ends included, and one thread: the thousands of regressions of a refit are tiny."""
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1):
        patch.setattr(methods, "PENALTIES", methods.PENALTIES[::3])
        yield


@pytest.fixture(scope="module")
def some_faces():
    if not Path("data/train").exists():
        pytest.skip("the starter data are not here; fetch them with: dvc pull data.dvc")
    return faces.load_faces(faces.list_samples(Path("data"), "val")[:14])


@pytest.fixture(scope="module")
def truth():
    """30 faces whose outer eye corners are 100 pixels apart."""
    points = np.random.default_rng(0).uniform(0, 200, (30, 68, 2))
    points[:, 36], points[:, 45] = (50, 80), (150, 80)
    return points


def test_clean_labels_are_the_truth_and_noise_has_the_standard_deviation_of_its_level(truth):
    assert np.array_equal(corrupt_labels.corrupt(truth, "clean", 1), truth)
    off = corrupt_labels.corrupt(truth, "noise-8", 1) - truth
    assert off.std() == pytest.approx(8, rel=0.05)  # 8 % of 100 pixels
    assert np.allclose(corrupt_labels.corrupt(truth, "noise-16", 1) - truth, 2 * off)


def test_the_share_of_outliers_is_exact_and_they_stay_in_the_box(truth):
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


def test_whole_regions_are_missing(truth):
    gone = np.isnan(corrupt_labels.corrupt(truth, "regions-40", 1)[..., 0])
    by_region = np.array([gone[:, region].mean(1) for region in corrupt_labels.REGIONS])
    assert set(by_region.ravel()) == {0, 1}
    assert by_region.sum() == 84  # 40 % of 30 × 7


def test_one_bad_face_is_rotated_by_a_right_angle_and_the_others_are_unchanged(truth):
    corrupted = corrupt_labels.corrupt(truth, "bad-30", 1)
    assert np.array_equal(corrupted[1:], truth[1:])
    corners = corrupted[0, 45] - corrupted[0, 36]
    assert np.allclose(corners, (0, 100)) or np.allclose(corners, (0, -100))
    assert np.allclose(corrupted[0].mean(0), truth[0].mean(0))


def test_an_unknown_condition_is_refused():
    for name in ("noise", "noise-x", "blur-3", "clean-2", ""):
        with pytest.raises(ValueError, match="there is no condition"):
            corrupt_labels.parse(name)


def test_fewer_faces_are_a_subset_of_more_and_another_seed_draws_others():
    samples = list(range(100))
    few, more = (cell.draw_samples(samples, condition, 80, 1) for condition in ("few-10", "clean"))
    assert len(few) == 10 and len(more) == 80 and more[:10] == few
    assert cell.draw_samples(samples, "bad-10", 80, 1) == few
    assert cell.draw_samples(samples, "few-10", 80, 2) != few


def test_missing_points_are_predicted_from_the_others():
    rng = np.random.default_rng(0)
    modes = rng.normal(size=(2, 136))
    points = (rng.normal(size=(200, 2)) @ modes + 5).reshape(200, 68, 2)  # two modes explain all
    gaps = np.where(corrupt_labels.random_share((200, 68), 20, rng)[..., None], np.nan, points)
    completed, known = fitting.complete_points(gaps), np.isfinite(gaps)
    assert np.array_equal(completed[known], gaps[known])
    by_mean = np.broadcast_to(np.nanmean(gaps, 0), gaps.shape)
    error, error_of_mean = (np.abs(each - points)[~known].mean() for each in (completed, by_mean))
    assert error < error_of_mean / 5


def test_a_face_is_in_the_middle_of_its_crop_and_a_quarter_turn_rotates_it():
    points = np.array([(10, 20), (110, 20), (110, 120), (10, 120)], float)
    inside = apply(faces.crop_frame(points), points)
    assert inside.mean(0) == pytest.approx((0.5, 0.5))
    assert np.ptp(inside, 0) == pytest.approx(1 / faces.CROP_RATIO)
    assert apply(faces.crop_frame(points, turn=90), points) == pytest.approx(np.roll(inside, -1, 0))


def test_a_shape_model_keeps_shapes_and_corrects_others():
    rng = np.random.default_rng(0)
    direct = methods.Direct()
    direct.shapes = methods.LandmarkModel.from_shapes(
        0.5 + (rng.normal(size=(30, 3)) @ rng.normal(size=(3, 136))).reshape(30, 68, 2)
    )
    shapes = direct.shapes.mean + (rng.normal(size=(5, 48)) @ direct.shapes.modes).reshape(5, 68, 2)
    assert np.allclose(direct.shaped(shapes), shapes)
    off = rng.normal(size=shapes.shape)
    assert np.linalg.norm(direct.shaped(shapes + off) - shapes) < np.linalg.norm(off)


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (0.8, 0.1)])
def test_a_refit_corrects_constant_errors_and_keeps_exact_points(some_faces, scale, shift):
    labels = np.array([face.points for face in some_faces])
    known = np.random.default_rng(0).random(labels.shape[:2]) < 0.8
    settings = replace(TINY, views=200)
    batches = methods.training_crops(some_faces, labels, known, settings, 1)[1]
    truths = [target[..., :2].numpy() for _, target in batches]

    class Oracle(methods.Direct):
        def points(self, images):
            return scale * truths[next(calls)] + shift

    method, calls = Oracle(), itertools.count()
    method.finish(some_faces, labels, known, settings, 1)
    refitted = method.refitted(scale * truths[0] + shift)
    assert np.linalg.norm(refitted - truths[0], axis=-1).mean() < 0.01 * (1 - scale) + 1e-9


def test_a_mask_is_ignored_around_missing_points():
    points = read_points_of_a_face()
    parsing = methods.Parsing(points[None], 64, TINY_NETWORK)
    whole = parsing.target(points, np.ones(68, bool))
    known = np.ones(68, bool)
    known[L_EYE_POINTS] = False
    part = parsing.target(points, known)
    assert (whole == Region.L_EYE).any() and not (part == Region.L_EYE).any()
    assert np.array_equal(part == Region.R_EYE, whole == Region.R_EYE)
    assert set(part[part != whole]) == {IGNORE}


def read_points_of_a_face() -> np.ndarray:
    """The points of a drawn face, in shares of its crop."""
    path = next(iter(sorted(Path("data/val/landmarks").glob("*.txt"))), None)
    if path is None:
        pytest.skip("the starter data are not here; fetch them with: dvc pull data.dvc")
    points = read_points(path)[0].astype(float)
    return apply(faces.crop_frame(points), points)


@pytest.fixture(scope="module")
def cells(some_faces, tmp_path_factory):
    """A folder with a tiny cell of each method, one for changes, and the parameters of these cells."""
    folder, changes = tmp_path_factory.mktemp("cells"), tmp_path_factory.mktemp("changes")
    params = {
        "methods": list(methods.METHODS),
        "seeds": [1, 2],
        "train": vars(TINY),
        "trial": cell.load_params()["trial"],
        "photos": {"conditions": ["clean"], "faces": 8},
        "longer": {"conditions": ["clean"], "faces": 8, "train": {"updates": 9}},
        "starter": {"conditions": ["clean", "regions-40"], "faces": 8},
    }
    for method in methods.METHODS:
        figures, points = cell.run_cell(
            some_faces[:8], some_faces[8:], "regions-40", method, 1, TINY, RATES[method], TINY_NETWORK
        )
        assert points.shape == (6, 68, 2)
        identity = {"source": "starter", "condition": "regions-40", "method": method, "seed": 1}
        name = "-".join(map(str, identity.values()))
        made = identity | figures | {"train": vars(TINY), "most_faces": 8}
        (folder / f"{name}.json").write_text(json.dumps(made))
    return folder, changes, params


def test_a_cell_of_each_method_has_all_figures(cells):
    gathered = collect.gather(*cells)
    assert {key[2] for key in gathered} == set(methods.METHODS)
    for (_, _, method, _), each in gathered.items():
        assert each["faces"] == 8
        assert set(each["tests"]) == {*faces.TESTS, *([] if method == "parsing" else ["shaped", "refitted"])}
        for figures in each["tests"].values():
            assert set(figures) == set(collect.FIGURES)
            assert np.isfinite(list(figures.values())).all()
            assert figures["nme"] <= figures["worst5"]


def test_the_same_seed_predicts_the_same_points_and_one_bad_face_changes_them(some_faces):
    def points(condition):
        return cell.run_cell(some_faces[:8], some_faces[8:], condition, "coordinate", 1, TINY, 1e-3, TINY_NETWORK)[1]

    before = points("few-8")
    assert np.array_equal(points("few-8"), before)
    assert not np.array_equal(points("bad-8"), before)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """An empty MLflow store."""
    before = mlflow.get_tracking_uri()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield
    mlflow.set_tracking_uri(before)


def test_cells_are_child_runs_of_one(store):
    made = {"faces": 8, "rate": 1e-3, "precision": "float32", "device": "CPU", "minutes": 0.5}
    made["tests"] = {"clean": {"nme": 4.0}}
    for seed in (1, 2):
        cell.log_cell(f"clean-{seed}", {"condition": "clean", "seed": seed}, made)
    runs = {run.info.run_name: run for run in mlflow.search_runs(search_all_experiments=True, output_format="list")}
    assert runs.keys() == {"poor-data", "clean-1", "clean-2"}
    for seed in (1, 2):
        run = runs[f"clean-{seed}"]
        assert run.data.tags["mlflow.parentRunId"] == runs["poor-data"].info.run_id
        assert run.data.params["seed"] == str(seed)
        assert run.data.metrics == {"clean.nme": 4, "minutes": 0.5}


def test_the_report_skips_missing_cells_and_can_be_written_again(cells, tmp_path):
    params = cells[-1]
    page = tmp_path / "evidence-tables.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    gathered = collect.gather(*cells)
    for _ in range(2):
        report.write(page, "\n\n".join(report.sections(gathered, params, tmp_path)))
    content = page.read_text()
    assert content.startswith("before\n") and content.endswith("\nafter\n") and "\nold\n" not in content
    assert "starter: 3 of 12 cells" in content and "photos: 0 of 6 cells" in content
    assert not tables.influence_table(gathered, "starter")  # no change was measured
    for method in methods.METHODS:
        nme = gathered["starter", "regions-40", method, 1]["tests"]["clean"]["nme"]
        assert re.search(rf"\| regions-40 \| {method} \| 1 \| {nme:.2f} \|", content)


def test_a_page_without_marks_is_refused(tmp_path):
    page = tmp_path / "evidence.md"
    page.write_text(f"no end\n{report.BEGIN}\n")
    with pytest.raises(ValueError, match="lacks a line"):
        report.write(page, "results")
    assert page.read_text() == f"no end\n{report.BEGIN}\n"


def test_curves_are_drawn_if_an_axis_has_two_levels(cells, tmp_path):
    params = cells[-1]
    gathered = collect.gather(*cells)
    both = gathered | {(key[0], "clean", *key[2:]): each for key, each in gathered.items()}
    "".join(report.sections(gathered, params, tmp_path))
    assert not list(tmp_path.glob("*.png"))
    assert "(evidence-starter.png)" in "".join(report.sections(both, params, tmp_path))
    assert [path.name for path in tmp_path.glob("*.png")] == ["evidence-starter.png"]


def test_the_summary_has_a_column_for_each_source_and_rival(cells, tmp_path):
    gathered = collect.gather(*cells)
    content = "".join(report.summary(gathered, tmp_path))
    assert (tmp_path / "evidence.png").stat().st_size > 0
    tests = (gathered["starter", "regions-40", method, 1]["tests"] for method in ("parsing", "heatmap"))
    (own, rival) = (each["clean"]["nme"] for each in tests)
    refitted = gathered["starter", "regions-40", "heatmap", 1]["tests"]["refitted"]["nme"]
    assert f"| regions-40 | – | – | – | – | {rival - own:+.2f} | {refitted - own:+.2f} |" in content


def test_cells_of_other_parameters_are_skipped(cells, monkeypatch):
    folder, changes, params = cells
    monkeypatch.setattr(collect, "best_rate", lambda *_: 1.0)
    assert not collect.gather(*cells)
    monkeypatch.undo()
    assert not collect.gather(folder, changes, params | {"train": params["train"] | {"updates": 4}})


def test_a_source_may_have_training_parameters_of_its_own(cells):
    folder, changes, params = cells
    own = {source: params[source] | {"train": {"updates": 3}} for source in collect.SOURCES}
    assert collect.gather(folder, changes, params | own | {"train": params["train"] | {"updates": 4}})
    own = {source: params[source] | {"train": {"updates": 4}} for source in collect.SOURCES}
    assert not collect.gather(folder, changes, params | own)


def test_an_interval_is_by_students_t():
    assert collect.interval([1.0, 2.0, 3.0]) == pytest.approx((2, 4.303 / 3**0.5), abs=1e-3)
    assert tables.text([1.5]) == "1.50" and tables.text([]) == "–"


def test_a_lead_is_bold_if_its_interval_excludes_0():
    assert tables.verdict([2.9, 3.0, 3.1]) == "**+3.00 ± 0.25**"
    assert tables.verdict([-2.9, -3.0, -3.1]) == "**-3.00 ± 0.25**"
    assert tables.verdict([0.0, 1.0, 2.0]) == "+1.00 ± 2.48"
    assert tables.verdict([3.0]) == "+3.00" and tables.verdict([]) == "–"


def test_a_slope_is_that_of_the_line_through_the_levels_and_that_of_a_lead_uses_common_levels():
    def made(nme):
        return {"faces": 8, "tests": {"clean": {"nme": nme}}}

    cells = {
        **{("photos", name, "parsing", 1): made(nme) for name, nme in (("clean", 3), ("noise-8", 7), ("noise-16", 11))},
        **{("photos", name, "heatmap", 1): made(nme) for name, nme in (("clean", 4), ("noise-16", 20))},
        **{("photos", name, "heatmap", 2): made(nme) for name, nme in (("clean", 4), ("noise-8", 4))},
    }
    row = "| 0.50 | 0.50 ± 6.35 | +0.50 |"  # heatmap: 1 and 0; t is 12.7
    assert row in tables.slopes_table(cells, "photos")


def test_a_lead_is_paired_by_seed_and_its_mean_is_over_the_seeds_that_all_labels_have():
    def made(nme):
        tests = dict.fromkeys(("clean", "refitted", "occlusion"), dict.fromkeys(collect.FIGURES, nme))
        return {"faces": 8, "tests": tests}

    nmes = {
        ("clean", "parsing"): (3, 5, 9), ("clean", "heatmap"): (4, 8),
        ("noise-8", "parsing"): (5, 5), ("noise-8", "heatmap"): (8, 6, 1),
        ("bias-8", "parsing"): (1,),
    }  # fmt: skip
    cells = {("photos", *key, seed): made(nme) for key, each in nmes.items() for seed, nme in enumerate(each, 1)}
    rows = tables.lead_table(cells, "photos").splitlines()[2:]
    leads = [[each.strip() for each in row.split("|")[1:4]] for row in rows]
    # leads of seeds 1 and 2: 1 and 3, then 3 and 1; their means by seed are 2 and 2; t is 12.7, the standard error 1
    assert leads == [
        ["clean", "2", "+2.00 ± 12.71"], ["noise-8", "2", "+2.00 ± 12.71"], ["mean of these", "2", "+2.00 ± 0.00"],
    ]  # fmt: skip


def test_a_change_is_the_mean_distance_of_the_points():
    before = np.zeros((100, 68, 2))
    after = before.copy()
    after[90:] += (3, 4)
    assert cell.prediction_change(before, after) == pytest.approx({"mean": 0.5, "of_95th": 5})


def test_a_change_is_written_and_reported_for_two_cells_of_one_precision(tmp_path, monkeypatch):
    monkeypatch.setattr(cell, "CELLS", tmp_path)
    monkeypatch.setattr(cell, "CHANGES", tmp_path / "changes")
    params = cell.load_params() | {"train": {}}
    for condition, nme in (("few-100", 4.0), ("bad-100", 4.5)):
        made = {"tests": {"clean": {"nme": nme}}, "precision": "float32", "train": {}, "most_faces": 400}
        made["rate"] = RATES["parsing"]
        (tmp_path / f"photos-{condition}-parsing-1.json").write_text(json.dumps(made))
        np.save(tmp_path / f"photos-{condition}-parsing-1.npy", np.full((5, 68, 2), (0, nme)))
    cell.write_change("photos", "bad-100", "parsing", 1)
    gathered = collect.gather(tmp_path, tmp_path / "changes", params)
    assert "| bad-100 | parsing | 1 | 0.50 | 0.50 | +0.50 |" in tables.influence_table(gathered, "photos")
    (tmp_path / "photos-few-100-parsing-1.json").write_text('{"precision": "bfloat16", "train": {}}')
    with pytest.raises(SystemExit, match="differ in parameters or precision"):
        cell.write_change("photos", "bad-100", "parsing", 1)


def test_params_name_known_conditions_and_methods():
    params = cell.load_params()
    assert set(params["methods"]) <= set(methods.METHODS)
    for source in collect.SOURCES:
        Settings(**cell.train_params(params, source))
        for condition in params[source]["conditions"]:
            corrupt_labels.parse(condition)


def test_all_stored_cells_are_reported():
    gathered = collect.gather(cell.CELLS, cell.CHANGES, cell.load_params())
    assert len(gathered) == len(list(cell.CELLS.glob("*.json")))
    assert sum(bool(each["change"]) for each in gathered.values()) == len(list(cell.CHANGES.glob("*.json")))


def test_each_cell_depends_on_the_code_of_methods_and_corruptions():
    stages = yaml.safe_load((EXPERIMENT / "dvc.yaml").read_text())["stages"]
    code = [path for path in EXPERIMENT.glob("*.py") if path.stem not in REPORTING]
    for stage in ("trial", "cell", "longer", "starter"):
        deps = {(EXPERIMENT / dep).resolve() for dep in stages[stage]["deps"] if "${" not in dep}
        assert deps >= set(code)
        assert all(dep.exists() for dep in deps)


def test_every_point_belongs_to_one_region():
    assert sorted(i for region in corrupt_labels.REGIONS for i in range(68)[region]) == list(range(68))
    assert corrupt_labels.REGIONS[0] == JAW
