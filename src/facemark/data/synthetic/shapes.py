"""Drawing primitives: noise, curves, outlines, the canvas, and the pose that projects onto it.

Points in space are x, y, z in pupil distances (see :mod:`facemark.data.synthetic`); points in the image are x, y in
pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline

SUPERSAMPLING = 3
"""Enlargement of the canvas; odd, so that a pixel's class is that of the enlarged pixel at its centre."""

PIVOT = np.array([0, 0.7, -1.2])
"""Point of the neck about which the head turns."""
DISTANCE = 16.0
"""From the camera to the pivot, in pupil distances."""
Color = Sequence[float] | np.ndarray
"""RGB, 0–255."""


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Return True with a probability (one draw)."""
    return bool(rng.random() < probability)


def pick_color(rng: np.random.Generator, table: Sequence[tuple], jitter: float = 0.06) -> np.ndarray:
    """Return a random colour between two neighbours of a table, with multiplicative noise: float RGB, 8–255."""
    at = rng.uniform(0, len(table) - 1)
    low = np.array(table[int(at)], float)
    colour = low + (at % 1) * (np.array(table[int(at) + 1], float) - low)
    return np.clip(colour * rng.normal(1, jitter, 3), 8, 255)


def noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3) -> np.ndarray:
    """Return smooth noise, H × W float32, about ±1; its largest features are ``cell`` pixels wide."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1)
        grid = rng.standard_normal((int(height / step) + 2, int(width / step) + 2), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return total / 1.3


def curve(points: np.ndarray, closed: bool = False) -> np.ndarray:
    """Return the smooth line through N × D points, with eight points for each span."""
    if closed:
        points = np.vstack([points, points[:1]])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1) + 1e-6
    at = np.concatenate([[0], np.cumsum(np.sqrt(steps))])
    spline = CubicSpline(at, points, bc_type="periodic" if closed else "natural")
    return spline(np.interp(np.arange(0, len(points) - 1 + 1e-9, 1 / 8), np.arange(len(points)), at))


def ring(center: ArrayLike, radii: ArrayLike, count: int = 32, power: float = 1) -> np.ndarray:
    """Return ``count`` × 3 points on an ellipse (``power`` 1) or a rounded box (less) about a centre in space."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    flat = np.sign(circle) * np.abs(circle) ** power * np.asarray(radii)
    return np.column_stack([flat, np.zeros(count)]) + np.asarray(center)


def xyz(*place: float) -> np.ndarray:
    """Return a point or a step in space as an array."""
    return np.array(place, float)


def convex_hull(points: np.ndarray) -> np.ndarray:
    """Return the convex hull of N × 2 points, K × 2 float32."""
    return cv2.convexHull(points.reshape(-1, 2).astype(np.float32))[:, 0]


def roughen(rng: np.random.Generator, outline: np.ndarray, amount: float, waves: int = 24) -> np.ndarray:
    """Return a closed outline, N × 2, with uneven edges: moved away from its centre by about ±``amount`` pixels."""
    around = np.vstack([outline, outline[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(around, axis=0), axis=1))])
    at = np.linspace(0, length[-1], 10 * waves, endpoint=False)
    dense = np.stack([np.interp(at, length, around[:, i]) for i in (0, 1)], 1)
    outward = dense - dense.mean(0)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6
    push = noise(rng, 1, len(dense), 10)[0] + 0.5 * noise(rng, 1, len(dense), 3)[0]
    return dense + outward * (amount * push)[:, None]


def symmetric_outline(half: ArrayLike) -> np.ndarray:
    """Return a closed outline from its half x > 0: N × 2 points from the top down, then their reflections upwards."""
    points = np.array(half, float)
    return np.vstack([points, points[::-1] * [-1, 1]])


def blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    """Return a Gaussian blur of ``sigma`` pixels, 0.3 at least."""
    return cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.3))


def tint(image: np.ndarray, amount: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Blend a colour into an image, H × W × 3, by amounts, H × W, clipped to 0–1."""
    amount = np.clip(amount, 0, 1)[..., None]
    return image + amount * (color - image)


class Canvas:
    """Colours and labels of one person, painted together at SUPERSAMPLING times the image's size."""

    def __init__(self, height: int, width: int):
        shape = height * SUPERSAMPLING, width * SUPERSAMPLING
        self.color = np.zeros((*shape, 3), np.uint8)
        """RGB."""
        self.label = np.zeros(shape, np.uint8)
        """Class ids; 0 where nothing is painted."""

    def paint(
        self,
        points: np.ndarray,
        color: Color | None,
        region: int | None = None,
        inside: tuple[int, ...] = (),
        holes: Sequence[np.ndarray] = (),
        width: float = 0,
    ) -> None:
        """Fill an outline, or draw it as a line.

        Args:
            points: N × 2 (x, y) in pixels of the image.
            color: RGB; None leaves the colours as they are.
            region: class id; None leaves the labels as they are.
            inside: class ids to paint over; empty for all.
            holes: outlines, N × 2, that are left out.
            width: of the line, in pixels of the image; 0 fills the outline.
        """
        fine = (np.asarray(points) + 0.5) * SUPERSAMPLING - 0.5
        pad = width * SUPERSAMPLING + 2
        left, top = np.maximum(np.floor(fine.min(0) - pad), 0).astype(int)
        right, bottom = np.minimum(np.ceil(fine.max(0) + pad), self.label.shape[::-1]).astype(int)
        if left >= right or top >= bottom:
            return
        drawn = np.zeros((bottom - top, right - left), np.uint8)
        trace(drawn, fine - (left, top), 1, width * SUPERSAMPLING)
        for hole in holes:
            trace(drawn, (hole + 0.5) * SUPERSAMPLING - 0.5 - (left, top), 0)
        label, colors = self.label[top:bottom, left:right], self.color[top:bottom, left:right]
        painted = (drawn > 0) & np.isin(label, inside) if inside else drawn > 0
        if color is not None:
            colors[painted] = np.clip(color, 0, 255).astype(np.uint8)
        if region is not None:
            label[painted] = region

    def coverage(self, *regions: int) -> np.ndarray:
        """Return how much of each pixel of the image these regions cover, H × W float32, 0–1."""
        covered = np.isin(self.label, regions).astype(np.float32)
        return cv2.resize(covered, None, fx=1 / SUPERSAMPLING, fy=1 / SUPERSAMPLING, interpolation=cv2.INTER_AREA)


def trace(plane: np.ndarray, points: np.ndarray, value: float, width: float = 0) -> None:
    """Fill an outline (N × 2, pixels of this plane) with a value, or draw it as a line ``width`` pixels wide."""
    fixed = [np.round(np.clip(points, -4000, 4000) * 16).astype(np.int32)]
    if width:
        cv2.polylines(plane, fixed, False, value, max(1, round(width)), shift=4)
    else:
        cv2.fillPoly(plane, fixed, value, shift=4)


@dataclass(frozen=True)
class Pose:
    """Rotates points in space about PIVOT, and projects them into the image."""

    angles: np.ndarray
    """Yaw (towards the image's right), pitch (down), roll (clockwise), in radians."""
    scale: float
    """Pixels between the pupils of a frontal face."""
    offset: np.ndarray
    """The pivot's (x, y) in pixels."""

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Project … × 3 points to … × 2 pixels."""
        (cy, cp, cr), (sy, sp, sr) = np.cos(self.angles), np.sin(self.angles)
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        turned = (points - PIVOT) @ (roll @ pitch @ yaw).T
        nearer = DISTANCE / (DISTANCE - turned[..., 2:])
        return self.offset + self.scale * turned[..., :2] * nearer
