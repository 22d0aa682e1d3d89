"""The rest of a person: torso, hair, hat and glasses; and the whole person, painted from back to front.

``head`` and ``body`` are poses. Colours are those in flat white light.
"""

import numpy as np

from facemark.data.synthetic.features import (
    SIDES,
    SKULL,
    SKULL_RADII,
    paint_brow,
    paint_ear,
    paint_eye,
    paint_face,
    paint_mouth,
    paint_nose,
    project_landmarks,
    skull_outline,
)
from facemark.data.synthetic.people import STYLES, Person, on_face
from facemark.data.synthetic.shapes import (
    Canvas,
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
from facemark.labels import Region

IRISES = [(60, 38, 24), (88, 56, 32), (120, 84, 44), (110, 120, 70), (90, 120, 150), (120, 150, 175), (110, 115, 120)]


def paint_torso(rng: np.random.Generator, canvas: Canvas, person: Person, body: Pose) -> None:
    """Paint neck and clothes and, at random, a necklace."""
    wide = rng.uniform(0.62, 0.85) if person.age > 0.2 else 0.6
    neck = [(0.8 * wide, 0.6), (wide, 1.5), (wide + 0.05, 2.2), (wide + 0.6, 2.7), (1.9, 3.0), (1.9, 20)]

    def flat(points: np.ndarray, z: float) -> np.ndarray:
        return body(np.column_stack([points, np.full(len(points), z)]))

    canvas.paint(flat(symmetric_outline(neck), -1.1), person.skin * 0.93, Region.NECK)
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
        canvas.paint(flat(symmetric_outline(tie), -0.95), rng.uniform(10, 250, 3), Region.CLOTH)
    if chance(rng, 0.18):
        chain = curve(np.array([(-wide, 2.15), (-0.5 * wide, rng.uniform(2.6, 2.9)), (0, rng.uniform(2.8, 3.4))]))
        chain = flat(np.vstack([chain, chain[::-1] * [-1, 1]]), -0.7)
        gold = pick_color(rng, [(240, 205, 110), (220, 220, 225), (160, 30, 50), (40, 60, 110)], 0.1)
        beads = rng.uniform(0.03, 0.12)
        under = (Region.NECK, Region.CLOTH, Region.NECK_L)
        canvas.paint(chain, gold * 0.7, Region.NECK_L, under, width=beads * body.scale)
        for bead in chain[::2]:
            canvas.paint(bead[None], gold, Region.NECK_L, under, width=1.3 * beads * body.scale)


def hair_outline(rng: np.random.Generator, person: Person, head: Pose) -> np.ndarray:
    """Return the outline of all the hair, N × 2 pixels."""
    volume, length, *_ = STYLES[person.style]
    volume = volume * rng.uniform(0.7, 1.4)
    locks = []
    if length > 1:
        length *= rng.uniform(0.8, 1.2)
        wide = 1.2 + volume
        locks = [[(s * wide * k, y, z) for s in (-1, 1) for y, k in ((0.6, 1.05), (length, 1.1)) for z in (-1.6, -0.6)]]
    outline = skull_outline(head, volume, min(length, 1.0) - 0.2, locks)
    return roughen(rng, outline, (0.02 + 0.09 * person.curl) * head.scale * (volume > 0.1), 30)


def paint_hair_front(
    rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose, points: np.ndarray, outline: np.ndarray
) -> None:
    """Paint the hair in front of the head: all within its outline but the opening of the face."""
    length = STYLES[person.style][2]
    top = -0.45 if person.fringe else person.hairline
    part = rng.uniform(-0.4, 0.4)
    side = [(0.0, top), (0.4, top + 0.02), (0.78, top * 0.82), (0.98, -0.35), (1.1, -0.05)]
    below = (
        [(1.17, length), (2.6, length + 0.1), (2.6, 6)] if length < 1 else [(1.08, 0.6), (1.1, 1.4), (1.0, 2.2), (1, 6)]
    )
    opening = on_face(symmetric_outline(side + below))
    opening[:, 0] += part * 0.3 * (opening[:, 1] < -0.3)
    opening[np.abs(opening[:, 0]) > 1.12, 2] = -1.0
    edge = roughen(rng, head(opening), (0.015 + 0.03 * person.fringe + 0.02 * person.curl) * head.scale, 60)
    far_jaw = points[8:15] if head.angles[0] > 0 else points[2:9]
    profile = convex_hull(np.vstack([points[27:], far_jaw]))  # the profile of a turned head is in front of the hair
    canvas.paint(outline, person.hair, Region.HAIR, holes=(edge, profile))


def paint_hat(rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose) -> None:
    """Paint a cap with its visor, a woollen hat or a hat with a brim."""
    color = rng.uniform(10, 235, 3) * rng.choice([0.4, 1])
    rim = rng.uniform(-0.95, -0.7) - 0.5 * max(head.angles[1], 0)  # a lowered head shows more of the hat
    grow = STYLES[person.style][0] * 0.3 + 0.1
    tall = [[(0.75 * s, -2.1, z) for s in (-1, 1) for z in (-1.8, -0.7)]] if person.hat == "brim" else []
    canvas.paint(skull_outline(head, grow, rim, tall), color, Region.HAT)
    radii = SKULL_RADII[[0, 2]] + grow
    band = ring((0, 0, 0), radii)[:, [0, 2, 1]] + [0, rim, SKULL[2]]
    front = band[band[:, 2] > SKULL[2]]
    front = front[np.argsort(front[:, 0])]
    canvas.paint(head(front), color * 0.7, Region.HAT, width=0.2 * head.scale)
    if person.hat == "cap":
        visor = front * [0.95, 1, 1] + np.outer(np.sin(np.linspace(0, np.pi, len(front))), [0, -0.12, 0.65])
        canvas.paint(convex_hull(head(np.vstack([front, visor]))), color * rng.uniform(0.5, 1.1), Region.HAT)
    if person.hat == "brim":
        brim = (band - [0, 0, SKULL[2]]) * rng.uniform(1.3, 1.55) * [1, 0, 1] + [0, rim, SKULL[2]]
        canvas.paint(convex_hull(head(brim)), color * 0.8, Region.HAT)


def paint_glasses(rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose) -> None:
    """Paint frames and lenses. As in CelebAMask-HQ, a clear lens counts as glasses, except over eyes and brows."""
    color = pick_color(rng, [(15, 15, 18), (60, 36, 22), (190, 160, 100), (170, 40, 50), (180, 180, 190)], 0.1)
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
    """Paint a whole person.

    Returns:
        The landmarks, 68 × 2 float32 (x, y) in pixels.
    """
    points = project_landmarks(person, head)
    outline = None if person.style == "bald" else hair_outline(rng, person, head)
    if outline is not None:
        canvas.paint(outline, person.hair * 0.75, Region.HAIR)
    paint_torso(rng, canvas, person, body)
    far = 1 if head.angles[0] > 0 else -1
    paint_ear(rng, canvas, person, head, far)
    paint_face(canvas, person, head, points)
    paint_ear(rng, canvas, person, head, -far)
    iris = pick_color(rng, IRISES if person.skin.mean() > 150 else IRISES[:3])
    thickness = rng.uniform(0.1, 0.2)
    for side, *_ in SIDES:
        paint_eye(rng, canvas, person, points, iris, side)
        paint_brow(rng, canvas, points, head.scale, side, thickness)
    paint_mouth(rng, canvas, person, points)
    paint_nose(canvas, person, head, points)
    if outline is not None:
        paint_hair_front(rng, canvas, person, head, points, outline)
    if person.hat:
        paint_hat(rng, canvas, person, head)
    if person.glasses:
        paint_glasses(rng, canvas, person, head)
    return points.astype(np.float32)
