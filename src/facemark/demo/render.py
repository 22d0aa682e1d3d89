"""A response as HTML: the photograph under its layers in an SVG, with a summary and a legend.

Coordinates of the SVG are those of the response: pixels of the photograph, (0, 0) the centre of the top-left one.
"""

import base64
from html import escape

import cv2
import numpy as np
from contourpy import contour_generator

from facemark import labels
from facemark.geometry import apply, invert, scaled_size, scaling
from facemark.io import drawing
from facemark.labels import CLASSES, COLORS, Region
from facemark.serving.client import Face, Response

MAX_SHOWN_SIDE = 1280
"""The longer side in pixels of the photograph and the mask on the page; larger ones are reduced."""
JPEG_QUALITY = 90
"""Of the photograph on the page."""
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
"""Names for people, of classes whose own names are not plain."""
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
"""Names for people of the 68 points."""
NO_FACE = """No face was found. Faces smaller than about 20 pixels, turned further than about 45° or covered by more
than half are often missed."""
HINT = "Point at the picture, tap it, or step through the points with the arrow keys, to read what is there."
LEGEND = """<p class="confidence"><span class="name"><span class="disc high"></span>seen</span>
<span class="name"><span class="disc low"></span>guessed</span>
The larger and darker the disc behind a point, the less sure is the point.</p>
<p>Left and right are those of the person in the picture.</p>"""


def css_color(color: np.ndarray) -> str:
    """An RGB colour, 0–255, in CSS."""
    return f"rgb{tuple(color.tolist())}"


def render(image: np.ndarray, result: Response) -> str:
    """Render a response.

    Args:
        image: H × W × 3 RGB uint8.
        result: the response for it, with a mask.

    Returns:
        HTML: a summary, an SVG of the image under its layers, the names of the regions, and a legend.

    Raises:
        ValueError: the response has no mask.
    """
    height, width = image.shape[:2]
    scale = min(1, MAX_SHOWN_SIDE / max(height, width))
    size = scaled_size(image.shape, scale)
    mask = cv2.resize(mask_ids(result), size, interpolation=cv2.INTER_NEAREST_EXACT)
    regions = [region for region in range(1, len(CLASSES)) if (mask == region).any()]
    numbers = range(1, len(result.faces) + 1) if len(result.faces) > 1 else [None] * len(result.faces)
    layers = [
        photo_layer(image, size),
        f'<g class="mask">{"".join(region_path(mask == region, scale, region) for region in regions)}</g>',
        *(face_layers(face, number, width) for face, number in zip(result.faces, numbers, strict=True)),
    ]
    hint = f'<p class="caption" id="caption" aria-live="polite" data-hint="{HINT}">{HINT}</p>'
    names = "".join(
        f'<span class="name"><span class="swatch" style="background: {css_color(COLORS[region])}"></span>'
        f"{region_name(region)}</span> "
        for region in regions
    )
    return (
        f'<p class="message" role="status">{escape(summary(result))}</p>'
        f'<svg class="picture" viewBox="-0.5 -0.5 {width} {height}" tabindex="0" role="img" aria-describedby="caption" '
        f'aria-label="The photograph under its layers">{"".join(layers)}</svg>'
        f'{hint if regions else ""}<p class="mask">{names}</p>{LEGEND if result.faces else ""}'
    )


def photo_layer(image: np.ndarray, size: tuple[int, int]) -> str:
    """The SVG image of an H × W × 3 RGB photograph, reduced to ``size`` (width, height)."""
    height, width = image.shape[:2]
    small = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    return (
        f'<image x="-0.5" y="-0.5" width="{width}" height="{height}" preserveAspectRatio="none" '
        f'href="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"></image>'
    )


def mask_ids(result: Response) -> np.ndarray:
    """The mask of a response, H × W class ids.

    Raises:
        ValueError: it has none.
    """
    if result.mask is None:
        raise ValueError("the response has no mask; request it with mask=png")
    return result.mask.ids()


def summary(result: Response) -> str:
    """A sentence with the number of faces and the score of each."""
    if not result.faces:
        return NO_FACE
    count = "One face" if len(result.faces) == 1 else f"{len(result.faces)} faces"
    return f"{count}: {', '.join(f'{face.score:.0%}' for face in result.faces)} sure."


def region_name(region: int) -> str:
    """The name for people of a class id."""
    return REGIONS.get(region, CLASSES[region])


def region_path(inside: np.ndarray, scale: float, region: int) -> str:
    """The SVG path of a region, in pixels of the photograph.

    Args:
        inside: H × W booleans, in pixels of the photograph scaled by ``scale``.
        scale: see ``inside``.
        region: its class id.
    """
    back = invert(scaling(scale))
    contours: list[np.ndarray] = contour_generator(z=np.pad(inside, 1).astype(float)).lines(0.5)  # type: ignore[assignment]
    lines = [apply(back, line - 1) for line in contours]
    path = "".join("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in line) + "Z" for line in lines)
    return f'<path d="{path}" fill="{css_color(COLORS[region])}"><title>{region_name(region)}</title></path>'


def face_layers(face: Face, number: int | None, width: int) -> str:
    """The SVG groups of a face: box, score and confidence of its points in one, its landmarks in the other.

    Args:
        face: in pixels of the photograph.
        number: of the face, written next to its score; None for the only face.
        width: of the photograph, in pixels.
    """
    x0, y0, x1, y1 = face.box
    line_width = max(width / 1000, float(np.hypot(x1 - x0, y1 - y0)) / 300)
    discs, dots = [], []
    for i, ((x, y), score) in enumerate(zip(face.landmarks.points, face.landmarks.scores, strict=True)):
        whose = f"face {number}, " if number else ""
        title = f"<title>{whose}point {i}: {POINTS[i]}, {score:.0%} sure</title>"
        center, edge = f'cx="{x}" cy="{y}"', f'stroke-width="{line_width / 2:.2f}"'
        color, radius = css_color(drawing.confidence_color(score)), line_width * (3 + 5 * (1 - score))
        discs.append(f'<circle {center} r="{radius:.2f}" fill="{color}" {edge}>{title}</circle>')
        dots.append(f'<circle {center} r="{1.6 * line_width:.2f}" {edge}>{title}</circle>')
    font_size = float(np.clip((x1 - x0) / 5, width / 60, width / 30))
    label = f"{number}: {face.score:.0%}" if number else f"{face.score:.0%} sure"
    return (
        f'<g class="confidence"><rect x="{x0}" y="{y0}" width="{x1 - x0:.2f}" height="{y1 - y0:.2f}" '
        f'stroke-width="{line_width:.2f}"></rect>{"".join(discs)}'
        f'<text x="{x0}" y="{max(y0 - 3 * line_width, font_size):.2f}" '
        f'font-size="{font_size:.1f}" stroke-width="{font_size / 6:.2f}">{label}</text></g>'
        f'<g class="landmarks">{face_lines(face, line_width)}{"".join(dots)}</g>'
    )


def face_lines(face: Face, line_width: float) -> str:
    """The SVG lines that join the landmarks of a face."""
    points = np.array(face.landmarks.points)
    lines = [(which, "polygon" if closed else "polyline") for which, closed in drawing.POLYLINES]
    return "".join(
        f'<{kind} points="{" ".join(f"{x},{y}" for x, y in points[which])}" stroke-width="{line_width:.2f}"></{kind}>'
        for which, kind in lines
    )
