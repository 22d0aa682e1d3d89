"""Paints a person from back to front. ``head`` and ``body`` are poses; colours are as in flat white light."""

from collections.abc import Sequence

import numpy as np

from facemark.data.synthetic.people import STYLES, Person, on_face, surface
from facemark.data.synthetic.shapes import Canvas, Pose, chance, curve, hull, mirrored, pick, ring, rough, xyz
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
EAR = [(0, -0.08), (0.1, -0.16), (0.22, -0.12), (0.27, 0.08), (0.22, 0.36), (0.12, 0.6), (0.02, 0.66), (0, 0.5)]
SKULL, SKULL_RADII = np.array([0, -0.4, -1.35]), np.array([1.17, 1.38, 1.4])
IRISES = [(60, 38, 24), (88, 56, 32), (120, 84, 44), (110, 120, 70), (90, 120, 150), (120, 150, 175), (110, 115, 120)]

SIDES = ((-1, R_EYE_POINTS, R_BROW_POINTS), (1, L_EYE_POINTS, L_BROW_POINTS))
EYES, BROWS, EARS = (
    (Region.R_EYE, Region.L_EYE),
    (Region.R_BROW, Region.L_BROW),
    (Region.R_EAR, Region.L_EAR),
)
FLESH = (Region.SKIN, Region.NOSE, *EARS, Region.NECK)


def skull(pose: Pose, grow: float, below: float = 9.0, extra: Sequence = ()) -> np.ndarray:
    """Outline, N × 2 pixels, of the skull grown by ``grow``, down to y = ``below``, with ``extra`` points in space."""
    turn, height = np.meshgrid(np.linspace(0, 2 * np.pi, 24, endpoint=False), np.linspace(-1.5, 1.5, 21))
    ball = np.stack([np.cos(height) * np.cos(turn), np.sin(height), np.cos(height) * np.sin(turn)], -1)
    points = (SKULL + ball * (SKULL_RADII + grow)).reshape(-1, 3)
    return hull(pose(np.vstack([points[points[:, 1] < below], *extra])))


def landmarks(person: Person, head: Pose) -> np.ndarray:
    """The 68 points in the picture, 68 × 2; those of the jaw slide to the edge of the face that is seen.

    Across each jaw point and the middle of the face runs an arc; its outermost point is the one people mark.
    """
    points = head(person.shape)
    jaw = person.shape[JAW]
    along = np.linspace(0, np.pi / 2, 24)[:, None]
    front = surface(np.zeros(17), jaw[:, 1]) + 0.02
    arcs = np.stack(
        [np.sin(along) * jaw[:, 0], np.ones_like(along) * jaw[:, 1], jaw[:, 2] + np.cos(along) * (front - jaw[:, 2])],
        -1,
    )
    seen = head(arcs)
    across = seen @ np.array([np.cos(head.angles[2]), np.sin(head.angles[2])])
    outermost = np.argmax(across * np.sign(jaw[:, 0]), axis=0)
    points[JAW] = seen[outermost, np.arange(17)]
    points[8] = head(jaw[8])  # the chin's own arc has no width
    return points


def torso(rng: np.random.Generator, canvas: Canvas, person: Person, body: Pose) -> None:
    """Neck, clothes and, on some, a necklace."""
    wide = rng.uniform(0.62, 0.85) if person.age > 0.2 else 0.6
    neck = [(0.8 * wide, 0.6), (wide, 1.5), (wide + 0.05, 2.2), (wide + 0.6, 2.7), (1.9, 3.0), (1.9, 20)]

    def flat(points: np.ndarray, z: float) -> np.ndarray:
        return body(np.column_stack([points, np.full(len(points), z)]))

    canvas.paint(flat(mirrored(neck), -1.1), person.skin * 0.93, Region.NECK)
    shoulder = rng.uniform(2.7, 3.4) if person.age > 0.2 else 2.4
    top, deep = rng.uniform(2.0, 2.6), rng.uniform(2.3, 3.6)
    outer = [
        (wide + 0.1, top),
        (wide + 0.5, 2.6),
        (shoulder - 0.5, 3.0),
        (shoulder, 3.7),
        (shoulder + 0.2, 6),
        (shoulder + 0.2, 20),
    ]
    line = curve(np.array([(-wide - 0.1, top), (-0.5 * wide, (top + 2 * deep) / 3), (0, deep)]))
    line = np.vstack([line, line[::-1] * [-1, 1]])
    cloth = rng.uniform(15, 235) + rng.normal(0, rng.choice([6, 45]), 3)
    outline = np.vstack([line, curve(np.array(outer)), curve(np.array(outer))[::-1] * [-1, 1]])
    canvas.paint(flat(outline, -1.0), cloth, Region.CLOTH)
    if chance(rng, 0.5):
        canvas.paint(flat(line, -1.0), cloth * rng.uniform(0.5, 1.6), Region.CLOTH, width=0.14 * body.scale)
    if chance(rng, 0.25):
        tie = np.array([(0.1, deep), (0.16, deep + 0.25), (0.4, 20)])
        canvas.paint(flat(mirrored(tie), -0.95), rng.uniform(10, 250, 3), Region.CLOTH)
    if chance(rng, 0.18):
        chain = curve(np.array([(-wide, 2.15), (-0.5 * wide, rng.uniform(2.6, 2.9)), (0, rng.uniform(2.8, 3.4))]))
        chain = flat(np.vstack([chain, chain[::-1] * [-1, 1]]), -0.7)
        gold = pick(rng, [(240, 205, 110), (220, 220, 225), (160, 30, 50), (40, 60, 110)], 0.1)
        beads = rng.uniform(0.03, 0.12)
        under = (Region.NECK, Region.CLOTH, Region.NECK_L)
        canvas.paint(chain, gold * 0.7, Region.NECK_L, under, width=beads * body.scale)
        for bead in chain[::2]:
            canvas.paint(bead[None], gold, Region.NECK_L, under, width=1.3 * beads * body.scale)


def ear(rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose, side: int) -> None:
    """One ear (``side`` −1 the subject's right) and, on some, its earring."""
    region, grow = EARS[side > 0], 1.1
    lean = np.array([1.0, 0.0, -0.35])  # outward and back
    local = curve(np.array(EAR), closed=True)
    places = np.array([1.08, 0.0, -1.2]) + grow * (local[:, :1] * lean + local[:, 1:] * [0, 1, 0])
    outline = head(places * [side, 1, 1])
    canvas.paint(outline, person.skin * [0.98, 0.9, 0.88], region)
    canvas.paint(outline.mean(0) + 0.55 * (outline - outline.mean(0)), person.skin * [0.72, 0.6, 0.56], region)
    if chance(rng, 0.3 if person.makeup else 0.05):
        metal = pick(rng, [(250, 215, 120), (225, 225, 235), (60, 150, 140), (190, 40, 60)], 0.1)
        lobe, size = np.array([1.18, 0.78, -1.25]), rng.uniform(0.08, 0.3)
        hoop = head((ring(lobe + xyz(0, size, 0), (size * 0.8, size))) * [side, 1, 1])
        canvas.paint(np.vstack([hoop, hoop[:1]]), metal, Region.EAR_R, width=0.07 * head.scale)
        if size < 0.15:
            canvas.paint(hoop, metal, Region.EAR_R)


def face(canvas: Canvas, person: Person, head: Pose, points: np.ndarray) -> None:
    """Skull and face, without features."""
    canvas.paint(skull(head, 0.0, 0.3), person.skin, Region.SKIN)
    temples = on_face(mirrored([(0.55, -1.25), (0.95, -0.8), (1.08, -0.35)]))
    canvas.paint(np.vstack([curve(points[JAW]), head(temples)[::-1]]), person.skin, Region.SKIN)


def eye(
    rng: np.random.Generator, canvas: Canvas, person: Person, points: np.ndarray, iris: np.ndarray, side: int
) -> None:
    """One eye between its lids: white, iris, pupil, highlights, lashes and the fold above."""
    region = (EYES[side > 0],)
    lids = points[SIDES[side > 0][1]]
    upper, lower = curve(lids[:4]), curve(lids[[3, 4, 5, 0]])
    width = np.linalg.norm(lids[3] - lids[0])
    up = lids[1:3].mean(0) - lids[4:].mean(0)
    up = up / (np.linalg.norm(up) + 1e-6) * width
    dark = person.skin * 0.45 * (1 - 0.5 * min(person.makeup, 1))
    canvas.paint(upper + 0.17 * up, person.skin * 0.72, None, (Region.SKIN,), width=0.03 * width)
    canvas.paint(np.vstack([upper, lower]), (216, 208, 202), region[0], (Region.SKIN,))
    canvas.paint(np.vstack([upper, upper[::-1] - 0.07 * up]), (170, 160, 158), None, region)  # the lid's shadow
    center = lids.mean(0) + 0.02 * up + person.gaze * width / 0.4

    def disc(radius: float) -> np.ndarray:
        return center + radius * width * ring((0, 0, 0), (1, 1))[:, :2]

    for radius, color in ((0.275, iris * 0.5), (0.245, iris), (0.16, iris * 1.25), (0.11, (12, 10, 10))):
        canvas.paint(disc(radius), color, None, region)
    canvas.paint(disc(0.045) + rng.uniform(-0.12, 0.12, 2) * width, (250, 250, 250), None, region)
    canvas.paint(lids[[3, 3]], person.skin * [0.8, 0.55, 0.5], None, region, width=0.12 * width)
    lid = (*region, Region.SKIN)
    canvas.paint(upper, dark, None, lid, width=(0.06 + 0.04 * person.makeup) * width)
    canvas.paint(lower, person.skin * 0.7, None, lid, width=0.03 * width)


def nose(canvas: Canvas, person: Person, head: Pose, points: np.ndarray) -> None:
    """The whole nose: sides from the bridge to the wings, the tip wherever it stands out, nostrils."""
    bridge, base = person.shape[NOSE_BRIDGE], person.shape[NOSE_BASE]
    side = np.array(NOSE_SIDE) * [base[-1, 0] / 0.23, base[:, 1].mean() / 0.73]
    sides = on_face(mirrored(side), 0)
    sides[:, 2] += 0.35 * np.clip(sides[:, 1], 0, 0.6) * (1 - np.abs(sides[:, 0]) / 0.6)
    outline = head(sides)
    canvas.paint(np.vstack([curve(outline[:6]), curve(points[NOSE_BASE])[::-1], curve(outline[6:])]), None, Region.NOSE)
    tip = head(bridge[3] + ring((0, 0.02, -0.12), (0.13, 0.12)))
    wing = [head(base[i] + ring((s * 0.02, -0.08, 0), (0.08, 0.09))) for i, s in ((0, -1), (4, 1))]
    for part in (np.vstack([tip, points[28:30]]), np.vstack([tip, points[31:36]]), *wing):
        canvas.paint(hull(part), None, Region.NOSE)
    canvas.color[canvas.label == Region.NOSE] = np.clip(person.skin * [1, 0.97, 0.96], 0, 255).astype(np.uint8)
    for at in (base[1] * 0.75 + base[0] * 0.25, base[3] * 0.75 + base[4] * 0.25):
        nostril = head(at - xyz(0, 0.02, 0) + ring((0, 0, 0), (0.07, 0.035)))
        canvas.paint(nostril, person.skin * [0.4, 0.3, 0.28], None, (Region.NOSE, Region.SKIN))


def mouth(rng: np.random.Generator, canvas: Canvas, person: Person, points: np.ndarray) -> None:
    """Lips, and between them teeth and tongue."""
    outer, inner, unit = points[48:60], points[INNER_LIP], np.linalg.norm(points[54] - points[48])
    natural = person.skin * rng.uniform([0.82, 0.56, 0.54], [0.95, 0.72, 0.7])
    stick = pick(rng, [(190, 30, 50), (150, 20, 60), (220, 90, 110), (120, 50, 60)])
    lips = natural + min(person.makeup, 0.9) * (stick - natural)
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


def brow(rng: np.random.Generator, canvas: Canvas, points: np.ndarray, scale: float, side: int, thick: float) -> None:
    """The labels of one brow; its points run along the upper middle. The hair is tinted in afterwards."""
    line = curve(points[SIDES[side > 0][2]])
    taper = np.sin(np.linspace(0.25, np.pi - 0.25, len(line)))[:, None] * thick * scale
    nose_to_chin = points[8] - points[27]
    down = nose_to_chin / np.linalg.norm(nose_to_chin)
    outline = np.vstack([line - 0.35 * taper * down, (line + 0.65 * taper * down)[::-1]])
    canvas.paint(rough(rng, outline, 0.01 * scale), None, BROWS[side > 0], (Region.SKIN,))


def hair_outline(rng: np.random.Generator, person: Person, head: Pose) -> np.ndarray:
    """Outline of all the hair, N × 2 pixels."""
    volume, length, *_ = STYLES[person.style]
    volume = volume * rng.uniform(0.7, 1.4)
    locks = []
    if length > 1:
        length *= rng.uniform(0.8, 1.2)
        wide = 1.2 + volume
        locks = [[(s * wide * k, y, z) for s in (-1, 1) for y, k in ((0.6, 1.05), (length, 1.1)) for z in (-1.6, -0.6)]]
    outline = skull(head, volume, min(length, 1.0) - 0.2, locks)
    return rough(rng, outline, (0.02 + 0.09 * person.curl) * head.scale * (volume > 0.1), 30)


def hair_front(
    rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose, points: np.ndarray, outline: np.ndarray
) -> None:
    """The hair before the face: all of it but for the opening that the face looks out of."""
    length = STYLES[person.style][2]
    top = -0.45 if person.fringe else person.hairline
    part = rng.uniform(-0.4, 0.4)
    side = [(0.0, top), (0.4, top + 0.02), (0.78, top * 0.82), (0.98, -0.35), (1.1, -0.05)]
    below = (
        [(1.17, length), (2.6, length + 0.1), (2.6, 6)] if length < 1 else [(1.08, 0.6), (1.1, 1.4), (1.0, 2.2), (1, 6)]
    )
    opening = on_face(mirrored(side + below))
    opening[:, 0] += part * 0.3 * (opening[:, 1] < -0.3)
    opening[np.abs(opening[:, 0]) > 1.12, 2] = -1.0
    edge = rough(rng, head(opening), (0.015 + 0.03 * person.fringe + 0.02 * person.curl) * head.scale, 60)
    far_jaw = points[8:15] if head.angles[0] > 0 else points[2:9]
    profile = hull(np.vstack([points[27:], far_jaw]))  # of a turned head, it stands before the hair
    canvas.paint(outline, person.hair, Region.HAIR, holes=(edge, profile))


def hat(rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose) -> None:
    """A cap with its visor, a woollen hat or a hat with a brim."""
    color = rng.uniform(10, 235, 3) * rng.choice([0.4, 1])
    rim = rng.uniform(-0.95, -0.7) - 0.5 * max(head.angles[1], 0)  # a lowered head shows more of the hat
    grow = STYLES[person.style][0] * 0.3 + 0.1
    tall = [[(0.75 * s, -2.1, z) for s in (-1, 1) for z in (-1.8, -0.7)]] if person.hat == "brim" else []
    canvas.paint(skull(head, grow, rim, tall), color, Region.HAT)
    radii = SKULL_RADII[[0, 2]] + grow
    band = ring((0, 0, 0), radii)[:, [0, 2, 1]] + [0, rim, SKULL[2]]
    front = band[band[:, 2] > SKULL[2]]
    front = front[np.argsort(front[:, 0])]
    canvas.paint(head(front), color * 0.7, Region.HAT, width=0.2 * head.scale)
    if person.hat == "cap":
        visor = front * [0.95, 1, 1] + np.outer(np.sin(np.linspace(0, np.pi, len(front))), [0, -0.12, 0.65])
        canvas.paint(hull(head(np.vstack([front, visor]))), color * rng.uniform(0.5, 1.1), Region.HAT)
    if person.hat == "brim":
        brim = (band - [0, 0, SKULL[2]]) * rng.uniform(1.3, 1.55) * [1, 0, 1] + [0, rim, SKULL[2]]
        canvas.paint(hull(head(brim)), color * 0.8, Region.HAT)


def glasses(rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose) -> None:
    """Frames and lenses. As in CelebAMask-HQ a clear lens is glasses too, except over eyes and brows."""
    color = pick(rng, [(15, 15, 18), (60, 36, 22), (190, 160, 100), (170, 40, 50), (180, 180, 190)], 0.1)
    radii = np.array([rng.uniform(0.36, 0.46), rng.uniform(0.22, 0.4)])
    power, thick = rng.uniform(0.5, 1), rng.uniform(0.03, 0.09) * head.scale
    for side, eye_points, _ in SIDES:
        center = person.shape[eye_points].mean(0) + xyz(0.02 * side, 0.06, 0.3)
        rim = head(ring(center, radii, 40, power))
        if person.glasses == "sun":
            canvas.paint(rim, color * 0.25 + 8, Region.EYE_G)
            canvas.paint(rim * 0.5 + rim[8:28].mean(0) * 0.5, color * 0.35 + 25, Region.EYE_G)
        else:
            canvas.paint(rim, None, Region.EYE_G, (Region.SKIN, Region.NOSE, Region.HAIR))
        canvas.paint(np.vstack([rim, rim[:1]]), color, Region.EYE_G, width=thick)
        hinge = center + xyz(side * radii[0], -0.05, 0)
        temple = head(np.array([hinge, (side * 1.16, -0.05, -0.2), (side * 1.2, -0.02, -1.1)]))
        if side * head.angles[0] < 0.15:  # the far one is behind the face
            canvas.paint(temple, color, Region.EYE_G, (Region.SKIN, Region.HAIR), width=thick)
    bridge = np.array([(-0.18, 0.0, 0.32), (0, -0.06, 0.36), (0.18, 0, 0.32)])
    canvas.paint(head(curve(bridge)), color, Region.EYE_G, width=thick)


def paint_person(rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose, body: Pose) -> np.ndarray:
    """Paint all of a person; answers the 68 × 2 points."""
    points = landmarks(person, head)
    has_hair = person.style != "bald"
    outline = hair_outline(rng, person, head) if has_hair else None
    if has_hair:
        canvas.paint(outline, person.hair * 0.75, Region.HAIR)
    torso(rng, canvas, person, body)
    far = 1 if head.angles[0] > 0 else -1
    ear(rng, canvas, person, head, far)
    face(canvas, person, head, points)
    ear(rng, canvas, person, head, -far)
    iris = pick(rng, IRISES if person.skin.mean() > 150 else IRISES[:3])
    thick = rng.uniform(0.1, 0.2)
    for side, *_ in SIDES:
        eye(rng, canvas, person, points, iris, side)
        brow(rng, canvas, points, head.scale, side, thick)
    mouth(rng, canvas, person, points)
    nose(canvas, person, head, points)
    if has_hair:
        hair_front(rng, canvas, person, head, points, outline)
    if person.hat:
        hat(rng, canvas, person, head)
    if person.glasses:
        glasses(rng, canvas, person, head)
    return points.astype(np.float32)
