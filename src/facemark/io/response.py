"""Requests and responses of the endpoint: options are checked, and a parse is encoded as the JSON of the contract."""

import base64
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facemark import __version__
from facemark.errors import RequestError
from facemark.inference.types import Face, Parse, RegionShape
from facemark.labels import CLASSES

HEADERS = {"mask": "Facemark-Mask", "max_faces": "Facemark-Max-Faces", "min_score": "Facemark-Min-Score"}
"""The request header of each option, for requests whose body is the image."""
VALID_OPTIONS = "mask (none, png, rle), max_faces (1 or more), min_score (0 to 1)"


def default_identity() -> dict[str, str]:
    """The name and version of a model outside an archive. Its commit and data are unknown: only archives have them."""
    return {"name": "facemark", "version": __version__, "revision": "unknown", "data": "unknown"}


class Options(BaseModel):
    """The options of a request, each with its default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mask: Literal["none", "png", "rle"] = "none"
    max_faces: Annotated[int, Field(ge=1)] = 100
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0


def parse_options(fields: Mapping[str, Any]) -> Options:
    """Check the options of a request.

    Args:
        fields: value by name; values from headers and forms are text.

    Raises:
        RequestError: 400, a name or a value is not valid. The message lists the valid ones.
    """
    # names and values are quoted by reprlib: they can be megabytes long, or text that JSON cannot hold
    for name in fields.keys() - Options.model_fields.keys():
        raise RequestError(
            400, "UnknownOption", f"there is no option {reprlib.repr(name)}; the options are {VALID_OPTIONS}"
        )
    for name, value in fields.items():
        if isinstance(value, bool):  # pydantic would accept it as 0 or 1
            raise _bad_option(name, value)
    try:
        return Options(**fields)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise _bad_option(name, fields[name]) from error


def _bad_option(name: str, value: object) -> RequestError:
    return RequestError(400, "BadOption", f"{name} cannot be {reprlib.repr(value)}; the options are {VALID_OPTIONS}")


def select_faces(faces: list[Face], options: Options) -> list[Face]:
    """The faces that the options ask for, in their order, which is largest first."""
    return [face for face in faces if face.score >= options.min_score][: options.max_faces]


def encode_response(parse: Parse, options: Options, model: dict) -> dict:
    """Encode a parse as the response of the contract, in plain Python types.

    Coordinates are in pixels of the image, rounded to hundredths; scores are rounded to thousandths, areas to tenths.

    Args:
        parse: what was found in an image.
        options: which faces are returned, and how the mask is encoded. The mask always covers the whole image.
        model: identity of the model, for the field ``model``.

    Raises:
        ValueError: a number of a selected face is not finite.
    """
    height, width = parse.mask.shape
    encoded: dict[str, Any] = {
        "image": {"width": width, "height": height},
        "faces": [_encode_face(face) for face in select_faces(parse.faces, options)],
        "model": model,
    }
    if options.mask != "none":
        encoded["mask"] = {"encoding": options.mask, "classes": list(CLASSES), **ENCODINGS[options.mask](parse.mask)}
    return encoded


def _encode_face(face: Face) -> dict:
    return {
        "box": _rounded(face.box),
        "score": _rounded(face.score, 3),
        "landmarks": {"scheme": "ibug68", "points": _rounded(face.points), "scores": _rounded(face.scores, 3)},
        "pupils": _rounded(face.pupils),
        "mouth_center": _rounded(face.mouth_center),
        "regions": {name: _encode_region(region) for name, region in face.regions.items()},
    }


def _encode_region(region: RegionShape) -> dict:
    return {
        "area": _rounded(region.area, 1),
        "centroid": _rounded(region.centroid),
        "contour": _rounded(region.contour),
    }


def _rounded(values: np.ndarray | float, digits: int = 2) -> list | float:
    return np.asarray_chkfinite(values, np.float64).round(digits).tolist()  # orjson would encode NaN as null


def encode_png(mask: np.ndarray) -> dict:
    """An H × W mask as base64 of an 8-bit one-channel PNG of class ids."""
    return {"data": base64.b64encode(cv2.imencode(".png", mask)[1].tobytes()).decode()}


def encode_rle(mask: np.ndarray) -> dict:
    """An H × W mask as COCO's uncompressed run lengths (https://github.com/cocodataset/cocoapi).

    Returns:
        ``size``, [height, width], and ``data``, the counts of each class in the mask by its name. Counts are lengths
        of runs in column-major order. Runs outside and inside the class alternate. The first is outside, with length
        0 where the first pixel is of the class.
    """
    flat = mask.ravel(order="F")
    data = {}
    for region in np.unique(flat):
        inside = np.concatenate([[False], flat == region])
        edges = np.append(np.flatnonzero(np.diff(inside)), flat.size)
        data[CLASSES[region]] = np.diff(edges, prepend=0).tolist()
    return {"size": list(mask.shape), "data": data}


ENCODINGS = {"png": encode_png, "rle": encode_rle}


def encode_error(code: int, kind: str, message: str) -> dict:
    """The body of an error response."""
    return {"code": code, "type": kind, "message": message}


def to_json(value: dict) -> bytes:
    """Serialise a response as JSON."""
    return orjson.dumps(value)
