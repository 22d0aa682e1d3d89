"""A page on loopback for people: drop a photograph or take one, and see what is found in it.

What is shown, and what can be downloaded, comes from the endpoint's answer alone: from the endpoint that runs here, or
from the same model inside this process.
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
from facemark.inference.types import Face as ParsedFace
from facemark.inference.types import Parse
from facemark.io import drawing, response
from facemark.serving import torchserve
from facemark.serving.client import Answer, Client, EndpointError

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read at import; Gradio would report to its makers
import gradio as gr

Ask = Callable[[bytes], Answer]
"""Bytes of a photograph in, the endpoint's answer with its mask out."""
INTRODUCTION = """# Facemark
Drop a photograph or take one with the camera: you see the regions of each face, its 68 landmarks, and how sure each
one is. The photograph stays on this machine."""
DOWNLOADS = "Download the answer (JSON)", "Download the drawn picture (PNG)"
LAYERS = "".join(
    f'<label><input type="checkbox" id="show-{name}" checked>{text}</label>'
    for name, text in (("mask", "Mask"), ("landmarks", "Landmarks"), ("confidence", "Confidence"))
)
HERE = Path(__file__).parent
CSS = (
    f":root {{--mask-opacity: {drawing.OPACITY}; --seen: {css_color(drawing.confidence_color(1))}; "
    f"--guessed: {css_color(drawing.confidence_color(0))}}}\n" + (HERE / "page.css").read_text()
)


def by_parser(parser: FaceParser) -> Ask:
    """Ask the model inside this process."""

    def ask(photo: bytes) -> Answer:
        parse = parser([images.decode(photo)])[0]
        return Answer.model_validate(
            response.encode_response(parse, response.Options(mask="png"), response.default_identity())
        )

    return ask


def by_client(client: Client) -> Ask:
    """Ask an endpoint."""
    return lambda photo: client.parse(photo, mask="png")


def running_client(home: Path = torchserve.HOME) -> Client | None:
    """A client of the endpoint that was started in ``home``; None where none runs."""
    if torchserve.running(home) is None:
        return None
    url = f"{torchserve.address(home, 'inference')}/predictions/{torchserve.NAME}"
    return Client(torchserve.keys(home)["inference"]["key"], url)


def page(ask: Ask) -> gr.Blocks:
    """The page; what it is asked is answered by ``ask``."""
    with gr.Blocks(title="Facemark", analytics_enabled=False) as blocks:
        gr.Markdown(INTRODUCTION)
        with gr.Row():
            with gr.Column(scale=1, min_width=300):
                photo = gr.Image(
                    label="Photograph",
                    sources=["upload", "webcam"],
                    placeholder="Drop a photograph here,\nor click to choose one",
                    buttons=[],
                    webcam_options=gr.WebcamOptions(mirror=False),  # left and right would trade places
                    height=260,
                )
            with gr.Column(scale=2, min_width=300):
                gr.HTML(LAYERS, elem_classes="layers", js_on_load=None)
                found = gr.HTML(elem_classes="found", js_on_load=(HERE / "page.js").read_text())
                with gr.Row():
                    as_json, as_png = (gr.DownloadButton(text, visible=False, size="sm") for text in DOWNLOADS)

        def update(upload: dict | None) -> tuple[str | gr.DownloadButton, ...]:
            html, files = show(Path(upload["path"]), ask) if upload else ("", ())
            buttons = [gr.DownloadButton(value=file, visible=True) for file in files]
            return html, *(buttons or [gr.DownloadButton(value=None, visible=False)] * 2)

        # without Gradio's own decoding, which has no sentence for a broken file; it still refuses paths of other files
        photo.change(update, photo, [found, as_json, as_png], preprocess=False, api_visibility="private")
    return blocks


@contextmanager
def served(ask: Ask, port: int) -> Iterator[str]:
    """Serve the page on loopback as long as the block runs; answers its address.

    Uploaded photographs and what is made of them lie in a folder that goes when the block ends.

    Raises:
        OSError: the port is in use.
    """
    if torchserve.in_use(port):
        raise OSError(f"port {port} is in use; choose another with: facemark demo --port {port + 100}")
    with tempfile.TemporaryDirectory(prefix="facemark-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        blocks = page(ask)
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
                css=CSS,
            )[1]
        finally:
            blocks.close(verbose=False)


def show(path: Path, ask: Ask) -> tuple[str, tuple[Path, ...]]:
    """HTML of what is found in a photograph, and two files to download; what went wrong as HTML, and no files."""
    try:
        data = path.read_bytes()
        image = images.decode(data)
        found = ask(data)
    except (RequestError, EndpointError, OSError) as error:  # the client's are OSErrors too
        sentence = str(error)
        return f'<p class="says" role="alert">{escape(sentence[:1].upper() + sentence[1:])}.</p>', ()
    as_json, as_png = path.with_suffix(".json"), path.with_name(f"{path.stem}-landmarks.png")
    as_json.write_bytes(response.to_json(found.model_dump(exclude_none=True)))
    Image.fromarray(drawing.draw(image, parsed(found))).save(as_png)
    return render(image, found), (as_json, as_png)


def parsed(found: Answer) -> Parse:
    """An answer as what the parser found, without the regions of each face."""
    faces = [
        ParsedFace(
            np.array(face.box),
            face.score,
            np.array(face.landmarks.points),
            np.array(face.landmarks.scores),
            np.array(face.pupils),
            np.array(face.mouth_center),
            {},
        )
        for face in found.faces
    ]
    return Parse(mask_ids(found), faces)
