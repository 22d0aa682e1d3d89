"""A Python client of the endpoint, blocking (:class:`Client`) or for asyncio (:class:`AsyncClient`).

It returns the endpoint's JSON, checked and typed, and does not import torch. Coordinates are in pixels of the image
with its EXIF orientation applied: (0, 0) is the centre of the top-left pixel, x points right, y down.
"""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import httpx2
import numpy as np
import tenacity
from PIL import Image
from pydantic import BaseModel

URL = "http://127.0.0.1:8080/predictions/facemark"
ATTEMPTS = 5
"""How often a request is sent before the client gives up. A full queue has room again within seconds."""

Point = tuple[float, float]


class Options(TypedDict, total=False):
    """The options of a request. The endpoint refuses wrong values and names the valid ones."""

    mask: Literal["none", "png", "rle"]
    max_faces: int
    min_score: float


class Size(BaseModel):
    """The size of the image in pixels."""

    width: int
    height: int


class Landmarks(BaseModel):
    """68 points (x, y) in iBUG-68 order, each with a score in 0–1: low where the point is hidden and was predicted."""

    scheme: str
    points: list[Point]
    scores: list[float]


class Region(BaseModel):
    """One region of one face: ``area`` in square pixels, ``centroid`` (x, y), ``contour`` K points, closed."""

    area: float
    centroid: Point
    contour: list[Point]


class Face(BaseModel):
    """One face.

    ``box`` is x0, y0, x1, y1 of its landmarks. ``pupils`` are the subject's right one, then the left. ``regions`` are
    by class name.
    """

    box: tuple[float, float, float, float]
    score: float
    landmarks: Landmarks
    pupils: tuple[Point, Point]
    mouth_center: Point
    regions: dict[str, Region]


class Mask(BaseModel):
    """The mask of the image, in the requested encoding."""

    encoding: Literal["png", "rle"]
    classes: list[str]
    data: str | dict[str, list[int]]
    size: tuple[int, int] | None = None

    def ids(self) -> np.ndarray:
        """The mask as H × W uint8 of indices into ``classes``.

        Raises:
            ValueError: it has run lengths but no size; the endpoint sends both.
        """
        if isinstance(self.data, str):
            return np.asarray(Image.open(io.BytesIO(base64.b64decode(self.data))))
        if self.size is None:
            raise ValueError("the mask has run lengths and no size; the endpoint sends both")
        height, width = self.size
        flat = np.zeros(height * width, np.uint8)
        for name, counts in self.data.items():
            flat[np.repeat(np.arange(len(counts)) % 2 == 1, counts)] = self.classes.index(name)
        return flat.reshape((height, width), order="F")


class Model(BaseModel):
    """The identity of the model that the endpoint serves."""

    name: str
    version: str
    revision: str
    data: str


class Response(BaseModel):
    """The endpoint's response: the faces, the largest first, and the mask if it was requested."""

    image: Size
    faces: list[Face]
    mask: Mask | None = None
    model: Model


class EndpointError(Exception):
    """The endpoint refused a request. The message says why.

    Attributes:
        code: the HTTP status.
        kind: a short type.
    """

    def __init__(self, code: int, kind: str, message: str):
        super().__init__(message)
        self.code, self.kind = code, kind


class Client:
    """A blocking client. Several threads may share one."""

    def __init__(self, token: str, url: str = URL, timeout: float = 60):
        """The connection is made at the first request.

        Args:
            token: as ``facemark serve`` prints it.
            url: of the predictions.
            timeout: seconds to wait for one response. A request that timed out is not sent again.
        """
        self.url, self._http = url, httpx2.Client(**_settings(token, timeout))

    def parse(self, image: Path | str | bytes, **options: Unpack[Options]) -> Response:
        """Find the faces of an image.

        Args:
            image: its path, or the bytes of its file.
            options: see :class:`Options`.

        Raises:
            EndpointError: the endpoint refused it, or was too busy at every attempt.
            ConnectionError: there was no response at any attempt.
            TimeoutError: the response did not come in time.
            OSError: the file cannot be read.
        """
        return Response.model_validate_json(self._post(image, "application/json", options))

    def draw(self, image: Path | str | bytes, **options: Unpack[Options]) -> bytes:
        """The image with mask and landmarks drawn over it, as a PNG. Arguments and errors: see :meth:`parse`."""
        return self._post(image, "image/png", options)

    def _post(self, image: Path | str | bytes, accept: str, options: Options) -> bytes:
        request = _request(image, accept, options)
        with _plain_errors(self.url):
            return tenacity.Retrying(**_POLICY)(lambda: _body(self._http.post(self.url, **request)))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


class AsyncClient:
    """:class:`Client` for asyncio: the same methods, to be awaited."""

    def __init__(self, token: str, url: str = URL, timeout: float = 60):
        """See :class:`Client`."""
        self.url, self._http = url, httpx2.AsyncClient(**_settings(token, timeout))

    async def parse(self, image: Path | str | bytes, **options: Unpack[Options]) -> Response:
        """See :meth:`Client.parse`."""
        return Response.model_validate_json(await self._post(image, "application/json", options))

    async def draw(self, image: Path | str | bytes, **options: Unpack[Options]) -> bytes:
        """See :meth:`Client.draw`."""
        return await self._post(image, "image/png", options)

    async def _post(self, image: Path | str | bytes, accept: str, options: Options) -> bytes:
        request = _request(image, accept, options)

        async def once() -> bytes:
            return _body(await self._http.post(self.url, **request))

        with _plain_errors(self.url):
            return await tenacity.AsyncRetrying(**_POLICY)(once)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()


_NO_PROXY = {"all://127.0.0.1": None, "all://localhost": None}
"""Requests to this machine do not use the proxy that the environment may name."""


def _settings(token: str, timeout: float) -> dict:
    timeouts = httpx2.Timeout(timeout, pool=None)  # of one response, however many earlier requests are still open
    return {"headers": {"Authorization": f"Bearer {token}"}, "timeout": timeouts, "mounts": _NO_PROXY}


def _request(image: Path | str | bytes, accept: str, options: Options) -> dict:
    data = image if isinstance(image, bytes) else Path(image).read_bytes()
    headers = {f"Facemark-{name.replace('_', '-').title()}": str(value) for name, value in options.items()}
    return {"content": data, "headers": headers | {"Accept": accept, "Content-Type": "application/octet-stream"}}


def _body(response: httpx2.Response) -> bytes:
    """The body of a response; EndpointError where its status is not 200."""
    if response.status_code == 200:
        return response.content
    try:
        error = response.json()
        raise EndpointError(response.status_code, error["type"], error["message"])
    except (ValueError, TypeError, KeyError):  # the front end's own refusals may have no body
        raise EndpointError(
            response.status_code, "HTTPError", f"the endpoint returned {response.status_code} {response.reason_phrase}"
        ) from None


def _is_temporary(error: BaseException) -> bool:
    """Whether the same request may succeed later. Predictions change nothing, so they can be sent again."""
    broken = httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ConnectTimeout
    return isinstance(error, broken) or (isinstance(error, EndpointError) and error.code == 503)


_POLICY: dict[str, Any] = {
    "retry": tenacity.retry_if_exception(_is_temporary),
    "stop": tenacity.stop_after_attempt(ATTEMPTS),
    "wait": tenacity.wait_random_exponential(0.5, max=8),
    "reraise": True,
}


@contextmanager
def _plain_errors(url: str) -> Iterator[None]:
    """Raise Python's own exceptions instead of the transport's, with a sentence that says what to do."""
    try:
        yield
    except httpx2.TimeoutException as error:
        raise TimeoutError(f"{url} did not respond in time; give the client a longer timeout") from error
    except httpx2.TransportError as error:
        raise ConnectionError(f"{url} cannot be reached ({error}); is it running? start it with: make serve") from error
