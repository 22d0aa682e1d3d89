"""``facemark promote``: the model built here becomes champion, unless it is worse than the one that is.

Both are judged on the same pictures, those of ``evaluate.split``, by the code as it stands here: the challenger's
figures are those of the stage ``evaluate``, the champion is evaluated anew, and both are timed by turns.
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
TIMED = 8
"""Pictures that both models are timed on."""
ROUNDS = 3


@dataclass(frozen=True)
class Comparison:
    """One figure of both models; None where there is nothing to measure it on."""

    figure: str
    champion: float | None
    challenger: float | None
    limit: float | None
    """The worst value that the challenger may have."""
    more_is_better: bool

    @property
    def worse(self) -> bool:
        """Whether the challenger's value is beyond the limit, or missing where the champion has one."""
        if self.limit is None:
            return False
        if self.challenger is None:
            return True
        return self.challenger < self.limit if self.more_is_better else self.challenger > self.limit

    def __str__(self) -> str:
        there, here = (f"{value:.2f}" if value is not None else "nothing" for value in (self.champion, self.challenger))
        return f"{self.figure} goes from {there} to {here}"


@dataclass(frozen=True)
class Decision:
    """Which version was held against which, what came out, and why."""

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
            return f"{new} is champion: by no rule of params.yaml is it worse than {old}"
        faults = "; ".join(str(each) for each in self.comparisons if each.worse)
        return f"{new} was not promoted, {old} stays champion: {faults}"


def figures(summary: dict) -> dict[str, float | None]:
    """What the rules speak of, out of what ``evaluate`` writes."""
    landmarks = summary.get("landmarks", {})
    damaged = [row["mean_f1"] for row in summary.get("robustness", {}).values() if "mean_f1" in row]
    return {
        "mean_f1": summary.get("mean_f1"),
        "robustness": min(damaged, default=None),
        "recall": landmarks.get("recall"),
        "nme": landmarks.get("nme"),
    }


def compare(challenger: dict, champion: dict, rules: Promote) -> list[Comparison]:
    """Hold figures and ``latency``, in ms a picture, against each other; its rule is a share, the others' points."""
    found = []
    for name, allowed in rules.model_dump().items():
        before, more_is_better = champion[name], name not in ("nme", "latency")
        slack = allowed * before if name == "latency" else allowed
        limit = None if before is None else before - slack if more_is_better else before + slack
        found.append(Comparison(name, before, challenger[name], limit, more_is_better))
    return found


def latencies(parsers: list[FaceParser], images: list[np.ndarray]) -> list[float]:
    """Median milliseconds a picture of each parser, by turns on the same pictures, after one round to warm up."""
    times: list[list[float]] = [[] for _ in parsers]
    for turn in track(range(ROUNDS + 1), "timing both"):
        for image in images:
            for parser, seen in zip(parsers, times, strict=True):
                start = time.perf_counter()
                parser([image])
                if turn:
                    seen.append(1000 * (time.perf_counter() - start))
    return [float(np.median(seen)) for seen in times]


def compare_models(champion: Path, sets: dict[str, list[Sample]], params: Params) -> list[Comparison]:
    """Hold the model built here against the downloaded ``champion``."""
    new, old = FaceParser(BUILT), FaceParser(registry.contents(champion).bundle)
    samples = [sample for each in sets.values() for sample in each]
    images = [read_image(sample.image) for sample in samples[:: max(1, len(samples) // TIMED)][:TIMED]]
    after, before = latencies([new, old], images)
    here = figures(json.loads((EVALUATED / "metrics.json").read_text())) | {"latency": after}
    there = figures(measure_parser(old, params.evaluate, sets)[0]) | {"latency": before}
    return compare(here, there, params.promote)


def promote(params: Params) -> Decision:
    """Register the model built here as challenger, and make it champion unless it is worse.

    The decision stands in the version's tags; ``replaced`` names the champion before, for :func:`registry.roll_back`.

    Raises:
        LookupError: nothing was evaluated here, something changed since, the store lacks what was logged, or what was
            built here is champion or was rolled back.
    """
    if changed := stale():
        raise LookupError(changed)
    version = registry.register(RUN.read_text())
    try:
        champion = registry.find(registry.CHAMPION)
    except LookupError:
        champion = None
    if champion and champion.version == version.version:
        raise LookupError(f"version {version.version}, which was built here, is champion already")
    bundle = ModelBundle.open(BUILT)
    contents = {"weights.md5": registry.md5(bundle.weights), "landmarks.md5": registry.md5(bundle.landmarks)}
    registry.tag(version, contents)
    if fallen := registry.rolled_back(contents):
        raise LookupError(f"what was built here is version {fallen.version}, which was rolled back; build another one")
    registry.set_alias(version, registry.CHALLENGER)
    comparisons = []
    if champion:
        with tempfile.TemporaryDirectory() as folder:
            model = registry.download(champion, Path(folder))
            comparisons = compare_models(model, evaluation_sets(params), params)
    decision = Decision(version, champion, comparisons)
    values = {c.figure: f"{c.champion} → {c.challenger}, limit {c.limit}" for c in comparisons}
    registry.tag(version, values | {"decision": str(decision)})
    if decision.promoted:
        if champion:
            registry.tag(version, {"replaced": str(champion.version)})
        registry.set_alias(version, registry.CHAMPION)
    return decision
