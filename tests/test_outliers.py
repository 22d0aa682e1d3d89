import numpy as np
import pytest

from facemark.data import synthetic
from facemark.data.outliers import INLIER_THRESHOLD, MAX_OUTLIER_SHARE, MIN_FACES, correct_points
from facemark.data.synthetic.features import project_landmarks
from facemark.data.synthetic.people import random_person
from facemark.data.synthetic.shapes import Pose
from facemark.labels import OUTER_EYE_CORNERS


@pytest.fixture(scope="module")
def faces():
    """The points of 60 drawn faces, in any turn and size."""
    rng = np.random.default_rng(1)
    found = np.concatenate([synthetic.draw(seed).points for seed in range(100, 160)])[:60].astype(float)
    turns, sizes = rng.uniform(0, 2 * np.pi, 60), rng.uniform(0.2, 5, 60)
    matrices = sizes * np.array([(np.cos(turns), -np.sin(turns)), (np.sin(turns), np.cos(turns))])
    return np.einsum("njk,kin->nji", found, matrices) + rng.uniform(-500, 500, (60, 1, 2))


def eyes(faces: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(faces[:, OUTER_EYE_CORNERS], axis=1), axis=-1)


def thrown(faces: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The faces, this share of whose points lie half to three eye distances away, and which these are."""
    rng = np.random.default_rng(2)
    hit = rng.random(faces.shape[:2]) < share
    turns, far = rng.uniform(0, 2 * np.pi, hit.shape), rng.uniform(0.5, 3, hit.shape) * eyes(faces)
    moved = faces + far[..., None] * np.stack([np.cos(turns), np.sin(turns)], -1)
    return np.where(hit[..., None], moved, faces), hit


def left_alone(faces: np.ndarray) -> bool:
    placed, which = correct_points(faces)
    return np.array_equal(placed, faces) and not which.any()


def test_faces_as_they_are_fit(faces):
    assert left_alone(faces)


@pytest.mark.parametrize("share", [0.02, 0.2, 1])
def test_turned_heads_fit_as_far_as_profiles_however_few_they_are(share):
    rng = np.random.default_rng(3)
    turns = np.where(rng.random(300) < share, rng.uniform(-90, 90, 300), rng.normal(0, 15, 300))
    poses = [Pose(np.radians([turn, *rng.normal(0, 10, 2)]), 100, np.array([500.0, 500.0])) for turn in turns]
    assert left_alone(np.array([project_landmarks(random_person(rng), pose) for pose in poses], float))


def test_labels_that_are_all_noisy_are_no_misfits(faces):
    noise = np.random.default_rng(4).normal(0, 0.16, faces.shape) * eyes(faces)[..., None]
    assert correct_points(faces + noise)[1].mean() < 0.002


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_thrown_points_are_told_from_all_others_and_put_back(faces, share):
    spoilt, hit = thrown(faces, share)
    back, told = correct_points(spoilt)
    moved = told & (told.mean(1) < MAX_OUTLIER_SHARE)[:, None]
    assert np.array_equal((back != spoilt).any(-1), moved)
    assert (told & hit).sum() >= 0.95 * hit.sum()
    assert (told & ~hit).sum() <= 0.01 * (~hit).sum()
    off = np.linalg.norm(back - faces, axis=-1) / eyes(faces)
    assert (
        off[moved].mean()
        < INLIER_THRESHOLD
        < 1.5
        < (np.linalg.norm(spoilt - faces, axis=-1) / eyes(faces))[moved].mean()
    )


def test_a_point_off_by_less_than_the_limit_stays_and_by_more_is_moved(faces):
    for far, moves in ((0.4 * INLIER_THRESHOLD, False), (4 * INLIER_THRESHOLD, True)):
        spoilt = faces.copy()
        spoilt[7, 33] += (far * eyes(faces)[7, 0], 0)
        back, told = correct_points(spoilt)
        assert np.argwhere(told).tolist() == np.argwhere((back != spoilt).any(-1)).tolist() == [[7, 33]] * moves


def test_a_face_most_of_whose_points_are_misfits_is_told_and_left_as_it_is(faces):
    spoilt = faces.copy()
    spoilt[7] = np.random.default_rng(5).permutation(faces[7])
    back, told = correct_points(spoilt)
    assert np.array_equal(back, spoilt)
    assert told[7].mean() > MAX_OUTLIER_SHARE and not np.delete(told, 7, 0).any()


def test_few_faces_tell_nothing(faces):
    assert left_alone(thrown(faces[: MIN_FACES - 1], 0.1)[0])
    assert left_alone(faces[:0])


def test_a_face_all_of_whose_points_are_one_is_left_alone(faces):
    spoilt = faces.copy()
    spoilt[3] = 5
    assert left_alone(spoilt)
