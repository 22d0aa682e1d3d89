"""A request as TorchServe passes it to the handler: reads its image and options, and encodes its response."""

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
"""Media types of a drawing, with OpenCV's name of each."""


class Request:
    """One request of a batch.

    Attributes:
        image: H × W × 3 RGB uint8.
        options: which faces are returned, and how the mask is encoded.
        accept: the media type of the response: JSON, or one of :data:`DRAWN`.
    """

    def __init__(self, item: dict, headers: dict[str, str], limits: dict[str, int]):
        """Read image and options.

        Args:
            item: TorchServe's form of the body: ``body`` or ``data``, and any form fields.
            headers: the request's headers, names in lower case.
            limits: ``max_bytes`` and ``max_pixels``; see :func:`facemark.images.decode`.

        Raises:
            RequestError: the image or an option is not valid.
        """
        data, fields = split_body(item, headers)
        self.options = response.parse_options(fields)
        self.accept = accepted_type(headers.get("accept", "*/*"))
        self.image = images.decode(data, **limits)

    def encode(self, parse: Parse, identity: dict) -> tuple[bytes, str]:
        """Encode the response.

        Args:
            parse: the result for this request's image.
            identity: of the model, for the field ``model``.

        Returns:
            The body and its media type.

        Raises:
            ValueError: a number of a selected face is not finite.
        """
        if self.accept in DRAWN:
            faces = response.select_faces(parse.faces, self.options)
            drawn = drawing.draw(self.image, Parse(parse.mask, faces))
            encoded = cv2.imencode(DRAWN[self.accept], cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))[1]
            return encoded.tobytes(), self.accept
        return response.to_json(response.encode_response(parse, self.options, identity)), JSON


def accepted_type(header: str) -> str:
    """The first media type of an Accept header that the endpoint can send; JSON where it names none."""
    for part in header.lower().split(","):
        kind = part.split(";")[0].strip()
        if kind in DRAWN or kind == JSON:
            return kind
    return JSON


def split_body(item: dict, headers: dict[str, str]) -> tuple[bytes, dict]:
    """Split a request into the image's bytes and its options. Options of the body override those of the headers.

    Raises:
        RequestError: there is no image, or the JSON body is not valid.
    """
    kind = headers.get("content-type", "").lower()
    if kind.startswith(JSON):
        data, fields = read_json(item.get("body"))
    elif kind.startswith("multipart/form-data"):
        data = image_bytes(item.get("data"))
        fields = {name: decode_text(value) for name, value in item.items() if name != "data"}
    else:
        data, fields = image_bytes(item.get("body")), {}
    return data, header_options(headers) | fields


def header_options(headers: dict[str, str]) -> dict[str, str]:
    """The options among the headers, by name. Unknown Facemark headers keep their header's name, to be refused."""
    names = {header.lower(): name for name, header in response.HEADERS.items()}
    return {names.get(name, name): value for name, value in headers.items() if name.startswith("facemark-")}


def read_json(body: object) -> tuple[bytes, dict]:
    """Read the image and the options of a JSON body, which TorchServe has parsed where it could.

    Raises:
        RequestError: it is not JSON, has no image, or the image is not base64.
    """
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


def image_bytes(value: object) -> bytes:
    """The bytes of the image in a body or form field; TorchServe gives them as text where they are labelled as text.

    Raises:
        RequestError: there are none.
    """
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes | bytearray) and value:
        return bytes(value)
    raise RequestError(
        400, "MissingImage", "there is no image; send its bytes as the body, or in the form field data, or as JSON"
    )


def decode_text(value: object) -> object:
    """The text of a form field that came as bytes; other values are returned unchanged."""
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes | bytearray) else value
