"""A page on loopback for people: drop a photograph or take one, and see what is found in it.

What is shown, and what can be downloaded, comes from the endpoint's answer alone: from the endpoint that runs here, or
from the same model inside this process.
"""

import base64
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

import cv2
import numpy as np
from contourpy import contour_generator
from PIL import Image

from facemark import errors, images, labels
from facemark.geometry import apply, invert, scaled_size, scaling
from facemark.inference.parser import FaceParser
from facemark.inference.types import Face as ParsedFace
from facemark.inference.types import Parse
from facemark.io import drawing, response
from facemark.labels import CLASSES, COLORS, Region
from facemark.serving import torchserve
from facemark.serving.client import Answer, Client, EndpointError, Face

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read at import; Gradio would report to its makers
import gradio as gr

Ask = Callable[[bytes], Answer]
"""Bytes of a photograph in, the endpoint's answer with its mask out."""

LONGEST = 1280
"""Longer side in pixels of the picture as the page shows it; coordinates stay the photograph's own."""
QUALITY = 90
"""Of the JPEG that the page shows."""

REGIONS = {
    Region.EYE_G: "glasses",
    Region.MOUTH: "inside of the mouth",
    Region.U_LIP: "upper lip",
    Region.L_LIP: "lower lip",
    Region.EAR_R: "earring",
    Region.NECK_L: "necklace",
    Region.CLOTH: "clothes",
} | {
    region: f"{side} {part}"
    for pair, part in zip(labels.PAIRS, ("eye", "brow", "ear"), strict=True)
    for region, side in zip(pair, ("left", "right"), strict=True)
}
"""What people call the classes that are not named as they call them."""
POINTS = (
    *(f"jaw, {where}" for where in (*["right side"] * 8, "chin", *["left side"] * 8)),
    *(f"right brow, {where}" for where in ("outer end", *["middle"] * 3, "inner end")),
    *(f"left brow, {where}" for where in ("inner end", *["middle"] * 3, "outer end")),
    *(f"nose, {where}" for where in ("top of the bridge", "bridge", "bridge", "tip")),
    *(f"base of the nose, {where}" for where in ("right end", "right", "middle", "left", "left end")),
    *(f"right eye, {where}" for where in ("outer corner", *["upper lid"] * 2, "inner corner", *["lower lid"] * 2)),
    *(f"left eye, {where}" for where in ("inner corner", *["upper lid"] * 2, "outer corner", *["lower lid"] * 2)),
    *("right corner of the mouth", *["upper lip, upper edge"] * 5, "left corner of the mouth"),
    *["lower lip, lower edge"] * 5,
    *("right inner corner of the mouth", *["upper lip, lower edge"] * 3, "left inner corner of the mouth"),
    *["lower lip, upper edge"] * 3,
)
"""What people call the 68 points."""

INTRODUCTION = """# Facemark
Drop a photograph or take one with the camera: you see the regions of each face, its 68 landmarks, and how sure each
one is. The photograph stays on this machine."""
NO_FACE = """No face was found. Faces smaller than about 20 pixels, turned further than about 45° or covered by more
than half are often missed."""
HINT = "Point at the picture, tap it, or step through the points with the arrow keys, to read what is there."
DOWNLOADS = "Download the answer (JSON)", "Download the drawn picture (PNG)"


def css(color: np.ndarray) -> str:
    """An RGB colour as style sheets write it."""
    return f"rgb{tuple(color.tolist())}"


LAYERS = "".join(
    f'<label><input type="checkbox" id="show-{name}" checked>{text}</label>'
    for name, text in (("mask", "Mask"), ("landmarks", "Landmarks"), ("confidence", "Confidence"))
)
LEGEND = """<p class="confidence"><span class="name"><span class="disc seen"></span>seen</span>
<span class="name"><span class="disc guessed"></span>guessed</span>
The larger and darker the disc behind a point, the less sure is the point.</p>
<p>Left and right are those of the person in the picture.</p>"""

CSS = f"""
footer {{display: none !important}}
.gradio-container:not(:has(.found .picture)) .layers {{display: none}}
.layers .html-container, .found .html-container {{padding: 0}}
.layers label {{display: inline-flex; align-items: center; gap: .4em; margin-right: 1.4em; padding: .4em 0}}
.layers input {{width: 1.2em; height: 1.2em}}
.gradio-container:has(#show-mask:not(:checked)) .mask,
.gradio-container:has(#show-landmarks:not(:checked)) .landmarks,
.gradio-container:has(#show-confidence:not(:checked)) .confidence {{display: none}}
.found .picture {{display: block; width: 100%; max-height: 80vh; touch-action: manipulation}}
.found .picture:focus-visible {{outline: 3px solid var(--color-accent)}}
.found p {{margin: .4em 0}}
.found .mask path {{fill-opacity: {drawing.OPACITY}; fill-rule: evenodd}}
.found .mask path:hover {{fill-opacity: .7}}
.found .landmarks polyline, .found .landmarks polygon, .found rect {{fill: none; stroke: #fff; pointer-events: none}}
.found .landmarks circle {{fill: #fff; stroke: #000}}
.found .confidence circle {{fill-opacity: .8; stroke: #fff}}
.found .current {{fill: #000; stroke: #fff}}
.found text {{fill: #fff; stroke: #000; paint-order: stroke; pointer-events: none}}
.found .says {{font-weight: 600}}
.found .says[role=alert] {{border-left: 4px solid #c62828; padding: .6em .8em}}
.found .name {{white-space: nowrap; margin-right: .9em}}
.swatch, .disc {{display: inline-block; width: .9em; height: .9em; margin-right: .35em; vertical-align: -.1em}}
.disc {{border-radius: 50%}}
.disc.seen {{background: {css(drawing.confidence_color(1))}; transform: scale(.7)}}
.disc.guessed {{background: {css(drawing.confidence_color(0))}; outline: 1px solid #fff; transform: scale(1.1)}}
"""
NAMING = """
const say = target => {
  const caption = element.querySelector(".caption");
  const title = target?.querySelector?.(":scope > title");
  if (caption) caption.textContent = title ? title.textContent : caption.dataset.hint;
};
element.addEventListener("pointerover", event => say(event.target));
element.addEventListener("click", event => say(event.target));
element.addEventListener("keydown", event => {
  const step = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
  const points = [...element.querySelectorAll(".landmarks circle")];
  if (!step || !points.length || !event.target.matches(".picture")) return;
  event.preventDefault();
  const before = points.findIndex(point => point.matches(".current"));
  const now = points[before < 0 && step < 0 ? points.length - 1 : (before + step + points.length) % points.length];
  points[before]?.classList.remove("current");
  now.classList.add("current");
  say(now);
});
"""


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
                found = gr.HTML(elem_classes="found", js_on_load=NAMING)
                with gr.Row():
                    as_json, as_png = (gr.DownloadButton(text, visible=False, size="sm") for text in DOWNLOADS)

        def look(upload: dict | None) -> tuple[str, gr.DownloadButton, gr.DownloadButton]:
            html, files = show(Path(upload["path"]), ask) if upload else ("", ())
            buttons = [gr.DownloadButton(value=file, visible=True) for file in files]
            return html, *(buttons or [gr.DownloadButton(value=None, visible=False)] * 2)

        # without Gradio's own decoding, which has no sentence for a broken file; it still refuses paths of other files
        photo.change(look, photo, [found, as_json, as_png], preprocess=False, api_visibility="private")
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
    except (errors.RequestError, EndpointError, OSError) as error:  # the client's are OSErrors too
        sentence = str(error)
        return f'<p class="says" role="alert">{escape(sentence[:1].upper() + sentence[1:])}.</p>', ()
    as_json, as_png = path.with_suffix(".json"), path.with_name(f"{path.stem}-landmarks.png")
    as_json.write_bytes(response.to_json(found.model_dump(exclude_none=True)))
    Image.fromarray(drawing.draw(image, parsed(found))).save(as_png)
    return picture(image, found), (as_json, as_png)


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
    return Parse(found.mask.ids(), faces)


def picture(image: np.ndarray, found: Answer) -> str:
    """HTML of an H × W × 3 RGB picture under its layers, with what it shows in words."""
    height, width = image.shape[:2]
    scale = min(1, LONGEST / max(height, width))
    size = scaled_size(image.shape, scale)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    mask = cv2.resize(found.mask.ids(), size, interpolation=cv2.INTER_NEAREST_EXACT)
    seen = [region for region in range(1, len(CLASSES)) if (mask == region).any()]
    several = len(found.faces) > 1
    svg = "".join(
        [
            f'<image x="-0.5" y="-0.5" width="{width}" height="{height}" preserveAspectRatio="none" '
            f'href="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"></image>',
            f'<g class="mask">{"".join(area(mask == region, scale, region) for region in seen)}</g>',
            *(layers(face, i if several else None, width) for i, face in enumerate(found.faces, 1)),
        ]
    )
    hint = f'<p class="caption" id="caption" aria-live="polite" data-hint="{HINT}">{HINT}</p>'
    swatches = "".join(
        f'<span class="name"><span class="swatch" style="background: {css(COLORS[region])}"></span>'
        f"{name(region)}</span> "
        for region in seen
    )
    return (
        f'<p class="says" role="status">{escape(summary(found))}</p>'
        f'<svg class="picture" viewBox="-0.5 -0.5 {width} {height}" tabindex="0" role="img" aria-describedby="caption" '
        f'aria-label="The photograph under its layers">{svg}</svg>'
        f'{hint if seen else ""}<p class="mask">{swatches}</p>{LEGEND if found.faces else ""}'
    )


def summary(found: Answer) -> str:
    """How many faces there are, and how sure, in a sentence."""
    if not found.faces:
        return NO_FACE
    count = "One face" if len(found.faces) == 1 else f"{len(found.faces)} faces"
    return f"{count}: {', '.join(f'{face.score:.0%}' for face in found.faces)} sure."


def name(region: int) -> str:
    """What people call a region."""
    return REGIONS.get(region, CLASSES[region])


def area(inside: np.ndarray, scale: float, region: int) -> str:
    """The SVG path of a region, H × W of booleans in a picture made smaller by ``scale``, in the picture's pixels."""
    back = invert(scaling(scale))
    lines = [apply(back, line - 1) for line in contour_generator(z=np.pad(inside, 1).astype(float)).lines(0.5)]
    path = "".join("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in line) + "Z" for line in lines)
    return f'<path d="{path}" fill="{css(COLORS[region])}"><title>{name(region)}</title></path>'


def layers(face: Face, number: int | None, width: int) -> str:
    """The SVG groups of a face's confidence and of its landmarks, in a picture so many pixels wide.

    The face is called by its number where it has one.
    """
    x0, y0, x1, y1 = face.box
    thin = max(width / 1000, float(np.hypot(x1 - x0, y1 - y0)) / 300)
    discs, dots = [], []
    for i, ((x, y), score) in enumerate(zip(face.landmarks.points, face.landmarks.scores, strict=True)):
        whose = f"face {number}, " if number else ""
        title = f"<title>{whose}point {i}: {POINTS[i]}, {score:.0%} sure</title>"
        place, edge = f'cx="{x}" cy="{y}"', f'stroke-width="{thin / 2:.2f}"'
        color, radius = css(drawing.confidence_color(score)), thin * (3 + 5 * (1 - score))
        discs.append(f'<circle {place} r="{radius:.2f}" fill="{color}" {edge}>{title}</circle>')
        dots.append(f'<circle {place} r="{1.6 * thin:.2f}" {edge}>{title}</circle>')
    points = np.array(face.landmarks.points)
    lines = [(which, "polygon" if closed else "polyline") for which, closed in drawing.POLYLINES]
    joined = "".join(
        f'<{kind} points="{" ".join(f"{x},{y}" for x, y in points[which])}" stroke-width="{thin:.2f}"></{kind}>'
        for which, kind in lines
    )
    letters = float(np.clip((x1 - x0) / 5, width / 60, width / 30))
    says = f"{number}: {face.score:.0%}" if number else f"{face.score:.0%} sure"
    return (
        f'<g class="confidence"><rect x="{x0}" y="{y0}" width="{x1 - x0:.2f}" height="{y1 - y0:.2f}" '
        f'stroke-width="{thin:.2f}"></rect>{"".join(discs)}<text x="{x0}" y="{max(y0 - 3 * thin, letters):.2f}" '
        f'font-size="{letters:.1f}" stroke-width="{letters / 6:.2f}">{says}</text></g>'
        f'<g class="landmarks">{joined}{"".join(dots)}</g>'
    )
