"""``mlflow run . -e sweep``: search values of ``train`` with Optuna. Each trial is a small training and a child run.

The study is stored in ``optuna.db``. The same command continues it until it has as many trials as requested.
"""

import os
import shutil
import sys

import mlflow
import optuna
from optuna.trial import TrialState

from facemark.mlops import tracking
from facemark.settings import Params, Train, load_params
from facemark.training.trainer import CHECKPOINTS, best_mean_f1, fingerprint, fit_network

STORAGE = "sqlite:///optuna.db"


def settings(trial: optuna.Trial, params: Params) -> Params:
    """The params with the values that the trial suggests, on one device."""
    values = {name: trial.suggest_float(name, r.low, r.high, log=True) for name, r in params.sweep.search.items()}
    small = params.train.model_dump() | {"phases": params.sweep.phases, "devices": 1, "nodes": 1}
    return params.model_copy(update={"train": Train.model_validate(small | values)})


def run(trial: optuna.Trial, params: Params) -> float:
    """Train with the values that the trial suggests; returns the best validation mean F1, in per cent."""
    changed = settings(trial, params)
    checkpoints = CHECKPOINTS / fingerprint(changed)
    with mlflow.start_run(run_name=f"trial {trial.number}", nested=True) as own:
        mlflow.log_params(tracking.flatten({"train": changed.train.model_dump(mode="json")}))
        parent = own.data.tags["mlflow.parentRunId"]
        try:
            done, _ = fit_network(changed, checkpoints, [tracking.logger(tracking.Runs(own.info.run_id, parent))])
            best = best_mean_f1(done, changed.train.phases)
        finally:  # an interrupted trial is not resumed: the next one draws other values
            shutil.rmtree(checkpoints, ignore_errors=True)
        mlflow.log_metric("best_mean_f1", best)
    return best


def sweep(study_name: str, trials: int, params: Params) -> optuna.Study:
    """Run trials until the study has this many finished ones.

    Args:
        study_name: an existing study is continued.
        trials: how many finished trials the study shall have.
        params: of the project; ``sweep`` holds the ranges.
    """
    study = optuna.create_study(storage=STORAGE, study_name=study_name, direction="maximize", load_if_exists=True)
    # a continued study must not draw its first values again
    study.sampler = optuna.samplers.TPESampler(seed=params.train.seed + len(study.trials))
    missing = trials - len(study.get_trials(states=[TrialState.COMPLETE]))
    tracking.connect()
    if "MLFLOW_RUN_ID" not in os.environ:  # else `mlflow run` has created the run
        mlflow.set_experiment(tracking.EXPERIMENT)
    with mlflow.start_run(run_name=study_name):
        mlflow.set_tags({"study": study_name, **tracking.lineage()})
        study.optimize(lambda trial: run(trial, params), n_trials=max(0, missing))
        mlflow.log_metric("best_mean_f1", study.best_value)
        mlflow.log_params({f"best.{name}": value for name, value in study.best_params.items()})
    return study


if __name__ == "__main__":
    study = sweep(sys.argv[1], int(sys.argv[2]), load_params())
    changes = " ".join(f"-S train.{name}={value:.3g}" for name, value in study.best_params.items())
    print(f"best of {len(study.trials)} trials, mean F1 {study.best_value:.2f}: dvc exp run {changes}")
