"""A request as TorchServe hands it over: image and options on the way in, the answer on the way out."""

import base64
import binascii
import json

import cv2

from facemark import images
from facemark.errors import RequestError
from facemark.inference.types import Parse
from facemark.io import drawing, response

JSON = "application/json"
DRAWN = {"image/png": ".png", "image/jpeg": ".jpg"}


class Request:
    """One request of a batch: its image and options on the way in, its answer on the way out."""

    def __init__(self, item: dict, headers: dict[str, str], limits: dict[str, int]):
        """Read image and options.

        Args:
            item: what TorchServe made of the body: ``body`` or ``data``, and any form fields.
            headers: the request's headers, names in lower case.
            limits: ``max_bytes`` and ``max_pixels``.

        Raises:
            RequestError: the image or an option is not what the contract asks for.
        """
        data, fields = body_and_fields(item, headers)
        self.options = response.parse_options(fields)
        self.accept = accepted(headers.get("accept", "*/*"))
        self.image = images.decode(data, **limits)

    def answer(self, parse: Parse, model: dict) -> tuple[bytes, str]:
        """The body of the response and its content type."""
        if self.accept in DRAWN:
            faces = response.select_faces(parse.faces, self.options)
            drawn = drawing.draw(self.image, Parse(parse.mask, faces))
            encoded = cv2.imencode(DRAWN[self.accept], cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))[1]
            return encoded.tobytes(), self.accept
        return response.to_json(response.encode_response(parse, self.options, model)), JSON


def accepted(header: str) -> str:
    """The first media type of an Accept header that can be answered; JSON where none is named."""
    for part in header.lower().split(","):
        kind = part.split(";")[0].strip()
        if kind in DRAWN or kind == JSON:
            return kind
    return JSON


def body_and_fields(item: dict, headers: dict[str, str]) -> tuple[bytes, dict]:
    """Split a request into the image's bytes and its options; those of the body go before those of the headers.

    Raises:
        RequestError: there is no image, or the JSON body is none.
    """
    kind = headers.get("content-type", "").lower()
    if kind.startswith(JSON):
        data, fields = json_body(item.get("body"))
    elif kind.startswith("multipart/form-data"):
        data, fields = raw(item.get("data")), {name: text(value) for name, value in item.items() if name != "data"}
    else:
        data, fields = raw(item.get("body")), {}
    return data, options_in(headers) | fields


def options_in(headers: dict[str, str]) -> dict[str, str]:
    """The options that travel as headers; one that is misspelt comes along, not to pass for its default."""
    names = {header.lower(): name for name, header in response.HEADERS.items()}
    return {names.get(name, name): value for name, value in headers.items() if name.startswith("facemark-")}


def json_body(body: object) -> tuple[bytes, dict]:
    """Image and options of a JSON body, which TorchServe has parsed if it could."""
    if isinstance(body, bytes | bytearray):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise RequestError(400, "BadJSON", 'the body is not JSON; send {"image": "<base64>"}') from error
    if not isinstance(body, dict) or not isinstance(body.get("image"), str):
        raise RequestError(400, "MissingImage", 'the JSON body has no text field image; send {"image": "<base64>"}')
    try:
        data = base64.b64decode(body["image"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(
            400, "BadBase64", "the field image is not base64; send the file's bytes as base64"
        ) from error
    return data, {name: value for name, value in body.items() if name != "image"}


def raw(value: object) -> bytes:
    """The image's bytes as they came, be they labelled as text or not; RequestError where there are none."""
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes | bytearray) and value:
        return bytes(value)
    raise RequestError(
        400, "MissingImage", "there is no image; send its bytes as the body, or in the form field data, or as JSON"
    )


def text(value: object) -> object:
    """A form field as text where it is some."""
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else value
