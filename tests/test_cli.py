import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from test_datatools import write
from typer.testing import CliRunner

import facemark
from facemark.cli import app
from facemark.data import synthetic
from facemark.io import video


@pytest.fixture
def room(tmp_path, monkeypatch, untrained):
    """A working directory with weights and two photographs, one with a name that Rich could take for markup."""
    shutil.copytree(untrained, tmp_path / "weights")
    for name, seed in (("one.png", 0), ("[b]two.png", 1)):
        Image.fromarray(synthetic.draw(seed).image).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


COMMANDS = [
    *("predict", "batch", "info", "bench", "serve", "stop", "demo", "promote", "rollback", "archive", "evaluate"),
    *("data check", "data show", "data pseudo-labels"),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command):
    *group, name = command.split()
    listed = [line.strip("│ ").split(" ")[0] for line in run(*group, "--help").output.splitlines()]
    assert name in listed
    assert run(*group, name, "--help").exit_code == 0


def test_help_imports_no_heavy_package():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom facemark.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['predict', '--help']).exit_code == 0\n"
        "print(*{'cv2', 'mlflow', 'numpy', 'ray', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_predict_prints_the_number_of_faces(room):
    done = run("predict", "one.png", "[b]two.png")
    assert done.exit_code == 0
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == ["one.png", "[b]two.png"]
    assert done.stderr == ""


def test_predict_prints_one_json_line_for_each_photograph(room):
    done = run("predict", ".", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    md5 = hashlib.md5((room / "weights/model.safetensors").read_bytes()).hexdigest()
    for name, line in zip(("[b]two.png", "one.png"), lines, strict=True):
        assert list(line) == ["path", "image", "faces", "model"]
        assert line["path"] == name
        assert (line["image"]["width"], line["image"]["height"]) == Image.open(name).size
        assert line["model"]["weights"] == md5


def test_predict_reads_a_photograph_from_stdin(room):
    done = CliRunner().invoke(app, ["predict", "-", "--json"], input=(room / "one.png").read_bytes())
    assert done.exit_code == 0
    assert json.loads(done.stdout)["path"] == "-"


def test_predict_draws_into_a_file_or_a_folder_without_output(room):
    done = run("predict", "one.png", "-o", "drawn.jpg")
    assert (done.exit_code, done.output) == (0, "")
    (width, height), drawn = Image.open("one.png").size, Image.open("drawn.jpg").size
    assert drawn[0] % width == drawn[1] % height == 0
    assert drawn[0] // width == drawn[1] // height
    assert run("predict", "one.png", "[b]two.png", "-o", "new/drawn").exit_code == 0
    assert sorted(path.name for path in (room / "new/drawn").iterdir()) == ["[b]two.png", "one.png"]


def test_the_table_of_predict_starts_with_its_column_names(room):
    assert run("predict", ".", "--csv", "faces.csv").exit_code == 0
    assert (room / "faces.csv").read_text().startswith("path,frame,face,score,left")


def test_masks_do_not_overwrite_pictures_or_drawings(room):
    before = (room / "one.png").read_bytes()
    done = run("predict", "one.png", "--masks", ".", "-o", "drawn")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "one.png is an input" in done.stderr
    assert (room / "one.png").read_bytes() == before
    assert run("predict", "one.png", "--masks", "parsed", "-o", "drawn").exit_code == 0
    mask = Image.open(room / "parsed/one.png")
    assert (mask.mode, mask.size) == ("L", Image.open("one.png").size)


def test_a_project_folder_can_be_loaded_from_elsewhere(room, monkeypatch):
    monkeypatch.chdir("/")
    assert facemark.load(room).size == 64
    with pytest.raises(FileNotFoundError, match=r"no weights in /;.*dvc pull weights\.dvc"):
        facemark.load()


def test_predict_parses_every_frame_of_a_video(room):
    writer = video.VideoWriter(room / "clip.mp4", 10)
    for _ in range(3):
        writer.write(synthetic.draw(0).image)
    writer.close()
    done = run("predict", "clip.mp4", "--json", "-o", "drawn")
    assert done.exit_code == 0
    assert [(line["frame"], line["time"]) for line in map(json.loads, done.stdout.splitlines())] == [
        (0, 0.0),
        (1, 0.1),
        (2, 0.2),
    ]
    assert video.Video.open(room / "drawn" / "clip.mp4").length == 3


@pytest.mark.parametrize(
    ("options", "phrase"),
    [
        (["one.png", "[b]two.png", "-o", "drawn.png"], "need a folder"),
        (["one.png", "-o", "drawn.unknown"], "ends in"),
        (["one.png", "-o", "drawn.mp4"], "ends in"),
        (["one.png", "--numbers"], "--out"),
        (["one.png", "--csv", "one.png"], "is an input"),
        (["one.png", "--unheard-of"], "--unheard-of"),
        ([], "INPUT"),
    ],
)
def test_wrong_usage_is_reported_before_anything_is_written(room, options, phrase):
    done = run("predict", *options)
    assert done.exit_code == 2
    assert phrase in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(("option", "target"), [("-o", "two.png/drawn.png"), ("--csv", "nowhere/faces.csv")])
def test_predict_reports_an_output_that_cannot_be_written(room, option, target):
    (room / "two.png").touch()
    done = run("predict", "one.png", option, target)
    assert done.exit_code == 1
    assert target.split("/")[0] in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_predict_does_not_overwrite_inputs(room):
    before = (room / "one.png").read_bytes()
    done = run("predict", "one.png", "-o", ".")
    assert done.exit_code == 1
    assert "is an input" in done.stderr
    assert (room / "one.png").read_bytes() == before


def test_predict_reports_what_it_cannot_read_and_continues(room):
    (room / "broken.png").write_bytes((room / "one.png").read_bytes()[:100])
    (room / "broken.mp4").write_bytes(b"no video")
    (room / "empty").mkdir()
    done = run("predict", "broken.png", "none.png", "empty", "x*.jpg", "broken.mp4", "one.png", "--json")
    assert done.exit_code == 1
    for name, reason in (
        ("broken.png", "truncated"),
        ("none.png", "No such file"),
        ("empty", "no pictures"),
        ("x*.jpg", "no pictures"),
        ("broken.mp4", "cannot be read as a video"),
    ):
        assert any(name in line and reason in line for line in done.stderr.splitlines())
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.slow
def test_ctrl_c_stops_predict_without_a_traceback_or_an_incomplete_video(room):
    writer = video.VideoWriter(room / "clip.mp4", 10)
    for _ in range(300):
        writer.write(synthetic.draw(0).image)
    writer.close()
    command = [sys.executable, "-m", "facemark.cli", "predict", "clip.mp4", "-o", "drawn.mp4", "--json"]
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert running.stdout.readline().startswith('{"path"')
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "Traceback" not in errors
    assert [file.name for file in room.glob("*drawn*")] == []


def test_the_progress_bar_is_not_written_to_a_pipe(room):
    screen, end = os.openpty()
    command = [sys.executable, "-m", "facemark.cli", "predict", "one.png", "[b]two.png", "--json"]
    piped = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, text=True)
    os.close(end)
    assert piped.returncode == 0
    assert len([json.loads(line) for line in piped.stdout.splitlines()]) == 2
    assert b"parsing" in os.read(screen, 10_000)
    os.close(screen)


def test_info_prints_model_licence_and_device(room):
    done = run("info")
    assert done.exit_code == 0
    for word in ("weights/model.safetensors", "non-commercial", "background, skin", "64 × 64", "thread"):
        assert word in done.stdout


def test_bench_measures_the_given_photographs(room):
    done = run("bench", "one.png")
    assert done.exit_code == 0
    assert "pictures a second" in done.stdout
    assert run("bench").exit_code == 1


def test_predict_without_weights_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("predict", "one.png")
    assert done.exit_code == 1
    assert "dvc pull weights.dvc" in done.stderr
    assert "make repro" in done.stderr


def test_predict_refuses_invalid_weights(room):
    (room / "weights" / "model.safetensors").write_bytes(b"no weights")
    done = run("predict", "one.png")
    assert done.exit_code == 1
    assert "model.safetensors is not the file that its config.json describes" in done.stderr
    (room / "weights" / "config.json").unlink()
    done = run("predict", "one.png")
    assert done.exit_code == 1
    assert "not a safetensors file" in done.stderr


def test_the_model_built_here_precedes_the_released_one(room):
    shutil.copytree(room / "weights", room / "build/train")
    assert " weights/model.safetensors" in run("info").stdout, "what is not calibrated yet is not used"
    shutil.copytree(room / "weights", room / "build/model")
    assert " build/model/model.safetensors" in run("info").stdout


def test_predict_agrees_with_the_parser(released, tmp_path, monkeypatch):
    from facemark.inference.parser import FaceParser

    (tmp_path / "weights").symlink_to(released.absolute())
    monkeypatch.chdir(tmp_path)
    image = synthetic.draw(0).image
    Image.fromarray(image).save(tmp_path / "one.png")
    faces = json.loads(run("predict", tmp_path / "one.png", "--json").stdout)["faces"]
    expected = FaceParser(released)([image])[0].faces
    assert len(faces) == len(expected)
    for face, other in zip(faces, expected, strict=True):
        assert np.array(face["landmarks"]["points"]) == pytest.approx(other.points, abs=0.01)


def test_evaluate_measures_one_split_and_reports_invalid_pictures(room):
    for split, seed in (("val", 0), ("val", 1), ("train", 2)):
        write(room / "faces" / split, str(seed), synthetic.draw(seed))
    (room / "faces/val/images/1.png").write_bytes(b"no picture")
    done = run("evaluate", "faces", "--format", "starter")
    assert done.exit_code == 1
    assert "left out faces/val/images/1.png" in done.stderr
    metrics = json.loads(done.stdout)
    assert metrics["pictures"] == 1
    assert metrics["landmarks"]["faces"] == len(synthetic.draw(0).points)
    assert metrics["landmarks"]["recall"] == 0, "the network is untrained"
    assert 0 < metrics["mean_f1"] < 30
    done = run("evaluate", "faces", "--format", "starter", "--split", "test")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no sound pictures in its test split" in done.stderr


def test_serve_without_a_model_and_stop_without_a_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "go to the project's folder" in run("serve").stderr
    (tmp_path / "serve").mkdir()
    done = run("serve")
    assert done.exit_code == 1
    assert "there are no weights in" in done.stderr and done.stderr.count("facemark: ") == 1
    done = run("serve", "other.mar")
    assert done.exit_code == 1
    assert "there is no archive other.mar" in done.stderr
    done = run("stop")
    assert done.exit_code == 0
    assert "no server runs here" in done.stderr


def test_promote_outside_the_project_names_the_missing_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["promote"])
    assert done.exit_code == 1
    assert done.stderr == "facemark: params.yaml: No such file or directory\n"
