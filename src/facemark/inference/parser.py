"""From images to faces: the one inference path of the project."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from facemark.geometry import apply, box_iom, confident_centroid, invert
from facemark.inference.alignment import crop_matrix, refine_alignment
from facemark.inference.backends import create_backend
from facemark.inference.compositing import compose_mask
from facemark.inference.confidence import face_confidence, face_score
from facemark.inference.config import DEFAULT_MODE, MODES, InferenceConfig
from facemark.inference.detection import propose_faces
from facemark.inference.landmarks import LandmarkModel
from facemark.inference.regions import region_shapes
from facemark.inference.segmentation import segment_crops, segment_images
from facemark.inference.types import Face, Parse, View
from facemark.labels import L_EYE_POINTS, LIPS, OUTER_LIP, R_EYE_POINTS, Region
from facemark.models.bundle import ModelBundle


class FaceParser:
    """Finds, parses and measures all faces of a batch of images.

    A coarse pass over the whole image proposes faces. Each is cropped, aligned by its own parts, and parsed again; its
    regions give its points and refine the image's mask.
    """

    def __init__(
        self,
        model: ModelBundle | Path | str,
        device: str | None = None,
        config: InferenceConfig = MODES[DEFAULT_MODE],
    ):
        """Load the network and the landmark model.

        Args:
            model: a bundle, or the folder of one.
            device: ``cpu``, or a torch device; a GPU where there is one by default.
            config: a row of :data:`facemark.inference.config.MODES`, or one of your own.

        Raises:
            FileNotFoundError, ValueError: a file is missing or is not what it should be.
        """
        bundle = model if isinstance(model, ModelBundle) else ModelBundle.open(model)
        self.size, self.config = bundle.config.input_size, config
        self.backend = create_backend(bundle, device)
        self.landmarks = LandmarkModel.load(bundle.landmarks) if bundle.landmarks else None

    def __call__(self, images: list[np.ndarray]) -> list[Parse]:
        """Parse H × W × 3 RGB uint8 images of any sizes."""
        return [self._parse(*each) for part in self._parts(images) for each in zip(*part, strict=True)]

    def segment(self, images: list[np.ndarray]) -> tuple[list[list[View]], list[list[View]]]:
        """The coarse views of each image, and the aligned crops of all that may be faces in it."""
        coarse, crops = [], []
        for _, views, found in self._parts(images):
            coarse += views
            crops += found
        return coarse, crops

    def measure(self, crops: list[View], shape: tuple[int, int]) -> list[tuple[Face, View]]:
        """The faces in the crops of one image of this height and width, each with its crop.

        Of those that overlap, the one of the highest score counts, if that is high enough.
        """
        faces = sorted(((self._face(crop, shape), crop) for crop in crops), key=lambda each: -each[0].score)
        kept: list[tuple[Face, View]] = []
        for face, crop in faces:
            alone = all(box_iom(face.box, other.box) < self.config.nms_threshold for other, _ in kept)
            if face.score >= self.config.score_threshold and alone:
                kept.append((face, crop))
        return kept

    def _parts(self, images: list[np.ndarray]) -> Iterator[tuple[list[np.ndarray], list[list[View]], list[list[View]]]]:
        """Images, their coarse views and their crops: as many at a time as hold ``max_crops_per_batch``, or one."""
        coarse = segment_images(self.backend, images, self.size, (0,), self.config.hflip, self.config)
        frames, start = [propose_faces(views, self.config) for views in coarse], 0
        for end in range(1, len(images) + 1):
            full = sum(map(len, frames[start : end + 1])) > self.config.max_crops_per_batch
            if end == len(images) or full:
                part = slice(start, end)
                yield images[part], coarse[part], self._crops(images[part], coarse[part], frames[part])
                start = end

    def _crops(
        self, images: list[np.ndarray], coarse: list[list[View]], frames: list[list[np.ndarray]]
    ) -> list[list[View]]:
        """The crops of each image; where they show no clear face, those of the image turned as well."""
        crops = self._aligned_crops(images, frames)
        unclear = [i for i, each in enumerate(crops) if not any(self._is_clear(crop) for crop in each)]
        for i in unclear:  # one at a time: the turned views of one image take 0.3 GB
            (turned,) = segment_images(self.backend, [images[i]], self.size, self.config.rotations, False, self.config)
            (crops[i],) = self._aligned_crops([images[i]], [propose_faces([*coarse[i], *turned], self.config)])
        return crops

    def _is_clear(self, crop: View) -> bool:
        """Whether a crop is so surely of a face that the image need not be turned."""
        if face_confidence(crop.probabilities, self.config) < self.config.rotation_fallback_threshold:
            return False
        if self.landmarks is None:
            return True
        _, scores = self.landmarks(crop.probabilities)
        return face_score(crop.probabilities, scores, self.config) >= self.config.score_threshold

    def _aligned_crops(self, images: list[np.ndarray], frames: list[list[np.ndarray]]) -> list[list[View]]:
        """Crop and parse each face twice: once to align it, once to measure it; what is none is dropped."""
        for hflip in (False, self.config.hflip):
            crops = segment_crops(self.backend, images, frames, self.size, hflip, self.config)
            crops = [[crop for crop in each if self._shows_face(crop)] for each in crops]
            frames = [[refine_alignment(crop) for crop in each] for each in crops]
        return crops

    def _shows_face(self, crop: View) -> bool:
        return face_confidence(crop.probabilities, self.config) >= self.config.crop_threshold

    def _parse(self, image: np.ndarray, coarse: list[View], crops: list[View]) -> Parse:
        """Measure the faces and compose the mask."""
        shape = image.shape[:2]
        kept = self.measure(crops, shape)
        faces = sorted((face for face, _ in kept), key=lambda face: -np.prod(face.box[2:] - face.box[:2]))
        return Parse(compose_mask(shape, coarse, [crop for _, crop in kept], self.config), faces)

    def _face(self, crop: View, shape: tuple[int, int]) -> Face:
        """Measure the face of an aligned crop."""
        if self.landmarks is None:
            raise ValueError(
                "the model has no landmark model, so it places no points; calibrate it: dvc repro calibrate"
            )
        matrix = crop_matrix(crop.matrix, self.size)
        back = invert(matrix)
        points, scores = self.landmarks(crop.probabilities)
        points = apply(back, points).astype(np.float32)
        regions = ([Region.R_EYE], [Region.L_EYE], LIPS)
        guesses = [points[which].mean(0) for which in (R_EYE_POINTS, L_EYE_POINTS, OUTER_LIP)]
        right, left, mouth = (
            guess if np.isnan(center).any() else apply(back, center)
            for center, guess in zip(
                (confident_centroid(crop.probabilities[each].sum(0)) for each in regions), guesses, strict=True
            )
        )
        return Face(
            box=np.r_[points.min(0), points.max(0)],
            score=face_score(crop.probabilities, scores, self.config),
            points=points,
            scores=scores.astype(np.float32),
            pupils=np.array([right, left], np.float32),
            mouth_center=np.array(mouth, np.float32),
            regions=region_shapes(crop.probabilities, matrix, shape, self.config),
        )
