"""The sweep: what it may search, and a real one that is interrupted and resumed."""

import mlflow
import optuna
import pytest
from pydantic import ValidationError

from facemark.settings import Range, Sweep

PHASES = [{"size": 64, "epochs": 1}]


@pytest.mark.parametrize("search", [{"lerning_rate": {"low": 1, "high": 2}}, {"seed": {"low": 1, "high": 2}}, {}])
def test_only_numbers_of_train_are_searched(search):
    with pytest.raises(ValidationError):
        Sweep.model_validate({"phases": PHASES, "search": search})


def test_a_range_has_its_low_end_below_its_high():
    with pytest.raises(ValidationError, match="above high"):
        Range(low=2, high=1)


@pytest.mark.slow
def test_a_sweep_resumes_until_it_has_its_trials(clone):
    trained = clone.run_of("train")

    def sweep(trials: int) -> str:
        entry = ("mlflow", "run", ".", "--env-manager", "local", "-e", "sweep")
        return clone.run(*entry, "-P", "study=test", "-P", f"trials={trials}")

    sweep(1)
    printed = sweep(2)
    study = optuna.load_study(study_name="test", storage=f"sqlite:///{clone.folder}/optuna.db")
    assert len(study.trials) == 2
    assert study.trials[0].params != study.trials[1].params
    assert f"dvc exp run -S train.learning_rate={study.best_params['learning_rate']:.3g}" in printed
    assert clone.run_of("train") == trained, "a sweep does not touch the outputs of the pipeline"

    sweeps = mlflow.search_runs(search_all_experiments=True, filter_string="tags.study = 'test'")
    last, first = sweeps.run_id
    for whole, trial in ((first, study.trials[0]), (last, study.trials[1])):
        inside = f"tags.`mlflow.parentRunId` = '{whole}'"
        (run,) = mlflow.search_runs(search_all_experiments=True, filter_string=inside, output_format="list")
        assert run.data.metrics["best_mean_f1"] == pytest.approx(trial.value)
        assert float(run.data.params["train.learning_rate"]) == pytest.approx(trial.params["learning_rate"])
        assert "val/mean_f1" in run.data.metrics
