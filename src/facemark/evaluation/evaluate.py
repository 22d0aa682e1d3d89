"""Evaluate a parser on the prepared datasets: what the stage ``evaluate`` writes and what ``promote`` compares."""

from facemark.data.samples import Sample
from facemark.data.splits import read_index
from facemark.evaluation.robustness import robustness
from facemark.evaluation.scoring import Parser, Result, evaluate_samples, merge_results
from facemark.settings import PREPARED, Evaluate, Params


def evaluation_sets(params: Params) -> dict[str, list[Sample]]:
    """The samples of ``evaluate.split`` by dataset; datasets without any are left out.

    Raises:
        SystemExit: no dataset has samples in that split.
    """
    split = params.evaluate.split
    sets = {name: read_index([PREPARED / name], split) for name in params.prepare.datasets}
    if not any(sets.values()):
        raise SystemExit(f"no dataset has pictures in its {split} split; set evaluate.split to another one")
    return {name: samples for name, samples in sets.items() if samples}


def measure_parser(parser: Parser, settings: Evaluate, sets: dict[str, list[Sample]]) -> tuple[dict, dict[str, Result]]:
    """Evaluate a parser on several sets of samples.

    Args:
        parser: usually a FaceParser.
        settings: numbers of overlays and of images for robustness.
        sets: samples by the name of their dataset, at least one in each.

    Returns:
        All figures, rounded: those of all sets together, ``datasets`` by name, and ``robustness``; and the results by
        the name of the dataset.
    """
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


def round_figures(tree: dict) -> dict:
    """Round all numbers of nested dicts to three decimals."""
    return {name: round_figures(v) if isinstance(v, dict) else round(v, 3) for name, v in tree.items()}
