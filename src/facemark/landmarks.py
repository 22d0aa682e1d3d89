"""Regions of one upright face → the 68 points of iBUG-68, each with a score.

Three steps, each to be looked at on its own: :func:`measure` reads the points off the regions' edges and centroids;
:class:`LandmarkModel` fills in what was not seen from a point distribution model (Cootes et al., "Active Shape
Models", CVIU 1995); and a closed-form ridge map turns edges into the convention that annotators follow.
"""

import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from facemark.geometry import LEVEL, align, apply, centroid, invert, outline, reach
from facemark.labels import (
    FACE,
    FLIP_POINTS,
    INNER_LIP,
    JAW,
    L_BROW_POINTS,
    L_EYE_POINTS,
    NOSE_BASE,
    NOSE_BRIDGE,
    OUTER_LIP,
    R_BROW_POINTS,
    R_EYE_POINTS,
    Region,
)

JAW_ANGLES = np.radians(np.linspace(-102, 102, 17))
"""Directions from the middle of the face to the jaw points, 0 is down, negative towards the picture's left."""
LIPS = [Region.U_LIP, Region.L_LIP, Region.MOUTH]
SMALLEST = 4.0
"""A region of fewer pixels of the crop was not seen."""
MODES = 20
"""Modes of the point distribution model."""
NOISE, OUTLIER, RIDGE = 0.05, 0.15, 3e-4
"""Assumed error of a measured point, the error at which it is half believed (both shares of the distance of the outer
eye corners), and the ridge map's penalty."""


def measure(regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Read the 68 points off the regions of an upright face.

    Args:
        regions: 19 × S × S probabilities.

    Returns:
        Points 68 × 2 in the crop's pixels, NaN where the region was not seen, and how sure the parser was of the
        region at each point, 68 values in 0–1.
    """
    points, scores = np.full((68, 2), np.nan), np.zeros(68)

    def put(which: slice, found: np.ndarray, region: np.ndarray) -> None:
        points[which], scores[which] = found, confidence(region)

    for which, region in ((R_EYE_POINTS, Region.R_EYE), (L_EYE_POINTS, Region.L_EYE)):
        put(which, lids(regions[region]), regions[region])
    for which, region in ((R_BROW_POINTS, Region.R_BROW), (L_BROW_POINTS, Region.L_BROW)):
        put(which, brow(regions[region]), regions[region])
    bridge, base = nose(regions[Region.NOSE])
    put(NOSE_BRIDGE, bridge, regions[Region.NOSE])
    put(NOSE_BASE, base, regions[Region.NOSE])
    mouth = regions[LIPS].sum(0)
    put(OUTER_LIP, outer_lip(mouth), mouth)
    put(INNER_LIP, inner_lip(regions, mouth), mouth)
    face = regions[FACE].sum(0)
    put(JAW, jaw(face), face)
    scores[np.isnan(points).any(1)] = 0
    return points, scores


def confidence(region: np.ndarray) -> float:
    """Mean probability inside a region, 0 where there is none."""
    inside = region >= LEVEL
    return float(region[inside].mean()) if inside.sum() >= SMALLEST else 0.0


def ends(region: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The region's outermost points along its own long axis, the one at the picture's left first."""
    line = outline(region)
    if len(line) < 4 or (region >= LEVEL).sum() < SMALLEST:
        return None
    middle = line.mean(0)
    axis = np.linalg.svd(line - middle, full_matrices=False)[2][0]
    axis = axis if axis[0] > 0 else -axis
    along = (line - middle) @ axis
    return line[along.argmin()], line[along.argmax()]


def edge(region: np.ndarray, left: np.ndarray, right: np.ndarray, shares: list[float], side: int) -> np.ndarray:
    """Points of the upper (``side`` -1) or lower (1) edge over the given shares of the way from left to right."""
    across = right - left
    normal = side * np.array([-across[1], across[0]]) / max(np.linalg.norm(across), 1e-6)
    starts = left + np.array(shares)[:, None] * across
    # begins beyond the other edge, so that a chord outside a bent region still meets it
    back = np.linalg.norm(across)
    return starts + (reach(region, starts - back * normal, normal, 2 * back)[:, None] - back) * normal


def lids(region: np.ndarray) -> np.ndarray:
    """Six points around an eye: corner, upper lid, corner, lower lid, clockwise from the picture's left."""
    corners = ends(region)
    if corners is None:
        return np.full((6, 2), np.nan)
    left, right = corners
    upper, lower = edge(region, left, right, [0.33, 0.67], -1), edge(region, left, right, [0.67, 0.33], 1)
    return np.vstack([left, upper, right, lower])


def brow(region: np.ndarray) -> np.ndarray:
    """Five points along the upper half of a brow, from the picture's left."""
    corners = ends(region)
    if corners is None:
        return np.full((5, 2), np.nan)
    left, right = corners
    shares = [0.25, 0.5, 0.75]
    upper, lower = edge(region, left, right, shares, -1), edge(region, left, right, shares, 1)
    return np.vstack([left, 0.75 * upper + 0.25 * lower, right])


def nose(region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Four points down the bridge to the tip, five along the base."""
    line = outline(region)
    if len(line) < 4 or (region >= LEVEL).sum() < SMALLEST:
        return np.full((4, 2), np.nan), np.full((5, 2), np.nan)
    top, bottom = line[line[:, 1].argmin()], line[:, 1].max()
    wings = line[line[:, 1] > top[1] + 0.5 * (bottom - top[1])]
    left, right = wings[wings[:, 0].argmin()], wings[wings[:, 0].argmax()]
    base = edge(region, left, right, [0.15, 0.32, 0.5, 0.68, 0.85], 1)
    tip = top + 0.75 * (base[2] - top)
    return top + np.linspace(0, 1, 4)[:, None] * (tip - top), base


def outer_lip(mouth: np.ndarray) -> np.ndarray:
    """Twelve points around the lips, clockwise from the corner at the picture's left."""
    corners = ends(mouth)
    if corners is None:
        return np.full((12, 2), np.nan)
    left, right = corners
    shares = (np.arange(1, 6) / 6).tolist()
    return np.vstack([left, edge(mouth, left, right, shares, -1), right, edge(mouth, left, right, shares[::-1], 1)])


def inner_lip(regions: np.ndarray, mouth: np.ndarray) -> np.ndarray:
    """Eight points around the inside of the mouth; on the seam of the lips where it is closed."""
    corners = ends(mouth)
    if corners is None:
        return np.full((8, 2), np.nan)
    left, right = corners
    left, right = left + 0.1 * (right - left), right + 0.1 * (left - right)
    upper = edge(regions[Region.U_LIP], left, right, [0.25, 0.5, 0.75], 1)
    lower = edge(regions[Region.L_LIP], left, right, [0.75, 0.5, 0.25], -1)
    return np.vstack([left, upper, right, lower])


def jaw(face: np.ndarray) -> np.ndarray:
    """Seventeen points where rays from the middle of the face leave it, from the picture's left to its right."""
    middle = centroid(np.where(face >= LEVEL, face, 0))
    if np.isnan(middle).any():
        return np.full((17, 2), np.nan)
    rays = np.c_[np.sin(JAW_ANGLES), np.cos(JAW_ANGLES)]
    return middle + reach(face, np.broadcast_to(middle, rays.shape), rays, 1.5 * len(face))[:, None] * rays


def mirrored(shapes: np.ndarray) -> np.ndarray:
    """Mirror shapes (… × 68 × 2) about x = 0 and rename their points."""
    return shapes[..., FLIP_POINTS, :] * (-1, 1)


def mean_shape(shapes: np.ndarray) -> np.ndarray:
    """Procrustes mean of N × 68 × 2 shapes, symmetric, its outer eye corners at (-0.5, 0) and (0.5, 0)."""
    even = np.ones(68)
    mean = shapes[0]
    for _ in range(4):
        mean = np.mean([apply(align(shape, mean, even), shape) for shape in shapes], 0)
        mean = apply(align(mean[[36, 45]], np.array([(-0.5, 0), (0.5, 0)]), np.ones(2)), mean)
        mean = (mean + mirrored(mean)) / 2
    return mean


@dataclass
class LandmarkModel:
    """Point distribution model and ridge map, in the frame of a mean shape whose outer eye corners are 1 apart.

    It holds the sums from which both are solved rather than the solution, so faces of another dataset are added
    without those it has seen before.
    """

    mean: np.ndarray
    """Mean shape, 68 × 2."""
    count: float
    spread: np.ndarray
    """Sum of the outer products of true shapes less the mean, 136 × 136."""
    inputs: np.ndarray
    """Sum of the outer products of measured shapes less the mean, with a 1 at the end, 137 × 137."""
    outputs: np.ndarray
    """Sum of their outer products with what is missing to the true shapes, 137 × 136."""

    def __post_init__(self) -> None:
        values, vectors = np.linalg.eigh(self.spread / self.count)
        self.modes, self.variances = vectors[:, : -MODES - 1 : -1], np.maximum(values[: -MODES - 1 : -1], 1e-8)
        ridge = RIDGE * self.count * np.eye(137)
        ridge[-1, -1] = 0
        self.correction = np.linalg.solve(self.inputs + ridge + 1e-9 * np.eye(137), self.outputs)

    @classmethod
    def blank(cls, truths: np.ndarray) -> "LandmarkModel":
        """A model of true shapes alone, N × 68 × 2: points are where the regions' edges are."""
        mean = mean_shape(truths)
        model = cls(mean, 1.0, np.eye(136), np.eye(137), np.zeros((137, 136)))
        framed = np.array([apply(align(truth, mean, np.ones(68)), truth) for truth in truths]) - mean
        rows = np.concatenate([framed, mirrored(framed)]).reshape(-1, 136)
        return replace(model, count=float(len(rows)), spread=rows.T @ rows)

    def fill(self, points: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fit the point distribution model to what was seen and take from it what was not.

        Returns:
            The shape in the model's frame 68 × 2, the matrix from the points' frame to it, and the scores, lowered
            where a point does not fit the others.
        """
        seen = np.where(np.isnan(points), 0, points)
        weights, shape = scores + 1e-6 * (scores > 0), self.mean
        for _ in range(3):
            matrix = align(seen, shape, weights)
            x = apply(matrix, seen)
            twice = np.repeat(weights, 2)
            normal = self.modes.T @ (twice[:, None] * self.modes) + np.diag(NOISE**2 / self.variances)
            b = np.linalg.solve(normal, self.modes.T @ (twice * (x - self.mean).ravel()))
            shape = self.mean + (self.modes @ b).reshape(68, 2)
            weights = scores / (1 + (np.linalg.norm(x - shape, axis=1) / OUTLIER) ** 2)
        return shape + weights[:, None] * (x - shape), matrix, weights

    def __call__(self, points: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Turn measured points (68 × 2, NaN where unseen) and scores into all 68 points and their scores."""
        x, matrix, scores = self.fill(points, scores)
        x = x + (np.append((x - self.mean).ravel(), 1) @ self.correction).reshape(68, 2)
        return apply(invert(matrix), x), scores

    def add(self, faces: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> "LandmarkModel":
        """Learn from (measured points, their scores, true points) of more faces, each also mirrored."""
        rows, targets, shapes = [], [], []
        for points, scores, truth in faces:
            x, matrix, _ = self.fill(points, scores)
            wanted = apply(matrix, truth)
            framed = apply(align(truth, self.mean, np.ones(68)), truth)
            for turn in (lambda shape: shape, mirrored):
                rows.append(np.append((turn(x) - self.mean).ravel(), 1))
                targets.append((turn(wanted) - turn(x)).ravel())
                shapes.append((turn(framed) - self.mean).ravel())
        rows, targets, shapes = np.array(rows), np.array(targets), np.array(shapes)
        return LandmarkModel(
            self.mean,
            self.count + len(rows),
            self.spread + shapes.T @ shapes,
            self.inputs + rows.T @ rows,
            self.outputs + rows.T @ targets,
        )

    def save(self, path: Path | str) -> None:
        """Write the sums as .npz, without pickle."""
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path | str) -> "LandmarkModel":
        """Read what :meth:`save` wrote; FileNotFoundError or ValueError where there is no such file or model."""
        try:
            with np.load(path, allow_pickle=False) as file:
                return cls(**{field.name: file[field.name] for field in fields(cls)})
        except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a landmark model; the calibrate stage writes one") from error
