"""The demo page, in a real browser."""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request

import cv2
import httpx2
import numpy as np
import pytest
from conftest import free_port
from PIL import Image
from test_endpoint import PNG, PORTRAIT, encoded

from facemark import images
from facemark.data import synthetic
from facemark.demo import app, render
from facemark.inference.parser import FaceParser
from facemark.labels import CLASSES, FLIP_POINTS, Region
from facemark.serving.client import Client, EndpointError, Response

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def group() -> Image.Image:
    """A starter image of several faces, none of them small."""
    for seed in range(200):
        drawn = synthetic.draw(seed)
        across = drawn.points[:, 45, 0] - drawn.points[:, 36, 0]
        if len(across) > 1 and across.min() > 30:
            return Image.fromarray(drawn.image)
    raise AssertionError("no such picture among the first two hundred")


def video(image: Image.Image) -> bytes:
    """A video of one image as Y4M, which Chromium takes in place of a camera."""
    width, height = (side // 2 * 2 for side in image.size)
    frame = cv2.cvtColor(np.array(image)[:height, :width], cv2.COLOR_RGB2YUV_I420).tobytes()
    return f"YUV4MPEG2 W{width} H{height} F5:1 C420\n".encode() + b"FRAME\n" + frame


@pytest.fixture(scope="module")
def predict(released):
    return app.local_model(FaceParser(released))


@pytest.fixture(scope="module")
def url(predict):
    with app.serve_page(predict, free_port()) as url:
        yield url


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser whose camera sees a starter face."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program:
        pytest.skip(f"there is no browser; install Debian's chromium, or another of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    camera_video = tmp_path_factory.mktemp("camera") / "camera.y4m"
    camera_video.write_bytes(video(PORTRAIT))
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    camera += [f"--use-file-for-fake-video-capture={camera_video}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", *camera])
        yield browser
        browser.close()


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def page(browser, url, request):
    """The page in a window of a desktop's or a phone's size. It may request nothing from other machines."""
    page = browser.new_page(viewport=request.param)
    page.set_default_timeout(120_000)  # a busy machine may take long to parse an image
    requested, errors = [], []
    page.on("request", lambda request: requested.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(url, wait_until="networkidle")  # earlier, Gradio may build the page again
    yield page
    page.close()
    assert requested
    assert not [address for address in requested if not address.startswith((url, "data:", "blob:"))]
    assert not errors


def drop(page, name: str, data: bytes) -> str:
    """Drop a photograph onto the page; returns its message."""
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})
    page.locator(".message").wait_for()
    return page.locator(".message").inner_text()


def test_a_face_is_shown_with_layers_names_and_downloads(page, predict, tmp_path):
    (face,) = predict(PNG).faces
    assert drop(page, "me.png", PNG) == f"One face: {face.score:.0%} sure."
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    dots = page.locator(".landmarks circle")
    assert dots.count() == page.locator(".confidence circle").count() == 68
    for layer in ("Mask", "Landmarks", "Confidence"):
        drawn = page.locator(f".picture .{layer.lower()}")
        for shown in (True, False):
            assert drawn.is_visible() == shown
            page.get_by_label(layer, exact=True).click()
        assert drawn.is_visible()

    page.locator(".picture").scroll_into_view_if_needed()
    caption, box = page.locator(".caption"), page.locator(".picture").bounding_box()
    x, y = np.array(face.landmarks.points[30]) + 0.5
    page.get_by_label("Confidence").uncheck()
    scale = min(box["width"] / PORTRAIT.width, box["height"] / PORTRAIT.height)
    left = box["x"] + (box["width"] - scale * PORTRAIT.width) / 2
    page.mouse.move(left + scale * x, box["y"] + scale * y)
    assert caption.inner_text() == f"point 30: nose, tip, {face.landmarks.scores[30]:.0%} sure"
    page.get_by_label("Landmarks").uncheck()
    page.mouse.move(left + scale * x, box["y"] + scale * (y + 1))
    assert caption.inner_text() == "nose"

    for name, suffix in (("JSON", "me.json"), ("PNG", "me-landmarks.png")):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        assert download.value.suggested_filename == suffix
        download.value.save_as(tmp_path / suffix)
    assert Response.model_validate_json((tmp_path / "me.json").read_bytes()).faces == [face]
    assert Image.open(tmp_path / "me-landmarks.png").size == PORTRAIT.size


def test_the_faces_of_a_group_have_numbers(page, predict):
    image = encoded(group())
    faces = predict(image).faces
    assert len(faces) > 1
    assert drop(page, "us.png", image).startswith(f"{len(faces)} faces: ")
    labels = page.locator(".picture text").all_text_contents()
    assert labels == [f"{i}: {face.score:.0%}" for i, face in enumerate(faces, 1)]


def test_an_image_without_a_face_and_refused_files_give_a_message(page):
    empty = encoded(Image.new("RGB", (320, 240), "grey"))
    assert drop(page, "wall.png", empty).startswith("No face was found.")
    assert page.locator(".picture").is_visible()
    page.get_by_label("Remove Image").click()
    page.locator(".picture").wait_for(state="detached")

    assert "truncated or broken" in drop(page, "broken.png", PNG[:2000])
    assert not page.get_by_role("button", name="JSON").is_visible()
    assert not page.get_by_label("Mask").is_visible()
    page.get_by_label("Remove Image").click()
    page.locator(".message").wait_for(state="detached")

    huge = encoded(Image.new("1", (8000, 7000)))
    assert f"at most {images.MAX_PIXELS:,} are taken" in drop(page, "huge.png", huge)


@pytest.mark.parametrize("page", [DESKTOP], indirect=True)
def test_everything_works_with_the_keyboard_alone(page):
    def focused() -> str:
        return page.evaluate(
            "document.activeElement.ariaLabel || document.activeElement.id || document.activeElement.innerText"
        )

    def walk_to(name: str) -> None:
        for _ in range(20):
            page.keyboard.press("Tab")
            if name in focused():
                return
        raise AssertionError(f"the Tab key does not reach {name}")

    me = {"name": "me.png", "mimeType": "image/png", "buffer": PNG}
    page.on(
        "filechooser", lambda chooser: chooser.set_files(me)
    )  # set before any key is pressed, or the browser may miss it
    walk_to("upload")
    page.keyboard.press("Enter")
    page.locator(".picture").wait_for()
    walk_to("show-mask")
    page.keyboard.press("Space")
    assert not page.locator(".picture .mask").is_visible()
    walk_to("photograph")
    for key, point in (("ArrowRight", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("ArrowLeft", 67)):
        page.keyboard.press(key)
        assert page.locator(".caption").inner_text().startswith(f"point {point}: {render.POINTS[point]}, ")
    walk_to("JSON")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "me.json"


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_photographs_of_the_camera_are_not_mirrored(page, predict):
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Webcam").click()
    page.wait_for_function("document.querySelector('video').videoWidth > 2")
    page.get_by_label("capture photo").click()
    page.locator(".message").wait_for()
    assert page.locator(".message").inner_text().startswith("One face: ")
    nose = float(page.locator(".landmarks circle").nth(30).get_attribute("cx"))
    assert nose == pytest.approx(predict(PNG).faces[0].landmarks.points[30][0], abs=5)


def test_only_uploaded_files_are_read(url, tmp_path):
    """A hand-made request that names another file of this machine is refused."""
    (tmp_path / "private.png").write_bytes(PNG)
    with httpx2.Client(base_url=url + "gradio_api/", timeout=60) as http:

        def process(path: str, session: str) -> dict:
            photo = {"path": path, "meta": {"_type": "gradio.FileData"}}
            http.post("queue/join", json={"data": [photo], "fn_index": 0, "session_hash": session}).raise_for_status()
            with http.stream("GET", "queue/data", params={"session_hash": session}) as events:
                done = next(line for line in events.iter_lines() if "process_completed" in line)
            return json.loads(done.removeprefix("data: "))

        (uploaded,) = http.post("upload", files={"files": ("me.png", PNG)}).json()
        assert process(uploaded, "one")["success"] is True
        refused = process(str(tmp_path / "private.png"), "two")
    assert refused["success"] is False
    assert "svg" not in json.dumps(refused)


def test_the_endpoint_and_the_local_model_give_the_same_result(endpoint, predict, tmp_path):
    (tmp_path / "me.png").write_bytes(PNG)
    with Client(endpoint.token, endpoint.url) as client:
        html, (json_file, drawn) = app.process(tmp_path / "me.png", app.endpoint(client))
    (served,), (local,) = Response.model_validate_json(json_file.read_bytes()).faces, predict(PNG).faces
    assert np.array(served.landmarks.points) == pytest.approx(np.array(local.landmarks.points), abs=0.5)
    assert html.count("<circle") == 2 * 68
    assert Image.open(drawn).size == PORTRAIT.size


def refuse(error: Exception) -> app.Predict:
    def predict(_: bytes) -> Response:
        raise error

    return predict


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (EndpointError(503, "Busy", "the queue is <full>"), "The queue is &lt;full&gt;."),
        (TimeoutError("it did not respond in time"), "It did not respond in time."),
    ],
)
def test_an_error_of_the_endpoint_becomes_an_escaped_message(tmp_path, error, message):
    (tmp_path / "me.png").write_bytes(PNG)
    html, files = app.process(tmp_path / "me.png", refuse(error))
    assert message in html
    assert files == ()


def test_a_horizontal_flip_swaps_left_and_right_in_names_of_points_and_regions():
    sides = {"left": "right", "right": "left"}

    def flipped(name: str) -> str:
        return re.sub("left|right", lambda side: sides[side[0]], name)

    assert [render.POINTS[i] for i in FLIP_POINTS] == [flipped(name) for name in render.POINTS]
    names = [render.region_name(region) for region in range(len(CLASSES))]
    assert len(set(names)) == len(CLASSES)
    assert {flipped(name) for name in names} == set(names)


@pytest.mark.parametrize(("scale", "box"), [(1, (1.5, 0.5, 3.5, 1.5)), (0.5, (3.5, 1.5, 7.5, 3.5))])
def test_the_path_of_a_region_surrounds_its_pixels(scale, box):
    inside = np.zeros((4, 6), bool)
    inside[1, 2:4] = True
    path = re.search('d="([^"]*)"', render.region_path(inside, scale, Region.NOSE))[1]
    x, y = np.array(re.findall(r"(-?[\d.]+),(-?[\d.]+)", path), float).T
    assert (x.min(), y.min(), x.max(), y.max()) == box


@pytest.mark.slow
def test_the_command_opens_the_page(released, tmp_path):
    (tmp_path / "weights").symlink_to(released.absolute())
    command = [sys.executable, "-m", "facemark.cli", "demo", "--port", str(free_port())]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            printed = next(line for line in process.stderr if "open http" in line)
            assert "this process" in printed
            assert b"Facemark" in urllib.request.urlopen(printed.split()[1]).read()
        finally:
            process.terminate()


def test_a_port_in_use_is_refused(url, predict):
    port = int(url.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(OSError, match=f"port {port} is in use"), app.serve_page(predict, port):
        pass


def test_the_page_uses_the_endpoint_that_runs(endpoint, server_home, tmp_path):
    assert app.running_client(tmp_path) is None
    with app.running_client(server_home) as client:
        assert client.url == endpoint.url
        assert len(client.parse(PNG).faces) == 1
