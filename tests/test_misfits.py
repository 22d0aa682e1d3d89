import numpy as np
import pytest

from facemark import synthetic
from facemark.labels import OUTER_EYE_CORNERS
from facemark.misfits import FEW, LIMIT, mended


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


def test_faces_as_they_are_fit(faces):
    np.testing.assert_array_equal(mended(faces), faces)


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_thrown_points_are_told_from_all_others_and_put_back(faces, share):
    spoilt, hit = thrown(faces, share)
    back = mended(spoilt)
    told = (back != spoilt).any(-1)
    assert (told & hit).sum() >= 0.97 * hit.sum()
    assert (told & ~hit).sum() <= 0.01 * (~hit).sum()
    off = np.linalg.norm(back - faces, axis=-1) / eyes(faces)
    assert off[told].mean() < LIMIT / 2 < 1.5 < (np.linalg.norm(spoilt - faces, axis=-1) / eyes(faces))[told].mean()


def test_a_point_off_by_less_than_the_limit_stays_and_by_more_is_moved(faces):
    for far, moves in ((0.4 * LIMIT, False), (3 * LIMIT, True)):
        spoilt = faces.copy()
        spoilt[7, 33] += (far * eyes(faces)[7, 0], 0)
        assert np.argwhere((mended(spoilt) != spoilt).any(-1)).tolist() == [[7, 33]] * moves


def test_few_faces_tell_nothing(faces):
    spoilt, _ = thrown(faces[: FEW - 1], 0.1)
    np.testing.assert_array_equal(mended(spoilt), spoilt)
    np.testing.assert_array_equal(mended(faces[:0]), faces[:0])


def test_a_face_all_of_whose_points_are_one_is_left_alone(faces):
    spoilt = faces.copy()
    spoilt[3] = 5
    np.testing.assert_array_equal(mended(spoilt), spoilt)
