"""``facemark promote``: the model built here becomes champion, unless it is worse than the current champion.

Both are compared on the images of ``evaluate.split``, by the current code. The challenger's metrics are those of the
stage ``evaluate``. The champion is evaluated again, and the latency of both is measured in alternation.
"""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from rich.progress import track

from facemark.data.samples import Sample
from facemark.evaluation.evaluate import evaluation_sets, measure_parser
from facemark.images import read_image
from facemark.inference.parser import FaceParser
from facemark.mlops import registry
from facemark.mlops.release import stale
from facemark.models.bundle import ModelBundle
from facemark.settings import BUILT, EVALUATED, Params, Promote

RUN = Path("build/runs/evaluate.txt")
TIMED_IMAGES = 8
TIMED_ROUNDS = 3


@dataclass(frozen=True)
class Comparison:
    """One metric of both models; None where no image allows to measure it."""

    metric: str
    champion: float | None
    challenger: float | None
    limit: float | None
    """The worst value that the challenger may have; None: any."""
    higher_is_better: bool

    @property
    def worse(self) -> bool:
        """Whether the challenger's value is beyond the limit, or missing where the champion has one."""
        if self.limit is None:
            return False
        if self.challenger is None:
            return True
        return self.challenger < self.limit if self.higher_is_better else self.challenger > self.limit

    def __str__(self) -> str:
        old, new = (f"{value:.2f}" if value is not None else "nothing" for value in (self.champion, self.challenger))
        return f"{self.metric} goes from {old} to {new}"


@dataclass(frozen=True)
class Decision:
    """Which versions were compared, and how each metric came out."""

    challenger: ModelVersion
    champion: ModelVersion | None
    comparisons: list[Comparison]

    @property
    def promoted(self) -> bool:
        """Whether the challenger is the champion now."""
        return not any(each.worse for each in self.comparisons)

    def __str__(self) -> str:
        new = f"version {self.challenger.version}"
        if self.champion is None:
            return f"{new} is champion: it is the first"
        old = f"version {self.champion.version}"
        if self.promoted:
            return f"{new} is champion: no rule of params.yaml finds it worse than {old}"
        reasons = "; ".join(str(each) for each in self.comparisons if each.worse)
        return f"{new} was not promoted, {old} stays champion: {reasons}"


def rule_metrics(summary: dict) -> dict[str, float | None]:
    """The metrics that the rules of ``promote`` name, from the ``metrics.json`` of the stage ``evaluate``.

    ``robustness`` is the mean F1 under the worst corruption.
    """
    landmarks = summary.get("landmarks", {})
    corrupted = [row["mean_f1"] for row in summary.get("robustness", {}).values() if "mean_f1" in row]
    return {
        "mean_f1": summary.get("mean_f1"),
        "robustness": min(corrupted, default=None),
        "recall": landmarks.get("recall"),
        "nme": landmarks.get("nme"),
    }


def compare(challenger: dict, champion: dict, rules: Promote) -> list[Comparison]:
    """Compare the metrics of both models by the rules.

    Args:
        challenger: of :func:`rule_metrics`, and ``latency`` in milliseconds per image.
        champion: the same.
        rules: how much worse the challenger may be: a share of the champion's latency, and points of each other metric.
    """
    comparisons = []
    for name, allowed in rules.model_dump().items():
        old, higher_is_better = champion[name], name not in ("nme", "latency")
        slack = allowed * old if name == "latency" else allowed
        limit = None if old is None else old - slack if higher_is_better else old + slack
        comparisons.append(Comparison(name, old, challenger[name], limit, higher_is_better))
    return comparisons


def latencies(parsers: list[FaceParser], images: list[np.ndarray]) -> list[float]:
    """Median milliseconds per image of each parser.

    The parsers alternate on the same images; the first round is a warm-up and does not count.

    Args:
        parsers: to be timed.
        images: H × W × 3 RGB uint8 each.
    """
    times: list[list[float]] = [[] for _ in parsers]
    for turn in track(range(TIMED_ROUNDS + 1), "measuring latency"):
        for image in images:
            for parser, own in zip(parsers, times, strict=True):
                start = time.perf_counter()
                parser([image])
                if turn:
                    own.append(1000 * (time.perf_counter() - start))
    return [float(np.median(own)) for own in times]


def compare_models(champion: Path, sets: dict[str, list[Sample]], params: Params) -> list[Comparison]:
    """Compare the model built here with a downloaded champion.

    Args:
        champion: the folder of :func:`facemark.mlops.registry.download`.
        sets: the samples of ``evaluate.split`` of each dataset.
        params: the rules, and what to evaluate.
    """
    new, old = FaceParser(BUILT), FaceParser(registry.contents(champion).bundle)
    samples = [sample for each in sets.values() for sample in each]
    images = [read_image(sample.image) for sample in samples[:: max(1, len(samples) // TIMED_IMAGES)][:TIMED_IMAGES]]
    new_latency, old_latency = latencies([new, old], images)
    challenger = rule_metrics(json.loads((EVALUATED / "metrics.json").read_text())) | {"latency": new_latency}
    measured = rule_metrics(measure_parser(old, params.evaluate, sets)[0]) | {"latency": old_latency}
    return compare(challenger, measured, params.promote)


def promote(params: Params) -> Decision:
    """Register the model built here as challenger, and make it champion unless it is worse.

    The decision is written to the version's tags; ``replaced`` names the previous champion, for
    :func:`facemark.mlops.registry.roll_back`.

    Raises:
        LookupError: nothing was evaluated here, or something changed since; the store lacks the logged model; or the
            model built here is champion already, or was rolled back.
    """
    if changed := stale():
        raise LookupError(changed)
    version = registry.register(RUN.read_text())
    try:
        champion = registry.find(registry.CHAMPION)
    except LookupError:
        champion = None
    if champion and champion.version == version.version:
        raise LookupError(f"version {version.version}, the model built here, is champion already")
    bundle = ModelBundle.open(BUILT)
    files = {"weights.md5": bundle.weights, "landmarks.md5": bundle.landmarks}
    hashes = {name: registry.md5(file) for name, file in files.items() if file}
    registry.tag(version, hashes)
    if same := registry.rolled_back(hashes):
        raise LookupError(f"the model built here is version {same.version}, which was rolled back; build another one")
    registry.set_alias(version, registry.CHALLENGER)
    comparisons = []
    if champion:
        with tempfile.TemporaryDirectory() as folder:
            model = registry.download(champion, Path(folder))
            comparisons = compare_models(model, evaluation_sets(params), params)
    decision = Decision(version, champion, comparisons)
    values = {c.metric: f"{c.champion} → {c.challenger}, limit {c.limit}" for c in comparisons}
    registry.tag(version, values | {"decision": str(decision)})
    if decision.promoted:
        if champion:
            registry.tag(version, {"replaced": str(champion.version)})
        registry.set_alias(version, registry.CHAMPION)
    return decision
