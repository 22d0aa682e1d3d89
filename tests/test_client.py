import asyncio
import http.server
import json
import shutil
import subprocess
import sys
import threading

import documents
import numpy as np
import pytest
from test_endpoint import PNG, PORTRAIT, port_of

from facemark.serving.client import ATTEMPTS, AsyncClient, Client, EndpointError

EXAMPLES = documents.examples("docs/serving.md")


@pytest.fixture
def client(endpoint):
    with Client(endpoint.token, endpoint.url) as client:
        yield client


def test_answers_are_typed(client):
    answer = client.parse(PNG)
    assert (answer.image.width, answer.image.height) == PORTRAIT.size
    (face,) = answer.faces
    assert np.array(face.landmarks.points).shape == (68, 2)
    assert face.pupils[0][0] < face.pupils[1][0]
    assert face.regions["nose"].area > 0
    assert answer.mask is None
    assert answer.model.name == "facemark"


def test_a_file_is_as_good_as_its_bytes(client, tmp_path):
    (tmp_path / "photo.png").write_bytes(PNG)
    assert client.parse(tmp_path / "photo.png") == client.parse(str(tmp_path / "photo.png")) == client.parse(PNG)


def test_both_masks_say_the_same(client):
    png, rle = (client.parse(PNG, mask=kind).mask for kind in ("png", "rle"))
    assert png.ids().shape == PORTRAIT.size[::-1]
    assert (png.ids() == rle.ids()).all()
    assert (png.ids() == png.classes.index("nose")).any()


def test_options_are_passed_on(client):
    assert client.parse(PNG, min_score=1).faces == []
    with pytest.raises(EndpointError, match="none, png, rle") as refused:
        client.parse(PNG, mask="jpeg")
    assert (refused.value.code, refused.value.kind) == (400, "BadOption")


def test_the_drawn_picture_is_a_png(client):
    assert client.draw(PNG).startswith(b"\x89PNG")


def test_many_at_once(endpoint):
    async def ask() -> list:
        async with AsyncClient(endpoint.token, endpoint.url) as client:
            drawn = client.draw(PNG)
            return await asyncio.gather(*(client.parse(PNG) for _ in range(8)), drawn)

    *answers, drawn = asyncio.run(ask())
    assert all(len(answer.faces) == 1 for answer in answers)
    assert drawn.startswith(b"\x89PNG")


def test_a_wrong_token_is_told(endpoint):
    with Client("wrong", endpoint.url) as client, pytest.raises(EndpointError) as refused:
        client.parse(PNG)
    assert refused.value.code in (400, 401, 403)


@pytest.fixture
def busy():
    """A server that answers 503 as often as it is told to, and then what it is told to."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.server.asked += 1
            code = self.server.refusal if self.server.asked <= self.server.refusals else 200
            body = self.server.body if code == 200 else b'{"code": 503, "type": "Busy", "message": "the queue is full"}'
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.body, server.refusal = 0, b"", 503
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_busy_endpoint_is_asked_again(busy):
    model = dict.fromkeys(("name", "version", "revision", "data"), "x")
    busy.refusals = 2
    busy.body = json.dumps({"image": {"width": 1, "height": 1}, "faces": [], "model": model}).encode()
    with Client("token", f"http://127.0.0.1:{busy.server_port}") as client:
        assert client.parse(PNG).faces == []
    assert busy.asked == 3


def test_a_proxy_is_not_asked_for_this_machine(busy, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody is
    monkeypatch.setenv("no_proxy", "")
    test_a_busy_endpoint_is_asked_again(busy)


def test_an_endpoint_that_stays_busy_is_given_up(busy):
    busy.refusals = 100
    with Client("token", f"http://127.0.0.1:{busy.server_port}") as client, pytest.raises(EndpointError, match="full"):
        client.parse(PNG)
    assert busy.asked == ATTEMPTS


def test_what_would_be_refused_again_is_asked_once(busy):
    busy.refusals, busy.refusal = 100, 401
    with Client("token", f"http://127.0.0.1:{busy.server_port}") as client, pytest.raises(EndpointError, match="full"):
        client.parse(PNG)
    assert busy.asked == 1


def test_nobody_there_is_told_in_a_sentence():
    nowhere = "http://127.0.0.1:9/predictions/facemark"
    with Client("token", nowhere) as client, pytest.raises(ConnectionError, match="make serve"):
        client.parse(PNG)


def test_it_needs_no_torch():
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
        shown = ("sure", '"faces":[{', '"Healthy"', '"READY"', "facemark_requests_total")
        assert any(each in done.stdout for each in shown)
