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
"""2 × 3; in column-major order: 0 0 | 1 0 | 1 2."""


def make_face(score: float = 0.9, left: float = 10.0, **changes) -> Face:
    """A face as the parser returns them: NumPy numbers with more digits than a response has."""
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


def encode(*faces: Face, mask_ids: np.ndarray = MASK, **options) -> dict:
    return encode_response(Parse(mask_ids, list(faces)), Options(**options), MODEL)


def leaves(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def decode_rle(counts: list[int], size: list[int]) -> np.ndarray:
    """The H × W boolean mask of COCO's counts."""
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(size, order="F")


def test_the_response_has_the_fields_of_the_contract():
    encoded = encode(make_face())
    assert set(encoded) == {"image", "faces", "model"}
    assert encoded["image"] == {"width": 3, "height": 2}
    assert encoded["model"] == MODEL
    (one,) = encoded["faces"]
    assert set(one) == {"box", "score", "landmarks", "pupils", "mouth_center", "regions"}
    assert set(one["landmarks"]) == {"scheme", "points", "scores"}
    assert one["landmarks"]["scheme"] == "ibug68"
    assert np.shape(one["landmarks"]["points"]) == (68, 2)
    assert np.shape(one["landmarks"]["scores"]) == (68,)
    assert np.shape(one["box"]) == (4,)
    assert np.shape(one["pupils"]) == (2, 2)
    assert np.shape(one["mouth_center"]) == (2,)
    assert set(one["regions"]["l_eye"]) == {"area", "centroid", "contour"}


def test_numbers_are_rounded_and_of_plain_types():
    encoded = encode(make_face(score=0.98765))
    (one,) = encoded["faces"]
    assert one["score"] == 0.988
    assert one["landmarks"]["points"][0] == [10.0, 10.33]
    assert one["landmarks"]["scores"][1] == 0.015
    assert one["regions"]["l_eye"] == {
        "area": 12.3,
        "centroid": [1.23, 2.0],
        "contour": [[0.0, 0.0], [0.33, 0.0], [0.0, 0.67]],
    }
    assert {type(leaf) for leaf in leaves(encoded)} <= {int, float, str}
    assert all(math.isfinite(leaf) for leaf in leaves(encoded) if not isinstance(leaf, str))


@pytest.mark.parametrize("mask", ["none", "png", "rle"])
def test_json_round_trip(mask):
    encoded = encode(make_face(), mask=mask)
    assert json.loads(to_json(encoded)) == encoded


def test_no_face_gives_an_empty_list():
    assert encode()["faces"] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"mouth_center": np.array([0, np.inf])},
        {"points": np.full((68, 2), np.nan)},
        {"regions": {"nose": RegionShape(float("inf"), np.zeros(2), np.zeros((3, 2)))}},
    ],
)
def test_numbers_that_are_not_finite_are_refused(changes):
    with pytest.raises(ValueError, match="infs or NaNs"):
        encode(make_face(**changes))


def test_faces_are_selected_by_score_then_by_number_in_their_order():
    faces = [make_face(score, left) for left, score in enumerate((0.2, 0.9, 0.5, 0.8))]

    def lefts(**options) -> list[float]:
        return [each["box"][0] for each in encode(*faces, **options)["faces"]]

    assert lefts() == [0, 1, 2, 3]
    assert lefts(max_faces=2) == [0, 1]
    assert lefts(min_score=0.5) == [1, 2, 3]
    assert lefts(min_score=0.5, max_faces=2) == [1, 2]
    assert lefts(min_score=1) == []


def test_mask_as_png():
    ids = np.arange(19 * 7, dtype=np.uint8).reshape(7, 19) % 19
    encoded = encode(mask_ids=ids, mask="png")["mask"]
    assert set(encoded) == {"encoding", "classes", "data"}
    assert (encoded["encoding"], encoded["classes"]) == ("png", list(CLASSES))
    picture = Image.open(io.BytesIO(base64.b64decode(encoded["data"], validate=True)))
    assert (picture.format, picture.mode) == ("PNG", "L")
    assert (np.asarray(picture) == ids).all()


def test_run_lengths_of_a_mask_counted_by_hand():
    encoded = encode(mask="rle")["mask"]
    assert encoded == {
        "encoding": "rle",
        "classes": list(CLASSES),
        "size": [2, 3],
        "data": {
            "background": [0, 2, 1, 1, 2],  # the first run, outside the class, is empty
            "skin": [2, 1, 1, 1, 1],
            "nose": [5, 1],  # no run after the last pixel of the class
        },
    }


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (13, 8), (40, 60)])
def test_run_lengths_decode_to_the_mask(shape):
    ids = np.random.default_rng(0).choice([0, 1, 1, 1, Region.HAIR, Region.CLOTH], shape).astype(np.uint8)
    encoded = encode(mask_ids=ids, mask="rle")["mask"]
    assert encoded["data"].keys() == {CLASSES[i] for i in np.unique(ids)}
    for name, counts in encoded["data"].items():
        assert sum(counts) == ids.size
        assert all(counts[1:])
        assert (decode_rle(counts, encoded["size"]) == (ids == CLASSES.index(name))).all()


def test_every_option_has_a_default_and_a_header():
    assert parse_options({}) == Options(mask="none", max_faces=100, min_score=0)
    assert HEADERS.keys() == Options.model_fields.keys()


def test_options_may_be_text_or_numbers():
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
def test_the_error_of_a_wrong_value_lists_the_valid_ones(name, value):
    with pytest.raises(RequestError, match=f"^{name} cannot be ") as caught:
        parse_options({name: value})
    assert (caught.value.code, caught.value.kind) == (400, "BadOption")
    assert all(word in caught.value.message for word in ("none, png, rle", "1 or more", "0 to 1"))


@pytest.mark.parametrize("name", ["masks", "Mask", "", "self", "\ud800", "x" * 10_000])
def test_the_error_of_an_unknown_option_lists_the_valid_ones(name):
    with pytest.raises(RequestError, match="there is no option") as caught:
        parse_options({name: "1", "mask": "png"})
    assert (caught.value.code, caught.value.kind) == (400, "UnknownOption")
    assert all(known in caught.value.message for known in HEADERS)


@pytest.mark.parametrize(
    "fields", [{"\ud800": 1}, {"mask": "\udfff"}, {"mask": "x" * 10**6}, {"max_faces": "9" * 5000}]
)
def test_errors_are_short_valid_json_whatever_the_request(fields):
    with pytest.raises(RequestError) as caught:
        parse_options(fields)
    encoded = encode_error(caught.value.code, caught.value.kind, caught.value.message)
    assert encoded.keys() == {"code", "type", "message"}
    assert json.loads(to_json(encoded)) == encoded
    assert len(encoded["message"]) < 250
