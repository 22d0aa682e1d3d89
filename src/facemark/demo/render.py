"""The endpoint's answer as HTML: the photograph under its layers, drawn as SVG, and what it shows in words."""

import base64
from html import escape

import cv2
import numpy as np
from contourpy import contour_generator

from facemark import labels
from facemark.geometry import apply, invert, scaled_size, scaling
from facemark.io import drawing
from facemark.labels import CLASSES, COLORS, Region
from facemark.serving.client import Answer, Face

MAX_SHOWN_SIDE = 1280
"""Longer side in pixels of the picture as the page shows it; coordinates stay the photograph's own."""
JPEG_QUALITY = 90
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
NO_FACE = """No face was found. Faces smaller than about 20 pixels, turned further than about 45° or covered by more
than half are often missed."""
HINT = "Point at the picture, tap it, or step through the points with the arrow keys, to read what is there."


def css_color(color: np.ndarray) -> str:
    """An RGB colour as style sheets write it."""
    return f"rgb{tuple(color.tolist())}"


LEGEND = """<p class="confidence"><span class="name"><span class="disc seen"></span>seen</span>
<span class="name"><span class="disc guessed"></span>guessed</span>
The larger and darker the disc behind a point, the less sure is the point.</p>
<p>Left and right are those of the person in the picture.</p>"""


def render(image: np.ndarray, found: Answer) -> str:
    """HTML of an H × W × 3 RGB picture under its layers, with what it shows in words."""
    height, width = image.shape[:2]
    scale = min(1, MAX_SHOWN_SIDE / max(height, width))
    size = scaled_size(image.shape, scale)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    mask = cv2.resize(mask_ids(found), size, interpolation=cv2.INTER_NEAREST_EXACT)
    seen = [region for region in range(1, len(CLASSES)) if (mask == region).any()]
    several = len(found.faces) > 1
    svg = "".join(
        [
            f'<image x="-0.5" y="-0.5" width="{width}" height="{height}" preserveAspectRatio="none" '
            f'href="data:image/jpeg;base64,{base64.b64encode(jpeg.tobytes()).decode()}"></image>',
            f'<g class="mask">{"".join(region_path(mask == region, scale, region) for region in seen)}</g>',
            *(face_layers(face, i if several else None, width) for i, face in enumerate(found.faces, 1)),
        ]
    )
    hint = f'<p class="caption" id="caption" aria-live="polite" data-hint="{HINT}">{HINT}</p>'
    swatches = "".join(
        f'<span class="name"><span class="swatch" style="background: {css_color(COLORS[region])}"></span>'
        f"{region_name(region)}</span> "
        for region in seen
    )
    return (
        f'<p class="says" role="status">{escape(summary(found))}</p>'
        f'<svg class="picture" viewBox="-0.5 -0.5 {width} {height}" tabindex="0" role="img" aria-describedby="caption" '
        f'aria-label="The photograph under its layers">{svg}</svg>'
        f'{hint if seen else ""}<p class="mask">{swatches}</p>{LEGEND if found.faces else ""}'
    )


def mask_ids(found: Answer) -> np.ndarray:
    """The mask of an answer, H × W class ids.

    Raises:
        ValueError: it was not asked for.
    """
    if found.mask is None:
        raise ValueError("the answer has no mask; ask for it with mask=png")
    return found.mask.ids()


def summary(found: Answer) -> str:
    """How many faces there are, and how sure, in a sentence."""
    if not found.faces:
        return NO_FACE
    count = "One face" if len(found.faces) == 1 else f"{len(found.faces)} faces"
    return f"{count}: {', '.join(f'{face.score:.0%}' for face in found.faces)} sure."


def region_name(region: int) -> str:
    """What people call a region."""
    return REGIONS.get(region, CLASSES[region])


def region_path(inside: np.ndarray, scale: float, region: int) -> str:
    """The SVG path of a region in pixels of the picture.

    Args:
        inside: H × W booleans, of the picture scaled by ``scale``.
        scale: of that against the picture.
        region: its class id.
    """
    back = invert(scaling(scale))
    contours: list[np.ndarray] = contour_generator(z=np.pad(inside, 1).astype(float)).lines(0.5)  # type: ignore[assignment]
    lines = [apply(back, line - 1) for line in contours]
    path = "".join("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in line) + "Z" for line in lines)
    return f'<path d="{path}" fill="{css_color(COLORS[region])}"><title>{region_name(region)}</title></path>'


def face_layers(face: Face, number: int | None, width: int) -> str:
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
        color, radius = css_color(drawing.confidence_color(score)), thin * (3 + 5 * (1 - score))
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
