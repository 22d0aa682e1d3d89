from pathlib import Path

import numpy as np
import pytest

from facemark.data import synthetic
from facemark.data.outliers import INLIER_THRESHOLD, MAX_OUTLIER_SHARE, MIN_FACES, Outliers, correct_points
from facemark.data.samples import Sample
from facemark.data.synthetic.features import project_landmarks
from facemark.data.synthetic.people import random_person
from facemark.data.synthetic.shapes import Pose
from facemark.labels import OUTER_EYE_CORNERS


@pytest.fixture(scope="module")
def faces():
    """The points of 60 drawn faces, at random rotations and sizes."""
    rng = np.random.default_rng(1)
    drawn = np.concatenate([synthetic.draw(seed).points for seed in range(100, 160)])[:60].astype(float)
    turns, sizes = rng.uniform(0, 2 * np.pi, 60), rng.uniform(0.2, 5, 60)
    matrices = sizes * np.array([(np.cos(turns), -np.sin(turns)), (np.sin(turns), np.cos(turns))])
    return np.einsum("njk,kin->nji", drawn, matrices) + rng.uniform(-500, 500, (60, 1, 2))


def eye_distances(faces: np.ndarray) -> np.ndarray:
    """Distances of the outer eye corners, N × 1."""
    return np.linalg.norm(np.diff(faces[:, OUTER_EYE_CORNERS], axis=1), axis=-1)


def with_outliers(faces: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Move this share of all points by half to three eye distances; return the faces and which points were moved."""
    rng = np.random.default_rng(2)
    hit = rng.random(faces.shape[:2]) < share
    turns, distances = rng.uniform(0, 2 * np.pi, hit.shape), rng.uniform(0.5, 3, hit.shape) * eye_distances(faces)
    moved = faces + distances[..., None] * np.stack([np.cos(turns), np.sin(turns)], -1)
    return np.where(hit[..., None], moved, faces), hit


def unchanged(faces: np.ndarray) -> bool:
    corrected, is_outlier = correct_points(faces)
    return np.array_equal(corrected, faces) and not is_outlier.any()


def test_clean_faces_have_no_outliers(faces):
    assert unchanged(faces)


@pytest.mark.parametrize("share", [0.02, 0.2, 1])
def test_turned_heads_up_to_profiles_have_no_outliers_even_if_they_are_few(share):
    rng = np.random.default_rng(3)
    turns = np.where(rng.random(300) < share, rng.uniform(-90, 90, 300), rng.normal(0, 15, 300))
    poses = [Pose(np.radians([turn, *rng.normal(0, 10, 2)]), 100, np.array([500.0, 500.0])) for turn in turns]
    assert unchanged(np.array([project_landmarks(random_person(rng), pose) for pose in poses], float))


def test_labels_that_are_all_noisy_are_no_outliers(faces):
    noise = np.random.default_rng(4).normal(0, 0.16, faces.shape) * eye_distances(faces)[..., None]
    assert correct_points(faces + noise)[1].mean() < 0.002


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_outliers_are_distinguished_from_inliers_and_corrected(faces, share):
    given, hit = with_outliers(faces, share)
    corrected, is_outlier = correct_points(given)
    moved = is_outlier & (is_outlier.mean(1) < MAX_OUTLIER_SHARE)[:, None]
    assert np.array_equal((corrected != given).any(-1), moved)
    assert (is_outlier & hit).sum() >= 0.95 * hit.sum()
    assert (is_outlier & ~hit).sum() <= 0.01 * (~hit).sum()
    before, after = (np.linalg.norm(each - faces, axis=-1) / eye_distances(faces) for each in (given, corrected))
    assert after[moved].mean() < INLIER_THRESHOLD < 1.5 < before[moved].mean()


def test_a_point_within_the_threshold_stays_and_one_beyond_is_corrected(faces):
    for far, moves in ((0.4 * INLIER_THRESHOLD, False), (4 * INLIER_THRESHOLD, True)):
        given = faces.copy()
        given[7, 33] += (far * eye_distances(faces)[7, 0], 0)
        corrected, is_outlier = correct_points(given)
        changed = (corrected != given).any(-1)
        assert np.argwhere(is_outlier).tolist() == np.argwhere(changed).tolist() == [[7, 33]] * moves


def test_a_face_of_mostly_outliers_is_marked_and_not_changed(faces):
    given = faces.copy()
    given[7] = np.random.default_rng(5).permutation(faces[7])
    corrected, is_outlier = correct_points(given)
    assert np.array_equal(corrected, given)
    assert is_outlier[7].mean() > MAX_OUTLIER_SHARE and not np.delete(is_outlier, 7, 0).any()


def test_too_few_faces_have_no_outliers(faces):
    assert unchanged(with_outliers(faces[: MIN_FACES - 1], 0.1)[0])
    assert unchanged(faces[:0])


def test_a_face_whose_points_all_coincide_is_not_changed(faces):
    given = faces.copy()
    given[3] = 5
    assert unchanged(given)


def test_outliers_are_named_by_point_and_face():
    is_outlier = np.zeros((3, 68), bool)
    is_outlier[0, [4, 30]] = is_outlier[2, 0] = True
    sample = Sample(Path("a.jpg"), None, Path("a.txt"), "train")
    outliers = Outliers(sample, np.zeros((3, 68, 2)), is_outlier)
    assert str(outliers) == "points that fit no face: 4, 30 of face 1; 0 of face 3"
