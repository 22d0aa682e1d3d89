"""Faults of the real server: hostile input, a killed worker, a full queue, a stop under load, a leak.

The default suite sends hostile input to the server that other tests use. The other tests need one of their own; they
are slow.
`make soak` repeats hostile input and the search for leaks with thousands of requests.
"""

import base64
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, as_completed, wait
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from clone import IDENTITY
from conftest import free_port
from PIL import Image, PngImagePlugin
from test_endpoint import Reply, bomb, encoded, form, post, send, workers

from facemark.data import synthetic
from facemark.models.bundle import ModelBundle
from facemark.serving import archive, torchserve

QUEUE = 16
BATCH = yaml.safe_load(Path("serve/model-config.yaml").read_text())["batchSize"]
FACE = encoded(Image.fromarray(synthetic.draw(1).image).resize((48, 48)))
PROBE = """

def _initialize_and_probe(self, context, initialize=FacemarkHandler.initialize):
    initialize(self, context)
    for path in [*{paths}, Path(__file__).with_name("probe"), Path(tempfile.gettempdir()) / "probe"]:
        try:
            Path(path).write_text("")
            log.info("probe wrote %s", path)
        except OSError as error:
            log.info("probe could not write %s: %s", path, error.strerror)


FacemarkHandler.initialize = _initialize_and_probe
"""
"""Added to the handler: the worker tries to write these files, and logs which it could."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def home(folder):
    return folder / "server"


@pytest.fixture(scope="module")
def forbidden(folder, home):
    """Files that the worker must not write: new ones, and one that exists."""
    (folder / "old").write_text("kept")
    return [home / "probe", home / "temp" / "probe", folder / "old", Path.home() / ".facemark-probe"]


@pytest.fixture(scope="module")
def settings(folder, home, forbidden):
    """The released settings with a short queue, and a handler that tries to write files."""
    settings = shutil.copytree("serve", folder / "serve")
    with (settings / "config.properties").open("a") as file:
        file.write(f"job_queue_size={QUEUE}\nts_open_inference_protocol=true\n")
    with (settings / "handler.py").open("a") as file:
        file.write(PROBE.format(paths=[str(path) for path in forbidden]))
    return settings


@pytest.fixture(scope="module")
def packed(folder, settings, untrained):
    """An archive of the untrained network. No fault depends on what a network has learned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "SERVE", settings)
        patch.setattr(archive, "HANDLER", settings / "handler.py")
        archive.pack_archive(IDENTITY, ModelBundle.open(untrained), folder / "facemark.mar")
    return folder / "facemark.mar"


@pytest.fixture(scope="module")
def server(packed, home, settings):
    """A server with the untrained network, a short queue, and the open inference protocol."""
    yield torchserve.start(packed, free_port(), home, settings)
    torchserve.end(home)


def family(home: Path) -> list[psutil.Process]:
    """The server's processes."""
    process = torchserve.running(home)
    return [process, *process.children(recursive=True)]


def send_all(server, request: Callable[[int], tuple[bytes, dict]], count: int) -> list[Reply]:
    """Send ``count`` requests, as many at once as the queue holds; ``request`` makes each of them by its number."""

    def one(number: int) -> Reply:
        body, headers = request(number)
        return post(server, body, **headers)

    with ThreadPoolExecutor(QUEUE) as pool:
        return list(pool.map(one, range(count)))


# Hostile input. Each kind takes a random generator and returns the body and the headers of a request.

COLOR_MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "L", "RGBA", "P", "1", "LA"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("RGB", "L", "P", "1"),
    "TIFF": ("RGB", "L", "RGBA", "CMYK", "I", "F", "LAB"),
}
RAW = {}
"""The headers of a request whose body is an image."""


def valid_image(rng: np.random.Generator, **options) -> bytes:
    """A valid file of a random format, mode and size."""
    kind = str(rng.choice(list(COLOR_MODES)))
    mode = str(rng.choice(COLOR_MODES[kind]))
    image = Image.fromarray(rng.integers(0, 256, (*rng.integers(1, 40, 2), 3), np.uint8))
    return encoded(image.convert("L").convert(mode) if mode in "IF" else converted(image, mode), kind, **options)


def converted(image: Image.Image, mode: str) -> Image.Image:
    return Image.new("LAB", image.size, (90, 10, 20)) if mode == "LAB" else image.convert(mode)


def mutated(rng):
    data = bytearray(valid_image(rng))
    for place in rng.integers(0, len(data), rng.integers(1, 12)):
        data[place] = rng.integers(256)
    return bytes(data), RAW


def mutated_header(rng):
    data = bytearray(valid_image(rng))
    for place in rng.integers(0, min(len(data), 64), rng.integers(1, 4)):
        data[place] = rng.choice([0, 1, 127, 128, 255])
    return bytes(data), RAW


def truncated(rng):
    data = valid_image(rng)
    return data[: rng.integers(0, len(data))], RAW


def spliced(rng):
    one, other = valid_image(rng), valid_image(rng)
    return one[: rng.integers(0, len(one))] + other[rng.integers(0, len(other)) :], RAW


def blanked(rng):
    data = valid_image(rng)
    start, end = np.sort(rng.integers(0, len(data) + 1, 2))
    return data[:start] + bytes(end - start) + data[end:], RAW


def noise(rng):
    magic = rng.choice([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFFxxxxWEBPVP8 ", b"BM", b"II*\0", b"MM\0*"])
    return bytes(magic) + rng.bytes(rng.integers(0, 400)), RAW


def nothing(rng):
    return bytes(rng.choice([b"", b" ", b"\n"])) + bytes(rng.integers(0, 5000)), RAW


def giant(rng):
    """A header that claims any size, from zero over a strip to billions of pixels, with the data of a few pixels."""
    width, height = (int(side) for side in rng.choice([0, 1, 32_768, 60_000, 65_535, 2**31 - 1, 2**32 - 1], 2))
    kind = rng.integers(3)
    if kind == 0:
        return bomb(width, height), RAW
    if kind == 1:
        data = bytearray(encoded(Image.new("RGB", (2, 2)), "BMP"))
        data[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
        return bytes(data), RAW
    data = bytearray(encoded(Image.new("RGB", (2, 2)), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = (height & 0xFFFF).to_bytes(2) + (width & 0xFFFF).to_bytes(2)
    return bytes(data), RAW


@cache
def packed_bombs() -> tuple[bytes, ...]:
    """Small PNGs that are large when opened: one has 30 MB of text, the other a colour profile of 30 MB."""
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 30_000_000, zip=True)
    image = Image.new("RGB", (8, 8))
    return encoded(image, pnginfo=text), encoded(image, icc_profile=bytes(30_000_000))


def growing(rng):
    return packed_bombs()[rng.integers(2)], RAW


def odd_exif(rng):
    kind = str(rng.choice(["JPEG", "PNG", "WEBP", "TIFF"]))
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(0, 65536)) if rng.integers(2) else int(rng.integers(0, 10))
    exif[0x010E] = "x" * int(rng.integers(0, 3000))
    data = exif.tobytes()
    if rng.integers(2):
        data = data[:8] + rng.bytes(rng.integers(1, 60))
    image = Image.fromarray(rng.integers(0, 256, (12, 20, 3), np.uint8))
    return encoded(image, kind, exif=exif if kind == "TIFF" else data), RAW


def animated(rng):
    frames = [Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)) for _ in range(3)]
    kind = str(rng.choice(["GIF", "WEBP", "PNG", "TIFF"]))
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    return data[: len(data) - rng.integers(0, len(data) // 2)], RAW


def mislabelled(rng):
    kinds = ["text/plain", "application/json", "image/gif", "video/mp4", "application/pdf", "a/b; charset=x", "?", ""]
    return valid_image(rng), {"Content_Type": str(rng.choice(kinds))}


def odd_json(rng):
    image = base64.b64encode(mutated(rng)[0]).decode()
    value = [image, image[:-3], None, 7, [image], {"image": image}, "\ud800", "", "é" * 50][rng.integers(9)]
    options = {
        str(name): ["png", -1, 1e308, None, [], {}, True, "x" * 9000][rng.integers(8)]
        for name in rng.choice(["mask", "max_faces", "min_score", "image2", ""], rng.integers(0, 3))
    }
    body = json.dumps({"image": value} | options).encode()
    return body[: len(body) - rng.choice([0, 0, 1, 9])], {"Content_Type": "application/json"}


def odd_form(rng):
    fields = {
        str(name): str(rng.choice(["none", "-1", "nan", "inf", "9" * 5000, "\0", "é"]))
        for name in rng.choice(["mask", "max_faces", "min_score", "data", "body", "accept"], rng.integers(0, 3))
    }
    body, headers = form(**fields, **({} if "data" in fields else {"data": mutated(rng)[0]}))
    return body[: len(body) - rng.choice([0, 0, 2, 30])], headers


def odd_headers(rng):
    name = str(rng.choice(["Facemark_Mask", "Facemark_Max_Faces", "Facemark_Min_Score", "Facemark_X", "Accept"]))
    value = str(rng.choice(["png", "-1", "nan", "1e400", "9" * 4000, "\xff", "image/png", "*/*;q=x", ",,,", "0x10"]))
    return valid_image(rng), {name: value}


KINDS = (mutated, mutated_header, truncated, spliced, blanked, noise, nothing, giant, growing, odd_exif, animated,
         mislabelled, odd_json, odd_form, odd_headers)  # fmt: skip


def hostile(seed: int) -> tuple[bytes, dict]:
    return KINDS[seed % len(KINDS)](np.random.default_rng(seed))


def check_hostile_input(server, home: Path, count: int) -> None:
    """Send hostile requests. Each gets a result or an error with a message, and no worker is replaced."""
    before = workers(home)
    replies = send_all(server, hostile, count)
    wrong = [
        (f"hostile({seed})", KINDS[seed % len(KINDS)].__name__, reply.status, reply.body[:200])
        for seed, reply in enumerate(replies)
        if reply.status != 200 and not (400 <= reply.status < 500 and len(message(reply).split()) > 4)
    ]
    assert not wrong
    print(f"{count} hostile requests: {sorted(Counter(reply.status for reply in replies).items())}")
    assert {200, 400, 413, 415} <= {reply.status for reply in replies}
    assert workers(home) == before


def message(reply: Reply) -> str:
    """The message of an error; empty where it has none."""
    return reply.json["message"] if reply.body.startswith(b"{") else ""


def test_hostile_input_gets_a_response_and_harms_no_worker(endpoint, server_home):
    check_hostile_input(endpoint, server_home, 4 * len(KINDS))


@pytest.mark.soak
def test_thousands_of_hostile_requests_get_a_response_and_harm_no_worker(server, home):
    check_hostile_input(server, home, 5000)


@pytest.mark.slow
def test_a_killed_worker_loses_at_most_its_batch_and_is_replaced(server, home):
    before = workers(home)
    with ThreadPoolExecutor(QUEUE) as pool:
        pending = [pool.submit(post, server, FACE) for _ in range(QUEUE)]
        wait(pending, return_when=FIRST_COMPLETED)  # one batch is done, the worker has the next
        psutil.Process(min(before)).kill()
        killed = time.monotonic()
        assert post(server, FACE).status == 200  # it waits for the new worker
        print(f"the service was back {time.monotonic() - killed:.0f} s after its worker was killed")
        replies = [each.result() for each in pending]
    lost = [reply for reply in replies if reply.status != 200]
    assert 1 <= len(lost) <= BATCH
    for reply in lost:
        assert reply.status in (500, 507)  # 507 where the front end saw that it was killed
        assert reply.json == {"code": reply.status, "type": "InternalServerException", "message": "Worker died."}
    assert len(workers(home)) == len(before)
    assert workers(home) != before


@pytest.mark.slow
def test_requests_beyond_the_queue_are_refused_at_once(server):
    with ThreadPoolExecutor(4 * QUEUE) as pool:
        replies = [each.result() for each in as_completed([pool.submit(post, server, FACE) for _ in range(4 * QUEUE)])]
    codes = [reply.status for reply in replies]
    assert set(codes) == {200, 503}
    assert codes.count(200) >= QUEUE
    assert codes[-1] == 200
    for reply in replies:
        if reply.status == 503:
            assert reply.json["code"] == 503
            assert len(message(reply).split()) > 4


@pytest.mark.parametrize(
    "count", [pytest.param(100, marks=pytest.mark.slow), pytest.param(10_000, marks=pytest.mark.soak)]
)
def test_memory_does_not_grow_with_requests(server, home, count):
    requests = [(FACE, {}), *map(hostile, range(4 * len(KINDS)))]

    def megabytes() -> float:
        return sum(process.memory_info().rss for process in family(home)) / 2**20

    def request(number: int) -> tuple[bytes, dict]:
        return requests[number % len(requests)]

    send_all(server, request, len(requests))
    before = megabytes()
    send_all(server, request, count)
    growth = megabytes() - before
    print(f"memory grew by {growth:.0f} MB in {count} requests, from {before:.0f} MB")
    assert growth < 100


@pytest.mark.slow
def test_the_worker_can_write_only_in_a_folder_of_its_own(server, home, folder, forbidden):
    log = (home / "server.log").read_text()
    if "no Landlock" in log:
        pytest.skip("this system has no Landlock")
    for path in forbidden:
        assert f"probe could not write {path}: Permission denied" in log
    assert [path for path in forbidden if path.exists()] == [folder / "old"]
    assert (folder / "old").read_text() == "kept"
    written = [Path(path) for path in re.findall("probe wrote (.+)", log)]
    assert written
    assert {path.parent.parent for path in written} == {home / "temp"}


@pytest.mark.slow
def test_of_the_open_inference_protocol_only_health_and_name_work(server):
    """As docs/serving.md says: its inference takes only our own JSON."""
    base = server.url.removesuffix("/predictions/facemark")
    for path, expected in (("health/live", {"live": True}), ("health/ready", {"ready": True})):
        assert send(f"{base}/v2/{path}", server.token).json == expected
    assert send(f"{base}/v2", server.token).json["name"] == "Torchserve"
    assert send(f"{base}/v2/models/facemark", server.token).status == 404
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [base64.b64encode(FACE).decode()]}
    body = json.dumps({"inputs": [tensor]}).encode()
    refused = send(f"{base}/v2/models/facemark/infer", server.token, body, Content_Type="application/json")
    assert (refused.status, refused.json["type"]) == (400, "MissingImage")


@pytest.mark.slow
def test_stop_finishes_accepted_requests(packed, settings, tmp_path):
    server = torchserve.start(packed, free_port(), tmp_path / "server", settings)
    with ThreadPoolExecutor(QUEUE) as pool:
        pending = [pool.submit(post, server, FACE) for _ in range(QUEUE)]
        wait(pending, return_when=FIRST_COMPLETED)
        assert torchserve.stop(tmp_path / "server")
        assert [each.result().status for each in pending] == [200] * QUEUE
    assert torchserve.running(tmp_path / "server") is None
    assert not torchserve.stop(tmp_path / "server")
