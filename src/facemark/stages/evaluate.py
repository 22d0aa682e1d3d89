"""DVC stage ``evaluate``: figures of the trained parser, plots, and the worst cases to look at."""

import json
from pathlib import Path

import cv2
import mlflow
from mlflow.entities import LoggedModelInput

from facemark import evaluation, registry, report, tracking
from facemark.datasets import Sample, read_index
from facemark.evaluation import Result
from facemark.parser import FaceParser
from facemark.settings import LANDMARKS, WEIGHTS, Evaluate, Params, load_params
from facemark.stages.prepare import PREPARED

OUT = Path("build/evaluate")


def rounded(tree: dict) -> dict:
    """Round all figures to three decimals: enough to compare, and readable."""
    return {name: rounded(v) if isinstance(v, dict) else round(v, 3) for name, v in tree.items()}


def pictures(params: Params) -> dict[str, list[Sample]]:
    """The samples to evaluate on, by dataset; SystemExit where the split holds none."""
    split = params.evaluate.split
    sets = {name: read_index([PREPARED / name], split) for name in params.prepare.datasets}
    if not any(sets.values()):
        raise SystemExit(f"no dataset has pictures in its {split} split; set evaluate.split to another one")
    return {name: samples for name, samples in sets.items() if samples}


def measure(parser: FaceParser, settings: Evaluate, sets: dict[str, list[Sample]]) -> tuple[dict, dict[str, Result]]:
    """All figures of a parser, as they are written and compared, and the results they come from."""
    results = {
        name: evaluation.run(parser, samples, f"evaluating {name}", settings.overlays) for name, samples in sets.items()
    }
    total = evaluation.merge(results.values(), settings.overlays)
    figures = total.figures() | {"datasets": {name: result.figures() for name, result in results.items()}}
    if count := settings.robustness:
        some = [sample for samples in sets.values() for sample in samples[:: max(1, len(samples) // count)][:count]]
        figures["robustness"] = evaluation.robustness(parser, some)
    return rounded(figures), results


def evaluate(params: Params) -> None:
    """Evaluate on every prepared dataset, write ``build/evaluate`` and log it, with the model, to MLflow.

    Raises:
        SystemExit: the split holds no pictures.
    """
    split, sets = params.evaluate.split, pictures(params)
    with tracking.stage("evaluate", params.of_stages()) as runs:
        summary, results = measure(FaceParser(WEIGHTS, LANDMARKS), params.evaluate, sets)
        OUT.mkdir(parents=True, exist_ok=True)
        (OUT / "metrics.json").write_text(json.dumps({"split": split} | summary, indent=1))
        draw(summary, results, params.evaluate.overlays)
        mlflow.log_artifacts(OUT, "evaluate")
        model = registry.log_model(WEIGHTS, LANDMARKS, params.archive.version)
        for name in sets:
            shown = tracking.dataset(name, PREPARED / name / "index.csv", params.prepare.datasets[name].path, split)
            mlflow.log_input(shown, split, model=LoggedModelInput(model.model_id))
        figures = tracking.flatten(summary, f"evaluate/{split}/")
        mlflow.log_metrics(figures, model_id=model.model_id)
        mlflow.log_metrics(figures, run_id=runs.whole)
        tracking.tag(runs, {"model.md5": registry.md5(WEIGHTS)})


def draw(summary: dict, results: dict[str, Result], overlays: int) -> None:
    """Write the plots and the page of the worst cases."""
    plots, total = OUT / "plots", evaluation.merge(results.values(), overlays)
    plots.mkdir(parents=True, exist_ok=True)
    if "robustness" in summary:
        report.plot_robustness(summary["robustness"], plots)
    if total.confusion.any():
        report.plot_f1(total.confusion, plots)
        report.plot_confusion(total.confusion, plots)
    if len(total.errors):
        report.plot_ced({name: result.errors for name, result in results.items()}, plots)
        report.plot_groups(summary["landmarks"], plots)
    cv2.imwrite(str(OUT / "overlays.png"), cv2.cvtColor(report.page(total.worst), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    evaluate(load_params())
