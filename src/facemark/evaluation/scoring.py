"""Holding what the parser says against the truth, picture by picture."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from rich.progress import track

from facemark.data.samples import Sample, read_mask, read_points
from facemark.data.splits import read_index
from facemark.evaluation import metrics
from facemark.evaluation.corruptions import CORRUPTION_SIDE, CORRUPTIONS, corrupt, is_occluded, occlude_half
from facemark.geometry import rescale
from facemark.images import read_image
from facemark.inference.parser import FaceParser
from facemark.inference.types import Parse
from facemark.labels import IGNORE
from facemark.settings import PREPARED, Evaluate, Params

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


def read_example(sample: Sample) -> Example:
    """Read the files of a sample."""
    image = read_image(sample.image)
    truth = read_mask(sample.mask) if sample.mask else np.full(image.shape[:2], IGNORE, np.uint8)
    points = read_points(sample.points) if sample.points else np.empty((0, 68, 2), np.float32)
    return Example(sample.image.stem, image, truth, points)


def fit_example(example: Example) -> Example:
    """The example, no larger than the damages are meant for."""
    scale = min(1, CORRUPTION_SIDE / max(example.truth.shape))
    image, truth, points = rescale(example.image, example.truth, example.points, scale)
    return replace(example, image=image, truth=truth, points=points)


def corrupt_example(example: Example, name: str) -> Example:
    """The example, spoilt by one of DAMAGES."""
    image, truth, points = corrupt(name, example.image, example.truth, example.points)
    return replace(example, image=image, truth=truth, points=points)


@dataclass(frozen=True)
class ScoredExample:
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


def score_example(example: Example, parse: Parse) -> ScoredExample:
    """Hold what the parser said against the truth."""
    errors, scores = np.full((len(example.points), 68), np.inf), np.zeros((len(example.points), 68))
    for i, match in enumerate(metrics.match([face.points for face in parse.faces], list(example.points))):
        if match is not None:
            errors[i] = metrics.point_errors(parse.faces[match].points, example.points[i])
            scores[i] = parse.faces[match].scores
    return ScoredExample(example, parse, metrics.confusion(parse.mask, example.truth), errors, scores)


@dataclass(frozen=True)
class Result:
    """What came out for a set of pictures."""

    confusion: np.ndarray
    errors: np.ndarray
    """Faces × 68 landmark errors in per cent of all pictures; a missed face's are inf."""
    scores: np.ndarray
    """Faces × 68 scores of the points; a missed face's are 0."""
    worst: list[ScoredExample]

    def figures(self) -> dict:
        """All figures; those of masks, and ``landmarks``, only where there are some to compare with."""
        figures = metrics.parsing(self.confusion) if self.confusion.any() else {}
        return figures | {"landmarks": metrics.landmarks(self.errors, self.scores)} if len(self.errors) else figures


def merge_results(results: Iterable[Result], keep: int) -> Result:
    """Join the results of several sets, with the ``keep`` worst cases of them all, the worst first."""
    results = list(results)
    worst = sorted((case for result in results for case in result.worst), key=lambda case: case.quality)[:keep]
    errors, scores = (np.concatenate([getattr(r, name) for r in results]) for name in ("errors", "scores"))
    return Result(sum(r.confusion for r in results), errors, scores, worst)


def evaluate_samples(
    parser: FaceParser,
    samples: list[Sample],
    title: str,
    keep: int,
    change: Callable[[Example], Example] = lambda example: example,
) -> Result:
    """Parse the samples, at least one, each changed before, and keep the ``keep`` worst cases."""
    result = None
    for start in track(range(0, len(samples), BATCH), title):
        batch = [change(read_example(sample)) for sample in samples[start : start + BATCH]]
        parses = parser([example.image for example in batch])
        cases = [score_example(*each) for each in zip(batch, parses, strict=True)]
        results = [Result(case.confusion, case.errors, case.scores, [case]) for case in cases]
        result = merge_results([result, *results] if result else results, keep)
    return result


def robustness(parser: FaceParser, samples: list[Sample]) -> dict[str, dict[str, float]]:
    """Mean F1 and NME of the samples under each of DAMAGES, and as multiples of what they are without.

    All are brought to the size that the damages are meant for. A class counts where the truth shows it both times; the
    NME is of the faces found, and ``found`` says how many. ``half_hidden`` tells of the points alone, see
    :func:`half_hidden`.
    """
    clean = evaluate_samples(parser, samples, "undamaged", 0, fit_example)
    report = {
        name: compare(
            clean,
            evaluate_samples(
                parser, samples, name, 0, lambda example, name=name: corrupt_example(fit_example(example), name)
            ),
        )
        for name in CORRUPTIONS
    }
    return report | ({"half_hidden": half_hidden(parser, samples, clean)} if len(clean.errors) else {})


def half_hidden(parser: FaceParser, samples: list[Sample], clean: Result) -> dict[str, float]:
    """What hiding one half of each face does to the points of the other, and to the scores of the hidden ones."""
    samples = [sample for sample in samples if sample.points]
    spoilt = evaluate_samples(parser, samples, "half hidden", 0, lambda example: occlude_example(fit_example(example)))
    under = np.array([is_occluded(face) for sample in samples for face in read_points(sample.points)])
    both = np.isfinite(clean.errors) & np.isfinite(spoilt.errors)
    figures = {"found": 100 * float(np.isfinite(spoilt.errors[:, 0]).mean())}
    if not both.any():
        return figures
    before, after = (float(result.errors[both & ~under].mean()) for result in (clean, spoilt))
    scores = {"visible": both & ~under, "hidden": both & under}
    figures |= {f"score_{name}": float(spoilt.scores[which].mean()) for name, which in scores.items()}
    return figures | {"nme": after, "nme_grown": after / before}


def occlude_example(example: Example) -> Example:
    """The example, one half of each face behind a board."""
    image = example.image
    for face in example.points:
        image = occlude_half(image, face)
    return replace(example, image=image)


def compare(clean: Result, spoilt: Result) -> dict[str, float]:
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


def round_figures(tree: dict) -> dict:
    """Round all figures to three decimals: enough to compare, and readable."""
    return {name: round_figures(v) if isinstance(v, dict) else round(v, 3) for name, v in tree.items()}


def evaluation_sets(params: Params) -> dict[str, list[Sample]]:
    """The samples to evaluate on, by dataset; SystemExit where the split holds none."""
    split = params.evaluate.split
    sets = {name: read_index([PREPARED / name], split) for name in params.prepare.datasets}
    if not any(sets.values()):
        raise SystemExit(f"no dataset has pictures in its {split} split; set evaluate.split to another one")
    return {name: samples for name, samples in sets.items() if samples}


def measure_parser(
    parser: FaceParser, settings: Evaluate, sets: dict[str, list[Sample]]
) -> tuple[dict, dict[str, Result]]:
    """All figures of a parser, as they are written and compared, and the results they come from."""
    results = {
        name: evaluate_samples(parser, samples, f"evaluating {name}", settings.overlays)
        for name, samples in sets.items()
    }
    total = merge_results(results.values(), settings.overlays)
    figures = total.figures() | {"datasets": {name: result.figures() for name, result in results.items()}}
    if count := settings.robustness:
        some = [sample for samples in sets.values() for sample in samples[:: max(1, len(samples) // count)][:count]]
        figures["robustness"] = robustness(parser, some)
    return round_figures(figures), results
