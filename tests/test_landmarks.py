import numpy as np
import pytest

from facemark import geometry, metrics, synthetic
from facemark.labels import CLASSES, FLIP, FLIP_POINTS, INNER_LIP, L_EYE_POINTS, R_EYE_POINTS, Region
from facemark.landmarks import LandmarkModel, measure, mirrored
from facemark.parser import crop_matrix, cut_out, face_alone, portrait

SIZE = 192


def exact(seed: int):
    """Regions of the one face of a starter picture, cut out upright as the parser does, and its true points there.

    None where the picture has several faces or hides too much of this one.
    """
    drawn = synthetic.draw(seed)
    if len(drawn.points) != 1:
        return None
    regions = np.stack([drawn.mask == region for region in Region]).astype(np.float32)
    frame = portrait(regions, np.ones(drawn.mask.shape, bool))
    if frame is None:
        return None
    cut = np.stack([cut_out((255 * region).astype(np.uint8), frame, SIZE) for region in regions]) / 255
    points = geometry.apply(crop_matrix(frame, SIZE), drawn.points[0].astype(float))
    inside = (points > 0).all() and (points < SIZE).all()
    seen = all((cut[part] > 0.5).sum() > 20 for part in (Region.R_EYE, Region.L_EYE, Region.NOSE, Region.U_LIP))
    return (face_alone(cut), points) if inside and seen else None


@pytest.fixture(scope="module")
def faces():
    """Some sixty faces: regions and true points."""
    return [face for face in map(exact, range(130)) if face]


@pytest.fixture(scope="module")
def model(faces):
    """A landmark model that learned from all of them but the last fifteen."""
    taught = faces[:-15]
    blank = LandmarkModel.blank(np.array([points for _, points in taught]))
    return blank.add([(*measure(regions), points) for regions, points in taught])


def nme(points: np.ndarray, truth: np.ndarray) -> float:
    return float(metrics.nme(points, truth))


def test_exact_masks_give_points_close_to_the_truth(faces, model):
    assert np.median([nme(model(*measure(regions))[0], truth) for regions, truth in faces[-15:]]) < 4


def test_measured_eyes_and_lips_need_no_model(faces):
    errors = []
    for regions, truth in faces:
        points, _ = measure(regions)
        errors.append(metrics.point_errors(points, truth))
    errors = np.nanmedian(errors, 0)
    assert errors[R_EYE_POINTS].mean() < 4
    assert errors[L_EYE_POINTS].mean() < 4
    assert errors[INNER_LIP].mean() < 6


def test_sides_are_the_subjects(faces, model):
    for regions, truth in faces[-15:]:
        points, _ = model(*measure(regions))
        across = truth[45] - truth[36]
        assert (points[L_EYE_POINTS].mean(0) - points[R_EYE_POINTS].mean(0)) @ across > 0


def test_a_hidden_eye_is_guessed_and_says_so(faces, model):
    worse = []
    for regions, truth in faces[-15:]:
        whole, _ = model(*measure(regions))
        hidden = regions.copy()
        hidden[Region.R_EYE] = 0
        points, scores = model(*measure(hidden))
        assert np.isfinite(points).all()
        assert (scores[R_EYE_POINTS] == 0).all()
        assert (scores[L_EYE_POINTS] > 0.3).all()
        rest = np.r_[0:36, 42:68]
        size = np.linalg.norm(truth[36] - truth[45])
        worse.append(np.linalg.norm(points[rest] - whole[rest], axis=1).mean() / size)
        assert np.linalg.norm(points[R_EYE_POINTS].mean(0) - truth[R_EYE_POINTS].mean(0)) < 0.25 * size
    assert np.median(worse) < 0.02


def test_nothing_seen_gives_nothing_but_never_fails():
    points, scores = measure(np.zeros((len(CLASSES), 64, 64), np.float32))
    assert np.isnan(points).all()
    assert (scores == 0).all()


def test_a_damaged_region_loses_its_score(faces, model):
    regions, _ = faces[-1]
    points, scores = measure(regions)
    moved = points.copy()
    moved[R_EYE_POINTS] += (0, 40)
    fitted, lowered = model(moved, scores)
    assert lowered[R_EYE_POINTS].max() < 0.5 * model(points, scores)[1][R_EYE_POINTS].min()
    assert np.linalg.norm(fitted[R_EYE_POINTS] - moved[R_EYE_POINTS], axis=1).min() > 15


def test_points_move_with_the_face(faces, model):
    points, scores = measure(faces[-1][0])
    matrix = np.array([(0.6, -0.8, 30.0), (0.8, 0.6, -12.0)]) * [[2, 2, 1]]
    here, one = model(points, scores)
    there, other = model(geometry.apply(matrix, points), scores)
    assert there == pytest.approx(geometry.apply(matrix, here), abs=1e-3)
    assert one == pytest.approx(other, abs=1e-6)


def test_a_mirrored_face_has_mirrored_points(faces, model):
    for regions, _ in faces[-15:]:
        points, _ = model(*measure(regions))
        turned = regions[FLIP[: len(CLASSES)], :, ::-1]
        other, _ = model(*measure(turned))
        expected = points[FLIP_POINTS] * (-1, 1) + (SIZE - 1, 0)
        assert np.abs(other - expected).mean() < 0.5


def test_mirrored_is_its_own_inverse():
    shapes = np.random.default_rng(0).normal(size=(3, 68, 2))
    assert (mirrored(mirrored(shapes)) == shapes).all()


def test_what_is_learned_adds_up(faces):
    blank = LandmarkModel.blank(np.array([points for _, points in faces]))
    lessons = [(*measure(regions), points) for regions, points in faces]
    half = len(lessons) // 2
    whole, first, second = (blank.add(part) for part in (lessons, lessons[:half], lessons[half:]))
    assert whole.count == blank.count + 2 * len(lessons)
    for name in ("count", "spread", "inputs", "outputs"):
        parts = getattr(first, name) + getattr(second, name) - getattr(blank, name)
        assert parts == pytest.approx(getattr(whole, name))


def test_saved_and_loaded_it_is_the_same(model, faces, tmp_path):
    model.save(tmp_path / "landmarks.npz")
    loaded = LandmarkModel.load(tmp_path / "landmarks.npz")
    measured = measure(faces[-1][0])
    assert loaded(*measured)[0] == pytest.approx(model(*measured)[0])
    assert (tmp_path / "landmarks.npz").stat().st_size < 1_000_000


def test_other_files_are_no_landmark_model(tmp_path):
    np.savez(tmp_path / "other.npz", a=1)
    (tmp_path / "noise.npz").write_bytes(b"noise" * 50)
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "array.npy", np.zeros(3))
    for name in ("other.npz", "noise.npz", "empty.npz", "array.npy"):
        with pytest.raises(ValueError, match=name):
            LandmarkModel.load(tmp_path / name)
