"""TorchServe's handler: takes a batch of requests and returns a response for each.

The archive holds the package and the model next to this file, so only the dependencies need to be installed. A bad
request gets an error of its own and does not affect the others of its batch.
"""

import hashlib
import json
import logging
import os
import sys
import tempfile
import time
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path

import numpy as np
from ts.torch_handler.base_handler import BaseHandler

HERE = Path(__file__).parent
"""The unpacked archive."""


def verify(folder: Path) -> None:
    """Compare the files of an unpacked archive with its hashes.

    Raises:
        ValueError: a file differs.
    """
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        expected, name = line.split("  ", 1)
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
            raise ValueError(f"{name} is not the file that was archived; build the archive again: dvc repro archive")


verify(HERE)  # before any other code of the archive runs
sys.path.insert(0, str(HERE))

from facemark.errors import RequestError
from facemark.inference.config import DEFAULT_MODE, MODES
from facemark.inference.parser import FaceParser
from facemark.inference.types import Parse
from facemark.io import response
from facemark.serving import request, sandbox, telemetry
from facemark.serving.request import Request

log = logging.getLogger(__name__)
SETTINGS = ("hflip", "max_bytes", "max_pixels")
"""What ``handler`` in model-config.yaml has to set."""


def read_headers(context, index: int) -> dict[str, str]:
    """The headers of a request, names in lower case."""
    headers = context.get_all_request_header(index) or {}
    # TorchServe puts the fields of a form among them, each as a dict
    return {name.lower(): value for name, value in headers.items() if isinstance(value, str)}


def attempt(function, *arguments):
    """What a function returns, or the exception that it raises. All but refused requests are logged."""
    try:
        return function(*arguments)
    except Exception as error:
        if not isinstance(error, RequestError):
            log.exception("a request or a batch failed")
        return error


class FacemarkHandler(BaseHandler):
    """Loads the parser once and handles batches of requests."""

    def initialize(self, context) -> None:
        """Load parser and limits from the archive, and parse an image to warm up.

        First the worker gives up the right to write anywhere but to a temporary folder and to CUDA's devices.

        Raises:
            ValueError: a setting is missing in model-config.yaml.
        """
        settings = context.model_yaml_config["handler"]
        if missing := [name for name in SETTINGS if name not in settings]:
            raise ValueError(f"model-config.yaml: handler sets {', '.join(settings)}, but not {', '.join(missing)}")
        self._restrict_writes()
        self.limits = {name: settings[name] for name in ("max_bytes", "max_pixels")}
        self.identity = json.loads((HERE / "model.json").read_text())
        gpu = context.system_properties.get("gpu_id")
        self.parser = FaceParser(
            HERE / "model",
            device=None if gpu is None else f"cuda:{gpu}",
            config=replace(MODES[DEFAULT_MODE], hflip=settings["hflip"]),
        )
        self.parser([np.zeros((self.parser.size, self.parser.size, 3), np.uint8)])
        self.initialized = True

    def _restrict_writes(self) -> None:
        # a folder of its own: the one above it has this code, which the next worker runs before it is restricted
        folder = tempfile.mkdtemp()
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        devices = [Path("/dev/null"), *Path("/dev").glob("nvidia*"), *Path("/dev").glob("nvidia-caps/*")]
        if not sandbox.restrict_writes(Path(folder), [device for device in devices if not device.is_dir()]):
            log.warning("this system has no Landlock: the worker may write wherever its user may")

    def handle(self, data: list[dict], context) -> list[bytes]:
        """Handle a batch of requests; returns the bodies of the responses, in the order of the requests."""
        telemetry.observe(context.metrics, "batch_size", len(data))
        start = time.perf_counter()
        requests = [attempt(Request, item, read_headers(context, i), self.limits) for i, item in enumerate(data)]
        decoded = self._measure("decode", start, context)
        parses = iter(self._parse([each.image for each in requests if isinstance(each, Request)]))
        # what cannot be read has its error in place of a parse
        results = [(each, next(parses) if isinstance(each, Request) else each) for each in requests]
        parsed = self._measure("parse", decoded, context)
        bodies = [self._respond(i, *result, context, start) for i, result in enumerate(results)]
        self._measure("answer", parsed, context)
        return bodies

    def _measure(self, stage: str, since: float, context) -> float:
        """Add the seconds of a stage to the metrics; returns the current time."""
        now = time.perf_counter()
        telemetry.observe(context.metrics, "stage_seconds", now - since, stage=stage)
        return now

    def _parse(self, images: list[np.ndarray]) -> list[Parse | Exception]:
        """The parse of each image. Where that fails, one at a time, so that only the image that fails has an error."""
        parses = attempt(self.parser, images)
        if not isinstance(parses, Exception):
            return parses
        return [parses] if len(images) == 1 else [self._parse([image])[0] for image in images]

    def _respond(
        self, index: int, asked: Request | Exception, result: Parse | Exception, context, start: float
    ) -> bytes:
        """Set status and type of a response, measure and log its request; returns the body."""
        body, kind, error = self._encode(asked, result)
        outcome, code = (error.kind, error.code) if error else ("ok", HTTPStatus.OK)
        context.set_response_status(code, HTTPStatus(code).phrase, index)
        context.set_response_content_type(index, kind)
        telemetry.count(context.metrics, "requests_total", 1, outcome=outcome)
        if not error:
            telemetry.observe_faces(context.metrics, result)
        height, width, _ = asked.image.shape if isinstance(asked, Request) else (None, None, None)
        length = read_headers(context, index).get("content-length", "")[:18]
        telemetry.log_request(
            context.get_request_id(index),
            outcome,
            code=int(code),
            bytes=int(length) if length.isdecimal() else None,
            width=width,
            height=height,
            faces=None if error else len(result.faces),
            milliseconds=round(1000 * (time.perf_counter() - start)),
        )
        return body

    def _encode(self, asked: Request | Exception, result: Parse | Exception) -> tuple[bytes, str, RequestError | None]:
        """Body and media type of a response, and its error where it is one."""
        encoded = attempt(asked.encode, result, self.identity) if isinstance(result, Parse) else result
        if not isinstance(encoded, Exception):
            return *encoded, None
        error = encoded
        if not isinstance(error, RequestError):
            error = RequestError(500, "InternalError", "the picture could not be processed; the server's log says why")
        return response.to_json(response.encode_error(error.code, error.kind, str(error))), request.JSON, error
