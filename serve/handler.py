"""TorchServe's way to the parser: a batch of requests in, an answer of its own for each out.

The archive carries the package and the weights beside this file, so nothing else needs to be installed here than
the dependencies. Contract: a bad request answers its own 4xx and never touches its neighbours.
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


def check(folder: Path) -> None:
    """Compare an unpacked archive with its list of hashes; ValueError names the first file that is another."""
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        expected, name = line.split("  ", 1)
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
            raise ValueError(f"{name} is not the file that was archived; build the archive again: dvc repro archive")


check(HERE)  # before any of its code runs
sys.path.insert(0, str(HERE))

from facemark.errors import RequestError
from facemark.inference.config import DEFAULT_MODE, MODES
from facemark.inference.parser import FaceParser
from facemark.inference.types import Parse
from facemark.io import response
from facemark.serving import request, sandbox, telemetry
from facemark.serving.request import Request

log = logging.getLogger(__name__)


def headers(context, index: int) -> dict[str, str]:
    """The headers of a request, names in lower case."""
    found = context.get_all_request_header(index) or {}
    # a form's fields stand among the headers, each with a dict of its own
    return {name.lower(): value for name, value in found.items() if isinstance(value, str)}


class FacemarkHandler(BaseHandler):
    """Loads the parser once and answers batches."""

    def initialize(self, context) -> None:
        """Load weights, landmark model and limits from the archive, and parse once to warm up.

        Before, the worker gives up the right to write but to a temporary folder, and the devices that CUDA needs.
        """
        room = tempfile.mkdtemp()  # of its own: beside it lies this code, which the next worker runs unconfined
        tempfile.tempdir = os.environ["TMPDIR"] = room
        devices = [Path("/dev/null"), *Path("/dev").glob("nvidia*"), *Path("/dev").glob("nvidia-caps/*")]
        if not sandbox.writes_to(Path(room), [each for each in devices if not each.is_dir()]):
            log.warning("this system has no Landlock: the worker may write wherever its user may")
        gpu = context.system_properties.get("gpu_id")
        settings = context.model_yaml_config["handler"]
        self.limits = {name: settings[name] for name in ("max_bytes", "max_pixels")}
        self.model = json.loads((HERE / "model.json").read_text())
        self.parser = FaceParser(
            HERE / "model",
            device=None if gpu is None else f"cuda:{gpu}",
            config=replace(MODES[DEFAULT_MODE], hflip=settings["hflip"]),
        )
        self.parser([np.zeros((self.parser.size, self.parser.size, 3), np.uint8)])
        self.initialized = True

    def handle(self, data: list[dict], context) -> list[bytes]:
        """Answer a batch of requests, one response each, in their order."""
        telemetry.observe(context.metrics, "batch_size", len(data))
        start = time.perf_counter()
        requests = [self._read(i, item, context) for i, item in enumerate(data)]
        decoded = self._took("decode", start, context)
        parses = iter(self._parse([request.image for request in requests if isinstance(request, Request)]))
        parsed = self._took("parse", decoded, context)
        answers = [
            self._respond(i, request, next(parses) if isinstance(request, Request) else None, context, start)
            for i, request in enumerate(requests)
        ]
        self._took("answer", parsed, context)
        return answers

    def _took(self, stage: str, since: float, context) -> float:
        now = time.perf_counter()
        telemetry.observe(context.metrics, "stage_seconds", now - since, stage=stage)
        return now

    def _read(self, index: int, item: dict, context) -> Request | Exception:
        try:
            return Request(item, headers(context, index), self.limits)
        except RequestError as error:
            return error
        except Exception as error:
            log.exception("a request could not be read")
            return error

    def _parse(self, pictures: list[np.ndarray]) -> list[Parse | Exception]:
        try:
            return self.parser(pictures)
        except Exception as error:  # one picture must not take the others down
            log.exception("a batch of %d failed", len(pictures))
            return [error] if len(pictures) == 1 else [self._parse([picture])[0] for picture in pictures]

    def _respond(
        self, index: int, asked: Request | Exception, parse: Parse | Exception | None, context, start: float
    ) -> bytes:
        body, kind, error = self._answer(asked, asked if parse is None else parse)
        outcome, code = (error.kind, error.code) if error else ("ok", HTTPStatus.OK)
        context.set_response_status(code, HTTPStatus(code).phrase, index)
        context.set_response_content_type(index, kind)
        telemetry.count(context.metrics, "requests_total", 1, outcome=outcome)
        height, width, _ = asked.image.shape if isinstance(asked, Request) else (None, None, None)
        if not error:
            telemetry.faces(context.metrics, parse)
        telemetry.record(
            context.get_request_id(index),
            outcome,
            code=int(code),
            bytes=int(size) if (size := headers(context, index).get("content-length", "")[:18]).isdecimal() else None,
            width=width,
            height=height,
            faces=None if error else len(parse.faces),
            milliseconds=round(1000 * (time.perf_counter() - start)),
        )
        return body

    def _answer(self, asked: Request | Exception, found: Parse | Exception) -> tuple[bytes, str, RequestError | None]:
        """Body, content type and, where it is one, the error of an answer."""
        if isinstance(found, Parse):
            try:
                return *asked.answer(found, self.model), None
            except Exception as failure:
                log.exception("an answer failed")
                found = failure
        if not isinstance(found, RequestError):
            found = RequestError(500, "InternalError", "the picture could not be processed; the server's log says why")
        return response.to_json(response.encode_error(found.code, found.kind, str(found))), request.JSON, found
