"""From the regions of an aligned crop to the 68 points of iBUG-68, each with a score.

Starting at the mean face, a few linear maps step to the points: supervised descent (Xiong & De la Torre, CVPR 2013).
Each step samples the log-odds of the regions at and around the current points. Near a contour these grow with the
distance from it, so a linear map turns them into the move that brings each point onto its contours. The moves are modes
of a point distribution model (Cootes et al., "Active Shape Models", CVIU 1995). The maps are ridge regressions in
closed form. They are fitted to occluded faces too, so visible regions predict hidden points.

Coordinates in this module are shares of the crop's side, from its top-left corner.
"""

import zipfile
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from facemark.geometry import sample_bilinear
from facemark.labels import FACE, FLIP, FLIP_POINTS, NOSE_BASE, OUTER_EYE_CORNERS, Region

FEATURE_GROUPS = [
    *(frozenset({region}) for region in FACE if region != Region.SKIN),
    *map(frozenset, (FACE, {Region.L_EAR, Region.R_EAR}, {Region.HAIR}, {Region.NECK}, {Region.CLOTH})),
    frozenset({Region.BACKGROUND}),
]
"""The classes that a step samples, alone or summed; the last, background, is what an occluder shows."""
FLIP_GROUPS = [FEATURE_GROUPS.index(frozenset(FLIP[list(regions)].tolist())) for regions in FEATURE_GROUPS]
SAMPLING_OFFSETS, FLIP_OFFSETS = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]), [0, 2, 1, 3, 4]
"""Where a step samples: at each point and at four places around it."""
SAMPLING_RADII = (0.07, 0.035, 0.025, 0.025)
"""Distance of those places from the point, for each step."""
MAP_SIDE = 128
"""Side in pixels of the sampled maps."""
PROBABILITY_FLOOR = 0.02
"""Added to a probability and to its complement, so that log-odds stay finite."""
SHAPE_MODES = 48
"""Number of modes of the point distribution model."""
RIDGE_PENALTY = 2e-4
"""Ridge penalty of the linear maps for each row that they are fitted to."""
PRIOR_WEIGHT = 300.0
"""Weight in the penalty of a row from an earlier fit, whose data is no longer there, against a new one."""
START_JITTER = 0.05
"""Standard deviation of the random rotation (radians), log scale and twice the shift of the start of a fit."""
HALF_SCORE_ERROR = 0.08
"""Expected error at which a point's score is 0.5, as a share of the distance of the outer eye corners."""


def feature_maps(probabilities: np.ndarray) -> np.ndarray:
    """The maps that steps sample, MAP_SIDE × MAP_SIDE × 15 uint8 in 0–255, of 19 × S × S probabilities."""
    maps = [
        cv2.resize(probabilities[list(which)].sum(0), (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA)
        for which in FEATURE_GROUPS
    ]
    return np.round(255 * np.stack(maps, -1).clip(0, 1)).astype(np.uint8)


def log_odds(maps: np.ndarray, points: np.ndarray, radius: float) -> np.ndarray:
    """The log-odds that a step samples at 68 × 2 points: 68 × 5 × 15."""
    places = MAP_SIDE * (points[:, None] + radius * SAMPLING_OFFSETS) - 0.5
    share = sample_bilinear(maps, places) / 255
    return np.log((share + PROBABILITY_FLOOR) / (1 - share + PROBABILITY_FLOOR))


def visibility(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Share of face, 0–1, on the way from each of 68 × 2 points towards the nose: 0 behind an occluder."""
    inward = points + np.array([0.1, 0.2, 0.3])[:, None, None] * (points[NOSE_BASE].mean(0) - points)
    face = maps[..., [FEATURE_GROUPS.index(frozenset(FACE))]]
    return sample_bilinear(face, MAP_SIDE * inward - 0.5).mean((0, 2)) / 255


def flip_landmarks(points: np.ndarray) -> np.ndarray:
    """Flip landmarks (… × 68 × 2) about the crop's middle and swap left and right."""
    return points[..., FLIP_POINTS, :] * (-1, 1) + (1, 0)


def occlude_maps(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy of the maps in which an occluder covers one side of the face, or one of its parts is missing."""
    maps = maps.copy()
    if rng.random() < 0.3:
        maps[..., rng.integers(len(FACE) - 1)] = 0
        return maps
    rows, columns = np.indices(maps.shape[:2]) / MAP_SIDE
    turn, edge = rng.uniform(0, 2 * np.pi), rng.uniform(-0.04, 0.2)
    hidden = (columns - 0.5) * np.cos(turn) + (rows - 0.55) * np.sin(turn) > edge
    maps[hidden] = 0
    maps[hidden, -1] = 255
    return maps


def jitter_shape(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The points, 68 × 2, rotated, scaled and shifted at random."""
    turn, log_scale, *shift = rng.normal(0, START_JITTER * np.array([1, 1, 0.5, 0.5]))
    scale = np.exp(log_scale)
    matrix = scale * np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    return (points - 0.5) @ matrix.T + 0.5 + shift


def fit_ridge(rows: np.ndarray, targets: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression from rows N × D to targets N × M.

    Returns:
        The linear map D × M, and the leave-one-out residuals N × M: how far each target is from its prediction by a map
        that was fitted to all other rows.
    """
    rows = rows.astype(float)
    count, width = rows.shape
    if count < width:
        inverse = np.linalg.inv(rows @ rows.T + penalty * np.eye(count))
        weights = inverse @ targets
        return rows.T @ weights, weights / inverse.diagonal()[:, None]
    inverse = np.linalg.inv(rows.T @ rows + penalty * np.eye(width))
    weights = inverse @ (rows.T @ targets)
    leverage = np.einsum("nd,nd->n", rows @ inverse, rows)
    return weights, (targets - rows @ weights) / (1 - leverage)[:, None]


@dataclass
class LandmarkModel:
    """A mean face, its modes, and the linear maps that step from it to the points of a face."""

    mean: np.ndarray
    """68 × 2."""
    modes: np.ndarray
    """SHAPE_MODES × 136, orthonormal."""
    steps: np.ndarray
    """Steps × D × SHAPE_MODES: the map of each step from its D inputs to a move along the modes."""
    trust: np.ndarray
    """D × 68: from the inputs of the last step to the logarithm of each point's expected error, as a share of the
    distance of the outer eye corners."""
    known: int = 0
    """Rows that the maps have been fitted to."""

    @classmethod
    def from_shapes(cls, faces: np.ndarray) -> "LandmarkModel":
        """A model of the mean and modes of N × 68 × 2 shapes, whose maps do not move yet."""
        both = np.concatenate([faces, flip_landmarks(faces)]).astype(float)
        mean = both.mean(0)
        modes = np.linalg.svd((both - mean).reshape(-1, 136), full_matrices=False)[2][:SHAPE_MODES]
        modes = np.pad(modes, [(0, SHAPE_MODES - len(modes)), (0, 0)])
        inputs = 68 * len(SAMPLING_OFFSETS) * len(FEATURE_GROUPS) + SHAPE_MODES + 1
        return cls(mean, modes, np.zeros((len(SAMPLING_RADII), inputs, SHAPE_MODES)), np.zeros((inputs, 68)))

    def __call__(self, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place the points of the face in an aligned crop.

        Args:
            probabilities: 19 × S × S of the crop.

        Returns:
            Points, 68 × 2 in the crop's pixels, and scores, 68 in 0–1. A score is 0 where no face is seen. Elsewhere it
            is 0.5 at an expected error of 8 % of the outer eye corners' distance, and grows as that falls.
        """
        points, scores = self.place(feature_maps(probabilities))
        return probabilities.shape[1] * points - 0.5, scores

    def place(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points, 68 × 2 in shares of the crop's side, and scores, from the maps of :func:`feature_maps`."""
        points = self.mean
        for step, radius in zip(self.steps, SAMPLING_RADII, strict=True):
            row = self._row(log_odds(maps, points, radius), points)
            points = points + (row @ step @ self.modes).reshape(68, 2)
        trust = 1 / (1 + (np.exp(row @ self.trust) / HALF_SCORE_ERROR) ** 2)
        return points, trust * visibility(maps, points)

    def _row(self, read: np.ndarray, points: np.ndarray) -> np.ndarray:
        """The inputs of a step: log-odds, the current shape, and 1, on scales that one penalty suits."""
        along = self.modes @ (points - self.mean).ravel()
        return np.concatenate([0.5 / np.sqrt(read.size) * read.ravel(), 2 * along, [1]])

    def fit(self, faces: list[tuple[np.ndarray, np.ndarray]], seed: int = 0) -> "LandmarkModel":
        """A model fitted to these faces too, changed from this one no more than they ask for.

        Each face counts as it is, occluded, and both flipped. Each step is fitted from where the earlier steps, by
        their leave-one-out residuals, bring a face that they were not fitted to.

        Args:
            faces: of each the maps of :func:`feature_maps`, and the true points, 68 × 2 in shares of the crop's side.
            seed: of the occlusions and of the starting shapes.
        """
        rng = np.random.default_rng(seed)
        views = [each for maps, _ in faces for each in (maps, occlude_maps(maps, rng))]
        truths = np.repeat([truth for _, truth in faces], 2, 0)
        truths = np.concatenate([truths, flip_landmarks(truths)])
        points = np.array([jitter_shape(self.mean, rng) for _ in truths])
        eyes = np.linalg.norm(np.diff(truths[:, OUTER_EYE_CORNERS], axis=1), axis=-1)
        penalty = RIDGE_PENALTY * (len(truths) + PRIOR_WEIGHT * self.known)
        steps = []
        for step, radius in zip(self.steps, track(SAMPLING_RADII, "fitting steps"), strict=True):
            rows = self._rows(views, points, radius)
            moves = (truths - points).reshape(-1, 136) @ self.modes.T
            change, loo_residuals = fit_ridge(rows, moves - rows @ step, penalty)
            steps.append(step + change)
            points = points + ((moves - loo_residuals) @ self.modes).reshape(-1, 68, 2)
        errors = np.log(np.linalg.norm(truths - points, axis=2) / eyes + 0.002)
        change, _ = fit_ridge(rows, errors - rows @ self.trust, penalty)
        return replace(self, steps=np.array(steps), trust=self.trust + change, known=self.known + len(truths))

    def _rows(self, views: list[np.ndarray], points: np.ndarray, radius: float) -> np.ndarray:
        """The inputs of all faces and then of all faces flipped, float32 to save memory."""
        rows, half = [], len(views)
        for maps, face in zip(views, points[:half], strict=True):
            rows.append(self._row(log_odds(maps, face, radius), face).astype(np.float32))
        for maps, face in zip(views, points[half:], strict=True):
            read = log_odds(maps, flip_landmarks(face), radius)[FLIP_POINTS][:, FLIP_OFFSETS][..., FLIP_GROUPS]
            rows.append(self._row(read, face).astype(np.float32))
        return np.array(rows)

    def save(self, path: Path | str) -> None:
        """Write the model as .npz without pickle, its maps in fp16."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        halved = {name: values[name].astype(np.float16) for name in ("steps", "trust")}
        np.savez_compressed(path, **values | halved)

    @classmethod
    def load(cls, path: Path | str) -> "LandmarkModel":
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is no landmark model.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                values = {field.name: file[field.name].astype(np.float32) for field in fields(cls)}
                return cls(**values | {"known": int(values["known"])})
        except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a landmark model; the calibrate stage writes one") from error
