"""Cases that are hard to bring about in a running server: a mixed batch, a parser that fails, wrong settings."""

import importlib.util
import json
import shutil
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import yaml
from clone import IDENTITY
from PIL import Image
from test_images import encode

from facemark.images import decode
from facemark.inference.types import Parse
from facemark.serving import request
from facemark.serving.archive import SERVE
from facemark.serving.request import Request

PAYLOAD = b"the bytes of a file"


class Context:
    """The part of TorchServe's context that the handler uses. It keeps the statuses."""

    def __init__(self, settings: dict | None = None):
        self.status: dict[int, int] = {}
        self.metrics = SimpleNamespace(add_metric=lambda *_, **__: None)
        self.model_yaml_config = {"handler": settings}
        self.system_properties: dict = {}

    def get_all_request_header(self, _: int) -> dict:
        return {}

    def get_request_id(self, index: int) -> str:
        return str(index)

    def set_response_status(self, code: int, _: str, index: int) -> None:
        self.status[index] = int(code)

    def set_response_content_type(self, index: int, kind: str) -> None:
        pass


@pytest.fixture
def module(monkeypatch, tmp_path) -> ModuleType:
    """The module of the handler, without an archive."""
    monkeypatch.setattr(sys, "path", list(sys.path))  # the handler inserts its folder
    shutil.copy(SERVE / "handler.py", tmp_path)
    (tmp_path / "SHA256SUMS").touch()
    spec = importlib.util.spec_from_file_location("handler", tmp_path / "handler.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_in_a_batch_each_request_gets_its_own_response_and_a_failure_affects_no_other(module):
    def parse(images: list[np.ndarray]) -> list[Parse]:
        if any(len(image) == 13 for image in images):
            raise MemoryError("of one image")
        return [Parse(np.zeros(image.shape[:2], np.uint8), []) for image in images]

    handler, context = module.FacemarkHandler(), Context()
    handler.limits, handler.identity, handler.parser = {}, IDENTITY, parse
    valid = [encode(Image.new("RGB", (8, height))) for height in (10, 11, 13, 14)]
    bodies = [*valid[:2], b"no picture", *valid[2:]]
    responses = [json.loads(body) for body in handler.handle([{"body": body} for body in bodies], context)]
    assert [each["image"]["height"] if "image" in each else each["code"] for each in responses] == [
        *(10, 11, 415, 500, 14),
    ]
    assert [each["model"] for each in responses if "model" in each] == 3 * [IDENTITY]
    assert [context.status[i] for i in range(5)] == [200, 200, 415, 500, 200]


def test_a_response_that_cannot_be_encoded_is_an_internal_error(module):
    handler, context = module.FacemarkHandler(), Context()
    handler.limits, handler.identity = {}, IDENTITY
    handler.parser = lambda images: [Parse(np.full((4, 4), 200, np.uint8), [None])]  # no face has a score
    (body,) = handler.handle([{"body": encode(Image.new("RGB", (4, 4)))}], context)
    assert (json.loads(body)["type"], context.status) == ("InternalError", {0: 500})


def test_a_setting_with_its_old_name_is_refused_by_name(module):
    settings = yaml.safe_load((SERVE / "model-config.yaml").read_text())["handler"]
    assert tuple(settings) == module.SETTINGS
    old = {"flip": settings.pop("hflip")} | settings
    with pytest.raises(ValueError, match="handler sets flip, max_bytes, max_pixels, but not hflip"):
        module.FacemarkHandler().initialize(Context(old))


def test_a_drawing_keeps_the_colours_of_the_image():
    image = np.full((20, 30, 3), (200, 100, 10), np.uint8)
    asked = Request({"body": encode(Image.fromarray(image))}, {"accept": "image/png"}, {})
    body, kind = asked.encode(Parse(np.zeros((20, 30), np.uint8), []), {})
    assert kind == "image/png"
    assert (decode(body) == image).all()


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("image/png", "image/png"),
        ("IMAGE/JPEG;q=0.5, image/png", "image/jpeg"),
        ("text/html, image/png", "image/png"),
        ("application/json, image/png", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("", "application/json"),
    ],
)
def test_the_first_type_that_can_be_sent_is_sent(header, kind):
    assert request.accepted_type(header) == kind


def test_options_of_the_body_override_those_of_the_headers():
    headers = {"content-type": "multipart/form-data; boundary=x", "facemark-mask": "rle", "facemark-max-faces": "2"}
    item = {"data": PAYLOAD, "mask": b"png", "max_faces": "3"}
    assert request.split_body(item, headers) == (PAYLOAD, {"mask": "png", "max_faces": "3"})
    assert request.split_body({"body": PAYLOAD}, headers | {"content-type": ""}) == (
        PAYLOAD,
        {"mask": "rle", "max_faces": "2"},
    )


def test_a_misspelt_header_is_kept_so_that_it_is_refused():
    headers = {"facemark-masks": "png", "facemark-mask": "png", "host": "localhost"}
    assert request.header_options(headers) == {"facemark-masks": "png", "mask": "png"}


def test_text_is_taken_as_the_bytes_of_an_image():
    assert request.image_bytes("a sentence") == b"a sentence"
