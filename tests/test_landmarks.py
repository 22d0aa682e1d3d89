import numpy as np
import pytest

from facemark import geometry
from facemark.data import synthetic
from facemark.evaluation import metrics
from facemark.inference.alignment import crop_matrix, estimate_alignment, warp_crop
from facemark.inference.config import InferenceConfig
from facemark.inference.instances import suppress_other_faces
from facemark.inference.landmarks import (
    FEATURE_GROUPS,
    MAP_SIDE,
    LandmarkModel,
    feature_maps,
    fit_ridge,
    flip_landmarks,
    log_odds,
    occlude_maps,
)
from facemark.labels import CLASSES, FACE, FLIP, L_EYE_POINTS, R_EYE_POINTS, Region

SIZE = 192


def exact(seed: int):
    """Exact regions of the one face of a starter picture in its aligned crop, and its true points there.

    None where the picture has several faces or hides too much of this one.
    """
    drawn = synthetic.draw(seed)
    if len(drawn.points) != 1:
        return None
    regions = np.stack([drawn.mask == region for region in range(len(CLASSES))]).astype(np.float32)
    frame = estimate_alignment(regions)
    if frame is None:
        return None
    cut = np.stack([warp_crop((255 * region).astype(np.uint8), frame, SIZE) for region in regions]) / 255
    points = geometry.apply(crop_matrix(frame, SIZE), drawn.points[0].astype(float))
    inside = (points > 0).all() and (points < SIZE).all()
    seen = all((cut[part] > 0.5).sum() > 20 for part in (Region.R_EYE, Region.L_EYE, Region.NOSE, Region.U_LIP))
    return (suppress_other_faces(cut, InferenceConfig()), points) if inside and seen else None


@pytest.fixture(scope="module")
def faces():
    """Some sixty faces: regions and true points."""
    return [face for face in map(exact, range(130)) if face]


def examples(faces):
    return [(feature_maps(regions), (points + 0.5) / SIZE) for regions, points in faces]


@pytest.fixture(scope="module")
def model(faces):
    """A landmark model fitted to all of them but the last fifteen."""
    known = examples(faces[:-15])
    return LandmarkModel.from_shapes(np.array([points for _, points in known])).fit(known)


def nme(points: np.ndarray, truth: np.ndarray) -> float:
    return float(metrics.nme(points, truth))


def errors(model: LandmarkModel, faces: list) -> list[float]:
    return [nme(model(regions)[0], truth) for regions, truth in faces]


def test_exact_masks_give_points_close_to_the_truth(faces, model):
    from_shapes = LandmarkModel.from_shapes(np.array([points for _, points in examples(faces[:-15])]))
    assert np.median(errors(model, faces[-15:])) < 5 < 0.8 * np.median(errors(from_shapes, faces[-15:]))


def test_sides_are_the_subjects(faces, model):
    for regions, truth in faces[-15:]:
        points, _ = model(regions)
        across = truth[45] - truth[36]
        assert (points[L_EYE_POINTS].mean(0) - points[R_EYE_POINTS].mean(0)) @ across > 0


def test_hidden_points_are_placed_by_the_visible_ones_with_lower_scores(faces, model):
    found = []
    for regions, truth in faces[-15:]:
        hidden = regions.copy()
        hidden[:, :, : SIZE // 2] = 0
        hidden[Region.BACKGROUND, :, : SIZE // 2] = 1
        points, scores = model(hidden)
        under = truth[:, 0] < SIZE / 2 - 5
        assert scores[under].mean() < 0.5 * scores[~under].mean()
        found.append(nme(points, truth))
    assert np.median(found) < 10


def test_without_regions_the_mean_face_is_returned_with_scores_of_0(model):
    nothing = np.zeros((len(CLASSES), SIZE, SIZE), np.float32)
    points, scores = model(nothing)
    assert np.isfinite(points).all()
    assert scores == pytest.approx(np.zeros(68))
    mean = LandmarkModel.from_shapes(model.mean[None])  # which takes no step from its mean
    assert mean(nothing)[0] == pytest.approx(SIZE * mean.mean - 0.5)  # (0, 0) is the centre of the first pixel


def test_the_score_falls_where_the_error_grows(faces, model):
    rng = np.random.default_rng(0)
    noisy = []
    for regions, _ in faces[-15:]:
        corrupted = regions.copy()
        for part in FACE:
            corrupted[part] = np.roll(corrupted[part], rng.integers(-15, 16, 2), (0, 1))
        noisy.append(model(corrupted)[1].mean())
    assert np.mean(noisy) < np.mean([model(regions)[1].mean() for regions, _ in faces[-15:]]) - 0.1


def test_the_size_of_the_crop_does_not_matter(faces, model):
    regions, _ = faces[-1]
    larger = np.stack([np.kron(region, np.ones((2, 2), np.float32)) for region in regions])
    points, _ = model(regions)
    assert np.abs((model(larger)[0] + 0.5) / 2 - 0.5 - points).mean() < 0.5


def test_a_mirrored_face_has_mirrored_points(faces, model):
    for regions, _ in faces[-15:]:
        points, _ = model(regions)
        other, _ = model(regions[FLIP[: len(CLASSES)], :, ::-1])
        expected = SIZE * flip_landmarks((points + 0.5) / SIZE) - 0.5
        assert np.abs(other - expected).mean() < 1.5


def test_flipping_landmarks_twice_changes_nothing():
    shapes = np.random.default_rng(0).normal(size=(3, 68, 2))
    assert flip_landmarks(flip_landmarks(shapes)) == pytest.approx(shapes)


def test_a_later_fit_keeps_what_was_known(faces, model):
    more = model.fit(examples(faces[-15:-10]))
    assert np.mean(errors(more, faces[-15:-10])) < np.mean(errors(model, faces[-15:-10]))
    assert np.median(errors(more, faces[:-15])) < np.median(errors(model, faces[:-15])) + 1


@pytest.mark.parametrize("count", [6, 40])
def test_ridge_residuals_are_those_of_a_fit_without_the_row(count):
    rng = np.random.default_rng(0)
    rows, targets = rng.normal(size=(count, 12)), rng.normal(size=(count, 2))
    penalty = 0.3 * np.eye(12)
    weights, loo_residuals = fit_ridge(rows, targets, 0.3)
    assert weights == pytest.approx(np.linalg.solve(rows.T @ rows + penalty, rows.T @ targets))
    others, rest = rows[1:], targets[1:]
    without = np.linalg.solve(others.T @ others + penalty, others.T @ rest)
    assert loo_residuals[0] == pytest.approx(targets[0] - rows[0] @ without)


def test_log_odds_are_read_where_the_points_are():
    regions = np.zeros((len(CLASSES), MAP_SIDE, MAP_SIDE), np.float32)
    regions[Region.NOSE, :, : MAP_SIDE // 2], regions[Region.HAIR, :, MAP_SIDE // 2 :] = 1, 1
    points = np.full((68, 2), 0.5)  # between the two
    read = log_odds(feature_maps(regions), points, 0.1)
    nose, hair = FEATURE_GROUPS.index(frozenset({Region.NOSE})), FEATURE_GROUPS.index(frozenset({Region.HAIR}))
    assert read[0, 0, [nose, hair]] == pytest.approx([0, 0], abs=0.01)
    assert read[0, 1, nose] == read[0, 2, hair] == -read[0, 2, nose] > 3  # left and right of it


def test_occlusion_takes_away_and_adds_background(faces):
    maps = feature_maps(faces[0][0])
    rng = np.random.default_rng(0)
    for _ in range(20):
        less = occlude_maps(maps, rng)
        assert (less[..., :-1] <= maps[..., :-1]).all()
        assert (less != maps).any()
        assert ((less[..., -1] == maps[..., -1]) | (less[..., -1] == 255)).all()


def test_saved_and_loaded_it_is_the_same(model, faces, tmp_path):
    model.save(tmp_path / "landmarks.npz")
    loaded = LandmarkModel.load(tmp_path / "landmarks.npz")
    regions, _ = faces[-1]
    assert loaded(regions)[0] == pytest.approx(model(regions)[0], abs=0.2)
    assert loaded(regions)[1] == pytest.approx(model(regions)[1], abs=0.02)
    assert (tmp_path / "landmarks.npz").stat().st_size < 3_000_000


def test_other_files_are_no_landmark_model(tmp_path):
    np.savez(tmp_path / "other.npz", a=1)
    (tmp_path / "noise.npz").write_bytes(b"noise" * 50)
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("other.npz", "noise.npz", "empty.npz", "array.npy"):
        with pytest.raises(ValueError, match=name):
            LandmarkModel.load(tmp_path / name)
