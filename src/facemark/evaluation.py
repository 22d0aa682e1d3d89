"""Holding what the parser says against the truth, picture by picture."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from rich.progress import track

from facemark import metrics
from facemark.datasets import Sample, read_image, read_mask, read_points
from facemark.parser import FaceParser, Parse

BATCH = 8
"""Pictures that go through the parser together."""


@dataclass(frozen=True)
class Case:
    """One picture with its truth, what the parser made of it, and how good that is."""

    sample: Sample
    image: np.ndarray
    truth: np.ndarray
    points: np.ndarray
    """True landmarks, faces × 68 × 2; no faces where the dataset has no landmarks."""
    parse: Parse
    confusion: np.ndarray
    errors: np.ndarray
    """Faces × 68 landmark errors in per cent; a missed face's are inf."""

    @property
    def quality(self) -> float:
        """Mean F1 of the face's classes less the NME, a missed face costing 100: low is bad.

        A picture without a face, in which none was seen, is perfect.
        """
        cost = np.minimum(self.errors.mean(1), 100).mean() if len(self.errors) else 0
        return np.nan_to_num(metrics.mean_f1_face(self.confusion), nan=100) - cost

    @property
    def caption(self) -> str:
        """The figures of this picture in a few words."""
        nmes = ", ".join("missed" if np.isinf(nme) else f"{nme:.1f}" for nme in self.errors.mean(1))
        return f"{self.sample.image.stem}  face F1 {metrics.mean_f1_face(self.confusion):.1f}" + (
            f"  NME {nmes}" if nmes else ""
        )


def judge(sample: Sample, image: np.ndarray, parse: Parse) -> Case:
    """Hold what the parser said against the truth of a sample."""
    truth = read_mask(sample.mask)
    points = read_points(sample.points) if sample.points else np.empty((0, 68, 2), np.float32)
    found = [face.points for face in parse.faces]
    errors = [
        np.full(68, np.inf) if i is None else metrics.point_errors(found[i], face)
        for i, face in zip(metrics.match(found, list(points)), points, strict=True)
    ]
    errors = np.array(errors).reshape(-1, 68)
    return Case(sample, image, truth, points, parse, metrics.confusion(parse.mask, truth), errors)


@dataclass(frozen=True)
class Result:
    """What came out for a set of pictures."""

    confusion: np.ndarray
    errors: np.ndarray
    """Faces × 68 landmark errors in per cent of all pictures; a missed face's are inf."""
    worst: list[Case]

    def figures(self) -> dict:
        """All figures; ``landmarks`` only where there are some to compare with."""
        figures = metrics.parsing(self.confusion)
        return figures | {"landmarks": metrics.landmarks(self.errors)} if len(self.errors) else figures


def merge(results: Iterable[Result], keep: int) -> Result:
    """Join the results of several sets, with the ``keep`` worst cases of them all, the worst first."""
    results = list(results)
    worst = sorted((case for result in results for case in result.worst), key=lambda case: case.quality)[:keep]
    return Result(sum(r.confusion for r in results), np.concatenate([r.errors for r in results]), worst)


def run(parser: FaceParser, samples: list[Sample], name: str, keep: int) -> Result:
    """Parse the samples of the dataset ``name``, at least one, and keep the ``keep`` worst cases."""
    result = None
    for start in track(range(0, len(samples), BATCH), f"evaluating {name}"):
        batch = samples[start : start + BATCH]
        images = [read_image(sample.image) for sample in batch]
        cases = [judge(*each) for each in zip(batch, images, parser(images), strict=True)]
        results = [Result(case.confusion, case.errors, [case]) for case in cases]
        result = merge([result, *results] if result else results, keep)
    return result
