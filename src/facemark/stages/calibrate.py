"""DVC stage ``calibrate``: fit the landmark model to faces with points, as the trained network segments them."""

import mlflow

from facemark.mlops import tracking
from facemark.settings import BUILT, TRAINED, load_params
from facemark.training.calibration import calibrate

if __name__ == "__main__":
    params = load_params()
    with tracking.stage("calibrate", params.of_stages()):
        mlflow.log_metric("faces", calibrate(params, TRAINED, BUILT))
