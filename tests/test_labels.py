import numpy as np
import pytest

from facemark import labels
from facemark.labels import CLASSES, FLIP, FLIP_POINTS, IGNORE, PAIRS, POINT_GROUPS, Region


def test_classes_are_the_official_celebamask_order():
    assert len(CLASSES) == 19
    assert (CLASSES[0], CLASSES[4], CLASSES[5], CLASSES[12], CLASSES[18]) == (
        "background",
        "l_eye",
        "r_eye",
        "l_lip",
        "cloth",
    )


def test_ids_are_the_places_of_their_names_and_plain_numbers():
    for i, name in enumerate(CLASSES):
        region = getattr(Region, name.upper())
        assert region == i
        assert type(region) is int  # of any other type, NumPy's comparisons swallow a Ctrl-C


def test_every_class_has_a_colour_of_its_own():
    assert labels.COLORS.shape == (19, 3)
    assert len({tuple(color) for color in labels.COLORS}) == 19


def test_flipping_twice_changes_nothing():
    assert FLIP[FLIP].tolist() == list(range(256))
    assert FLIP[IGNORE] == IGNORE
    moved = {i for i in range(256) if FLIP[i] != i}
    assert moved == {region for pair in PAIRS for region in pair}


def test_flip_swaps_exactly_the_classes_whose_names_say_a_side():
    for region, name in enumerate(CLASSES):
        twin = {"l_": "r_", "r_": "l_"}.get(name[:2], name[:2]) + name[2:]
        assert CLASSES[FLIP[region]] == (twin if twin in CLASSES and "lip" not in name else name)


def test_mirror_puts_the_left_eye_where_the_right_one_was():
    mask = np.array([[Region.R_EYE, Region.NOSE, Region.SKIN, Region.L_EYE]], np.uint8)
    assert labels.mirror(mask).tolist() == [[Region.R_EYE, Region.SKIN, Region.NOSE, Region.L_EYE]]


def test_flip_points_is_its_own_inverse_and_keeps_groups():
    assert FLIP_POINTS[FLIP_POINTS].tolist() == list(range(68))
    for group in POINT_GROUPS.values():
        ids = np.arange(68)[group]
        assert sorted(FLIP_POINTS[ids]) == ids.tolist()


@pytest.mark.parametrize(
    ("one", "other"), [(0, 16), (17, 26), (36, 45), (39, 42), (41, 46), (31, 35), (48, 54), (60, 64)]
)
def test_flip_points_swaps_the_pairs_of_ibug68(one, other):
    assert FLIP_POINTS[one] == other


def test_point_groups_cover_all_points_once():
    assert sorted(i for group in POINT_GROUPS.values() for i in np.arange(68)[group]) == list(range(68))
