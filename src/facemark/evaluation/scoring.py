"""Compare what the parser finds with the truth, image by image."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from rich.progress import track

from facemark.data.samples import Sample, read_mask, read_points
from facemark.evaluation import metrics
from facemark.images import read_image
from facemark.inference.types import Parse
from facemark.labels import CLASSES, IGNORE

BATCH_SIZE = 8
"""Images that the parser is given together."""

Parser = Callable[[list[np.ndarray]], list[Parse]]
"""As :class:`facemark.inference.parser.FaceParser` is called: images H × W × 3 RGB to their parses."""


@dataclass(frozen=True)
class Example:
    """One image with its truth."""

    name: str
    image: np.ndarray
    """H × W × 3 RGB uint8."""
    truth: np.ndarray
    """H × W class ids; all IGNORE if the dataset has no masks."""
    points: np.ndarray
    """True landmarks, faces × 68 × 2 (x, y) in pixels; no faces if the dataset has no landmarks."""


def read_example(sample: Sample) -> Example:
    """Read the files of a sample.

    Raises:
        ValueError: one of them cannot be read.
    """
    image = read_image(sample.image)
    truth = read_mask(sample.mask) if sample.mask else np.full(image.shape[:2], IGNORE, np.uint8)
    points = read_points(sample.points) if sample.points else np.empty((0, 68, 2), np.float32)
    return Example(sample.image.stem, image, truth, points)


@dataclass(frozen=True)
class ScoredExample:
    """One example, its parse, and the figures that compare them."""

    example: Example
    parse: Parse
    confusion: np.ndarray
    """19 × 19 pixels; rows: truth, columns: prediction."""
    errors: np.ndarray
    """Faces × 68 landmark errors in per cent; inf for a missed face."""
    scores: np.ndarray
    """Faces × 68 scores of the points, 0–1; 0 for a missed face."""

    @property
    def quality(self) -> float:
        """Mean F1 of the face's classes minus the mean NME, with 100 for a missed face. The worst cases are lowest.

        An image without a face in which none was detected is at 100.
        """
        cost = np.minimum(self.errors.mean(1), 100).mean() if len(self.errors) else 0
        return float(np.nan_to_num(metrics.mean_f1_face(self.confusion), nan=100) - cost)

    @property
    def caption(self) -> str:
        """The name of the image and its figures, in one line."""
        nmes = ", ".join("missed" if np.isinf(nme) else f"{nme:.1f}" for nme in self.errors.mean(1))
        f1 = f"  face F1 {metrics.mean_f1_face(self.confusion):.1f}" if self.confusion.any() else ""
        return self.example.name + f1 + (f"  NME {nmes}" if nmes else "")


def score_example(example: Example, parse: Parse) -> ScoredExample:
    """Compare a parse with the truth of its image."""
    errors, scores = np.full((len(example.points), 68), np.inf), np.zeros((len(example.points), 68))
    for i, match in enumerate(metrics.match([face.points for face in parse.faces], list(example.points))):
        if match is not None:
            errors[i] = metrics.point_errors(parse.faces[match].points, example.points[i])
            scores[i] = parse.faces[match].scores
    return ScoredExample(example, parse, metrics.confusion(parse.mask, example.truth), errors, scores)


@dataclass(frozen=True)
class Result:
    """The outcome of evaluating a set of images."""

    confusion: np.ndarray
    """19 × 19 pixels of all images; rows: truth, columns: prediction."""
    errors: np.ndarray
    """Faces × 68 landmark errors of all images in per cent; inf for a missed face."""
    scores: np.ndarray
    """Faces × 68 scores of the points, 0–1; 0 for a missed face."""
    worst: list[ScoredExample]
    """The worst cases, the worst first."""

    def figures(self) -> dict:
        """All figures. Those of masks and of ``landmarks`` are left out if the truth has none."""
        figures = metrics.parsing(self.confusion) if self.confusion.any() else {}
        return figures | {"landmarks": metrics.landmarks(self.errors, self.scores)} if len(self.errors) else figures


def merge_results(results: Iterable[Result], keep: int) -> Result:
    """Merge the results of several sets into one with the ``keep`` worst cases of all."""
    results = list(results)
    worst = sorted((case for result in results for case in result.worst), key=lambda case: case.quality)[:keep]
    confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for result in results:
        confusion += result.confusion
    errors, scores = (np.concatenate([getattr(r, name) for r in results]) for name in ("errors", "scores"))
    return Result(confusion, errors, scores, worst)


def unchanged(example: Example) -> Example:
    """The example itself."""
    return example


def evaluate_samples(
    parser: Parser,
    samples: list[Sample],
    title: str,
    keep: int,
    change: Callable[[Example], Example] = unchanged,
) -> Result:
    """Parse samples and compare the parses with their truth.

    Args:
        parser: usually a FaceParser.
        samples: at least one.
        title: of the progress bar.
        keep: number of worst cases in the result.
        change: applied to each example before it is parsed.

    Raises:
        ValueError: there are no samples, or a file cannot be read.
    """
    results: list[Result] = []
    for start in track(range(0, len(samples), BATCH_SIZE), title):
        batch = [change(read_example(sample)) for sample in samples[start : start + BATCH_SIZE]]
        parses = parser([example.image for example in batch])
        cases = [score_example(*each) for each in zip(batch, parses, strict=True)]
        results += [Result(case.confusion, case.errors, case.scores, [case]) for case in cases]
        results = [merge_results(results, keep)]
    return merge_results(results, keep)
