"""DVC stage ``evaluate``: figures of the built model, plots, and a page of its worst cases."""

import json

import mlflow
from mlflow.entities import LoggedModelInput

import facemark
from facemark.evaluation.evaluate import evaluation_sets, measure_parser
from facemark.evaluation.report import write_report
from facemark.inference.parser import FaceParser
from facemark.mlops import registry, tracking
from facemark.models.bundle import ModelBundle
from facemark.settings import BUILT, EVALUATED, PREPARED, Params, load_params


def evaluate(params: Params) -> None:
    """Evaluate on every prepared dataset, write figures and report, and log them with the model to MLflow.

    Raises:
        SystemExit: no dataset has pictures in ``evaluate.split``.
    """
    split, sets, bundle = params.evaluate.split, evaluation_sets(params), ModelBundle.open(BUILT)
    with tracking.stage("evaluate", params.of_stages()) as runs:
        assert runs is not None  # only a distributed training has processes without runs
        figures, results = measure_parser(FaceParser(bundle), params.evaluate, sets)
        write_report(figures, results, params.evaluate.overlays, EVALUATED)
        (EVALUATED / "metrics.json").write_text(json.dumps({"split": split} | figures, indent=1))
        mlflow.log_artifacts(str(EVALUATED), "evaluate")
        model = registry.log_model(bundle, params.archive.version or facemark.__version__)
        for name in sets:
            shown = tracking.dataset(name, PREPARED / name / "index.csv", params.prepare.datasets[name].path, split)
            mlflow.log_input(shown, split, model=LoggedModelInput(model.model_id))
        flat = tracking.flatten(figures, f"evaluate/{split}/")
        mlflow.log_metrics(flat, model_id=model.model_id)
        mlflow.log_metrics(flat, run_id=runs.pipeline)
        tracking.tag(runs, {"model.md5": registry.md5(bundle.weights)})


if __name__ == "__main__":
    evaluate(load_params())
