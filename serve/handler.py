"""TorchServe's way to the parser: a batch of requests in, an answer of its own for each out.

The archive carries the package and the weights beside this file, so nothing else needs to be installed here than
the dependencies. Contract: a bad request answers its own 4xx and never touches its neighbours.
"""

import hashlib
import json
import logging
import sys
import time
from http import HTTPStatus
from pathlib import Path

import numpy as np
from ts.torch_handler.base_handler import BaseHandler

sys.path.insert(0, str(Path(__file__).parent))

from facemark import answer, request
from facemark.images import RequestError
from facemark.parser import FaceParser, Parse
from facemark.request import Request

log = logging.getLogger(__name__)


def check(folder: Path) -> None:
    """Compare an unpacked archive with its list of hashes; ValueError names the first file that is another."""
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        expected, name = line.split("  ", 1)
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
            raise ValueError(f"{name} is not the file that was archived; build the archive again: dvc repro archive")


class FacemarkHandler(BaseHandler):
    """Loads the parser once and answers batches."""

    def initialize(self, context) -> None:
        """Check the unpacked archive, load weights, landmark model and limits from it, and parse once to warm up."""
        folder = Path(context.system_properties["model_dir"])
        check(folder)
        gpu = context.system_properties.get("gpu_id")
        settings = context.model_yaml_config["handler"]
        self.limits = {name: settings[name] for name in ("max_bytes", "max_pixels")}
        self.model = json.loads((folder / "model.json").read_text())
        self.parser = FaceParser(
            folder / "model.safetensors",
            folder / "landmarks.npz",
            device=None if gpu is None else f"cuda:{gpu}",
            flip=settings["flip"],
        )
        self.parser([np.zeros((self.parser.size, self.parser.size, 3), np.uint8)])
        self.initialized = True

    def handle(self, data: list[dict], context) -> list[bytes]:
        """Answer a batch of requests, one response each, in their order."""
        start = time.perf_counter()
        requests = [self._read(i, item, context) for i, item in enumerate(data)]
        context.metrics.add_time("DecodeTime", 1000 * (time.perf_counter() - start))
        good = [request for request in requests if isinstance(request, Request)]
        start = time.perf_counter()
        parses = iter(self._parse([request.image for request in good]))
        context.metrics.add_time("ParseTime", 1000 * (time.perf_counter() - start))
        return [
            self._respond(i, request, next(parses) if isinstance(request, Request) else None, context)
            for i, request in enumerate(requests)
        ]

    def _read(self, index: int, item: dict, context) -> Request | Exception:
        headers = context.get_all_request_header(index) or {}
        # a form's fields stand among the headers, each with a dict of its own
        headers = {name.lower(): value for name, value in headers.items() if isinstance(value, str)}
        try:
            return Request(item, headers, self.limits)
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

    def _respond(self, index: int, asked: Request | Exception, parse: Parse | Exception | None, context) -> bytes:
        error = asked if parse is None else parse
        if isinstance(error, Parse):
            try:
                body, kind = asked.answer(error, self.model)
                context.metrics.add_counter("Faces", len(error.faces))
                context.set_response_content_type(index, kind)
                return body
            except Exception as failure:
                log.exception("an answer failed")
                error = failure
        if not isinstance(error, RequestError):
            error = RequestError(500, "InternalError", "the picture could not be processed; the server's log says why")
        context.set_response_status(error.code, HTTPStatus(error.code).phrase, index)
        context.set_response_content_type(index, request.JSON)
        return answer.dumps(answer.error(error.code, error.kind, str(error)))
