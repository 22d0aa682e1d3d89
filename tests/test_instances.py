import cv2
import numpy as np
import pytest
from hand_made import face, one_hot

from facemark.inference.config import InferenceConfig
from facemark.inference.instances import split_instances, suppress_other_faces
from facemark.labels import EYES, FACE, Region

CONFIG = InferenceConfig()


def test_touching_faces_are_split_by_their_noses():
    instances = split_instances(one_hot(*face(60), *face(130)), CONFIG)
    assert len(instances) == 2
    whole = np.zeros((2, 100, 200), bool)
    for mask, (box, inside) in zip(whole, instances, strict=True):
        mask[box] = inside
    assert not whole.all(0).any()
    left, right = sorted(whole, key=lambda each: np.nonzero(each)[1].mean())
    assert left[53, 60]
    assert right[53, 130]


def test_many_touching_faces_are_split_each_in_a_box_of_its_own():
    (tall, wide), one = (4, 7), one_hot(*face(45))[:, 12:90, 10:80]  # cut so that skin touches skin
    one[Region.SKIN] += one[Region.BACKGROUND]
    one[Region.BACKGROUND] = 0
    crowd = np.tile(one, (1, tall, wide))
    instances = split_instances(crowd, CONFIG)
    assert len(instances) == tall * wide
    for (rows, columns), inside in instances:
        assert inside.shape == (rows.stop - rows.start, columns.stop - columns.start)
        assert inside.any(0).all() and inside.any(1).all()
        assert crowd[Region.NOSE, rows, columns][inside].sum() == one[Region.NOSE].sum()
    assert sum(inside.sum() for _, inside in instances) == crowd[FACE].sum()


@pytest.mark.parametrize("places", [(60,), (60, 130)])
def test_a_nose_in_two_pieces_is_one(places):
    lines = [(Region.BACKGROUND, (x + dx, 53), 1) for x in places for dx in range(-8, 9)]
    probabilities = one_hot(*(part for x in places for part in face(x)), *lines)
    assert cv2.connectedComponents((probabilities[Region.NOSE] > 0).astype(np.uint8))[0] == 1 + 2 * len(places)
    instances = split_instances(probabilities, CONFIG)
    assert len(instances) == len(places)
    for (rows, columns), inside in instances:
        for part in (Region.R_EYE, Region.L_EYE, Region.U_LIP):
            assert (probabilities[part, rows, columns] * inside).any()


def test_a_masked_and_an_eyeless_person_side_by_side_are_two():
    masked = [part for part in face(60) if part[0] != Region.U_LIP]
    eyeless = [part for part in face(130) if part[0] not in EYES]
    assert len(split_instances(one_hot(*masked, *eyeless), CONFIG)) == 2


def test_a_face_region_of_too_few_pixels_is_none():
    tiny = one_hot((Region.SKIN, (60, 50), 3))  # 7 pixels across
    assert split_instances(tiny, CONFIG) == []
    assert len(split_instances(tiny, InferenceConfig(min_face_side=7))) == 1


def test_only_the_face_in_the_middle_is_kept():
    kept = suppress_other_faces(one_hot(*face(30), *face(100)), CONFIG)
    assert kept[Region.NOSE, 53, 100] == 1
    assert kept[Region.NOSE, :, :50].sum() == 0
    assert kept[Region.SKIN, :, :50].sum() == 0
