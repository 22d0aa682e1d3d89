"""DVC stage ``train``: fit the parsing network. After an interruption it resumes from its last finished epoch."""

import shutil

import mlflow

from facemark.mlops import registry, tracking
from facemark.settings import PREPARED, TRAINED, Params, load_params
from facemark.training.outputs import write_outputs
from facemark.training.trainer import CHECKPOINTS, fingerprint, fit_network


def train(params: Params) -> None:
    """Train, or resume training, and write and log the result. Every process of a distributed training runs this.

    Raises:
        SystemExit: training was interrupted, or could not start; see :func:`facemark.training.trainer.fit_network`.
    """
    checkpoints = CHECKPOINTS / fingerprint(params)
    with tracking.stage("train", params.of_stages()) as runs:
        try:
            # only the first process has runs: two processes that create MLflow's store at once fail
            trainer, network = fit_network(params, checkpoints, [tracking.logger(runs)] if runs else [])
        except SystemExit as error:
            if error.code != 1:  # Lightning's, for a Ctrl-C
                raise
            raise SystemExit("training was interrupted; the same command resumes after the last epoch") from error
        if runs:
            figures = write_outputs(trainer, network, params.train, TRAINED)
            mlflow.log_metrics(tracking.flatten(figures, "train/"), run_id=runs.pipeline)
            tracking.tag(runs, {"model.md5": registry.md5(TRAINED / "model.safetensors")})
            for name, dataset in params.prepare.datasets.items():
                index = PREPARED / name / "index.csv"
                for split, context in (("train", "training"), ("val", "validation")):
                    mlflow.log_input(tracking.dataset(name, index, dataset.path, split), context)
            shutil.rmtree(checkpoints)


if __name__ == "__main__":
    train(load_params())
