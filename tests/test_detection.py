import numpy as np
import pytest
from hand_made import face, one_hot

from facemark.geometry import apply, scaling
from facemark.inference.config import InferenceConfig
from facemark.inference.detection import image_pyramid, propose_faces, pyramid_sides
from facemark.inference.types import View
from facemark.labels import EYES, LIPS

CONFIG = InferenceConfig()


def test_the_pyramid_doubles_up_to_the_images_side():
    assert pyramid_sides(100, 256, 1024) == [256]
    assert pyramid_sides(320, 256, 1024) == [256]
    assert pyramid_sides(700, 256, 1024) == [256, 512]
    assert pyramid_sides(9000, 256, 1024) == [256, 512, 1024]


@pytest.mark.parametrize("turns", range(4))
def test_a_level_shows_a_pixel_where_its_matrix_says(turns):
    image = np.zeros((300, 200, 3), np.uint8)
    image[200:204, 40:44] = 255
    for matrix, level in image_pyramid(image, 96, turns, CONFIG):
        bright = level[..., 0].astype(float)
        y, x = np.mgrid[: bright.shape[0], : bright.shape[1]]
        center = np.array([(bright * x).sum(), (bright * y).sum()]) / bright.sum()
        assert center == pytest.approx(apply(matrix, np.array([41.5, 201.5])), abs=0.3)


def test_each_face_is_proposed_once_however_many_views_show_it():
    view = View(scaling(1), one_hot(*face(60), *face(130)))
    frames = propose_faces([view, view], CONFIG)
    assert len(frames) == 2
    for x in (60, 130):
        noses = [apply(frame, np.array([x, 53.0]))[0] for frame in frames]
        assert min(abs(nose - 0.5) for nose in noses) < 0.02


def test_no_more_faces_are_proposed_than_asked_for_the_surest_first():
    view = View(scaling(1), one_hot(*face(45), *face(150)))
    view.probabilities[:, :, 95:] *= 0.9
    (frame,) = propose_faces([view], InferenceConfig(max_candidates=1))
    assert apply(frame, np.array([45.0, 53]))[0] == pytest.approx(0.5, abs=0.02)


def test_a_place_of_too_little_confidence_is_no_proposal():
    parts = [part for part in face(60) if part[0] not in (*EYES, *LIPS)]  # skin and nose: half of the confidence
    view = View(scaling(1), one_hot(*parts, (face(60)[1])))
    assert len(propose_faces([view], CONFIG)) == 1
    assert propose_faces([view], InferenceConfig(candidate_threshold=0.8)) == []
