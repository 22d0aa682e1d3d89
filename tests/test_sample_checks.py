"""Checks of one sample, on hand-made masks and drawn points."""

import cv2
import numpy as np
import pytest
from hand_made_masks import face_mask
from PIL import Image

from facemark.data import synthetic
from facemark.data.sample_checks import is_mirrored, swapped_pairs, validate_sample
from facemark.data.samples import Sample, write_points
from facemark.labels import CLASSES, IGNORE, UNIONS, Region, mirror


@pytest.mark.parametrize("turn", range(4))
def test_sides_are_judged_in_any_rotation(turn):
    assert swapped_pairs(face_mask(turn)) == []
    assert swapped_pairs(np.ascontiguousarray(face_mask(turn)[:, ::-1])) == ["l_eye/r_eye", "l_brow/r_brow"]
    assert swapped_pairs(mirror(face_mask(turn))) == []


def test_a_mask_without_a_face_has_no_sides():
    assert swapped_pairs(np.zeros((9, 9), np.uint8)) == []


def test_an_outlier_swaps_no_sides():
    face = synthetic.draw(0).points[0].astype(float)
    face[[36, 48]] = (4000, 0), (0, 4000)
    assert not is_mirrored(face)


@pytest.fixture
def masked(tmp_path):
    """Writes a black image of a mask's size and the mask, and returns them as a sample."""

    def write(mask: np.ndarray) -> Sample:
        Image.new("RGB", mask.shape[::-1]).save(tmp_path / "face.png")
        Image.fromarray(mask).save(tmp_path / "mask.png")
        return Sample(tmp_path / "face.png", tmp_path / "mask.png", None, "train")

    return write


def test_ignored_pixels_are_no_problem(masked):
    mask = face_mask()
    mask[:5] = IGNORE
    assert validate_sample(masked(mask)) == []


@pytest.mark.parametrize("value", [len(CLASSES), 77, min(UNIONS) - 1])
def test_an_id_that_is_no_class_is_named(masked, value):
    mask = face_mask()
    mask[0, 0] = value
    assert validate_sample(masked(mask)) == [f"ids [{value}] are none of the classes 0–18"]


def test_each_problem_of_a_sample_is_named(masked):
    sample = masked(np.where(face_mask() == Region.SKIN, 40, face_mask())[:, ::-1].astype(np.uint8))
    Image.new("RGB", (96, 48)).save(sample.image)
    assert validate_sample(sample) == [
        "the picture is 96×48, its mask 96×96",
        "ids [40] are none of the classes 0–18",
        "left and right are swapped in l_eye/r_eye, l_brow/r_brow",
    ]


def test_sides_of_several_people_are_not_judged_together(masked):
    frontal = np.pad(face_mask(), ((0, 0), (0, 96)))
    assert validate_sample(masked(np.maximum(frontal, np.pad(face_mask(1), ((0, 0), (96, 0)))))) == []


def points_only(tmp_path, face: np.ndarray) -> Sample:
    """A black image of 200 × 200 pixels with these points."""
    cv2.imwrite(str(tmp_path / "face.png"), np.zeros((200, 200, 3), np.uint8))
    write_points(tmp_path / "face.txt", face[None])
    return Sample(tmp_path / "face.png", None, tmp_path / "face.txt", "train")


def test_points_outside_the_image_are_a_problem(tmp_path):
    cv2.imwrite(str(tmp_path / "face.jpg"), np.zeros((40, 60, 3), np.uint8))
    for x, y, sound in ((59, 39, True), (60, 39, False), (59, 40, False), (-1, 5, False)):
        points = [f"{x + dx} {y + dy}" for dx in (0, -0.5) for dy in (0, -0.5)] * 17
        (tmp_path / "face.txt").write_text("\n".join(["68", *points]))
        found = validate_sample(Sample(tmp_path / "face.jpg", None, tmp_path / "face.txt", "train"))
        assert any("outside the picture" in phrase for phrase in found) != sound


@pytest.mark.parametrize(
    ("corrupt", "phrase"),
    [
        (lambda face: face / 200, "shares of the picture"),
        (lambda face: np.where(np.arange(68)[:, None] < 7, 0, face), "7 points of a face are at one place"),
        (lambda face: np.full((68, 2), 5.0), "span less than"),
        (lambda face: (200, 0) + face * (-1, 1), "swapped"),
        (lambda face: face[:, ::-1], "swapped in the points: 36–41 are the subject's right eye; or their x and y"),
    ],
)
def test_points_that_do_not_belong_to_the_image_are_named(tmp_path, corrupt, phrase):
    face = synthetic.draw(0).points[0].astype(float)
    face = 40 + 120 * (face - face.min(0)) / np.ptp(face, 0).max()
    assert validate_sample(points_only(tmp_path, face)) == []
    (problem,) = validate_sample(points_only(tmp_path, corrupt(face)))
    assert phrase in problem
