"""DVC stage ``evaluate``: figures of the trained parser, plots, and the worst cases to look at."""

import json
from pathlib import Path

import cv2
import mlflow

from facemark import evaluation, report, tracking
from facemark.datasets import read_index
from facemark.parser import FaceParser
from facemark.settings import LANDMARKS, WEIGHTS, Params, load_params
from facemark.stages.prepare import PREPARED

RUN = Path("build/train/run_id.txt")
OUT = Path("build/evaluate")


def rounded(tree: dict) -> dict:
    """Round all figures to three decimals: enough to compare, and readable."""
    return {name: rounded(v) if isinstance(v, dict) else round(v, 3) for name, v in tree.items()}


def evaluate(params: Params) -> None:
    """Evaluate on every prepared dataset, write ``build/evaluate`` and mirror it to the MLflow run of the training.

    Raises:
        SystemExit: the split holds no pictures.
    """
    split, keep = params.evaluate.split, params.evaluate.overlays
    sets = {name: read_index([PREPARED / name], split) for name in params.prepare.datasets}
    if not any(sets.values()):
        raise SystemExit(f"no dataset has pictures in its {split} split; set evaluate.split to another one")
    parser = FaceParser(WEIGHTS, LANDMARKS)
    results = {
        name: evaluation.run(parser, samples, f"evaluating {name}", keep) for name, samples in sets.items() if samples
    }

    total = evaluation.merge(results.values(), keep)
    summary = total.figures() | {"datasets": {name: result.figures() for name, result in results.items()}}
    plots = OUT / "plots"
    plots.mkdir(parents=True, exist_ok=True)
    if count := params.evaluate.robustness:
        some = [sample for samples in sets.values() for sample in samples[:: max(1, len(samples) // count)][:count]]
        summary["robustness"] = evaluation.robustness(parser, some)
        report.plot_robustness(summary["robustness"], plots)
    summary = rounded(summary)
    (OUT / "metrics.json").write_text(json.dumps({"split": split} | summary, indent=1))
    if total.confusion.any():
        report.plot_f1(total.confusion, plots)
        report.plot_confusion(total.confusion, plots)
    if len(total.errors):
        report.plot_ced({name: result.errors for name, result in results.items()}, plots)
        report.plot_groups(summary["landmarks"], plots)
    cv2.imwrite(str(OUT / "overlays.png"), cv2.cvtColor(report.page(total.worst), cv2.COLOR_RGB2BGR))

    with tracking.run(params.model_dump(mode="json"), RUN):
        mlflow.log_metrics(tracking.flatten(summary, f"evaluate/{split}/"))
        mlflow.log_artifacts(OUT, "evaluate")
        tracking.log_model(WEIGHTS, LANDMARKS)


if __name__ == "__main__":
    evaluate(load_params())
