"""Rendering of a painted person: skin texture, hair strands, folds, shading and shadows, at the image's size."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from facemark.data.synthetic.features import BROWS, FLESH, SIDES
from facemark.data.synthetic.people import Person, on_face
from facemark.data.synthetic.shapes import SUPERSAMPLING, Canvas, Pose, blur, chance, curve, noise, tint, trace, xyz
from facemark.labels import JAW, NOSE_BRIDGE, Region


@dataclass(frozen=True)
class Light:
    """A distant lamp and ambient light."""

    direction: np.ndarray
    """Unit vector towards the lamp: x right, y down, z towards the viewer."""
    key: np.ndarray
    """RGB of the lamp."""
    ambient: np.ndarray
    """RGB of the ambient light."""
    gloss: float
    """Strength of specular reflection on skin."""

    def shade(self, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return diffuse (Lambert) and specular (Blinn-Phong) light on a surface of H × W heights in pixels."""
        dy, dx = np.gradient(height)
        steep = 1 / np.sqrt(1 + dx**2 + dy**2)
        halfway = self.direction + xyz(0, 0, 1)
        halfway = halfway / np.linalg.norm(halfway)
        facing = [(-x * dx - y * dy + z) * steep for x, y, z in (self.direction, halfway)]
        return np.maximum(facing[0], 0), np.maximum(facing[1], 0) ** 24


def random_light(rng: np.random.Generator) -> Light:
    """Draw light from anywhere in front and above: hard or soft, warm or cold."""
    direction = np.array([rng.normal(0, 0.7), rng.normal(-0.35, 0.4), rng.uniform(0.4, 1.3)])
    strength = rng.uniform(0.35, 1.0)
    warm = np.array([1, 0, -1]) * rng.normal(0, 0.08)
    return Light(
        direction / np.linalg.norm(direction),
        (1 + warm) * strength,
        (1 - warm) * rng.uniform(0.85, 1.1) * (1.1 - 0.85 * strength),
        rng.uniform(0, 0.22),
    )


def soft_strokes(shape: tuple[int, int], head: Pose, marks: Sequence) -> np.ndarray:
    """Return the sum of blurred strokes, H × W.

    Args:
        shape: height and width.
        head: pose that projects the strokes.
        marks: strokes, each a line or point in space, its width, its strength and its blur; lengths in pupil distances.
    """
    total = np.zeros(shape, np.float32)
    for line, width, strength, softness in marks:
        mark = np.zeros(shape, np.float32)
        line = np.atleast_2d(np.array(line, float))
        trace(mark, head(np.vstack([line, line[-1:]])), 1.0, width * head.scale)
        total += strength * blur(mark, softness * head.scale)
    return total


def head_height(rng: np.random.Generator, person: Person, head: Pose, shape: tuple[int, int]) -> np.ndarray:
    """Return the height of the face in front of the image, H × W pixels: a dome with features and folds."""
    center = head(np.array([0, 0.1, -1.0]))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    across, along = (x - center[0]) / head.scale, (y - center[1]) / head.scale
    turn = head.angles[2]
    u, v = across * np.cos(turn) + along * np.sin(turn), along * np.cos(turn) - across * np.sin(turn)
    dome = 1.2 * np.sqrt(np.clip(1 - (u / 1.32) ** 2 - (v / 2.0) ** 2, 0.04, 1))
    p, old = person.shape, max(0, person.age - 0.35)
    marks = [
        (p[NOSE_BRIDGE], 0.16, 0.3, 0.08),
        (p[30], 0.26, 0.14, 0.06),
        (p[57] * [1, 1.25, 1], 0.5, 0.07, 0.14),
        (p[48:55], 0.1, 0.06, 0.04),
        (p[55:60], 0.12, 0.07, 0.04),
        ([(0, p[57, 1] + 0.1, p[57, 2])], 0.2, -0.05, 0.05),
        (curve(on_face([(-0.2, -1.0), (0.1, -0.97), (0.4, -1.0)])), 0.02, -0.02 * old, 0.02),
    ]
    for line in (-0.6, -0.75, -0.9):
        wave = [(x, line + rng.normal(0, 0.02)) for x in (-0.5, -0.2, 0.1, 0.45)]
        marks.append((curve(on_face(wave)), 0.03, -0.05 * old, 0.025))
    for s, eye_points, brow_points in SIDES:
        center = p[eye_points].mean(0)
        corner = p[54 if s > 0 else 48]
        fold = curve(np.array([p[35 if s > 0 else 31] + xyz(s * 0.1, -0.1, 0), corner + xyz(s * 0.13, -0.12, -0.05)]))
        bag = curve(center + np.array([(-0.2, 0.12, 0), (0.0, 0.2, 0), (0.2, 0.13, 0)]))
        marks += [
            (center + xyz(-0.08 * s, -0.08, 0), 0.45, -0.15, 0.1),
            (center, 0.3, 0.08, 0.06),
            (p[brow_points], 0.12, 0.04, 0.07),
            (p[35 if s > 0 else 31] * [0.9, 0.92, 1], 0.14, 0.07, 0.04),
            (on_face([(s * 0.66, 0.55)]), 0.4, 0.08 + 0.06 * max(person.smile, 0), 0.16),
            (fold, 0.03, -0.02 - 0.05 * max(person.smile, old), 0.03),
            (bag, 0.03, -0.01 - 0.04 * old, 0.025),
            (on_face([(s * 0.85, 0.02), (s * 0.98, -0.06)]), 0.02, -0.05 * old, 0.02),
            (on_face([(s * 0.85, 0.08), (s * 0.97, 0.12)]), 0.02, -0.05 * old, 0.02),
        ]
    return (dome + soft_strokes(shape, head, marks)) * head.scale


def inflate(coverage: np.ndarray, radius: float) -> np.ndarray:
    """Round a flat shape: return H × W heights in pixels that rise within ``radius`` pixels from its edge."""
    depth = cv2.distanceTransform((coverage > 0.5).astype(np.uint8), cv2.DIST_L2, 3)
    return blur(radius * np.sqrt(1 - (1 - np.minimum(depth / radius, 1)) ** 2), radius / 8)


def hair_strands(rng: np.random.Generator, person: Person, head: Pose, shape: tuple[int, int]) -> np.ndarray:
    """Return streaks, H × W about ±1, that fan out from the crown and then fall, with curls."""
    crown = head(np.array([rng.normal(0, 0.3), -1.75, -0.9]))
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    dx, dy = (x - crown[0]) / head.scale, (y - crown[1]) / head.scale
    wave = person.curl * noise(rng, *shape, 0.5 * head.scale, 2)
    across = (dx + 0.12 * wave) / (0.35 + np.clip(dy, 0, 1.6))
    along = dy + 0.3 * np.abs(dx)
    grain = noise(rng, 256, 1024, 24, 5)
    at = ((across * 330 + 512) % 1023).astype(np.float32), ((along * 30 + 40) % 255).astype(np.float32)
    streaks = cv2.remap(grain, *at, cv2.INTER_LINEAR)
    return streaks + person.curl * noise(rng, *shape, 0.2 * head.scale, 3)


def beard_coverage(rng: np.random.Generator, head: Pose, points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the density of the beard, H × W 0–1: over chin and cheeks, or around the mouth only."""
    cheek = rng.uniform(0.5, 1.1) if chance(rng, 0.65) else 0
    area = np.zeros(shape, np.float32)
    if cheek:
        inner = head(on_face([(0.95, 0.3), (0.75, 0.75), (0.5, cheek), (0.28, 0.86)]))
        other = head(on_face([(-0.28, 0.86), (-0.5, cheek), (-0.75, 0.75), (-0.95, 0.3)]))
        trace(area, np.vstack([points[JAW][1:16], inner, other]), 1.0)
    mouth = points[48:60].mean(0)
    trace(area, mouth + (points[48:60] - mouth) * [1.35, 1.7], 1.0)
    bare = np.zeros(shape, np.float32)
    trace(bare, mouth + (points[48:60] - mouth) * [1.0, 1.1], 1.0)
    return blur(area, 0.07 * head.scale) * (1 - 0.6 * bare)


def add_texture(
    rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose, points: np.ndarray, image: np.ndarray
) -> np.ndarray:
    """Add skin texture, make-up, brows, beard, hair strands and cloth patterns to H × W × 3 flat colours."""
    shape, scale = (image.shape[0], image.shape[1]), head.scale
    flesh, bare = canvas.coverage(*FLESH), canvas.coverage(Region.SKIN, Region.NOSE)
    image = image * (1 + 0.03 * flesh * noise(rng, *shape, 0.3 * scale, 4))[..., None]
    red = person.skin * [1.0, 0.78, 0.74]
    blush = soft_strokes(shape, head, [(on_face([(s * 0.68, 0.6)]), 0.4, rng.uniform(0.1, 0.5), 0.15) for s in (-1, 1)])
    image = tint(image, bare * blush + 0.25 * canvas.coverage(Region.NOSE) * rng.random(), red)
    if chance(rng, 0.15):
        spots = noise(rng, *shape, 0.04 * scale, 2) > 1.5
        image = tint(image, 0.4 * bare * blur(spots.astype(np.float32), 0.01 * scale), person.skin * 0.6)
    if person.makeup > 0.3:
        shadow = [(person.shape[eye] - xyz(0, 0.08, 0), 0.2, min(person.makeup, 0.9), 0.05) for _, eye, _ in SIDES]
        image = tint(image, bare * soft_strokes(shape, head, shadow), person.skin * rng.uniform(0.35, 0.8, 3))
    strands = hair_strands(rng, person, head, shape)
    ragged = 0.75 + 0.35 * noise(rng, *shape, 0.1 * scale, 3)
    image = tint(image, blur(canvas.coverage(*BROWS), 0.02 * scale) * ragged * rng.uniform(0.6, 1.1), person.hair * 0.8)
    if person.beard:
        density = person.beard * beard_coverage(rng, head, points, shape) * (0.8 + 0.4 * noise(rng, *shape, 3, 2))
        image = tint(image, density * canvas.coverage(Region.SKIN), person.hair * 0.8 + 0.1 * person.skin)
    image = image * (1 + 0.22 * canvas.coverage(Region.HAIR) * strands)[..., None]
    return tint(image, canvas.coverage(Region.CLOTH) * cloth_pattern(rng, shape, scale), rng.uniform(10, 245, 3))


def cloth_pattern(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Return stripes, checks, blotches or nothing, H × W 0–1."""
    kind = rng.choice(["plain", "stripes", "checks", "blotches"], p=[0.5, 0.2, 0.12, 0.18])
    if kind == "plain":
        return np.zeros(shape, np.float32)
    if kind == "blotches":
        return (noise(rng, *shape, rng.uniform(0.2, 0.6) * scale, 2) > 0.4).astype(np.float32)
    y, x = np.mgrid[: shape[0], : shape[1]] / (rng.uniform(0.06, 0.5) * scale)
    turn = rng.uniform(0, np.pi)
    bend = 0.3 * noise(rng, *shape, scale, 2)
    stripes = [np.sin(6.28 * (x * np.cos(a) + y * np.sin(a) + bend)) > 0.2 for a in (turn, turn + np.pi / 2)]
    return 0.8 * (stripes[0] if kind == "stripes" else (0.5 * stripes[0] + 0.5 * stripes[1])).astype(np.float32)


def cast_shadow(coverage: np.ndarray, shift: np.ndarray, softness: float) -> np.ndarray:
    """Return the shadow that a shape casts ``shift`` (x, y) pixels away, blurred by ``softness`` pixels."""
    move = np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)
    return blur(cv2.warpAffine(coverage, move, (coverage.shape[1], coverage.shape[0])), softness)


def render(
    rng: np.random.Generator, canvas: Canvas, person: Person, head: Pose, points: np.ndarray, light: Light
) -> tuple[np.ndarray, np.ndarray]:
    """Render a painted person in the light.

    Returns:
        Colours times coverage, H × W × 3 float RGB 0–255, and the coverage, H × W 0–1.
    """
    height, width = (side // SUPERSAMPLING for side in canvas.label.shape)
    shape, scale = (height, width), head.scale
    image = cv2.resize(canvas.color, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
    image = add_texture(rng, canvas, person, head, points, image)
    top = canvas.coverage(Region.HAIR, Region.HAT, Region.EAR_R)
    neck, cloth = canvas.coverage(Region.NECK, Region.NECK_L), canvas.coverage(Region.CLOTH)
    whole = cv2.resize((canvas.label > 0).astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    face_coverage = np.clip(whole - top - neck - cloth, 0, 1)
    locks = 0.03 * person.curl * scale * noise(rng, *shape, 0.2 * scale, 2)
    folds = noise(rng, *shape, 0.8 * scale, 3) * 0.05 * scale
    layers = [
        (face_coverage, head_height(rng, person, head, shape), light.gloss),
        (top, inflate(top, 0.5 * scale) + locks, 0.4 * light.gloss),
        (neck, inflate(neck, 0.7 * scale), 0.0),
        (cloth, inflate(cloth, 0.8 * scale) + folds, 0.0),
    ]
    away = -light.direction[:2] * scale
    over_face = cast_shadow(canvas.coverage(Region.HAIR, Region.HAT, Region.EYE_G), 0.14 * away, 0.05 * scale)
    under_chin = cast_shadow(face_coverage, 0.5 * away + [0, 0.3 * scale], 0.12 * scale)
    diffuse, specular, open_sky = np.zeros((3, *shape), np.float32)
    shadows = over_face, np.zeros(()), under_chin, under_chin
    for (coverage, heights, gloss), dark in zip(layers, shadows, strict=True):
        lit, shine = light.shade(heights)
        diffuse += coverage * lit * (1 - 0.65 * dark)
        specular += coverage * gloss * shine * (1 - dark)
        open_sky += coverage * (1 - 0.3 * dark)
    lit = (
        image * (light.ambient * open_sky[..., None] + light.key * diffuse[..., None])
        + 200 * specular[..., None] * light.key
    )
    return np.clip(lit, 0, 255 * whole[..., None]), whole
