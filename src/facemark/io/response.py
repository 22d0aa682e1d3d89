"""What the endpoint is asked and what it answers: options in, the contract's JSON out."""

import base64
import reprlib
from typing import Annotated, Literal

import cv2
import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from facemark import __version__
from facemark.errors import RequestError
from facemark.inference.types import Face, Parse, RegionShape
from facemark.labels import CLASSES

HEADERS = {"mask": "Facemark-Mask", "max_faces": "Facemark-Max-Faces", "min_score": "Facemark-Min-Score"}
"""The header that carries each option beside a raw body."""
VALID_OPTIONS = "mask (none, png, rle), max_faces (1 or more), min_score (0 to 1)"


def default_identity() -> dict[str, str]:
    """What a model calls itself outside an archive, which alone knows its commit and data."""
    return {"name": "facemark", "version": __version__, "revision": "unknown", "data": "unknown"}


class Options(BaseModel):
    """The options of a request, each with its default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mask: Literal["none", "png", "rle"] = "none"
    max_faces: Annotated[int, Field(ge=1)] = 100
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0


def parse_options(fields: dict[str, str | int | float]) -> Options:
    """Check the options of a request, which come as text from headers and forms.

    Raises:
        RequestError: 400, a name or value is not valid; the message lists those that are.
    """
    # names and values are quoted by reprlib: they may be megabytes long, or text that no JSON can carry
    for name in fields.keys() - Options.model_fields.keys():
        raise RequestError(
            400, "UnknownOption", f"there is no option {reprlib.repr(name)}; the options are {VALID_OPTIONS}"
        )
    for name, value in fields.items():
        if isinstance(value, bool):  # which pydantic takes for 0 or 1
            raise _bad(name, value)
    try:
        return Options(**fields)
    except ValidationError as error:
        name = error.errors()[0]["loc"][0]
        raise _bad(name, fields[name]) from error


def _bad(name: str, value: object) -> RequestError:
    return RequestError(400, "BadOption", f"{name} cannot be {reprlib.repr(value)}; the options are {VALID_OPTIONS}")


def select_faces(faces: list[Face], options: Options) -> list[Face]:
    """The faces that the options ask for, the largest first."""
    return [face for face in faces if face.score >= options.min_score][: options.max_faces]


def encode_response(parse: Parse, options: Options, model: dict) -> dict:
    """The contract's answer for one picture, in plain Python types.

    Coordinates are in the picture's pixels, rounded to hundredths, scores to thousandths, areas to tenths. The mask,
    where it is asked for, is encoded by :func:`png` or :func:`rle`; it is that of the whole picture, whichever faces
    are chosen.

    Raises:
        ValueError: a number of a chosen face is not finite.
    """
    height, width = parse.mask.shape
    found = {
        "image": {"width": width, "height": height},
        "faces": [_face(face) for face in select_faces(parse.faces, options)],
        "model": model,
    }
    if options.mask != "none":
        found["mask"] = {"encoding": options.mask, "classes": list(CLASSES), **ENCODINGS[options.mask](parse.mask)}
    return found


def _face(face: Face) -> dict:
    return {
        "box": _rounded(face.box),
        "score": _rounded(face.score, 3),
        "landmarks": {"scheme": "ibug68", "points": _rounded(face.points), "scores": _rounded(face.scores, 3)},
        "pupils": _rounded(face.pupils),
        "mouth_center": _rounded(face.mouth_center),
        "regions": {name: _region(region) for name, region in face.regions.items()},
    }


def _region(region: RegionShape) -> dict:
    return {
        "area": _rounded(region.area, 1),
        "centroid": _rounded(region.centroid),
        "contour": _rounded(region.contour),
    }


def _rounded(values: np.ndarray | float, digits: int = 2) -> list | float:
    values = np.asarray_chkfinite(values, np.float64)  # JSON would say null
    return values.round(digits).tolist()


def encode_png(mask: np.ndarray) -> dict:
    """An H × W mask as base64 of an 8-bit one-channel PNG of class ids."""
    return {"data": base64.b64encode(cv2.imencode(".png", mask)[1]).decode()}


def encode_rle(mask: np.ndarray) -> dict:
    """An H × W mask as COCO's uncompressed run lengths (https://github.com/cocodataset/cocoapi).

    ``data`` maps the name of each class that occurs to its counts: lengths of runs down the columns, left to right,
    by turns of pixels that are not and that are of the class, beginning with those that are not (0 where the first
    pixel is). ``size`` is [height, width].
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
    """The body of an answer that is an error."""
    return {"code": code, "type": kind, "message": message}


def to_json(value: dict) -> bytes:
    """JSON of an answer."""
    return orjson.dumps(value)
