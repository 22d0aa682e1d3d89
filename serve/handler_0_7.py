"""TorchServe's handler for models that were registered by 0.7.0 or earlier: no handler was logged with them.

It does what handler.py does, with the package in their archive, whose modules and names are those of 0.7.0.
"""

import hashlib
import json
import logging
import os
import sys
import tempfile
import time
from http import HTTPStatus
from pathlib import Path

import numpy as np
from ts.torch_handler.base_handler import BaseHandler

HERE = Path(__file__).parent
for line in (HERE / "SHA256SUMS").read_text().splitlines():  # before any other code of the archive runs
    expected, name = line.split("  ", 1)
    if hashlib.sha256((HERE / name).read_bytes()).hexdigest() != expected:
        raise ValueError(f"{name} is not the file that was archived; pack the archive again: facemark archive")
sys.path.insert(0, str(HERE))

from facemark import answer, confine, request, telemetry
from facemark.images import RequestError
from facemark.parser import FaceParser, Parse
from facemark.request import Request

log = logging.getLogger(__name__)


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
        """Restrict where the worker can write, load parser and limits, and parse an image to warm up."""
        folder = tempfile.mkdtemp()
        tempfile.tempdir = os.environ["TMPDIR"] = folder
        devices = [Path("/dev/null"), *Path("/dev").glob("nvidia*"), *Path("/dev").glob("nvidia-caps/*")]
        if not confine.writes_to(Path(folder), [device for device in devices if not device.is_dir()]):
            log.warning("this system has no Landlock: the worker may write wherever its user may")
        settings, gpu = context.model_yaml_config["handler"], context.system_properties.get("gpu_id")
        self.limits = {name: settings[name] for name in ("max_bytes", "max_pixels")}
        self.identity = json.loads((HERE / "model.json").read_text())
        device = None if gpu is None else f"cuda:{gpu}"
        self.parser = FaceParser(
            HERE / "model.safetensors", HERE / "landmarks.npz", device=device, flip=settings["hflip"]
        )
        self.parser([np.zeros((self.parser.size, self.parser.size, 3), np.uint8)])
        self.initialized = True

    def handle(self, data: list[dict], context) -> list[bytes]:
        """Handle a batch of requests; returns the bodies of the responses, in the order of the requests."""
        telemetry.observe(context.metrics, "batch_size", len(data))
        times = [time.perf_counter()]
        headers = [self._headers(context, i) for i in range(len(data))]
        requests = [attempt(Request, *each, self.limits) for each in zip(data, headers, strict=True)]
        times.append(time.perf_counter())
        parses = iter(self._parse([each.image for each in requests if isinstance(each, Request)]))
        results = [(each, next(parses) if isinstance(each, Request) else each) for each in requests]
        times.append(time.perf_counter())
        bodies = [self._respond(i, headers[i], *result, context, times[0]) for i, result in enumerate(results)]
        times.append(time.perf_counter())
        for stage, seconds in zip(("decode", "parse", "answer"), np.diff(times), strict=True):
            telemetry.observe(context.metrics, "stage_seconds", float(seconds), stage=stage)
        return bodies

    @staticmethod
    def _headers(context, index: int) -> dict[str, str]:
        headers = context.get_all_request_header(index) or {}
        return {name.lower(): value for name, value in headers.items() if isinstance(value, str)}

    def _parse(self, images: list[np.ndarray]) -> list[Parse | Exception]:
        parses = attempt(self.parser, images)
        if not isinstance(parses, Exception):
            return parses
        return [parses] if len(images) == 1 else [self._parse([image])[0] for image in images]

    def _respond(self, index: int, headers: dict, asked, result, context, start: float) -> bytes:
        encoded = attempt(asked.answer, result, self.identity) if isinstance(result, Parse) else result
        outcome, code, faces = "ok", HTTPStatus.OK, None
        if isinstance(encoded, Exception):
            error = encoded
            if not isinstance(error, RequestError):
                error = RequestError(500, "InternalError", "the picture could not be processed; see the server's log")
            outcome, code = error.kind, error.code
            encoded = answer.dumps(answer.error(code, outcome, str(error))), request.JSON
        else:
            faces = len(result.faces)
            telemetry.faces(context.metrics, result)
        body, kind = encoded
        context.set_response_status(code, HTTPStatus(code).phrase, index)
        context.set_response_content_type(index, kind)
        telemetry.count(context.metrics, "requests_total", 1, outcome=outcome)
        height, width = asked.image.shape[:2] if isinstance(asked, Request) else (None, None)
        length = headers.get("content-length", "")[:18]
        length = int(length) if length.isdecimal() else None
        facts = {"code": int(code), "bytes": length, "width": width, "height": height, "faces": faces}
        milliseconds = round(1000 * (time.perf_counter() - start))
        telemetry.record(context.get_request_id(index), outcome, **facts, milliseconds=milliseconds)
        return body
