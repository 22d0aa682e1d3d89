import cv2
import numpy as np
import pytest
from hand_made import face, one_hot

from facemark.geometry import apply
from facemark.inference.alignment import crop_matrix, estimate_alignment, refine_alignment, same_frame, warp_crop
from facemark.inference.confidence import face_confidence
from facemark.inference.config import InferenceConfig
from facemark.inference.types import View
from facemark.labels import EYES, Region

CONFIG = InferenceConfig()


def test_a_face_is_brought_onto_the_template():
    frame = estimate_alignment(one_hot(*face(100)))
    right, left, lips = apply(frame, np.array([(88.0, 42), (112, 42), (100, 69)]))
    assert right[0] < 0.5 < left[0]
    assert right[1] == pytest.approx(0.477, abs=0.03)
    assert lips == pytest.approx([0.5, 0.751], abs=0.03)


def test_skin_alone_has_no_alignment():
    assert estimate_alignment(one_hot((Region.SKIN, (100, 50), 40))) is None


def test_an_aligned_crop_keeps_its_frame_and_one_that_shows_nothing_too():
    seen = one_hot(*face(100))
    frame = estimate_alignment(seen)
    crop = np.stack([warp_crop(region, frame, 128) for region in seen])
    assert refine_alignment(View(frame, crop)) == pytest.approx(frame, abs=0.01)
    assert refine_alignment(View(frame, np.zeros_like(crop))) is frame


def test_sunglasses_count_as_eyes():
    bare = one_hot(*face(100))
    hidden = one_hot(*(part for part in face(100) if part[0] not in EYES), (Region.EYE_G, (100, 42), 9))
    assert face_confidence(hidden, CONFIG) == pytest.approx(face_confidence(bare, CONFIG), abs=0.01)
    hidden[Region.EYE_G] = 0
    assert face_confidence(hidden, CONFIG) == pytest.approx(0.75 * face_confidence(bare, CONFIG), abs=0.01)


@pytest.mark.parametrize("size", [32, 96, 192])
def test_a_crop_shows_a_pixel_where_its_matrix_says(size):
    image = np.zeros((300, 400, 3), np.uint8)
    cv2.circle(image, (250, 120), 6, (255, 255, 255), -1)
    frame = np.array([(1 / 200, 0, -0.5), (0, 1 / 200, -0.25)])
    crop = warp_crop(image, frame, size)[..., 0].astype(float)
    y, x = np.mgrid[:size, :size]
    center = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
    assert center == pytest.approx(apply(crop_matrix(frame, size), np.array([250.0, 120.0])), abs=0.3)


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ([(0.01, 0, 0), (0, 0.01, 0)], True),
        ([(0.01, 0, 0.1), (0, 0.01, 0)], True),  # a tenth of its side away
        ([(0.01, 0, 0.2), (0, 0.01, 0)], False),
        ([(0.02, 0, -0.5), (0, 0.02, -0.55)], False),  # half the size
        ([(-0.01, 0, 1.0), (0, -0.01, 1.1)], False),  # upside down
    ],
)
def test_frames_of_one_face_are_alike(other, same):
    assert same_frame(np.array([(0.01, 0, 0), (0, 0.01, 0)]), np.array(other)) is same
