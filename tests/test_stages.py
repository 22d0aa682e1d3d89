import subprocess
import sys

import pytest
from mlflow.exceptions import MlflowException

from facemark.stages import report_error


def test_a_stage_names_a_missing_file_in_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "facemark.stages.archive"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "params.yaml: No such file or directory\n"


def test_an_interrupted_stage_says_how_to_resume(capsys):
    report_error(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert "the same command" in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(capsys):
    try:
        raise KeyError("ours")
    except KeyError as error:
        report_error(KeyError, error, error.__traceback__)
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "printed"),
    [
        (FileNotFoundError(2, "No such file", "a.csv"), "a.csv: No such file\n"),
        (ConnectionError("the download failed"), "the download failed\n"),
        (MlflowException("locked"), "MLflow's store failed: locked\n"),
    ],
)
def test_failures_of_files_network_and_store_are_one_sentence(capsys, error, printed):
    report_error(type(error), error, None)
    assert capsys.readouterr().err == printed
