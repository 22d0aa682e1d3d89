"""The Python client, and the examples of docs/serving.md, against the real endpoint."""

import asyncio
import http.server
import io
import json
import shutil
import subprocess
import sys
import threading

import documents
import numpy as np
import pytest
from PIL import Image
from test_endpoint import PNG, PORTRAIT, port_of

from facemark.serving.client import ATTEMPTS, AsyncClient, Client, EndpointError, Mask

EXAMPLES = documents.examples("docs/serving.md")


@pytest.fixture
def client(endpoint):
    with Client(endpoint.token, endpoint.url) as client:
        yield client


def test_a_response_is_typed(client):
    response = client.parse(PNG)
    assert (response.image.width, response.image.height) == PORTRAIT.size
    (face,) = response.faces
    points = np.array(face.landmarks.points)
    assert points.shape == (68, 2)
    assert face.pupils[0][0] < face.pupils[1][0]
    nose, (left, right) = face.regions["nose"], points[[31, 35], 0]
    assert left < nose.centroid[0] < right
    assert nose.area > 0.2 * (right - left) ** 2
    assert response.mask is None
    assert response.model.name == "facemark"


def test_a_path_and_the_bytes_of_its_file_give_the_same_response(client, tmp_path):
    (tmp_path / "photo.png").write_bytes(PNG)
    assert client.parse(tmp_path / "photo.png") == client.parse(str(tmp_path / "photo.png")) == client.parse(PNG)


def test_png_and_run_lengths_give_the_same_mask(client):
    png, rle = (client.parse(PNG, mask=kind).mask for kind in ("png", "rle"))
    assert png.ids().shape == PORTRAIT.size[::-1]
    assert (png.ids() == rle.ids()).all()
    assert (png.ids() == png.classes.index("nose")).any()


def test_run_lengths_without_a_size_are_refused():
    with pytest.raises(ValueError, match="no size"):
        Mask(encoding="rle", classes=["background"], data={"background": [0, 4]}).ids()


def test_options_are_sent(client):
    assert client.parse(PNG, min_score=1).faces == []
    with pytest.raises(EndpointError, match="none, png, rle") as refused:
        client.parse(PNG, mask="jpeg")
    assert (refused.value.code, refused.value.kind) == (400, "BadOption")


def test_a_drawing_is_a_png_of_the_images_size(client):
    assert Image.open(io.BytesIO(client.draw(PNG))).size == PORTRAIT.size


def test_concurrent_requests(endpoint):
    async def send() -> list:
        async with AsyncClient(endpoint.token, endpoint.url) as client:
            drawn = client.draw(PNG)
            return await asyncio.gather(*(client.parse(PNG) for _ in range(8)), drawn)

    *responses, drawn = asyncio.run(send())
    assert [len(response.faces) for response in responses] == [1] * 8
    assert drawn.startswith(b"\x89PNG")


def test_a_wrong_token_is_an_error(endpoint):
    with Client("wrong", endpoint.url) as client, pytest.raises(EndpointError) as refused:
        client.parse(PNG)
    assert refused.value.code in (400, 401, 403)


@pytest.fixture
def busy():
    """A server that refuses ``refusals`` requests with the status ``refusal``, then responds with ``body``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.server.requests += 1
            code = self.server.refusal if self.server.requests <= self.server.refusals else 200
            body = self.server.body if code == 200 else b'{"code": 503, "type": "Busy", "message": "the queue is full"}'
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.requests, server.body, server.refusal = 0, b"", 503
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_request_to_a_busy_endpoint_is_repeated(busy):
    model = dict.fromkeys(("name", "version", "revision", "data"), "x")
    busy.refusals = 2
    busy.body = json.dumps({"image": {"width": 1, "height": 1}, "faces": [], "model": model}).encode()
    with Client("token", f"http://127.0.0.1:{busy.server_port}") as client:
        assert client.parse(PNG).faces == []
    assert busy.requests == 3


def test_no_proxy_is_used_for_this_machine(busy, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where no server is
    monkeypatch.setenv("no_proxy", "")
    test_a_request_to_a_busy_endpoint_is_repeated(busy)


def test_the_client_gives_up_after_some_attempts(busy):
    busy.refusals = 100
    with Client("token", f"http://127.0.0.1:{busy.server_port}") as client, pytest.raises(EndpointError, match="full"):
        client.parse(PNG)
    assert busy.requests == ATTEMPTS


def test_a_request_that_is_refused_for_good_is_not_repeated(busy):
    busy.refusals, busy.refusal = 100, 401
    with Client("token", f"http://127.0.0.1:{busy.server_port}") as client, pytest.raises(EndpointError, match="full"):
        client.parse(PNG)
    assert busy.requests == 1


def test_without_a_server_the_message_says_how_to_start_it():
    nowhere = "http://127.0.0.1:9/predictions/facemark"
    with Client("token", nowhere) as client, pytest.raises(ConnectionError, match="make serve"):
        client.parse(PNG)


def test_the_client_does_not_import_torch():
    program = "import sys, facemark.serving.client; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "False"


@pytest.mark.parametrize(("language", "code"), EXAMPLES, ids=[f"{i}-{kind}" for i, (kind, _) in enumerate(EXAMPLES)])
def test_the_examples_run_as_printed(endpoint, server_home, tmp_path, language, code):
    if not shutil.which(documents.INTERPRETERS[language][0]):
        pytest.skip(f"{documents.INTERPRETERS[language][0]} is not installed")
    PORTRAIT.save(tmp_path / "photo.jpg", quality=95)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "serve").symlink_to(server_home)
    for i in range(3):
        code = code.replace(f"127.0.0.1:{8080 + i}", f"127.0.0.1:{port_of(endpoint) + i}")
    done = documents.run(language, code, tmp_path, TOKEN=endpoint.token)
    assert done.returncode == 0, done.stderr
    if "drawn.png" in code:
        assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")
    else:
        expected = ("sure", '"faces":[{', '"Healthy"', '"READY"', "facemark_requests_total")
        assert any(text in done.stdout for text in expected)
