"""Regions of one upright face → the 68 points of iBUG-68, each with a score.

From the mean face a few linear maps step to the points, by supervised descent (Xiong & De la Torre, CVPR 2013). Each
step reads the log-odds of the regions at and around the points where they stand. Near a contour these grow with the
distance from it, so a linear map of them moves each point by what the contours are off. The moves are modes of a point
distribution model (Cootes et al., "Active Shape Models", CVIU 1995); the maps are ridge regressions, in closed form.
They learn from faces with hidden parts too, so that what is not seen is placed by what is.

Coordinates in here are shares of the crop's side, from its top-left corner.
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
"""The regions that a step reads, alone or together; the last is what a hidden face shows."""
FLIP_GROUPS = [FEATURE_GROUPS.index(frozenset(FLIP[list(regions)].tolist())) for regions in FEATURE_GROUPS]
SAMPLING_OFFSETS, FLIP_OFFSETS = np.array([(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]), [0, 2, 1, 3, 4]
"""Where a step reads: at each point itself and at four places around it."""
SAMPLING_RADII = (0.07, 0.035, 0.025, 0.025)
"""How far from a point those places are, for each step."""
MAP_SIDE = 128
"""Pixels across the maps that are read."""
PROBABILITY_FLOOR = 0.02
"""Probabilities are read as if the parser might always be wrong by this much."""
SHAPE_MODES = 48
"""Modes of the point distribution model."""
RIDGE_PENALTY = 2e-4
"""Penalty of the linear maps for each row that they learn from."""
PRIOR_WEIGHT = 300.0
"""How many times more rows learned from before count in the penalty: they are gone and cannot speak for themselves."""
START_JITTER = 0.05
"""Standard deviation of the turn, the scale and twice the shift by which faces to learn from lie askew."""
HALF_SCORE_ERROR = 0.08
"""Expected error at which a point's score is 0.5, as a share of the distance of the outer eye corners."""


def feature_maps(regions: np.ndarray) -> np.ndarray:
    """The maps that are read, MAP_SIDE × MAP_SIDE × 15 uint8 in 0–255, of regions 19 × S × S in 0–1."""
    maps = [
        cv2.resize(regions[list(which)].sum(0), (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA)
        for which in FEATURE_GROUPS
    ]
    return np.round(255 * np.stack(maps, -1).clip(0, 1)).astype(np.uint8)


def log_odds(maps: np.ndarray, points: np.ndarray, radius: float) -> np.ndarray:
    """What a step reads at 68 × 2 points: 68 × 5 × 15 log-odds."""
    places = MAP_SIDE * (points[:, None] + radius * SAMPLING_OFFSETS) - 0.5
    share = sample_bilinear(maps, places) / 255
    return np.log((share + PROBABILITY_FLOOR) / (1 - share + PROBABILITY_FLOOR))


def visibility(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How much face there is on the way from each of 68 × 2 points to the nose, near the point: 0 behind a board."""
    inward = points + np.array([0.1, 0.2, 0.3])[:, None, None] * (points[NOSE_BASE].mean(0) - points)
    face = maps[..., [FEATURE_GROUPS.index(frozenset(FACE))]]
    return sample_bilinear(face, MAP_SIDE * inward - 0.5).mean((0, 2)) / 255


def flip_landmarks(points: np.ndarray) -> np.ndarray:
    """Mirror points (… × 68 × 2) about the crop's middle and rename them."""
    return points[..., FLIP_POINTS, :] * (-1, 1) + (1, 0)


def occlude_maps(maps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A copy of the maps in which a board covers one side of the face, or one of its parts is not seen."""
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
    """The points, turned, scaled and shifted a little."""
    turn, scale, shift = (
        rng.normal(0, START_JITTER),
        np.exp(rng.normal(0, START_JITTER)),
        rng.normal(0, START_JITTER / 2, 2),
    )
    matrix = scale * np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    return (points - 0.5) @ matrix.T + 0.5 + shift


def fit_ridge(rows: np.ndarray, targets: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray]:
    """The linear map D × M from rows N × D to targets N × M, and what each row's target lacks when left out of it."""
    rows = rows.astype(float)
    count, width = rows.shape
    if count < width:
        inverse = np.linalg.inv(rows @ rows.T + penalty * np.eye(count))
        weights = inverse @ targets
        return rows.T @ weights, weights / inverse.diagonal()[:, None]
    inverse = np.linalg.inv(rows.T @ rows + penalty * np.eye(width))
    learned = inverse @ (rows.T @ targets)
    leverage = np.einsum("nd,nd->n", rows @ inverse, rows)
    return learned, (targets - rows @ learned) / (1 - leverage)[:, None]


@dataclass
class LandmarkModel:
    """Mean face, its modes, and the linear maps that step from it to the points of a face."""

    mean: np.ndarray
    """68 × 2."""
    modes: np.ndarray
    """SHAPE_MODES × 136, orthonormal."""
    steps: np.ndarray
    """One D × SHAPE_MODES map a step, from what it reads to a move along the modes."""
    trust: np.ndarray
    """D × 68, from what the last step reads to the logarithm of each point's expected error, in eye distances."""
    known: int = 0
    """Rows that the maps have learned from."""

    @classmethod
    def from_shapes(cls, faces: np.ndarray) -> "LandmarkModel":
        """A model that knows the shapes N × 68 × 2 of faces in their crops, and no way from one to another."""
        both = np.concatenate([faces, flip_landmarks(faces)]).astype(float)
        mean = both.mean(0)
        modes = np.linalg.svd((both - mean).reshape(-1, 136), full_matrices=False)[2][:SHAPE_MODES]
        modes = np.pad(modes, [(0, SHAPE_MODES - len(modes)), (0, 0)])
        read = 68 * len(SAMPLING_OFFSETS) * len(FEATURE_GROUPS) + SHAPE_MODES + 1
        return cls(mean, modes, np.zeros((len(SAMPLING_RADII), read, SHAPE_MODES)), np.zeros((read, 68)))

    def __call__(self, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Place the points of the face whose regions these are.

        Args:
            regions: 19 × S × S probabilities of an upright crop.

        Returns:
            Points 68 × 2 in the crop's pixels, and scores in 0–1: 0 where no face is seen, and where it is, 0.5 for
            an expected error of 8 % of the outer eye corners' distance, more for less.
        """
        points, scores = self.place(feature_maps(regions))
        return regions.shape[1] * points - 0.5, scores

    def place(self, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points 68 × 2, in shares of the crop's side, and scores, from maps as :func:`readable` makes them."""
        points = self.mean
        for step, radius in zip(self.steps, SAMPLING_RADII, strict=True):
            row = self._row(log_odds(maps, points, radius), points)
            points = points + (row @ step @ self.modes).reshape(68, 2)
        trust = 1 / (1 + (np.exp(row @ self.trust) / HALF_SCORE_ERROR) ** 2)
        return points, trust * visibility(maps, points)

    def _row(self, read: np.ndarray, points: np.ndarray) -> np.ndarray:
        """What a linear map takes: log-odds, the shape so far, and 1, on scales that one penalty suits."""
        along = self.modes @ (points - self.mean).ravel()
        return np.concatenate([0.5 / np.sqrt(read.size) * read.ravel(), 2 * along, [1]])

    def fit(self, faces: list[tuple[np.ndarray, np.ndarray]], seed: int = 0) -> "LandmarkModel":
        """A model that places the points of these faces too, changed from this one no more than they ask for.

        Each face is learned from as it is, with some of it hidden, and both mirrored; each step from where the
        steps before it take a face that they have not learned from.

        Args:
            faces: maps as :func:`readable` makes them, and true points 68 × 2.
            seed: of what is hidden and of how the faces lie.
        """
        rng = np.random.default_rng(seed)
        maps_shown = [each for maps, _ in faces for each in (maps, occlude_maps(maps, rng))]
        truths = np.repeat([truth for _, truth in faces], 2, 0)
        truths = np.concatenate([truths, flip_landmarks(truths)])
        points = np.array([jitter_shape(self.mean, rng) for _ in truths])
        eyes = np.linalg.norm(np.diff(truths[:, OUTER_EYE_CORNERS], axis=1), axis=-1)
        penalty = RIDGE_PENALTY * (len(truths) + PRIOR_WEIGHT * self.known)
        steps = []
        for step, radius in zip(self.steps, track(SAMPLING_RADII, "learning steps"), strict=True):
            rows = self._rows(maps_shown, points, radius)
            moves = (truths - points).reshape(-1, 136) @ self.modes.T
            change, loo_residuals = fit_ridge(rows, moves - rows @ step, penalty)
            steps.append(step + change)
            points = points + ((moves - loo_residuals) @ self.modes).reshape(-1, 68, 2)
        errors = np.log(np.linalg.norm(truths - points, axis=2) / eyes + 0.002)
        change, _ = fit_ridge(rows, errors - rows @ self.trust, penalty)
        return replace(self, steps=np.array(steps), trust=self.trust + change, known=self.known + len(truths))

    def _rows(self, maps_shown: list[np.ndarray], points: np.ndarray, radius: float) -> np.ndarray:
        """A row for each of the maps and then for each of them flip_landmarks, float32 to save memory."""
        rows, half = [], len(maps_shown)
        for maps, face in zip(maps_shown, points[:half], strict=True):
            rows.append(self._row(log_odds(maps, face, radius), face).astype(np.float32))
        for maps, face in zip(maps_shown, points[half:], strict=True):
            read = log_odds(maps, flip_landmarks(face), radius)[FLIP_POINTS][:, FLIP_OFFSETS][..., FLIP_GROUPS]
            rows.append(self._row(read, face).astype(np.float32))
        return np.array(rows)

    def save(self, path: Path | str) -> None:
        """Write the model as .npz, its maps in fp16, without pickle."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        halved = {name: values[name].astype(np.float16) for name in ("steps", "trust")}
        np.savez_compressed(path, **values | halved)

    @classmethod
    def load(cls, path: Path | str) -> "LandmarkModel":
        """Read what :meth:`save` wrote; FileNotFoundError or ValueError where there is no such file or model."""
        try:
            with np.load(path, allow_pickle=False) as file:
                values = {field.name: file[field.name].astype(np.float32) for field in fields(cls)}
                return cls(**values | {"known": int(values["known"])})
        except (EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is not a landmark model; the calibrate stage writes one") from error
