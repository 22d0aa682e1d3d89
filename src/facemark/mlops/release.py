"""``make release-weights``: release the bundle that the pipeline built, from which every clone starts.

Refuses a bundle that was not evaluated, or that is worse than the last release.
"""

import filecmp
import json
import math
import shutil
import subprocess
import sys

import torch

from facemark.inference.landmarks import LandmarkModel
from facemark.mlops.tracking import flatten
from facemark.models.bundle import ModelBundle
from facemark.settings import BUILT, EVALUATED, RELEASED

METRICS = "metrics.json"
MAX_WEIGHTS_BYTES = 70_000_000
"""Each release stays in the repository's history."""
SLACK = 0.3
"""Points by which a metric may be worse than in the last release: the difference between two seeds."""


def worse(new: dict, old: dict) -> list[str]:
    """How the metrics ``new`` are worse than ``old``, each a phrase.

    Args:
        new: of the stage ``evaluate``, its ``metrics.json``.
        old: the same, of the last release.
    """
    if new["split"] != old["split"]:
        return [f"the last release was evaluated on {old['split']}; set evaluate.split to it"]
    reasons = []
    for name, before in old["datasets"].items():
        after = new["datasets"].get(name)
        if after is None:
            reasons.append(f"the last release was evaluated on {name} too")
            continue
        for metric in ("mean_f1", "landmarks.auc8"):
            now, then = (flatten(metrics).get(metric, -math.inf) for metrics in (after, before))
            if now < then - SLACK:
                reasons.append(f"{metric} on {name} falls from {then:.2f} to {now:.2f}")
    return reasons


def dvc(*command: str) -> str:
    """Run this environment's DVC; returns what it prints.

    Raises:
        SystemExit: it failed; its own message is printed.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", *command], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"dvc {' '.join(command)} failed; see its message above")
    return done.stdout


def by_release(change: dict | str) -> bool:
    """Whether ``dvc status`` reports a change only because the bundle built here was released."""
    built = {str(RELEASED / file.name): file for file in ModelBundle.open(BUILT).files()}
    files = change.get("changed deps", {}) if isinstance(change, dict) else {}
    return bool(files) and all(file in built and filecmp.cmp(file, built[file], shallow=False) for file in files)


def stale() -> str | None:
    """A sentence that names the stages which changed since the last evaluation; None where none did."""
    status = json.loads(dvc("status", "--json", "--with-deps", "evaluate"))
    changed = [stage for stage, changes in status.items() if not all(map(by_release, changes))]
    return f"{', '.join(changed)} changed since the last evaluation; run: dvc repro evaluate" if changed else None


def objections() -> list[str]:
    """All reasons not to release the bundle that the pipeline built, each a sentence.

    Raises:
        FileNotFoundError, ValueError: a file of the bundle is missing or is not what it should be.
    """
    if changed := stale():
        return [changed]
    bundle = ModelBundle.open(BUILT)
    network = bundle.network()
    if bundle.landmarks is None:
        return [f"{BUILT} has no landmark model"]
    LandmarkModel.load(bundle.landmarks)
    reasons = []
    if not all(torch.isfinite(p).all() for p in network.state_dict().values()):
        reasons.append("some weights are not finite")
    if bundle.weights.stat().st_size > MAX_WEIGHTS_BYTES:
        reasons.append(f"{bundle.weights} is larger than {MAX_WEIGHTS_BYTES // 10**6} MB")
    before = RELEASED / METRICS
    if before.exists():
        reasons += worse(json.loads((EVALUATED / METRICS).read_text()), json.loads(before.read_text()))
    return reasons


def release() -> None:
    """Check the built bundle, copy it and its metrics to ``weights/``, and push them to DVC's remote.

    Raises:
        SystemExit: there is a reason not to release it; nothing was changed.
    """
    if reasons := objections():
        raise SystemExit("not released: " + "; ".join(reasons))
    for file in (*ModelBundle.open(BUILT).files(), EVALUATED / METRICS):
        shutil.copy(file, RELEASED / file.name)
    for command in (["add", "--quiet", str(RELEASED)], ["push", "--quiet", f"{RELEASED}.dvc"]):
        dvc(*command)
    print("released; next: git restore params.yaml, update docs/model-card.md,")
    print(f"git add {RELEASED}.dvc .dvc docs, and git commit")


if __name__ == "__main__":
    release()
