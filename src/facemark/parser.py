"""From pictures to faces: the one inference path of the project.

A coarse parse of the whole picture finds the faces; each is cut out upright, in the framing that the network was
trained on, and parsed again; its regions give its points and refine the picture's mask.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import torch

from facemark import model
from facemark.engine import engine
from facemark.geometry import LEVEL, align, apply, centroid, chain, invert, outline, scaled, size_at
from facemark.labels import CLASSES, FACE, FLIP, L_EYE_POINTS, OUTER_LIP, R_EYE_POINTS, Region
from facemark.landmarks import LandmarkModel

EYES = [Region.L_EYE, Region.R_EYE, Region.EYE_G]
"""What shows where the eyes are: sunglasses hide them."""
LIPS = [Region.U_LIP, Region.L_LIP, Region.MOUTH]
PORTRAIT = {
    "right eye": ([Region.R_EYE], (0.377, 0.477), 1.0),
    "left eye": ([Region.L_EYE], (0.623, 0.477), 1.0),
    "right brow": ([Region.R_BROW], (0.370, 0.414), 0.3),
    "left brow": ([Region.L_BROW], (0.630, 0.414), 0.3),
    "nose": ([Region.NOSE], (0.5, 0.576), 0.5),
    "lips": (LIPS, (0.5, 0.751), 1.0),
}
"""Where the centroids of a face's parts lie in CelebAMask-HQ's portraits, as shares of the side, and their say."""
LONGEST = 1024
"""The coarse parse looks at no more than this many pixels along the longer side."""
SMALLEST = 8
"""Side in pixels, of the picture as it is parsed, under which nothing is taken for a face."""
DOT = 4
"""A region of fewer pixels was not seen."""
SAME = 0.5
"""Of two faces that share this much of the smaller one's box, only the surer one is kept."""
MOST = 100
"""Places in one picture that are looked at closer, those with the most evidence."""
TOGETHER = 32
"""Faces that are looked at closer at once, of several pictures, some 30 MB each at 320 pixels."""
LIKELY, WANTED = 0.3, 0.5
"""Evidence under which a place is not looked at closer, and under which a portrait shows no face."""
CLEAR = 0.85
"""Evidence, in all faces, under which the picture is also looked at lying on its sides and upside down."""
SURE = 0.5
"""Score under which a face is not reported: hands and clothes have some evidence, but no face's shape."""
CLOSER = 0.7
"""Say of a portrait over the coarse parse in the middle of a face."""
CONTOUR = 48
"""A region's contour has at most about this many points."""


@dataclass(frozen=True)
class RegionShape:
    """One region of one face, in the picture's pixels: area, centroid (x, y) and K × 2 contour."""

    area: float
    centroid: np.ndarray
    contour: np.ndarray


@dataclass(frozen=True)
class Face:
    """One face, all coordinates in the picture's pixels."""

    box: np.ndarray
    """x0, y0, x1, y1 of the landmarks."""
    score: float
    points: np.ndarray
    """68 × 2, iBUG-68."""
    scores: np.ndarray
    """68 values in 0–1, see :class:`facemark.landmarks.LandmarkModel`."""
    pupils: np.ndarray
    """2 × 2: the subject's right, then left."""
    mouth_center: np.ndarray
    regions: dict[str, RegionShape]


@dataclass(frozen=True)
class Parse:
    """What was found in one picture: its H × W mask of class ids, and its faces, the largest first."""

    mask: np.ndarray
    faces: list[Face]


@dataclass(frozen=True)
class View:
    """A picture, or an upright cut-out of it, as the network saw it."""

    matrix: np.ndarray
    """2 × 3, from the picture to the view: its pixels, or for a portrait a square of side 1."""
    regions: np.ndarray
    """19 × H × W probabilities."""


class FaceParser:
    """Finds, parses and measures all faces of a batch of pictures."""

    def __init__(self, weights: Path, landmarks: Path | None = None, device: str | None = None, flip: bool = True):
        """Load the network and the landmark model.

        Args:
            weights: file written by :func:`facemark.model.save`.
            landmarks: file written by :meth:`facemark.landmarks.LandmarkModel.save`; without, there are only portraits.
            device: a torch device; a GPU where there is one by default.
            flip: take the mean of pictures, and of faces that are measured, with their mirror images: better, slower.

        Raises:
            FileNotFoundError, ValueError: a file is missing or is not what it should be.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        network, self.size = model.load(weights)
        self.look = engine(network, self.device)
        self.landmarks, self.flip = landmarks and LandmarkModel.load(landmarks), flip

    def __call__(self, images: list[np.ndarray]) -> list[Parse]:
        """Parse H × W × 3 RGB uint8 pictures of any sizes."""
        return [self._parse(*each) for part in self._parts(images) for each in zip(*part, strict=True)]

    def portraits(self, images: list[np.ndarray]) -> tuple[list[list[View]], list[list[View]]]:
        """The coarse views of each picture, and the upright portraits of all that may be faces in it."""
        coarse, found = [], []
        for _, views, crops in self._parts(images):
            coarse += views
            found += crops
        return coarse, found

    def _parts(self, images: list[np.ndarray]) -> Iterator[tuple[list[np.ndarray], list[list[View]], list[list[View]]]]:
        """The pictures, their coarse views and their portraits: as many at a time as have TOGETHER faces, or one."""
        coarse = self._coarse(images, [0], self.flip)
        frames, start = [candidates(views) for views in coarse], 0
        for end in range(1, len(images) + 1):
            if end == len(images) or sum(map(len, frames[start : end + 1])) > TOGETHER:
                part = slice(start, end)
                yield images[part], coarse[part], self._found(images[part], coarse[part], frames[part])
                start = end

    def _found(
        self, images: list[np.ndarray], coarse: list[list[View]], frames: list[list[np.ndarray]]
    ) -> list[list[View]]:
        """The portraits of each picture in its frames; where they show no clear face, in those of its other ways up."""
        found = self._closer(images, frames)
        unclear = [i for i, crops in enumerate(found) if not any(self._clear(crop) for crop in crops)]
        for i in unclear:  # one at a time: what is seen of a picture the other ways up takes 0.3 GB
            turned = candidates([*coarse[i], *self._coarse([images[i]], [1, 2, 3])[0]])
            (found[i],) = self._closer([images[i]], [turned])
        return found

    def _clear(self, crop: View) -> bool:
        """Whether a portrait is so surely of a face that no other way up need be tried."""
        if evidence(crop.regions) < CLEAR:
            return False
        return self.landmarks is None or face_score(crop.regions, self.landmarks(crop.regions)[1]) >= SURE

    def _coarse(self, images: list[np.ndarray], turns: list[int], flip: bool = False) -> list[list[View]]:
        """Parse whole pictures, after so many quarter turns, at each scale of a pyramid.

        With ``flip``, the first view of each picture is the mean of both ways.
        """
        looks = [[look for turn in turns for look in scales(image, self.size, turn)] for image in images]
        mirrored = [each[0][1][:, ::-1] for each in looks if flip]
        regions = iter(self.look([*(small for each in looks for _, small in each), *mirrored]))
        views = [[View(matrix, next(regions)) for matrix, _ in each] for each in looks]
        for each, other in zip(views, regions, strict=False):  # nothing is left of these without flip
            each[0] = View(each[0].matrix, both_ways(each[0].regions, other))
        return views

    def _mean_of_both_ways(self, crops: list[np.ndarray]) -> list[np.ndarray]:
        """Probabilities of pictures, the mean of what is seen in them and in their mirror images."""
        regions = self.look([*crops, *(crop[:, ::-1] for crop in crops)])
        return [both_ways(*each) for each in zip(regions[: len(crops)], regions[len(crops) :], strict=True)]

    def _closer(self, images: list[np.ndarray], frames: list[list[np.ndarray]]) -> list[list[View]]:
        """Cut out and parse each face, twice: once to stand it upright, once to measure it; what is none is dropped."""
        for flip in (False, self.flip):
            crops = [
                cut_out(image, frame, self.size) for image, each in zip(images, frames, strict=True) for frame in each
            ]
            regions = iter(self._mean_of_both_ways(crops) if flip else self.look(crops))
            views = [[View(frame, face_alone(next(regions))) for frame in each] for each in frames]
            views = [[view for view in each if evidence(view.regions) >= WANTED] for each in views]
            frames = [[upright(view) for view in each] for each in views]
        return views

    def _parse(self, image: np.ndarray, coarse: list[View], crops: list[View]) -> Parse:
        """Measure the faces and paint the mask."""
        kept = self.measure(crops, image.shape[:2])
        faces = sorted((face for face, _ in kept), key=lambda face: -np.prod(face.box[2:] - face.box[:2]))
        return Parse(paint(image.shape[:2], coarse, [crop for _, crop in kept]), faces)

    def measure(self, crops: list[View], shape: tuple[int, int]) -> list[tuple[Face, View]]:
        """The faces in the portraits of a picture of this height and width, each with its own.

        Of those that overlap the surest counts, if it is sure enough.
        """
        found = sorted(((self._face(crop, shape), crop) for crop in crops), key=lambda each: -each[0].score)
        kept: list[tuple[Face, View]] = []
        for face, crop in found:
            if face.score >= SURE and all(overlap(face.box, other.box) < SAME for other, _ in kept):
                kept.append((face, crop))
        return kept

    def _face(self, crop: View, shape: tuple[int, int]) -> Face:
        matrix = crop_matrix(crop.matrix, self.size)
        back = invert(matrix)
        points, scores = self.landmarks(crop.regions)
        points = apply(back, points).astype(np.float32)
        eyes = [confident_centroid(crop.regions[eye]) for eye in (Region.R_EYE, Region.L_EYE)]
        lips = confident_centroid(crop.regions[LIPS].sum(0))
        guesses = [points[which].mean(0) for which in (R_EYE_POINTS, L_EYE_POINTS, OUTER_LIP)]
        centres = [
            guess if np.isnan(c).any() else apply(back, c) for c, guess in zip((*eyes, lips), guesses, strict=True)
        ]
        return Face(
            box=np.r_[points.min(0), points.max(0)],
            score=face_score(crop.regions, scores),
            points=points,
            scores=scores.astype(np.float32),
            pupils=np.array(centres[:2], np.float32),
            mouth_center=np.array(centres[2], np.float32),
            regions=shapes(crop.regions, matrix, shape),
        )


def both_ways(regions: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """The mean of the probabilities of a picture and of its mirror image."""
    return (regions + mirrored[FLIP[: len(CLASSES)], :, ::-1]) / 2


def pyramid(longest: int, size: int) -> list[int]:
    """Longer sides, in pixels, at which a picture of this longer side is parsed: the network's own, then doubled."""
    sides = [size]
    while 1.4 * sides[-1] < min(longest, LONGEST):
        sides.append(min(2 * sides[-1], longest, LONGEST))
    return sides


def scales(image: np.ndarray, size: int, turns: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """A picture after so many quarter turns at each scale of its pyramid, with the matrix that leads there."""
    height, width = image.shape[:2]
    turned = np.rot90(image, turns)
    found = []
    for side in pyramid(max(height, width), size):
        scale = side / max(height, width)
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(turned, size_at(turned.shape, scale), interpolation=way)
        found.append((chain(scaled(scale), quarter_turns(height, width, turns)), small))
    return found


def quarter_turns(height: int, width: int, turns: int) -> np.ndarray:
    """The matrix of ``np.rot90(image, turns)`` for an H × W picture."""
    matrix = np.eye(3)
    for _ in range(turns):
        matrix = np.array([(0, 1, 0), (-1, 0, width - 1), (0, 0, 1)]) @ matrix
        height, width = width, height
    return matrix[:2]


def confidence(region: np.ndarray) -> float:
    """Mean probability inside a region, 0 where there is none."""
    inside = region >= LEVEL
    return float(region[inside].mean()) if inside.sum() >= DOT else 0.0


def confident_centroid(region: np.ndarray) -> np.ndarray:
    """Centroid of the sure part of a probability map; NaN where there is none."""
    return centroid(np.where(region >= LEVEL, region, 0))


def evidence(regions: np.ndarray) -> float:
    """How much a face this is, 0–1: the mean confidence in eyes or glasses, nose, lips and skin."""
    parts = [regions[EYES].sum(0), regions[Region.NOSE], regions[LIPS].sum(0), regions[Region.SKIN]]
    return float(np.mean([confidence(part) for part in parts]))


def face_score(regions: np.ndarray, scores: np.ndarray) -> float:
    """Score of a face, 0–1: its evidence times the mean score of the surer half of its points.

    Half a face is a face: points behind something say nothing against it.
    """
    return evidence(regions) * float(np.sort(scores)[len(scores) // 2 :].mean())


def faces_apart(regions: np.ndarray) -> list[tuple[tuple[slice, slice], np.ndarray]]:
    """The faces in a view: connected face regions, those with several noses split between them.

    Answers the rows and columns of each face's box, and the face's mask in it.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats((regions[FACE].sum(0) >= LEVEL).astype(np.uint8))
    _, nose_labels, nose_stats, nose_centres = cv2.connectedComponentsWithStats(
        (regions[Region.NOSE] >= LEVEL).astype(np.uint8)
    )
    areas = nose_stats[:, cv2.CC_STAT_AREA]
    apart = []
    for i in range(1, count):
        left, top, width, height = stats[i, :4]
        if min(width, height) < SMALLEST:
            continue
        box = slice(top, top + height), slice(left, left + width)
        face = labels[box] == i
        inside = [n for n in set(nose_labels[box][face]) - {0} if areas[n] >= SMALLEST]
        inside = [n for n in inside if areas[n] >= 0.3 * max(areas[inside])]
        if len(inside) < 2:
            apart.append((box, face))
            continue
        inside = sorted(inside, key=lambda n: -areas[n])[:MOST]
        nearest = nearest_nose(regions[:, box[0], box[1]], face, nose_centres[inside] - (left, top))
        for k in np.unique(nearest[face]):
            piece = face & (nearest == k)
            (y0, y1), (x0, x1) = (np.flatnonzero(piece.any(axis))[[0, -1]] + (0, 1) for axis in (1, 0))
            apart.append(((slice(top + y0, top + y1), slice(left + x0, left + x1)), piece[y0:y1, x0:x1]))
    return apart


def nearest_nose(regions: np.ndarray, face: np.ndarray, noses: np.ndarray) -> np.ndarray:
    """Which of K × 2 nose centres is nearest to each pixel of an H × W face region, H × W indices.

    What lies across a nose makes two of it: one with eyes and no lips, the other with lips and no eyes, much closer to
    each other than eyes and lips are. They count as one.
    """
    rows, columns = np.indices(face.shape, np.float32)
    nearest, least = np.zeros(face.shape, int), np.full(face.shape, np.inf, np.float32)
    for k, (x, y) in enumerate(noses):
        away = (columns - x) ** 2 + (rows - y) ** 2
        nearest[away < least] = k
        least = np.minimum(least, away)
    (eyes, eyed), (lips, lipped) = (
        middles(nearest, face & (regions[parts].sum(0) >= LEVEL), len(noses)) for parts in (EYES, LIPS)
    )
    for upper, lower in product(np.flatnonzero(eyed & ~lipped), np.flatnonzero(lipped & ~eyed)):
        if np.linalg.norm(noses[upper] - noses[lower]) < 0.5 * np.linalg.norm(eyes[upper] - lips[lower]):
            nearest[nearest == lower] = upper
    return nearest


def middles(cells: np.ndarray, seen: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Centroid (x, y) of what is seen in each of so many cells, K × 2, and whether it is enough, for H × W indices."""
    rows, columns = np.nonzero(seen)
    which = cells[rows, columns]
    pixels = np.bincount(which, minlength=count)
    sums = np.stack([np.bincount(which, places, count) for places in (columns, rows)], -1)
    return sums / pixels.clip(1)[:, None], pixels >= DOT


def portrait(regions: np.ndarray) -> np.ndarray | None:
    """The matrix that brings the face in a view into the framing of the training portraits, 1 × 1 in size.

    None where fewer than two kinds of its parts are seen.
    """
    seen, places, weights = [], [], []
    for region, place, weight in PORTRAIT.values():
        where = confident_centroid(regions[region].sum(0))
        if not np.isnan(where).any():
            seen.append(where)
            places.append(place)
            weights.append(weight)
    if len({place[1] for place in places}) < 2:
        return None
    return align(np.array(seen), np.array(places), np.array(weights))


def candidates(views: list[View]) -> list[np.ndarray]:
    """Frames of all that may be a face, matrices from the picture to a portrait of size 1, each face once."""
    found = []
    for view in views:
        for (rows, columns), face in faces_apart(view.regions):
            regions = np.where(face, view.regions[:, rows, columns], 0)
            matrix = portrait(regions)
            score = evidence(regions)
            if matrix is not None and score >= LIKELY:
                to_box = view.matrix - [(0, 0, columns.start), (0, 0, rows.start)]
                found.append((score, chain(matrix, to_box)))
    frames: list[np.ndarray] = []
    for _, frame in sorted(found, key=lambda each: -each[0]):
        if len(frames) < MOST and not any(same_frame(frame, other) for other in frames):
            frames.append(frame)
    return frames


def same_frame(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two portraits are of one face: of one size and way up, each other's centre close to their own."""
    centre = apply(invert(one), np.array([0.5, 0.55]))
    sizes = np.linalg.norm(one[:, 0]), np.linalg.norm(other[:, 0])
    upright = one[:, 0] @ other[:, 0] > 0.5 * sizes[0] * sizes[1]
    near = np.linalg.norm(apply(other, centre) - (0.5, 0.55)) < 0.15
    return bool(near and upright and 0.6 < sizes[0] / sizes[1] < 1.7)


def cut_out(image: np.ndarray, frame: np.ndarray, size: int) -> np.ndarray:
    """The portrait of ``size`` × ``size`` pixels that a frame cuts out of a picture; black beyond its edges."""
    matrix = crop_matrix(frame, size)
    shrink = np.linalg.norm(matrix[:, 0])
    if shrink < 0.5:  # bilinear sampling alone would skip pixels
        scale = max(2 * shrink, 1 / min(image.shape[:2]))  # never to nothing
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        matrix = chain(matrix, invert(scaled(scale)))
    return cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)


def crop_matrix(frame: np.ndarray, size: int) -> np.ndarray:
    """The matrix from the picture to the pixels of a portrait of ``size``."""
    return size * frame - [(0, 0, 0.5), (0, 0, 0.5)]


def face_alone(regions: np.ndarray) -> np.ndarray:
    """Blot out of a portrait's face classes whatever belongs to another face than the one in its middle."""
    apart = faces_apart(regions)
    if len(apart) < 2:
        return regions
    middle = (np.array(regions.shape[1:]) * (0.55, 0.5)).astype(int)

    def nearness(face: np.ndarray) -> float:
        distance = cv2.distanceTransform((~face).astype(np.uint8), cv2.DIST_L2, 3)[tuple(middle)]
        return face.sum() / (1 + distance) ** 2

    faces = np.zeros((len(apart), *regions.shape[1:]), bool)
    for whole, (box, face) in zip(faces, apart, strict=True):
        whole[box] = face
    mine = max(range(len(apart)), key=lambda i: nearness(faces[i]))
    others = np.delete(faces, mine, 0).any(0)
    regions = regions.copy()
    regions[np.ix_(FACE)] *= ~others
    return regions


def upright(view: View) -> np.ndarray:
    """The frame that a portrait's own parts ask for; the one it has where they say too little."""
    size = view.regions.shape[1]
    own = portrait(view.regions)
    return view.matrix if own is None else chain(own, crop_matrix(view.matrix, size))


def shapes(crop: np.ndarray, matrix: np.ndarray, shape: tuple[int, int]) -> dict[str, RegionShape]:
    """Area, centroid and contour of each region seen in a portrait, in a picture of this height and width."""
    back = invert(matrix)
    scale = abs(np.linalg.det(back[:, :2]))
    rows, columns = np.indices(crop.shape[1:])
    places = apply(back, np.stack([columns, rows], -1))
    crop = crop * ((places >= -0.5) & (places <= np.array(shape[::-1]) - 0.5)).all(-1)  # beyond it nothing is seen
    ids = crop.argmax(0)
    found = {}
    for region in range(1, len(CLASSES)):
        inside = ids == region
        line = outline(crop[region])
        if inside.sum() >= 4 and len(line) >= 4:
            line = apply(back, line[:: 1 + len(line) // CONTOUR]).clip(-0.5, np.array(shape[::-1]) - 0.5)
            centre = apply(back, centroid(np.where(inside, crop[region], 0)))
            found[CLASSES[region]] = RegionShape(float(inside.sum() * scale), centre, line)
    return found


def paint(shape: tuple[int, int], coarse: list[View], crops: list[View]) -> np.ndarray:
    """The mask, H × W class ids, of a picture of this height and width."""
    ids = blend(shape, coarse, crops).argmax(0).astype(np.uint8)
    return cv2.resize(ids, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def blend(shape: tuple[int, int], coarse: list[View], crops: list[View]) -> np.ndarray:
    """The mean of a picture's coarse parses, and within each portrait what was seen there closer.

    Answers 19 × H × W probabilities, where the longer side has at most LONGEST pixels.
    """
    scale = min(1, LONGEST / max(shape))
    width, height = size_at(shape, scale)
    canvas = np.zeros((len(CLASSES), height, width), np.float32)
    for view in coarse:
        for plane, region in zip(canvas, view.regions, strict=True):
            plane += cv2.resize(region, (width, height)) / len(coarse)
    for crop in crops:
        size = crop.regions.shape[1]
        matrix = chain(crop_matrix(crop.matrix, size), invert(scaled(scale)))
        back = invert(matrix)
        corners = apply(back, np.array([(0, 0), (size, 0), (size, size), (0, size)], float))
        x0, y0 = np.clip(np.floor(corners.min(0)), 0, (width, height)).astype(int)
        x1, y1 = np.clip(np.ceil(corners.max(0)), 0, (width, height)).astype(int)
        if x1 <= x0 or y1 <= y0:
            continue
        there = back - [(0, 0, x0), (0, 0, y0)]
        box = (int(x1 - x0), int(y1 - y0))
        weight = cv2.warpAffine(window(size), there, box)
        for region in range(len(CLASSES)):
            closer = cv2.warpAffine(crop.regions[region], there, box)
            canvas[region, y0:y1, x0:x1] += weight * (closer - canvas[region, y0:y1, x0:x1])
    return canvas


def window(size: int) -> np.ndarray:
    """How far a portrait overrules the coarse parse: CLOSER in the middle, falling to 0 at its edges."""
    ramp = np.minimum(np.arange(size), np.arange(size)[::-1]) / (size / 8)
    ramp = np.clip(ramp, 0, 1).astype(np.float32)
    return CLOSER * ramp[:, None] * ramp


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """How much of the smaller of two boxes x0, y0, x1, y1 lies in the other, 0–1."""
    sides = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None)
    smaller = min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
    return float(np.prod(sides) / smaller) if smaller > 0 else 0.0
