"""Each check of a dataset's labels, on a hand-made mask."""

import numpy as np
import pytest
from hand_made_masks import face_mask

from facemark.data.anomalies import Labels, label_anomalies
from facemark.labels import CLASSES, IGNORE, L_EYE_POINTS, R_EYE_POINTS, Region


def votes(labels: Labels) -> dict[str, float]:
    return {anomaly.phrase: vote for anomaly, vote in label_anomalies(labels).items()}


def relabelled(**ids: int) -> np.ndarray:
    """The mask of a face, with other ids for some of its classes."""
    table = np.arange(256, dtype=np.uint8)
    for name, value in ids.items():
        table[CLASSES.index(name)] = value
    return table[face_mask()]


def eye_points(offset: tuple[float, float]) -> np.ndarray:
    """One face whose eye points outline the eyes of the mask, moved by an offset."""
    points = np.zeros((1, 68, 2), np.float32)
    for which, x in ((R_EYE_POINTS, 32), (L_EYE_POINTS, 64)):
        angles = np.linspace(0, 2 * np.pi, 6, endpoint=False)
        points[0, which] = np.stack([x + 7 * np.cos(angles), 36 + 3 * np.sin(angles)], 1) + offset
    return points


def test_a_face_has_no_anomaly():
    assert set(votes(Labels(face_mask(), eye_points((0, 0)))).values()) == {-1, -np.inf}


def test_a_face_upside_down_votes_for_each_pair_of_classes():
    found = votes(Labels(face_mask(2)))
    below = {phrase for phrase, vote in found.items() if " is below " in phrase and vote == 1}
    assert below == {
        "in most masks r_brow is below r_eye",
        "in most masks l_brow is below l_eye",
        "in most masks r_eye is below nose",
        "in most masks l_eye is below nose",
        "in most masks nose is below u_lip",
        "in most masks u_lip is below l_lip",
    }


def test_a_nose_larger_than_the_skin_votes():
    assert votes(Labels(relabelled(skin=Region.NOSE, nose=Region.SKIN)))["in most masks nose is larger than skin"] == 1


@pytest.mark.parametrize(("known", "expected"), [(CLASSES, 1), (("background", "skin"), None)])
def test_a_missing_class_votes_where_the_dataset_labels_it(known, expected):
    found = votes(Labels(relabelled(nose=Region.SKIN), known=known))
    assert found.get("no mask shows nose") == expected
    assert found["no mask shows skin"] == -np.inf


def test_a_missing_class_may_be_among_ignored_pixels():
    assert "no mask shows nose" not in votes(Labels(relabelled(nose=IGNORE)))


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (np.full((9, 9), IGNORE), 1),
        (np.zeros((9, 9)), None),  # an image without people
        (np.full((9, 9), Region.HAT), -np.inf),
    ],
)
def test_a_mask_of_no_class_votes_unless_it_is_all_background(mask, expected):
    found = votes(Labels(mask.astype(np.uint8)))
    assert found.get("no mask shows anything but background and ignored pixels") == expected


@pytest.mark.parametrize(
    ("offset", "elsewhere", "one_based"),
    [((0, 0), -1, -1), ((1, 1), -1, 1), ((1, 0), -1, -1), ((0, 31), -1, -1), ((0, 33), 1, -1), ((40, 1), 1, -1)],
)
def test_eye_points_are_compared_with_the_eyes_of_the_mask(offset, elsewhere, one_based):
    found = votes(Labels(face_mask(), eye_points(offset)))  # the eyes are 32 pixels apart
    assert found["most points are elsewhere than the eyes of their mask"] == elsewhere
    assert found["most points are a pixel right of and below the eyes"] == one_based


def test_eye_points_of_several_faces_do_not_vote():
    found = votes(Labels(face_mask(), np.repeat(eye_points((50, 0)), 2, 0)))
    assert not any("most points" in phrase for phrase in found)
    two_faces = np.hstack([face_mask(), face_mask()])
    assert not any("most points" in phrase for phrase in votes(Labels(two_faces, eye_points((50, 0)))))
