import subprocess
import sys

from facemark.stages import tell


def test_a_stage_that_misses_a_file_says_so_in_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "facemark.stages.archive"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr == "params.yaml: No such file or directory\n"


def test_an_interrupted_stage_says_how_to_go_on(capsys):
    tell(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert "the same command" in capsys.readouterr().err


def test_a_fault_of_our_own_keeps_its_traceback(capsys):
    try:
        raise KeyError("ours")
    except KeyError as error:
        tell(KeyError, error, error.__traceback__)
    assert "Traceback" in capsys.readouterr().err
