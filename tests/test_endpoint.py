"""The running endpoint over HTTP, against the contract in docs/serving.md."""

import base64
import io
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import ts
import yaml
from clone import IDENTITY
from conftest import free_port
from PIL import Image, ImageOps
from typer.testing import CliRunner

from facemark import images
from facemark.cli import app
from facemark.data import synthetic
from facemark.labels import CLASSES
from facemark.models.bundle import ModelBundle
from facemark.serving import torchserve
from facemark.serving.archive import pack_archive


def portrait() -> Image.Image:
    """An upright starter face that is alone in its image, and not small."""
    for seed in range(100):
        drawn = synthetic.draw(seed)
        if len(drawn.points) == 1:
            points = drawn.points[0]
            eye_line = points[45] - points[36]
            inside = (points > 0).all() and (points < drawn.mask.shape[::-1]).all()
            if inside and eye_line[0] > 45 and abs(eye_line[1]) < 0.1 * eye_line[0]:
                return Image.fromarray(drawn.image)
    raise AssertionError("no such face among the first hundred")


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


PORTRAIT = portrait()
PNG = encoded(PORTRAIT)


class Reply:
    def __init__(self, status: int, headers, body: bytes):
        self.status, self.headers, self.body = status, headers, body
        self.kind = headers.get("Content-Type", "").split(";")[0]

    @property
    def json(self) -> dict:
        assert self.kind == "application/json"
        return json.loads(self.body)


def send(url: str, token: str = "", body: bytes | None = None, **headers: str) -> Reply:
    """Send a POST request with a body, a GET request without; an empty token is not sent."""
    headers = {k.replace("_", "-"): v for k, v in headers.items()}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return Reply(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        return Reply(error.code, error.headers, error.read())


def post(endpoint, body: bytes, token: str | None = None, **headers: str) -> Reply:
    token = endpoint.token if token is None else token
    return send(endpoint.url, token, body, **({"Content_Type": "application/octet-stream"} | headers))


def multipart(**fields: bytes | str) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    parts = []
    for name, value in fields.items():
        file = '; filename="photo"\r\nContent-Type: application/octet-stream' if isinstance(value, bytes) else ""
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
        parts.append(head.encode() + (value if isinstance(value, bytes) else value.encode()) + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def form(**fields: bytes | str) -> tuple[bytes, dict]:
    """Body and headers of a form; fields named Facemark_… become headers."""
    headers = {name: value for name, value in fields.items() if name.startswith("Facemark_")}
    body, kind = multipart(**{name: value for name, value in fields.items() if name not in headers})
    return body, headers | {"Content_Type": kind}


def test_a_response_has_all_fields_of_the_contract(endpoint):
    reply = post(endpoint, PNG)
    assert reply.status == 200
    response = reply.json
    assert response["image"] == {"width": PORTRAIT.width, "height": PORTRAIT.height}
    assert response["model"] == IDENTITY
    assert "mask" not in response
    (face,) = response["faces"]
    points = np.array(face["landmarks"]["points"])
    assert face["landmarks"]["scheme"] == "ibug68"
    assert points.shape == (68, 2)
    assert np.isfinite(points).all()
    assert len(face["landmarks"]["scores"]) == 68
    assert all(0 <= score <= 1 for score in face["landmarks"]["scores"])
    assert np.median(face["landmarks"]["scores"]) > 0.5
    assert 0.5 <= face["score"] <= 1
    assert face["box"] == pytest.approx([*points.min(0), *points.max(0)], abs=0.02)
    right, left = face["pupils"]
    assert right[0] < left[0]
    assert right[1] < face["mouth_center"][1]
    assert points[36][0] < points[45][0]
    assert {"l_eye", "nose", "skin"} <= face["regions"].keys() <= set(CLASSES)
    assert set(face["regions"]["l_eye"]) == {"area", "centroid", "contour"}


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {})]
)
def test_every_file_format_gives_the_same_face(endpoint, kind, options):
    (face,) = post(endpoint, encoded(PORTRAIT, kind, **options)).json["faces"]
    (expected,) = post(endpoint, PNG).json["faces"]
    assert face["box"] == pytest.approx(expected["box"], abs=4 if kind == "JPEG" else 0.05)


def test_grey_alpha_and_16_bit_images_are_parsed(endpoint):
    wide = np.asarray(PORTRAIT.convert("L")).astype(np.uint16) * 257
    for image in (PORTRAIT.convert("L"), PORTRAIT.convert("RGBA"), Image.fromarray(wide)):
        reply = post(endpoint, encoded(image))
        assert reply.status == 200
        assert len(reply.json["faces"]) == 1


def test_exif_orientation_is_applied(endpoint):
    (upright,) = post(endpoint, encoded(PORTRAIT, "JPEG", quality=95)).json["faces"]
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    rotated = PORTRAIT.transpose(Image.Transpose.ROTATE_90)
    response = post(endpoint, encoded(rotated, "JPEG", quality=95, exif=exif)).json
    assert response["image"] == {"width": PORTRAIT.width, "height": PORTRAIT.height}
    assert response["faces"][0]["box"] == pytest.approx(upright["box"], abs=4)


def test_form_json_and_raw_body_give_the_same_response(endpoint):
    raw = post(endpoint, PNG, Facemark_Max_Faces="1", Facemark_Mask="png").json
    body, kind = multipart(data=PNG, mask="png", max_faces="1")
    assert post(endpoint, body, Content_Type=kind).json == raw
    body = json.dumps({"image": base64.b64encode(PNG).decode(), "mask": "png", "max_faces": 1}).encode()
    for kind in ("application/json", "application/json; charset=utf-8"):
        assert post(endpoint, body, Content_Type=kind).json == raw


def test_both_mask_encodings_have_the_images_size_and_agree(endpoint):
    png = post(endpoint, PNG, Facemark_Mask="png").json["mask"]
    assert png["classes"] == list(CLASSES)
    ids = cv2.imdecode(np.frombuffer(base64.b64decode(png["data"]), np.uint8), cv2.IMREAD_UNCHANGED)
    assert ids.shape == (PORTRAIT.height, PORTRAIT.width)
    assert ids.dtype == np.uint8
    rle = post(endpoint, PNG, Facemark_Mask="rle").json["mask"]
    for name, counts in rle["data"].items():
        flat = np.repeat(np.arange(len(counts)) % 2, counts).astype(bool)
        assert (flat.reshape(ids.shape, order="F") == (ids == CLASSES.index(name))).all()


def test_min_score_and_max_faces_select_faces(endpoint):
    assert post(endpoint, PNG, Facemark_Min_Score="1").json["faces"] == []
    two = Image.new("RGB", (2 * PORTRAIT.width, PORTRAIT.height))
    two.paste(PORTRAIT, (0, 0))
    two.paste(PORTRAIT, (PORTRAIT.width, 0))
    assert len(post(endpoint, encoded(two)).json["faces"]) == 2
    assert len(post(endpoint, encoded(two), Facemark_Max_Faces="1").json["faces"]) == 1


@pytest.mark.parametrize("kind", ["image/png", "image/jpeg"])
def test_a_drawing_has_the_accepted_type_and_the_images_size(endpoint, kind):
    reply = post(endpoint, PNG, Accept=kind)
    assert (reply.status, reply.kind) == (200, kind)
    drawn = Image.open(io.BytesIO(reply.body))
    assert drawn.size == PORTRAIT.size
    assert np.abs(np.asarray(drawn.convert("RGB")).astype(int) - np.asarray(PORTRAIT)).mean() > 2


def test_an_image_without_a_face_is_no_error(endpoint):
    reply = post(endpoint, encoded(Image.new("RGB", (200, 100), "grey")))
    assert reply.status == 200
    assert reply.json["faces"] == []


def bomb(width: int = 60_000, height: int = 60_000) -> bytes:
    """A PNG of some bytes whose header claims this size."""
    head = bytearray(encoded(Image.new("L", (1, 1))))
    head[16:24] = width.to_bytes(4) + height.to_bytes(4)
    head[29:33] = zlib.crc32(head[12:29]).to_bytes(4)
    return bytes(head)


JSON = "application/json"
BAD = {
    "no image": (b"", {}, 400),
    "truncated": (PNG[: len(PNG) // 2], {}, 400),
    "noise": (b"not a picture at all" * 20, {}, 415),
    "gif": (encoded(PORTRAIT, "GIF"), {}, 415),
    "bomb": (bomb(), {}, 413),
    "too many bytes": (PNG + bytes(images.MAX_BYTES), {}, 413),
    "bad value": (PNG, {"Facemark_Mask": "jpeg"}, 400),
    "bad number": (PNG, {"Facemark_Max_Faces": "many"}, 400),
    "none at all": (PNG, {"Facemark_Max_Faces": "0"}, 400),
    "bad score": (PNG, {"Facemark_Min_Score": "1.5"}, 400),
    "unknown option": (PNG, {"Facemark_Scheme": "wflw"}, 400),
    "broken json": (b'{"image": ', {"Content_Type": JSON}, 400),
    "json list": (b"[1, 2]", {"Content_Type": JSON}, 400),
    "json without image": (b'{"mask": "png"}', {"Content_Type": JSON}, 400),
    "json not base64": (b'{"image": "?!"}', {"Content_Type": JSON}, 400),
    "json unknown option": (
        json.dumps({"image": base64.b64encode(PNG).decode(), "masks": "png"}).encode(),
        {"Content_Type": JSON},
        400,
    ),
    "deep json": (b"[" * 100_000, {"Content_Type": JSON}, 400),
    "json unspeakable option": (
        b'{"image": "%s", "\\ud800": 1}' % base64.b64encode(PNG),
        {"Content_Type": JSON},
        400,
    ),
    "text": (b"a sentence", {"Content_Type": "text/plain"}, 415),
    "form without image": (*form(mask="png"), 400),
    "form bad value": (*form(data=PNG, mask="jpeg"), 400),
    "form unknown option": (*form(data=PNG, masks="png"), 400),
    "form with a header's name": (*form(data=PNG, accept="image/png"), 400),
    "form with two images": (*form(data=PNG, body=PNG), 400),
    "form unknown header": (*form(data=PNG, Facemark_Scheme="wflw"), 400),
    "broken form": (b"--x\r\nnothing", {"Content_Type": "multipart/form-data; boundary=x"}, 400),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_gets_its_status_and_a_message(endpoint, case):
    body, headers, code = BAD[case]
    reply = post(endpoint, body, **headers)
    assert reply.status == code
    assert set(reply.json) == {"code", "type", "message"}
    assert reply.json["code"] == code
    assert len(reply.json["message"].split()) > 4


@pytest.mark.parametrize(
    "case", ["bad value", "unknown option", "json unknown option", "form bad value", "form unknown option"]
)
def test_the_message_about_a_wrong_option_lists_the_valid_ones(endpoint, case):
    body, headers, _ = BAD[case]
    message = post(endpoint, body, **headers).json["message"]
    expected = ("none", "png", "rle") if "bad value" in case else ("mask", "max_faces", "min_score")
    assert all(word in message for word in expected)


def workers(home: Path) -> set[int]:
    family = torchserve.running(home).children(recursive=True)
    return {process.pid for process in family if "model_service_worker.py" in " ".join(process.cmdline())}


def first_points(reply: Reply) -> np.ndarray:
    return np.array(reply.json["faces"][0]["landmarks"]["points"])


def test_bad_requests_do_not_affect_others_of_their_batch_or_the_worker(endpoint, server_home):
    before = workers(server_home)
    valid = [PNG, encoded(ImageOps.mirror(PORTRAIT))]
    jobs = [*((body, {}, 200) for body in valid), *BAD.values()] * 3
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda job: post(endpoint, job[0], **job[1]), jobs))
    assert [reply.status for reply in replies] == [code for _, _, code in jobs]
    alone = {body: first_points(post(endpoint, body)) for body in valid}
    for (body, _, code), reply in zip(jobs, replies, strict=True):
        if code == 200:
            assert np.abs(first_points(reply) - alone[body]).max() < 1
    assert workers(server_home) == before


@pytest.mark.parametrize("token", ["", "wrong"])
def test_a_request_without_the_token_is_refused(endpoint, token):
    assert post(endpoint, PNG, token=token).status in (400, 401, 403)


def management(endpoint) -> str:
    return endpoint.metrics.rsplit(":", 1)[0] + f":{port_of(endpoint) + 1}"


def port_of(endpoint) -> int:
    return int(endpoint.url.split(":")[2].split("/")[0])


def test_the_last_of_several_addresses_counts_and_0_0_0_0_is_reached_on_loopback(tmp_path):
    lines = "inference_address=http://127.0.0.1:9000\nmetrics_address=http://127.0.0.1:9002\n"
    (tmp_path / "config.properties").write_text(f"{lines}inference_address=http://0.0.0.0:8080\n")
    assert torchserve.address(tmp_path, "inference") == "http://127.0.0.1:8080"
    assert torchserve.address(tmp_path, "metrics") == "http://127.0.0.1:9002"


STRANGE_MODELS = {
    "from elsewhere": "url=https://example.com/evil.mar",
    "from this machine": "url=file:///etc/passwd",
    "out of the store": "url=../../evil.mar",
    "out of an allowed place": "url=file:///tmp/../etc/passwd",
    "a valid archive": "model_name=second&url=file://{home}/facemark.mar",
}


@pytest.mark.parametrize(
    ("method", "path"),
    [*(("POST", f"/models?{query}") for query in STRANGE_MODELS.values()), ("DELETE", "/models/facemark")],
    ids=[*STRANGE_MODELS, "removed"],
)
def test_models_cannot_be_added_or_removed_even_with_the_key(endpoint, server_home, method, path):
    path = path.format(home=urllib.parse.quote(str(server_home.parent)))
    key = torchserve.keys(server_home)["management"]["key"]
    for headers, code in (({"Authorization": f"Bearer {key}"}, 405), ({}, 400)):
        request = urllib.request.Request(management(endpoint) + path, method=method, headers=headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        assert refused.value.code == code
    assert post(endpoint, PNG).status == 200


def test_urls_in_requests_are_not_fetched(endpoint):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(2)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/photo.png"
        attempts = [
            (address.encode(), {}),
            (json.dumps({"image": address}).encode(), {"Content_Type": JSON}),
            (json.dumps({"url": address}).encode(), {"Content_Type": JSON}),
            form(data=address.encode()),
        ]
        assert all(400 <= post(endpoint, body, **headers).status < 500 for body, headers in attempts)
        with pytest.raises(TimeoutError):
            listener.accept()


def test_the_largest_response_has_room_for_a_drawing_of_the_largest_image():
    settings = dict(re.findall(r"^(\w+)=(.*)$", Path("serve/config.properties").read_text(), re.MULTILINE))
    limits = yaml.safe_load(Path("serve/model-config.yaml").read_text())["handler"]
    assert int(settings["max_response_size"]) > 1.01 * 3 * limits["max_pixels"]  # noise, which PNG cannot shrink


def listening(port: int) -> list:
    """The addresses on which a server accepts connections, with this port of predictions."""
    addresses = [c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return [address for address in addresses if port <= address.port < port + 5]


def test_everything_listens_on_loopback_only(endpoint):
    addresses = listening(port_of(endpoint))
    assert {address.port for address in addresses} >= {port_of(endpoint) + i for i in range(3)}
    assert {address.ip.removeprefix("::ffff:") for address in addresses} <= {"127.0.0.1", "::1"}


@pytest.mark.slow
def test_an_address_in_the_settings_opens_only_that_port(untrained, tmp_path):
    port = free_port()
    settings = shutil.copytree("serve", tmp_path / "serve")
    with (settings / "config.properties").open("a") as file:
        file.write(f"inference_address=http://0.0.0.0:{port}\n")
    pack_archive(IDENTITY, ModelBundle.open(untrained), tmp_path / "facemark.mar")
    try:
        endpoint = torchserve.start(tmp_path / "facemark.mar", port, tmp_path / "server", settings)
        public = {a.port for a in listening(port) if a.ip.removeprefix("::ffff:") in ("0.0.0.0", "::")}
        assert public == {port}
        assert post(endpoint, PNG, token="").status in (400, 401, 403)
        assert post(endpoint, PNG).status == 200
    finally:
        torchserve.stop(tmp_path / "server")


def test_torchserve_has_the_fixes_that_our_advisories_name():
    assert tuple(map(int, version("torchserve").split("."))) >= (0, 11, 0)
    package = Path(ts.__file__).parent
    with zipfile.ZipFile(package / "frontend" / "model-server.jar") as jar:  # new in SnakeYAML 2
        assert "org/yaml/snakeyaml/inspector/UnTrustedTagInspector.class" in jar.namelist()
    assert not list(package.rglob("upload_results_to_s3.sh"))


def eventually(condition) -> None:
    """Wait until a condition holds. Metrics and log lines of the worker arrive later than its responses."""
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def samples(endpoint) -> list[tuple[str, dict, float]]:
    """Name, labels and value of each line of the metrics."""
    lines = re.findall(r"^(\w+)\{(.*)\} (\S+)$", send(endpoint.metrics).body.decode(), re.MULTILINE)
    return [(name, dict(re.findall(r'(\w+)="(.*?)"', labels)), float(value)) for name, labels, value in lines]


def total(metrics: list[tuple[str, dict, float]], name: str, **labels: str) -> float:
    """The sum of one of our metrics over all samples with these labels."""
    return sum(value for key, its, value in metrics if key == f"facemark_{name}" and labels.items() <= its.items())


def test_metrics_add_up_to_the_requests_sent(endpoint):
    before = samples(endpoint)
    two = Image.new("RGB", (2 * PORTRAIT.width, PORTRAIT.height))
    two.paste(PORTRAIT, (0, 0))
    two.paste(PORTRAIT, (PORTRAIT.width, 0))
    replies = [post(endpoint, body) for body in (PNG, encoded(two), BAD["noise"][0], BAD["bomb"][0])]
    replies.append(post(endpoint, PNG, Facemark_Mask="jpeg"))

    def handled(metrics: list[tuple[str, dict, float]]) -> float:
        return total(metrics, "stage_seconds_count", stage="answer")  # the last metric of a batch

    eventually(lambda: handled(samples(endpoint)) == handled(before) + len(replies))
    after = samples(endpoint)

    def increase(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    assert increase("requests_total", outcome="ok") == 2
    for outcome in ("UnsupportedFormat", "ImageTooLarge", "BadOption"):
        assert increase("requests_total", outcome=outcome) == 1
    assert (increase("faces_per_picture_count"), increase("faces_per_picture_sum")) == (2, 3)
    scores = [score for reply in replies[:2] for face in reply.json["faces"] for score in face["landmarks"]["scores"]]
    assert increase("points_total", confidence="low") == sum(score < 0.5 for score in scores)
    assert increase("points_total") == len(scores) == 3 * 68
    assert (increase("batch_size_count"), increase("batch_size_sum")) == (5, 5)
    for stage in ("decode", "parse", "answer"):
        assert increase("stage_seconds_count", stage=stage) == 5
        assert increase("stage_seconds_sum", stage=stage) > 0


def test_every_metric_of_the_dashboard_exists(endpoint):
    post(endpoint, PNG)
    eventually(lambda: total(samples(endpoint), "requests_total"))
    text = send(endpoint.metrics).body.decode()
    existing = set(re.findall(r"^(?:# TYPE )?(\w+)", text, re.MULTILINE))
    panels = json.loads(Path("serve/grafana.json").read_text())["panels"]
    for panel in panels:
        assert panel["targets"]
        for target in panel["targets"]:
            bare = re.sub(r"\{.*?\}|\[.*?\]|\b(by|without)\s*\(.*?\)", "", target["expr"])
            used = set(re.findall(r"\b[a-zA-Z_]\w*\b(?!\s*\()", bare))
            assert used
            assert used <= existing, panel["title"]


def test_each_request_is_logged_in_one_line_without_its_image(endpoint, server_home):
    log = server_home / "logs" / "requests.log"
    raw = post(endpoint, PNG)
    body, headers = form(data=PNG)
    replies = [
        raw,
        post(endpoint, json.dumps({"image": base64.b64encode(PNG).decode()}).encode(), Content_Type=JSON),
        post(endpoint, body, **headers),
        post(endpoint, *BAD["noise"][:1]),
    ]
    ids = [reply.headers["x-request-id"] for reply in replies]
    eventually(lambda: all(log.read_text().count(each) == 1 for each in ids))
    lines = {line["request"]: line for line in map(json.loads, log.read_text().splitlines())}
    for each, reply in zip(ids, replies, strict=True):
        assert lines[each]["code"] == reply.status
        assert 0 <= lines[each]["milliseconds"] < 120_000
    assert lines[ids[0]]["milliseconds"] > 0
    facts = {"outcome": "ok", "bytes": len(PNG), "width": PORTRAIT.width, "height": PORTRAIT.height, "faces": 1}
    assert facts.items() <= lines[ids[0]].items()
    facts = {"outcome": "UnsupportedFormat", "bytes": len(BAD["noise"][0]), "width": None, "faces": None}
    assert facts.items() <= lines[ids[-1]].items()
    assert (
        post(endpoint, PNG, Content_Type="application/x-www-form-urlencoded").status == 500
    )  # TorchServe's own error, which quotes the body
    text = b"".join(file.read_bytes() for file in (server_home / "server.log", *(server_home / "logs").iterdir()))
    assert PNG[200:216] not in text
    assert b"Invalid hex" not in text
    assert base64.b64encode(PNG)[300:324] not in text
    assert BAD["noise"][0][:20] not in text


def test_health_is_reported_only_with_the_token(endpoint):
    base = endpoint.url.removesuffix("/predictions/facemark")
    assert send(f"{base}/ping", endpoint.token).json == {"status": "Healthy"}
    assert send(f"{base}/ping").status in (400, 401, 403)


@pytest.mark.slow
def test_without_a_pipeline_the_released_weights_are_served_and_the_printed_curl_line_works(
    released, tmp_path, monkeypatch
):
    for folder in (Path("serve"), released):
        (tmp_path / folder.name).symlink_to(folder.absolute())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/test/images").mkdir(parents=True)
    PORTRAIT.save(tmp_path / "data/test/images/a.jpg", quality=95)
    try:
        printed = CliRunner().invoke(app, ["serve", "--port", str(free_port())]).stdout
        response = subprocess.run(["bash", "-c", f"{printed.strip()} --silent"], capture_output=True, check=True).stdout
    finally:
        torchserve.stop()
    assert len(json.loads(response)["faces"]) == 1
    assert json.loads(response)["model"]["version"] == version("facemark")


def test_a_port_in_use_and_a_missing_archive_are_refused(endpoint, tmp_path):
    packed = tmp_path / "facemark.mar"
    packed.write_bytes(b"never opened")
    port = port_of(endpoint)
    with pytest.raises(RuntimeError, match=f"port {port} is in use"):
        torchserve.start(packed, port, tmp_path / "server")
    with pytest.raises(FileNotFoundError, match="there is no archive nowhere"):
        torchserve.start(Path("nowhere.mar"), port, tmp_path / "server")
