"""How much corruptions and occlusion cost the parser, compared with the same images without them."""

from dataclasses import replace
from functools import partial

import numpy as np

from facemark.data.samples import Sample, read_points
from facemark.evaluation import metrics
from facemark.evaluation.corruptions import CORRUPTION_SIDE, CORRUPTIONS, corrupt, is_occluded, occlude_half
from facemark.evaluation.scoring import Example, Parser, Result, evaluate_samples
from facemark.geometry import rescale


def fit_example(example: Example) -> Example:
    """The example, shrunk to the image size that the corruptions' severities are chosen for."""
    scale = min(1, CORRUPTION_SIDE / max(example.truth.shape))
    image, truth, points = rescale(example.image, example.truth, example.points, scale)
    return replace(example, image=image, truth=truth, points=points)


def corrupt_example(example: Example, name: str) -> Example:
    """The example under one of CORRUPTIONS."""
    image, truth, points = corrupt(name, example.image, example.truth, example.points)
    return replace(example, image=image, truth=truth, points=points)


def occlude_example(example: Example) -> Example:
    """The example with one half of each face covered by an occluder."""
    image = example.image
    for face in example.points:
        image = occlude_half(image, face)
    return replace(example, image=image)


def robustness(parser: Parser, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """The figures of samples under each of CORRUPTIONS, each next to its ratio to the uncorrupted figure.

    All images are shrunk to the size of the corruptions. A class counts if the truth contains it both before and
    after. The NME is that of the detected faces, whose share is ``recall``.

    Returns:
        The figures of :func:`compare` by the name of the corruption. With landmarks also ``half_occluded``, see
        :func:`half_occluded`.
    """

    def corrupted(example: Example, name: str) -> Example:
        return corrupt_example(fit_example(example), name)

    clean = evaluate_samples(parser, samples, "uncorrupted", 0, fit_example)
    report = {
        name: compare(clean, evaluate_samples(parser, samples, name, 0, partial(corrupted, name=name)))
        for name in CORRUPTIONS
    }
    return report | ({"half_occluded": half_occluded(parser, samples, clean)} if len(clean.errors) else {})


def half_occluded(parser: Parser, samples: list[Sample], clean: Result) -> dict[str, float]:
    """The figures of faces with one half occluded.

    Args:
        parser: usually a FaceParser.
        samples: those without points are skipped.
        clean: the result of the same samples without an occluder.

    Returns:
        ``recall``; and of the faces detected both times ``score_visible`` and ``score_hidden``, the mean scores of
        visible and of hidden points, ``nme`` of the visible points, and ``nme_ratio``, its ratio to that without an
        occluder. Only ``recall`` if there are no such faces.
    """
    samples = [sample for sample in samples if sample.points]
    result = evaluate_samples(
        parser, samples, "half occluded", 0, lambda example: occlude_example(fit_example(example))
    )
    hidden = np.array([is_occluded(face) for sample in samples if sample.points for face in read_points(sample.points)])
    both = np.isfinite(clean.errors) & np.isfinite(result.errors)
    figures = {"recall": 100 * float(np.isfinite(result.errors[:, 0]).mean())}
    if not both.any():
        return figures
    before, after = (float(each.errors[both & ~hidden].mean()) for each in (clean, result))
    points = {"score_visible": both & ~hidden, "score_hidden": both & hidden}
    figures |= {name: float(result.scores[which].mean()) for name, which in points.items()}
    return figures | {"nme": after, "nme_ratio": after / before}


def compare(clean: Result, corrupted: Result) -> dict[str, float]:
    """The figures of corrupted images, and their ratios to those of the same images uncorrupted.

    Returns:
        ``mean_f1`` and ``mean_f1_retention`` if the truth has masks; ``recall``, and of detected faces ``nme`` and
        ``nme_ratio``, if it has landmarks.
    """
    figures: dict[str, float] = {}
    present = np.logical_and(clean.confusion.any(1), corrupted.confusion.any(1))
    if present[1:].any():
        before, after = (
            metrics.mean_f1(np.where(present[:, None], result.confusion, 0)) for result in (clean, corrupted)
        )
        figures |= {"mean_f1": after, "mean_f1_retention": after / before if before else 0.0}
    if len(clean.errors):
        was, now = (metrics.landmarks(result.errors, result.scores) for result in (clean, corrupted))
        figures["recall"] = now["recall"]
        if "nme" in was and "nme" in now:
            figures |= {"nme": now["nme"], "nme_ratio": now["nme"] / was["nme"]}
    return figures
