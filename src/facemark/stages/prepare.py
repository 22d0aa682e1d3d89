"""DVC stage ``prepare``: check a dataset, split it, index it. ``python -m facemark.stages.prepare NAME``."""

import sys

import mlflow

from facemark.data.preparation import REPORTS, prepare_dataset
from facemark.mlops import tracking
from facemark.settings import PREPARED, Params, load_params


def prepare(name: str, params: Params) -> None:
    """Prepare the dataset ``name`` into ``build/prepare/NAME``, and log the reports to MLflow.

    Raises:
        SystemExit: the dataset is refused, see :func:`facemark.data.preparation.prepare_dataset`.
    """
    with tracking.stage(f"prepare@{name}", params.of_stages()):
        print(prepare_dataset(name, params.prepare, PREPARED / name))
        for file in REPORTS:
            mlflow.log_artifact(str(PREPARED / name / file))


if __name__ == "__main__":
    prepare(sys.argv[1], load_params())
