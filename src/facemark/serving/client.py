"""Asking the endpoint from Python, waiting for each answer (:class:`Client`) or not (:class:`AsyncClient`).

Needs neither the network nor torch: what it answers is the endpoint's JSON, checked and typed. All coordinates are in
pixels of the picture as a person sees it, (0, 0) the centre of its top-left pixel, x right, y down.
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
"""How often a request is sent before it is given up: within some seconds a full queue has moved on."""

Point = tuple[float, float]


class Options(TypedDict, total=False):
    """What may be asked for beside the picture; the endpoint refuses wrong values and names the valid ones."""

    mask: Literal["none", "png", "rle"]
    max_faces: int
    min_score: float


class Size(BaseModel):
    """The picture's size in pixels."""

    width: int
    height: int


class Landmarks(BaseModel):
    """68 points in the order of iBUG-68, each with a score in 0–1: low where it was guessed."""

    scheme: str
    points: list[Point]
    scores: list[float]


class Region(BaseModel):
    """One region of one face; ``area`` in square pixels."""

    area: float
    centroid: Point
    contour: list[Point]


class Face(BaseModel):
    """One face; ``box`` is x0, y0, x1, y1 of its landmarks, ``pupils`` the subject's right one, then the left."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: Landmarks
    pupils: tuple[Point, Point]
    mouth_center: Point
    regions: dict[str, Region]


class Mask(BaseModel):
    """The picture's mask, as it was asked for."""

    encoding: Literal["png", "rle"]
    classes: list[str]
    data: str | dict[str, list[int]]
    size: tuple[int, int] | None = None

    def ids(self) -> np.ndarray:
        """The mask as H × W uint8 of indices into ``classes``.

        Raises:
            ValueError: it is run lengths without a size, which no endpoint sends.
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
    """Which model answered."""

    name: str
    version: str
    revision: str
    data: str


class Answer(BaseModel):
    """The endpoint's answer: the faces, the largest first, and the mask if it was asked for."""

    image: Size
    faces: list[Face]
    mask: Mask | None = None
    model: Model


class EndpointError(Exception):
    """The endpoint refused a request: its HTTP status, a short type, and a sentence that says why."""

    def __init__(self, code: int, kind: str, message: str):
        super().__init__(message)
        self.code, self.kind = code, kind


class Client:
    """Asks the endpoint and waits; several threads may share one."""

    def __init__(self, token: str, url: str = URL, timeout: float = 60):
        """Connect at the first request.

        Args:
            token: as ``facemark serve`` prints it.
            url: of the predictions.
            timeout: seconds to wait for one answer; one that comes late is not asked for again.
        """
        self.url, self._http = url, httpx2.Client(**_settings(token, timeout))

    def parse(self, picture: Path | str | bytes, **options: Unpack[Options]) -> Answer:
        """Find the faces of a picture, given by its path or its bytes.

        Raises:
            EndpointError: the endpoint refused it, or was too busy at every attempt.
            ConnectionError: nothing answered, at any attempt.
            TimeoutError: the answer did not come in time.
            OSError: the file cannot be read.
        """
        return Answer.model_validate_json(self._ask(picture, "application/json", options))

    def draw(self, picture: Path | str | bytes, **options: Unpack[Options]) -> bytes:
        """The picture with mask and landmarks drawn over it, as a PNG; raises as :meth:`parse` does."""
        return self._ask(picture, "image/png", options)

    def _ask(self, picture: Path | str | bytes, accept: str, options: Options) -> bytes:
        request = _request(picture, accept, options)
        with _told(self.url):
            return tenacity.Retrying(**_POLICY)(lambda: _body(self._http.post(self.url, **request)))

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()


class AsyncClient:
    """:class:`Client` for asyncio: the same methods, to be awaited."""

    def __init__(self, token: str, url: str = URL, timeout: float = 60):
        """As of :class:`Client`."""
        self.url, self._http = url, httpx2.AsyncClient(**_settings(token, timeout))

    async def parse(self, picture: Path | str | bytes, **options: Unpack[Options]) -> Answer:
        """As :meth:`Client.parse`."""
        return Answer.model_validate_json(await self._ask(picture, "application/json", options))

    async def draw(self, picture: Path | str | bytes, **options: Unpack[Options]) -> bytes:
        """As :meth:`Client.draw`."""
        return await self._ask(picture, "image/png", options)

    async def _ask(self, picture: Path | str | bytes, accept: str, options: Options) -> bytes:
        request = _request(picture, accept, options)

        async def once() -> bytes:
            return _body(await self._http.post(self.url, **request))

        with _told(self.url):
            return await tenacity.AsyncRetrying(**_POLICY)(once)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()


_DIRECT = {"all://127.0.0.1": None, "all://localhost": None}
"""A server on this machine is asked without the proxy that the environment may name."""


def _settings(token: str, timeout: float) -> dict:
    waits = httpx2.Timeout(timeout, pool=None)  # for one answer, however many of ours are asked for before it
    return {"headers": {"Authorization": f"Bearer {token}"}, "timeout": waits, "mounts": _DIRECT}


def _request(picture: Path | str | bytes, accept: str, options: Options) -> dict:
    data = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
    headers = {f"Facemark-{name.replace('_', '-').title()}": str(value) for name, value in options.items()}
    return {"content": data, "headers": headers | {"Accept": accept, "Content-Type": "application/octet-stream"}}


def _body(response: httpx2.Response) -> bytes:
    if response.status_code == 200:
        return response.content
    try:
        error = response.json()
        raise EndpointError(response.status_code, error["type"], error["message"])
    except (ValueError, TypeError, KeyError):  # the front end's own refusals may have no body
        raise EndpointError(
            response.status_code, "HTTPError", f"the endpoint answered {response.status_code} {response.reason_phrase}"
        ) from None


def _passing(error: BaseException) -> bool:
    """Whether the same request may succeed a little later; predictions change nothing, so it may be sent again."""
    broken = httpx2.NetworkError, httpx2.RemoteProtocolError, httpx2.ConnectTimeout
    return isinstance(error, broken) or (isinstance(error, EndpointError) and error.code == 503)


_POLICY: dict[str, Any] = {
    "retry": tenacity.retry_if_exception(_passing),
    "stop": tenacity.stop_after_attempt(ATTEMPTS),
    "wait": tenacity.wait_random_exponential(0.5, max=8),
    "reraise": True,
}


@contextmanager
def _told(url: str) -> Iterator[None]:
    """Turn the transport's exceptions into Python's own, with a sentence."""
    try:
        yield
    except httpx2.TimeoutException as error:
        raise TimeoutError(f"{url} did not answer in time; give the client a longer timeout") from error
    except httpx2.TransportError as error:
        raise ConnectionError(f"{url} cannot be reached ({error}); is it running? start it with: make serve") from error
