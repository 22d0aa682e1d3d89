import base64
import io
import json
import math

import numpy as np
import pytest
from PIL import Image

from facemark.errors import RequestError
from facemark.inference.types import Face, Parse, RegionShape
from facemark.io.response import HEADERS, Options, encode_error, encode_response, parse_options, to_json
from facemark.labels import CLASSES, Region

MODEL = {"name": "facemark", "version": "1.2.0", "revision": "abc", "data": "def"}
MASK = np.array([[0, 1, 1], [0, 0, 2]], np.uint8)
"""2 × 3; down its columns, left to right: 0 0 | 1 0 | 1 2."""


def face(score: float = 0.9, left: float = 10.0, **changes) -> Face:
    """A face as the parser makes them: numpy numbers with more digits than are answered."""
    points = (left + np.arange(136).reshape(68, 2) / 3).astype(np.float32)
    region = RegionShape(np.float32(12.3456), np.array([1.23456, 2.0]), np.array([[0, 0], [1 / 3, 0], [0, 2 / 3]]))
    values = {
        "box": np.r_[points.min(0), points.max(0)],
        "score": np.float32(score),
        "points": points,
        "scores": np.linspace(0, 1, 68, dtype=np.float32),
        "pupils": points[[36, 42]],
        "mouth_center": points[62],
        "regions": {"l_eye": region},
    }
    return Face(**values | changes)


def answered(*faces: Face, ids: np.ndarray = MASK, **asked) -> dict:
    return encode_response(Parse(ids, list(faces)), Options(**asked), MODEL)


def leaves(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def unrolled(counts: list[int], size: list[int]) -> np.ndarray:
    """What COCO's counts say: H × W, true where the class is."""
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size, order="F")


def test_the_answer_has_what_the_contract_names():
    found = answered(face())
    assert set(found) == {"image", "faces", "model"}
    assert found["image"] == {"width": 3, "height": 2}
    assert found["model"] == MODEL
    (one,) = found["faces"]
    assert set(one) == {"box", "score", "landmarks", "pupils", "mouth_center", "regions"}
    assert set(one["landmarks"]) == {"scheme", "points", "scores"}
    assert one["landmarks"]["scheme"] == "ibug68"
    assert np.shape(one["landmarks"]["points"]) == (68, 2)
    assert np.shape(one["landmarks"]["scores"]) == (68,)
    assert np.shape(one["box"]) == (4,)
    assert np.shape(one["pupils"]) == (2, 2)
    assert np.shape(one["mouth_center"]) == (2,)
    assert set(one["regions"]["l_eye"]) == {"area", "centroid", "contour"}


def test_numbers_are_rounded_and_plain():
    found = answered(face(score=0.98765))
    (one,) = found["faces"]
    assert one["score"] == 0.988
    assert one["landmarks"]["points"][0] == [10.0, 10.33]
    assert one["landmarks"]["scores"][1] == 0.015
    assert one["regions"]["l_eye"] == {
        "area": 12.3,
        "centroid": [1.23, 2.0],
        "contour": [[0.0, 0.0], [0.33, 0.0], [0.0, 0.67]],
    }
    assert {type(leaf) for leaf in leaves(found)} <= {int, float, str}
    assert all(math.isfinite(leaf) for leaf in leaves(found) if not isinstance(leaf, str))


@pytest.mark.parametrize("mask", ["none", "png", "rle"])
def test_json_says_the_same(mask):
    found = answered(face(), mask=mask)
    assert json.loads(to_json(found)) == found


def test_no_face_is_no_error():
    assert answered()["faces"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"mouth_center": np.array([0, np.inf])},
        {"points": np.full((68, 2), np.nan)},
        {"regions": {"nose": RegionShape(float("inf"), np.zeros(2), np.zeros((3, 2)))}},
    ],
)
def test_what_is_not_finite_is_never_answered(changes):
    with pytest.raises(ValueError, match="infs or NaNs"):
        answered(face(**changes))


def test_faces_are_left_out_by_score_then_by_number_in_their_order():
    faces = [face(score, left) for left, score in enumerate((0.2, 0.9, 0.5, 0.8))]

    def lefts(**asked) -> list[float]:
        return [each["box"][0] for each in answered(*faces, **asked)["faces"]]

    assert lefts() == [0, 1, 2, 3]
    assert lefts(max_faces=2) == [0, 1]
    assert lefts(min_score=0.5) == [1, 2, 3]
    assert lefts(min_score=0.5, max_faces=2) == [1, 2]
    assert lefts(min_score=1) == []


def test_mask_as_png():
    ids = np.arange(19 * 7, dtype=np.uint8).reshape(7, 19) % 19
    found = answered(ids=ids, mask="png")["mask"]
    assert set(found) == {"encoding", "classes", "data"}
    assert (found["encoding"], found["classes"]) == ("png", list(CLASSES))
    picture = Image.open(io.BytesIO(base64.b64decode(found["data"], validate=True)))
    assert (picture.format, picture.mode) == ("PNG", "L")
    assert (np.asarray(picture) == ids).all()


def test_mask_as_run_lengths_by_hand():
    found = answered(mask="rle")["mask"]
    assert found == {
        "encoding": "rle",
        "classes": list(CLASSES),
        "size": [2, 3],
        "data": {
            "background": [0, 2, 1, 1, 2],  # begins with the class: no zeros before it
            "skin": [2, 1, 1, 1, 1],
            "nose": [5, 1],  # ends with the class: no zeros after it
        },
    }


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (13, 8), (40, 60)])
def test_run_lengths_give_the_mask_back(shape):
    ids = np.random.default_rng(0).choice([0, 1, 1, 1, Region.HAIR, Region.CLOTH], shape).astype(np.uint8)
    found = answered(ids=ids, mask="rle")["mask"]
    assert found["data"].keys() == {CLASSES[i] for i in np.unique(ids)}
    for name, counts in found["data"].items():
        assert sum(counts) == ids.size
        assert all(counts[1:])
        assert (unrolled(counts, found["size"]) == (ids == CLASSES.index(name))).all()


def test_options_have_defaults_and_a_header_each():
    assert parse_options({}) == Options(mask="none", max_faces=100, min_score=0)
    assert HEADERS.keys() == Options.model_fields.keys()


def test_options_come_as_text_or_as_numbers():
    expected = Options(mask="rle", max_faces=10, min_score=0.5)
    assert parse_options({"mask": "rle", "max_faces": "10", "min_score": "0.5"}) == expected
    assert parse_options({"mask": "rle", "max_faces": 10, "min_score": 0.5}) == expected
    assert parse_options({"max_faces": 1, "min_score": 1}) == Options(max_faces=1, min_score=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("mask", value) for value in ("PNG", "jpeg", "", 1, True, None, ["png"])),
        *(("max_faces", value) for value in (0, "0", -1, "1.5", 1.5, "many", "", True, None, math.nan, [1])),
        *(("min_score", value) for value in (-0.1, "1.1", "nan", math.nan, math.inf, "inf", "", False, None, {})),
    ],
)
def test_a_wrong_value_is_told_the_valid_ones(name, value):
    with pytest.raises(RequestError, match=f"^{name} cannot be ") as caught:
        parse_options({name: value})
    assert (caught.value.code, caught.value.kind) == (400, "BadOption")
    assert all(word in caught.value.message for word in ("none, png, rle", "1 or more", "0 to 1"))


@pytest.mark.parametrize("name", ["masks", "Mask", "", "self", "\ud800", "x" * 10_000])
def test_an_unknown_option_is_told_the_valid_ones(name):
    with pytest.raises(RequestError, match="there is no option") as caught:
        parse_options({name: "1", "mask": "png"})
    assert (caught.value.code, caught.value.kind) == (400, "UnknownOption")
    assert all(known in caught.value.message for known in HEADERS)


@pytest.mark.parametrize(
    "fields", [{"\ud800": 1}, {"mask": "\udfff"}, {"mask": "x" * 10**6}, {"max_faces": "9" * 5000}]
)
def test_whatever_was_asked_the_error_is_short_and_can_be_sent(fields):
    with pytest.raises(RequestError) as caught:
        parse_options(fields)
    found = encode_error(caught.value.code, caught.value.kind, caught.value.message)
    assert found.keys() == {"code", "type", "message"}
    assert json.loads(to_json(found)) == found
    assert len(found["message"]) < 250
