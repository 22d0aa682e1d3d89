"""Tools of the draughtsman: noise, curves, outlines, the canvas and the pose that projects onto it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import CubicSpline

SUPER = 3
"""How far outlines are enlarged; odd, so that a pixel's class is that of the enlarged pixel at its very centre."""

PIVOT = np.array([0, 0.7, -1.2])
"""The head turns about this point of the neck."""
DISTANCE = 16.0
"""From the camera to the pivot."""


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True as often as ``probability`` says."""
    return bool(rng.random() < probability)


def pick(rng: np.random.Generator, table: Sequence[tuple], jitter: float = 0.06) -> np.ndarray:
    """A colour between two neighbours of a table, a little off, as float RGB."""
    at = rng.uniform(0, len(table) - 1)
    low = np.array(table[int(at)], float)
    colour = low + (at % 1) * (np.array(table[int(at) + 1], float) - low)
    return np.clip(colour * rng.normal(1, jitter, 3), 8, 255)


def noise(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3) -> np.ndarray:
    """Smooth noise, H × W float32, about ±1; its largest features are ``cell`` pixels wide."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1)
        grid = rng.standard_normal((int(height / step) + 2, int(width / step) + 2), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return total / 1.3


def curve(points: np.ndarray, closed: bool = False) -> np.ndarray:
    """The smooth line through N points (any dimension), eight points to a span."""
    if closed:
        points = np.vstack([points, points[:1]])
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1) + 1e-6
    at = np.concatenate([[0], np.cumsum(np.sqrt(steps))])
    spline = CubicSpline(at, points, bc_type="periodic" if closed else "natural")
    return spline(np.interp(np.arange(0, len(points) - 1 + 1e-9, 1 / 8), np.arange(len(points)), at))


def ring(center: Sequence[float], radii: Sequence[float], count: int = 32, power: float = 1) -> np.ndarray:
    """An ellipse (``power`` 1) or a rounded box (less) of ``count`` points x, y, z about a centre in space."""
    turn = np.linspace(0, 2 * np.pi, count, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], 1)
    flat = np.sign(circle) * np.abs(circle) ** power * radii
    return np.column_stack([flat, np.zeros(count)]) + center


def xyz(*place: float) -> np.ndarray:
    """A point or a step in space."""
    return np.array(place, float)


def hull(points: np.ndarray) -> np.ndarray:
    """The convex outline of N × 2 points."""
    return cv2.convexHull(points.reshape(-1, 2).astype(np.float32))[:, 0]


def rough(rng: np.random.Generator, outline: np.ndarray, amount: float, waves: int = 24) -> np.ndarray:
    """A closed outline with uneven edges: points are pushed from its middle by about ``amount`` pixels."""
    around = np.vstack([outline, outline[:1]])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(around, axis=0), axis=1))])
    at = np.linspace(0, length[-1], 10 * waves, endpoint=False)
    dense = np.stack([np.interp(at, length, around[:, i]) for i in (0, 1)], 1)
    outward = dense - dense.mean(0)
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6
    push = noise(rng, 1, len(dense), 10)[0] + 0.5 * noise(rng, 1, len(dense), 3)[0]
    return dense + outward * (amount * push)[:, None]


def mirrored(points: Sequence) -> np.ndarray:
    """Points x, y of the side x > 0 seen from the top down, led on through the other side: a closed outline."""
    points = np.array(points, float)
    return np.vstack([points, points[::-1] * [-1, 1]])


def blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian blur of ``sigma`` pixels."""
    return cv2.GaussianBlur(plane, (0, 0), max(sigma, 0.3))


def tint(image: np.ndarray, amount: np.ndarray, color: np.ndarray) -> np.ndarray:
    """Blend a colour into a picture by H × W amounts 0–1."""
    amount = np.clip(amount, 0, 1)[..., None]
    return image + amount * (color - image)


class Canvas:
    """Colours and labels of one person, :data:`SUPER` times enlarged, painted together."""

    def __init__(self, height: int, width: int):
        self.color = np.zeros((height * SUPER, width * SUPER, 3), np.uint8)
        self.label = np.zeros((height * SUPER, width * SUPER), np.uint8)

    def paint(
        self,
        points: np.ndarray,
        color: np.ndarray | None,
        region: int | None = None,
        inside: tuple[int, ...] = (),
        holes: Sequence[np.ndarray] = (),
        width: float = 0,
    ) -> None:
        """Fill an outline (N × 2 pixels), or draw it as a line ``width`` pixels wide.

        Only what lies ``inside`` these regions and outside the ``holes`` is painted; without ``region`` the labels
        stay as they are, without ``color`` the colours.
        """
        fine = (np.asarray(points) + 0.5) * SUPER - 0.5
        pad = width * SUPER + 2
        left, top = np.maximum(np.floor(fine.min(0) - pad), 0).astype(int)
        right, bottom = np.minimum(np.ceil(fine.max(0) + pad), self.label.shape[::-1]).astype(int)
        if left >= right or top >= bottom:
            return
        there = np.zeros((bottom - top, right - left), np.uint8)
        trace(there, fine - (left, top), 1, width * SUPER)
        for hole in holes:
            trace(there, (hole + 0.5) * SUPER - 0.5 - (left, top), 0)
        label, colors = self.label[top:bottom, left:right], self.color[top:bottom, left:right]
        there = (there > 0) & np.isin(label, inside) if inside else there > 0
        if color is not None:
            colors[there] = np.clip(color, 0, 255).astype(np.uint8)
        if region is not None:
            label[there] = region

    def shrink(self, *regions: int) -> np.ndarray:
        """How much of each pixel of the picture these regions cover, H × W, 0–1."""
        there = np.isin(self.label, regions).astype(np.float32)
        return cv2.resize(there, None, fx=1 / SUPER, fy=1 / SUPER, interpolation=cv2.INTER_AREA)


def trace(plane: np.ndarray, points: np.ndarray, value: float, width: float = 0) -> None:
    """Fill an outline (N × 2 pixels of this plane) with a value, or draw it as a line ``width`` pixels wide."""
    fixed = [np.round(np.clip(points, -4000, 4000) * 16).astype(np.int32)]
    if width:
        cv2.polylines(plane, fixed, False, value, max(1, round(width)), shift=4)
    else:
        cv2.fillPoly(plane, fixed, value, shift=4)


@dataclass(frozen=True)
class Pose:
    """Turns points in space about :data:`PIVOT` and projects them into the picture."""

    angles: np.ndarray
    """yaw (to the picture's right), pitch (down), roll (clockwise), radians"""
    scale: float
    """pixels between the pupils of a frontal face"""
    offset: np.ndarray
    """the pivot's pixel"""

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Project … × 3 points to … × 2 pixels."""
        (cy, cp, cr), (sy, sp, sr) = np.cos(self.angles), np.sin(self.angles)
        yaw = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
        pitch = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        roll = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        turned = (points - PIVOT) @ (roll @ pitch @ yaw).T
        nearer = DISTANCE / (DISTANCE - turned[..., 2:])
        return self.offset + self.scale * turned[..., :2] * nearer
