"""DVC stage ``evaluate``: figures of the trained parser, plots, and the worst cases to look at."""

import json

import cv2
import mlflow
from mlflow.entities import LoggedModelInput

import facemark
from facemark.evaluation import report, scoring
from facemark.evaluation.scoring import Result
from facemark.inference.parser import FaceParser
from facemark.mlops import registry, tracking
from facemark.models.bundle import ModelBundle
from facemark.settings import BUILT, EVALUATED, PREPARED, Params, load_params


def evaluate(params: Params) -> None:
    """Evaluate on every prepared dataset, write ``build/evaluate`` and log it, with the model, to MLflow.

    Raises:
        SystemExit: the split holds no pictures.
    """
    split, sets = params.evaluate.split, scoring.evaluation_sets(params)
    bundle = ModelBundle.open(BUILT)
    with tracking.stage("evaluate", params.of_stages()) as runs:
        summary, results = scoring.measure_parser(FaceParser(bundle), params.evaluate, sets)
        EVALUATED.mkdir(parents=True, exist_ok=True)
        (EVALUATED / "metrics.json").write_text(json.dumps({"split": split} | summary, indent=1))
        draw(summary, results, params.evaluate.overlays)
        mlflow.log_artifacts(EVALUATED, "evaluate")
        model = registry.log_model(bundle, params.archive.version or facemark.__version__)
        for name in sets:
            shown = tracking.dataset(name, PREPARED / name / "index.csv", params.prepare.datasets[name].path, split)
            mlflow.log_input(shown, split, model=LoggedModelInput(model.model_id))
        figures = tracking.flatten(summary, f"evaluate/{split}/")
        mlflow.log_metrics(figures, model_id=model.model_id)
        mlflow.log_metrics(figures, run_id=runs.whole)
        tracking.tag(runs, {"model.md5": registry.md5(bundle.weights)})


def draw(summary: dict, results: dict[str, Result], overlays: int) -> None:
    """Write the plots and the page of the worst cases."""
    plots, total = EVALUATED / "plots", scoring.merge_results(results.values(), overlays)
    plots.mkdir(parents=True, exist_ok=True)
    if "robustness" in summary:
        report.plot_robustness(summary["robustness"], plots)
    if total.confusion.any():
        report.plot_f1(total.confusion, plots)
        report.plot_confusion(total.confusion, plots)
    if len(total.errors):
        report.plot_ced({name: result.errors for name, result in results.items()}, plots)
        report.plot_groups(summary["landmarks"], plots)
    cv2.imwrite(str(EVALUATED / "overlays.png"), cv2.cvtColor(report.page(total.worst), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    evaluate(load_params())
