"""Holding what the parser says against the truth, picture by picture."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from rich.progress import track

from facemark import metrics
from facemark.damage import DAMAGES, LONGEST, behind_board, board, damage
from facemark.datasets import Sample, read_image, read_mask, read_points
from facemark.geometry import rescaled
from facemark.labels import IGNORE
from facemark.parser import FaceParser, Parse

BATCH = 8
"""Pictures that go through the parser together."""


@dataclass(frozen=True)
class Example:
    """One picture with its truth."""

    name: str
    image: np.ndarray
    truth: np.ndarray
    """H × W class ids, all IGNORE where the dataset has no masks."""
    points: np.ndarray
    """True landmarks, faces × 68 × 2; no faces where the dataset has no landmarks."""


def read(sample: Sample) -> Example:
    """Read the files of a sample."""
    image = read_image(sample.image)
    truth = read_mask(sample.mask) if sample.mask else np.full(image.shape[:2], IGNORE, np.uint8)
    points = read_points(sample.points) if sample.points else np.empty((0, 68, 2), np.float32)
    return Example(sample.image.stem, image, truth, points)


def fitted(example: Example) -> Example:
    """The example, no larger than the damages are meant for."""
    scale = min(1, LONGEST / max(example.truth.shape))
    image, truth, points = rescaled(example.image, example.truth, example.points, scale)
    return replace(example, image=image, truth=truth, points=points)


def damaged(example: Example, name: str) -> Example:
    """The example, spoilt by one of DAMAGES."""
    image, truth, points = damage(name, example.image, example.truth, example.points)
    return replace(example, image=image, truth=truth, points=points)


@dataclass(frozen=True)
class Case:
    """One example, what the parser made of it, and how good that is."""

    example: Example
    parse: Parse
    confusion: np.ndarray
    errors: np.ndarray
    """Faces × 68 landmark errors in per cent; a missed face's are inf."""
    scores: np.ndarray
    """Faces × 68 scores of the points; a missed face's are 0."""

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
        f1 = f"  face F1 {metrics.mean_f1_face(self.confusion):.1f}" if self.confusion.any() else ""
        return self.example.name + f1 + (f"  NME {nmes}" if nmes else "")


def judge(example: Example, parse: Parse) -> Case:
    """Hold what the parser said against the truth."""
    errors, scores = np.full((len(example.points), 68), np.inf), np.zeros((len(example.points), 68))
    for i, match in enumerate(metrics.match([face.points for face in parse.faces], list(example.points))):
        if match is not None:
            errors[i] = metrics.point_errors(parse.faces[match].points, example.points[i])
            scores[i] = parse.faces[match].scores
    return Case(example, parse, metrics.confusion(parse.mask, example.truth), errors, scores)


@dataclass(frozen=True)
class Result:
    """What came out for a set of pictures."""

    confusion: np.ndarray
    errors: np.ndarray
    """Faces × 68 landmark errors in per cent of all pictures; a missed face's are inf."""
    scores: np.ndarray
    """Faces × 68 scores of the points; a missed face's are 0."""
    worst: list[Case]

    def figures(self) -> dict:
        """All figures; those of masks, and ``landmarks``, only where there are some to compare with."""
        figures = metrics.parsing(self.confusion) if self.confusion.any() else {}
        return figures | {"landmarks": metrics.landmarks(self.errors, self.scores)} if len(self.errors) else figures


def merge(results: Iterable[Result], keep: int) -> Result:
    """Join the results of several sets, with the ``keep`` worst cases of them all, the worst first."""
    results = list(results)
    worst = sorted((case for result in results for case in result.worst), key=lambda case: case.quality)[:keep]
    errors, scores = (np.concatenate([getattr(r, name) for r in results]) for name in ("errors", "scores"))
    return Result(sum(r.confusion for r in results), errors, scores, worst)


def run(
    parser: FaceParser,
    samples: list[Sample],
    title: str,
    keep: int,
    change: Callable[[Example], Example] = lambda example: example,
) -> Result:
    """Parse the samples, at least one, each changed before, and keep the ``keep`` worst cases."""
    result = None
    for start in track(range(0, len(samples), BATCH), title):
        batch = [change(read(sample)) for sample in samples[start : start + BATCH]]
        parses = parser([example.image for example in batch])
        cases = [judge(*each) for each in zip(batch, parses, strict=True)]
        results = [Result(case.confusion, case.errors, case.scores, [case]) for case in cases]
        result = merge([result, *results] if result else results, keep)
    return result


def robustness(parser: FaceParser, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Mean F1 and NME of the samples under each of DAMAGES, and as multiples of what they are without.

    All are brought to the size that the damages are meant for. A class counts where the truth shows it both times; the
    NME is of the faces found, and ``found`` says how many. ``half_hidden`` tells of the points alone, see
    :func:`half_hidden`.
    """
    clean = run(parser, samples, "undamaged", 0, fitted)
    report = {
        name: compared(clean, run(parser, samples, name, 0, lambda example, name=name: damaged(fitted(example), name)))
        for name in DAMAGES
    }
    return report | ({"half_hidden": half_hidden(parser, samples, clean)} if len(clean.errors) else {})


def half_hidden(parser: FaceParser, samples: list[Sample], clean: Result) -> dict[str, float]:
    """What hiding one half of each face does to the points of the other, and to the scores of the hidden ones."""
    samples = [sample for sample in samples if sample.points]
    spoilt = run(parser, samples, "half hidden", 0, lambda example: hidden(fitted(example)))
    under = np.array([behind_board(face) for sample in samples for face in read_points(sample.points)])
    both = np.isfinite(clean.errors) & np.isfinite(spoilt.errors)
    figures = {"found": 100 * float(np.isfinite(spoilt.errors[:, 0]).mean())}
    if not both.any():
        return figures
    before, after = (float(result.errors[both & ~under].mean()) for result in (clean, spoilt))
    scores = {"visible": both & ~under, "hidden": both & under}
    figures |= {f"score_{name}": float(spoilt.scores[which].mean()) for name, which in scores.items()}
    return figures | {"nme": after, "nme_grown": after / before}


def hidden(example: Example) -> Example:
    """The example, one half of each face behind a board."""
    image = example.image
    for face in example.points:
        image = board(image, face)
    return replace(example, image=image)


def compared(clean: Result, spoilt: Result) -> dict[str, float]:
    """The figures of damaged pictures beside those of the same pictures undamaged."""
    figures = {}
    shown = clean.confusion.any(1) & spoilt.confusion.any(1)
    if shown[1:].any():
        before, after = (metrics.mean_f1(np.where(shown[:, None], r.confusion, 0)) for r in (clean, spoilt))
        figures |= {"mean_f1": after, "mean_f1_kept": after / before if before else 0.0}
    if len(clean.errors):
        before, after = (metrics.landmarks(result.errors, result.scores) for result in (clean, spoilt))
        figures["found"] = after["found"]
        if "nme" in before and "nme" in after:
            figures |= {"nme": after["nme"], "nme_grown": after["nme"] / before["nme"]}
    return figures
