"""What is hard to bring about in a running server: a batch of different pictures, and a parser that fails."""

import importlib.util
import json
import shutil
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from test_images import encode

from facemark.images import decode
from facemark.inference.types import Parse
from facemark.serving.request import Request


class Context:
    """TorchServe's context of a batch, as far as the handler asks it; keeps the statuses."""

    def __init__(self):
        self.status: dict[int, int] = {}
        self.metrics = SimpleNamespace(add_metric=lambda *_, **__: None)

    def get_all_request_header(self, _: int) -> dict:
        return {}

    def get_request_id(self, index: int) -> str:
        return str(index)

    def set_response_status(self, code: int, _: str, index: int) -> None:
        self.status[index] = int(code)

    def set_response_content_type(self, index: int, kind: str) -> None:
        pass


@pytest.fixture
def handler(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "path", list(sys.path))  # the handler puts its folder first
    shutil.copy("serve/handler.py", tmp_path)
    (tmp_path / "SHA256SUMS").touch()
    spec = importlib.util.spec_from_file_location("handler", tmp_path / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    made = module.FacemarkHandler()
    made.limits, made.model = {}, {}
    return made


def test_each_request_of_a_batch_gets_its_own_answer_and_a_failure_stays_alone(handler):
    def parse(pictures: list[np.ndarray]) -> list[Parse]:
        if any(len(picture) == 13 for picture in pictures):
            raise MemoryError("of one picture")
        return [Parse(np.zeros(picture.shape[:2], np.uint8), []) for picture in pictures]

    handler.parser, context = parse, Context()
    good = [encode(Image.new("RGB", (8, height))) for height in (10, 11, 13, 14)]
    bodies = [*good[:2], b"no picture", *good[2:]]
    found = [json.loads(each) for each in handler.handle([{"body": body} for body in bodies], context)]
    assert [each["image"]["height"] if "image" in each else each["code"] for each in found] == [10, 11, 415, 500, 14]
    assert [context.status[i] for i in range(5)] == [200, 200, 415, 500, 200]


def test_a_drawn_picture_keeps_its_colours():
    image = np.full((20, 30, 3), (200, 100, 10), np.uint8)
    asked = Request({"body": encode(Image.fromarray(image))}, {"accept": "image/png"}, {})
    body, kind = asked.answer(Parse(np.zeros((20, 30), np.uint8), []), {})
    assert kind == "image/png"
    assert (decode(body) == image).all()
