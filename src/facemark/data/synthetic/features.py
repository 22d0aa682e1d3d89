"""The head: its outline and landmarks, and its features painted onto a canvas.

Colours are those in flat white light. Sides are the subject's: -1 is right, 1 is left.
"""

from collections.abc import Sequence

import numpy as np

from facemark.data.synthetic.people import Person, on_face, surface
from facemark.data.synthetic.shapes import (
    Canvas,
    Color,
    Pose,
    chance,
    convex_hull,
    curve,
    pick_color,
    ring,
    roughen,
    symmetric_outline,
    xyz,
)
from facemark.labels import (
    INNER_LIP,
    JAW,
    L_BROW_POINTS,
    L_EYE_POINTS,
    NOSE_BASE,
    NOSE_BRIDGE,
    R_BROW_POINTS,
    R_EYE_POINTS,
    Region,
)

NOSE_SIDE = [(0.09, -0.08), (0.1, 0.15), (0.15, 0.36), (0.26, 0.52), (0.3, 0.63), (0.25, 0.7)]
"""Outline (x, y) of the left half of the average nose, from the top down."""
EAR = [(0, -0.08), (0.1, -0.16), (0.22, -0.12), (0.27, 0.08), (0.22, 0.36), (0.12, 0.6), (0.02, 0.66), (0, 0.5)]
"""Outline (outwards, down) of an ear."""
SKULL, SKULL_RADII = np.array([0, -0.4, -1.35]), np.array([1.17, 1.38, 1.4])
"""Centre and radii of the ellipsoid of the skull."""
SIDES = ((-1, R_EYE_POINTS, R_BROW_POINTS), (1, L_EYE_POINTS, L_BROW_POINTS))
"""Each side with the points of its eye and its brow."""
EYES, BROWS, EARS = (
    (Region.R_EYE, Region.L_EYE),
    (Region.R_BROW, Region.L_BROW),
    (Region.R_EAR, Region.L_EAR),
)
FLESH = (Region.SKIN, Region.NOSE, *EARS, Region.NECK)


def skull_outline(pose: Pose, grow: float, below: float = 9.0, extra: Sequence = ()) -> np.ndarray:
    """Return the outline of the skull in the image, N × 2 pixels.

    Args:
        pose: of the head.
        grow: added to the skull's radii.
        below: y at which the skull is cut off.
        extra: arrays of points in space that the outline encloses too.
    """
    turn, height = np.meshgrid(np.linspace(0, 2 * np.pi, 24, endpoint=False), np.linspace(-1.5, 1.5, 21))
    ball = np.stack([np.cos(height) * np.cos(turn), np.sin(height), np.cos(height) * np.sin(turn)], -1)
    points = (SKULL + ball * (SKULL_RADII + grow)).reshape(-1, 3)
    return convex_hull(pose(np.vstack([points[points[:, 1] < below], *extra])))


def project_landmarks(person: Person, head: Pose) -> np.ndarray:
    """Return the 68 × 2 landmarks in pixels; those of the jaw are on the visible edge of the face.

    An arc runs from each jaw point to the middle of the face. Its outermost point in the image is the landmark, as
    annotators mark it.
    """
    points = head(person.shape)
    jaw = person.shape[JAW]
    along = np.linspace(0, np.pi / 2, 24)[:, None]
    front = surface(np.zeros(17), jaw[:, 1]) + 0.02
    arcs = np.stack(
        [np.sin(along) * jaw[:, 0], np.ones_like(along) * jaw[:, 1], jaw[:, 2] + np.cos(along) * (front - jaw[:, 2])],
        -1,
    )
    projected = head(arcs)
    across = projected @ np.array([np.cos(head.angles[2]), np.sin(head.angles[2])])
    outermost = np.argmax(across * np.sign(jaw[:, 0]), axis=0)
    points[JAW] = projected[outermost, np.arange(17)]
    points[8] = head(jaw[8])  # the arc of the chin has no width
    return points


def paint_face(canvas: Canvas, person: Person, head: Pose, points: np.ndarray) -> None:
    """Paint skull and face, without features."""
    canvas.paint(skull_outline(head, 0.0, 0.3), person.skin, Region.SKIN)
    temples = on_face(symmetric_outline([(0.55, -1.25), (0.95, -0.8), (1.08, -0.35)]))
    canvas.paint(np.vstack([curve(points[JAW]), head(temples)[::-1]]), person.skin, Region.SKIN)


def paint_ear(rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose, side: int) -> None:
    """Paint the ear of a side and, at random, an earring."""
    region, grow = EARS[side > 0], 1.1
    lean = np.array([1.0, 0.0, -0.35])  # outward and back
    local = curve(np.array(EAR), closed=True)
    places = np.array([1.08, 0.0, -1.2]) + grow * (local[:, :1] * lean + local[:, 1:] * [0, 1, 0])
    outline = head(places * [side, 1, 1])
    canvas.paint(outline, person.skin * [0.98, 0.9, 0.88], region)
    canvas.paint(outline.mean(0) + 0.55 * (outline - outline.mean(0)), person.skin * [0.72, 0.6, 0.56], region)
    if chance(rng, 0.3 if person.makeup else 0.05):
        metal = pick_color(rng, [(250, 215, 120), (225, 225, 235), (60, 150, 140), (190, 40, 60)], 0.1)
        lobe, size = np.array([1.18, 0.78, -1.25]), rng.uniform(0.08, 0.3)
        hoop = head(ring(lobe + xyz(0, size, 0), (size * 0.8, size)) * [side, 1, 1])
        canvas.paint(np.vstack([hoop, hoop[:1]]), metal, Region.EAR_R, width=0.07 * head.scale)
        if size < 0.15:
            canvas.paint(hoop, metal, Region.EAR_R)


def paint_eye(
    rng: np.random.Generator, canvas: Canvas, person: Person, points: np.ndarray, iris: np.ndarray, side: int
) -> None:
    """Paint the eye of a side between its lids: white, iris, pupil, highlight, lashes and the fold above."""
    region = (EYES[side > 0],)
    lids = points[SIDES[side > 0][1]]
    upper, lower = curve(lids[:4]), curve(lids[[3, 4, 5, 0]])
    width = float(np.linalg.norm(lids[3] - lids[0]))
    up = lids[1:3].mean(0) - lids[4:].mean(0)
    up = up / (np.linalg.norm(up) + 1e-6) * width
    dark = person.skin * 0.45 * (1 - 0.5 * min(person.makeup, 1))
    canvas.paint(upper + 0.17 * up, person.skin * 0.72, None, (Region.SKIN,), width=0.03 * width)
    canvas.paint(np.vstack([upper, lower]), (216, 208, 202), region[0], (Region.SKIN,))
    canvas.paint(np.vstack([upper, upper[::-1] - 0.07 * up]), (170, 160, 158), None, region)  # shadow of the lid
    center = lids.mean(0) + 0.02 * up + person.gaze * width / 0.4

    def disc(radius: float) -> np.ndarray:
        return center + radius * width * ring((0, 0, 0), (1, 1))[:, :2]

    discs: tuple[tuple[float, Color], ...] = (
        (0.275, iris * 0.5),
        (0.245, iris),
        (0.16, iris * 1.25),
        (0.11, (12, 10, 10)),
    )
    for radius, color in discs:
        canvas.paint(disc(radius), color, None, region)
    canvas.paint(disc(0.045) + rng.uniform(-0.12, 0.12, 2) * width, (250, 250, 250), None, region)
    canvas.paint(lids[[3, 3]], person.skin * [0.8, 0.55, 0.5], None, region, width=0.12 * width)
    lid = (*region, Region.SKIN)
    canvas.paint(upper, dark, None, lid, width=(0.06 + 0.04 * person.makeup) * width)
    canvas.paint(lower, person.skin * 0.7, None, lid, width=0.03 * width)


def paint_nose(canvas: Canvas, person: Person, head: Pose, points: np.ndarray) -> None:
    """Paint the nose: its sides from bridge to wings, the tip where it protrudes, and the nostrils."""
    bridge, base = person.shape[NOSE_BRIDGE], person.shape[NOSE_BASE]
    side = np.array(NOSE_SIDE) * [base[-1, 0] / 0.23, base[:, 1].mean() / 0.73]
    sides = on_face(symmetric_outline(side), 0)
    sides[:, 2] += 0.35 * np.clip(sides[:, 1], 0, 0.6) * (1 - np.abs(sides[:, 0]) / 0.6)
    outline = head(sides)
    canvas.paint(np.vstack([curve(outline[:6]), curve(points[NOSE_BASE])[::-1], curve(outline[6:])]), None, Region.NOSE)
    tip = head(bridge[3] + ring((0, 0.02, -0.12), (0.13, 0.12)))
    wing = [head(base[i] + ring((s * 0.02, -0.08, 0), (0.08, 0.09))) for i, s in ((0, -1), (4, 1))]
    for part in (np.vstack([tip, points[28:30]]), np.vstack([tip, points[31:36]]), *wing):
        canvas.paint(convex_hull(part), None, Region.NOSE)
    canvas.color[canvas.label == Region.NOSE] = np.clip(person.skin * [1, 0.97, 0.96], 0, 255).astype(np.uint8)
    for at in (base[1] * 0.75 + base[0] * 0.25, base[3] * 0.75 + base[4] * 0.25):
        nostril = head(at - xyz(0, 0.02, 0) + ring((0, 0, 0), (0.07, 0.035)))
        canvas.paint(nostril, person.skin * [0.4, 0.3, 0.28], None, (Region.NOSE, Region.SKIN))


def paint_mouth(rng: np.random.Generator, canvas: Canvas, person: Person, points: np.ndarray) -> None:
    """Paint the lips and, in an open mouth, tongue and teeth."""
    outer, inner, unit = points[48:60], points[INNER_LIP], float(np.linalg.norm(points[54] - points[48]))
    natural = person.skin * rng.uniform([0.82, 0.56, 0.54], [0.95, 0.72, 0.7])
    lipstick = pick_color(rng, [(190, 30, 50), (150, 20, 60), (220, 90, 110), (120, 50, 60)])
    lips = natural + min(person.makeup, 0.9) * (lipstick - natural)
    inside = curve(inner[:5]), curve(inner[[4, 5, 6, 7, 0]])
    canvas.paint(np.vstack([curve(outer[:7]), inside[0][::-1]]), lips * 0.88, Region.U_LIP)
    canvas.paint(np.vstack([curve(outer[[6, 7, 8, 9, 10, 11, 0]]), inside[1][::-1]]), lips, Region.L_LIP)
    down = inner[5:8].mean(0) - inner[1:4].mean(0)
    gap = np.linalg.norm(down) / unit
    if gap < 0.05:
        canvas.paint(inside[0], lips * 0.4, None, (Region.U_LIP, Region.L_LIP), width=0.02 * unit)
        return
    canvas.paint(np.vstack(inside), (70, 22, 24), Region.MOUTH)
    within, down = (Region.MOUTH,), down / np.linalg.norm(down) * unit
    tongue = inner[6] + 0.05 * down + unit * ring((0, 0, 0), (0.24, 0.12))[:, :2]
    canvas.paint(tongue, (176, 84, 84), None, within)
    if person.teeth:
        length = min(rng.uniform(0.1, 0.2), gap)
        white = np.array([238, 232, 218]) * rng.uniform(0.8, 1.03)
        canvas.paint(np.vstack([inside[0], inside[0][::-1] + length * down]), white, None, within)
        for share in np.linspace(0.12, 0.88, 9):
            top = inside[0][int(share * len(inside[0]))]
            canvas.paint(np.array([top, top + length * down]), white * 0.82, None, within, width=0.008 * unit)


def paint_brow(
    rng: np.random.Generator, canvas: Canvas, points: np.ndarray, scale: float, side: int, thickness: float
) -> None:
    """Paint the labels of the brow of a side, ``thickness`` pupil distances thick; shading adds its hair later.

    The points run along its upper middle.
    """
    line = curve(points[SIDES[side > 0][2]])
    taper = np.sin(np.linspace(0.25, np.pi - 0.25, len(line)))[:, None] * thickness * scale
    nose_to_chin = points[8] - points[27]
    down = nose_to_chin / np.linalg.norm(nose_to_chin)
    outline = np.vstack([line - 0.35 * taper * down, (line + 0.65 * taper * down)[::-1]])
    canvas.paint(roughen(rng, outline, 0.01 * scale), None, BROWS[side > 0], (Region.SKIN,))
