"""The demo page: build it with Gradio, and serve it on loopback.

What it shows and offers for download comes from a response alone. That is the response of the endpoint that runs here,
or of the same model in this process.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from facemark import images
from facemark.demo.render import css_color, mask_ids, render
from facemark.errors import RequestError
from facemark.inference.parser import FaceParser
from facemark.inference.types import Face, Parse
from facemark.io import drawing, response
from facemark.serving import torchserve
from facemark.serving.client import Client, EndpointError, Response

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported; it would send usage data
import gradio as gr

Predict = Callable[[bytes], Response]
"""Takes the bytes of a photograph's file and returns the endpoint's response with a PNG mask.

Raises RequestError or EndpointError where the photograph is refused, OSError where the endpoint does not respond.
"""
INTRODUCTION = """# Facemark
Drop a photograph or take one with the camera: you see the regions of each face, its 68 landmarks, and how sure each
one is. The photograph stays on this machine."""
DOWNLOADS = "Download the response (JSON)", "Download the drawn picture (PNG)"
LAYERS = "".join(
    f'<label><input type="checkbox" id="show-{name}" checked>{text}</label>'
    for name, text in (("mask", "Mask"), ("landmarks", "Landmarks"), ("confidence", "Confidence"))
)
HERE = Path(__file__).parent
SCRIPT = (HERE / "page.js").read_text()
STYLE = (
    f":root {{--mask-opacity: {drawing.OPACITY}; --high-confidence: {css_color(drawing.confidence_color(1))}; "
    f"--low-confidence: {css_color(drawing.confidence_color(0))}}}\n" + (HERE / "page.css").read_text()
)
"""The style sheet, after the values that it shares with drawings."""


def local_model(parser: FaceParser) -> Predict:
    """Predict with a model in this process."""

    def predict(photo: bytes) -> Response:
        (parse,) = parser([images.decode(photo)])
        encoded = response.encode_response(parse, response.Options(mask="png"), response.default_identity())
        return Response.model_validate(encoded)

    return predict


def endpoint(client: Client) -> Predict:
    """Predict with an endpoint."""
    return lambda photo: client.parse(photo, mask="png")


def running_client(home: Path = torchserve.HOME) -> Client | None:
    """A client of the endpoint that was started in ``home``; None where none runs."""
    if torchserve.running(home) is None:
        return None
    url = f"{torchserve.address(home, 'inference')}/predictions/{torchserve.NAME}"
    return Client(torchserve.keys(home)["inference"]["key"], url)


@contextmanager
def serve_page(predict: Predict, port: int) -> Iterator[str]:
    """Serve the page on loopback while the block runs; gives its URL.

    Uploaded photographs and files for download are in a temporary folder, which is removed when the block ends.

    Raises:
        OSError: the port is in use.
    """
    if torchserve.in_use(port):
        raise OSError(f"port {port} is in use; choose another with: facemark demo --port {port + 100}")
    with tempfile.TemporaryDirectory(prefix="facemark-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        blocks = build_page(predict)
        try:
            yield blocks.launch(
                server_name="127.0.0.1",
                server_port=port,
                share=False,
                quiet=True,
                prevent_thread_lock=True,
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
                css=STYLE,
            )[1]
        finally:
            blocks.close(verbose=False)


def build_page(predict: Predict) -> gr.Blocks:
    """Lay out the page."""
    with gr.Blocks(title="Facemark", analytics_enabled=False) as blocks:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                photo = gr.Image(
                    label="Photograph",
                    sources=["upload", "webcam"],
                    placeholder="Drop a photograph here,\nor click to choose one",
                    buttons=[],
                    webcam_options=gr.WebcamOptions(mirror=False),  # a mirrored face would have left and right swapped
                    height=260,
                )
            with gr.Column(scale=2, min_width=300):
                gr.HTML(LAYERS, elem_classes="layers", js_on_load=None)
                result = gr.HTML(elem_classes="result", js_on_load=SCRIPT)
                with gr.Row():
                    downloads = [gr.DownloadButton(text, visible=False, size="sm") for text in DOWNLOADS]

        def update(upload: dict | None) -> tuple[str | gr.DownloadButton, ...]:
            html, files = process(Path(upload["path"]), predict) if upload else ("", ())
            buttons = [gr.DownloadButton(value=file, visible=True) for file in files]
            return html, *(buttons or [gr.DownloadButton(value=None, visible=False)] * len(DOWNLOADS))

        # without preprocessing: that has no message for a broken file. Paths of other files are refused all the same.
        photo.change(update, photo, [result, *downloads], preprocess=False, api_visibility="private")
    return blocks


def process(path: Path, predict: Predict) -> tuple[str, tuple[Path, ...]]:
    """Predict for a photograph, and write the files for download next to it.

    Returns:
        HTML of the result, the JSON file, and the drawn PNG; or HTML of an error message, and no files.
    """
    try:
        data = path.read_bytes()
        image = images.decode(data)
        result = predict(data)
    except (RequestError, EndpointError, OSError) as error:
        sentence = str(error)
        return f'<p class="message" role="alert">{escape(sentence[:1].upper() + sentence[1:])}.</p>', ()
    json_file, png_file = path.with_suffix(".json"), path.with_name(f"{path.stem}-landmarks.png")
    json_file.write_bytes(response.to_json(result.model_dump(exclude_none=True)))
    Image.fromarray(drawing.draw(image, to_parse(result))).save(png_file)
    return render(image, result), (json_file, png_file)


def to_parse(result: Response) -> Parse:
    """A response as a parse, without the regions of each face.

    Raises:
        ValueError: it has no mask.
    """
    faces = [
        Face(
            np.array(face.box),
            face.score,
            np.array(face.landmarks.points),
            np.array(face.landmarks.scores),
            np.array(face.pupils),
            np.array(face.mouth_center),
            {},
        )
        for face in result.faces
    ]
    return Parse(mask_ids(result), faces)
