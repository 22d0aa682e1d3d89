"""``make release-weights``: make what the pipeline built the weights that every clone starts from.

Refuses what was not evaluated, and what is worse than the weights released before.
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

FIGURES = "metrics.json"
LARGEST = 70_000_000
"""Bytes of a weights file: each release stays in the repository's history."""
SLACK = 0.3
"""Points by which a figure may be worse than in the release before: what two seeds differ by."""


def worse(new: dict, old: dict) -> list[str]:
    """What speaks against the figures ``new`` beside ``old``, both as evaluate writes them, each a phrase."""
    if new["split"] != old["split"]:
        return [f"the last release was evaluated on {old['split']}; set evaluate.split to it"]
    found = []
    for name, before in old["datasets"].items():
        after = new["datasets"].get(name)
        if after is None:
            found.append(f"the last release was evaluated on {name} too")
            continue
        for figure in ("mean_f1", "landmarks.auc8"):
            now, then = (flatten(figures).get(figure, -math.inf) for figures in (after, before))
            if now < then - SLACK:
                found.append(f"{figure} on {name} falls from {then:.2f} to {now:.2f}")
    return found


def dvc(*command: str) -> str:
    """Run this environment's DVC and answer what it prints.

    Raises:
        SystemExit: it failed; its own words say why.
    """
    done = subprocess.run([sys.executable, "-m", "dvc", *command], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"dvc {' '.join(command)} failed; what it says above is why")
    return done.stdout


def by_release(change: dict | str) -> bool:
    """Whether a change that DVC tells of is that the released weights are those that were built here."""
    built = {str(RELEASED / file.name): file for file in ModelBundle.open(BUILT).files()}
    files = change.get("changed deps") if isinstance(change, dict) else None
    return bool(files) and all(file in built and filecmp.cmp(file, built[file], shallow=False) for file in files)


def stale() -> str | None:
    """A sentence that names the stages which changed since the last evaluation, None where none did."""
    status = json.loads(dvc("status", "--json", "--with-deps", "evaluate"))
    changed = [stage for stage, changes in status.items() if not all(map(by_release, changes))]
    return f"{', '.join(changed)} changed since the last evaluation; run: dvc repro evaluate" if changed else None


def objections() -> list[str]:
    """Everything that speaks against releasing what the pipeline built, each a sentence."""
    if changed := stale():
        return [changed]
    bundle = ModelBundle.open(BUILT)
    network = bundle.network()
    LandmarkModel.load(bundle.landmarks)
    found = []
    if not all(torch.isfinite(p).all() for p in network.state_dict().values()):
        found.append("some weights are not finite")
    if bundle.weights.stat().st_size > LARGEST:
        found.append(f"{bundle.weights} is larger than {LARGEST // 10**6} MB")
    before = RELEASED / FIGURES
    if before.exists():
        found += worse(json.loads((EVALUATED / FIGURES).read_text()), json.loads(before.read_text()))
    return found


def release() -> None:
    """Check, copy weights, landmark model and figures to ``weights/``, and hand them to DVC and its remote.

    Raises:
        SystemExit: something speaks against it; nothing was changed.
    """
    if found := objections():
        raise SystemExit("not released: " + "; ".join(found))
    for file in (*ModelBundle.open(BUILT).files(), EVALUATED / FIGURES):
        shutil.copy(file, RELEASED / file.name)
    for command in (["add", "--quiet", str(RELEASED)], ["push", "--quiet", f"{RELEASED}.dvc"]):
        dvc(*command)
    print("released; what remains: git restore params.yaml, a look at docs/model-card.md,")
    print(f"git add {RELEASED}.dvc .dvc docs, and git commit")


if __name__ == "__main__":
    release()
