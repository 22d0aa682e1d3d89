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
    """A working directory that holds weights and two photographs, one with a name that Rich would take for markup."""
    (tmp_path / "weights").mkdir()
    for file in untrained:
        shutil.copy(file, tmp_path / "weights")
    for name, seed in (("one.png", 0), ("[b]two.png", 1)):
        Image.fromarray(synthetic.draw(seed).image).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_help_names_the_commands():
    for command in ("predict", "serve", "stop", "info", "bench"):
        assert command in run("--help").output
        assert run(command, "--help").exit_code == 0


def test_predict_says_how_many_faces(room):
    done = run("predict", "one.png", "[b]two.png")
    assert done.exit_code == 0
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == ["one.png", "[b]two.png"]
    assert done.stderr == ""


def test_predict_answers_one_line_a_photograph(room):
    done = run("predict", ".", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for name, found in zip(("[b]two.png", "one.png"), answers, strict=True):
        assert set(found) == {"path", "image", "faces", "model"}
        assert found["path"] == name
        assert (found["image"]["width"], found["image"]["height"]) == Image.open(name).size
        assert len(found["model"]["weights"]) == 32


def test_predict_reads_a_photograph_from_stdin(room):
    done = CliRunner().invoke(app, ["predict", "-", "--json"], input=(room / "one.png").read_bytes())
    assert done.exit_code == 0
    assert json.loads(done.stdout)["path"] == "-"


def test_predict_draws_into_a_file_or_a_folder_and_is_quiet(room):
    done = run("predict", "one.png", "-o", "drawn.jpg")
    assert (done.exit_code, done.output) == (0, "")
    assert max(Image.open("drawn.jpg").size) >= max(Image.open("one.png").size)
    assert run("predict", "one.png", "[b]two.png", "-o", "new/drawn").exit_code == 0
    assert sorted(path.name for path in (room / "new/drawn").iterdir()) == ["[b]two.png", "one.png"]


def test_predict_begins_a_table_with_the_names_of_its_columns(room):
    assert run("predict", ".", "--csv", "faces.csv").exit_code == 0
    assert (room / "faces.csv").read_text().startswith("path,frame,face,score,left")


def test_predict_keeps_masks_apart_from_pictures_and_drawings(room):
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
    writer = video.Writer(room / "clip.mp4", 10)
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
def test_wrong_usage_is_told_before_anything_is_done(room, options, phrase):
    done = run("predict", *options)
    assert done.exit_code == 2
    assert phrase in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(("option", "target"), [("-o", "two.png/drawn.png"), ("--csv", "nowhere/faces.csv")])
def test_predict_says_where_it_cannot_write(room, option, target):
    (room / "two.png").touch()
    done = run("predict", "one.png", option, target)
    assert done.exit_code == 1
    assert target.split("/")[0] in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_predict_writes_over_no_input(room):
    before = (room / "one.png").read_bytes()
    done = run("predict", "one.png", "-o", ".")
    assert done.exit_code == 1
    assert "is an input" in done.stderr
    assert (room / "one.png").read_bytes() == before


def test_predict_names_what_it_cannot_read_and_goes_on(room):
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


def test_ctrl_c_ends_predict_without_a_word_and_without_half_a_drawing(room):
    writer = video.Writer(room / "clip.mp4", 10)
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


def test_a_progress_bar_on_the_screen_leaves_the_pipe_alone(room):
    screen, end = os.openpty()
    command = [sys.executable, "-m", "facemark.cli", "predict", "one.png", "[b]two.png", "--json"]
    piped = subprocess.run(command, stdout=subprocess.PIPE, stderr=end, text=True)
    os.close(end)
    assert piped.returncode == 0
    assert len([json.loads(line) for line in piped.stdout.splitlines()]) == 2
    assert b"parsing" in os.read(screen, 10_000)
    os.close(screen)


def test_info_names_model_licence_and_device(room):
    done = run("info")
    assert done.exit_code == 0
    for word in ("weights/model.safetensors", "non-commercial", "background, skin", "64 × 64", "thread"):
        assert word in done.stdout


def test_bench_measures_the_given_photographs(room):
    done = run("bench", "one.png")
    assert done.exit_code == 0
    assert "pictures a second" in done.stdout
    assert run("bench").exit_code == 1


def test_predict_without_weights_names_the_way_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("predict", "one.png")
    assert done.exit_code == 1
    assert "dvc pull weights.dvc" in done.stderr
    assert "make repro" in done.stderr


def test_predict_refuses_weights_that_are_none(room):
    (room / "weights" / "model.safetensors").write_bytes(b"no weights")
    done = run("predict", "one.png")
    assert done.exit_code == 1
    assert "not a safetensors file" in done.stderr


def test_what_was_trained_here_goes_before_the_released_weights(room):
    for folder, name in (("train", "model.safetensors"), ("calibrate", "landmarks.npz")):
        assert "weights/model.safetensors" in run("info").stdout  # half a model is none
        (room / "build" / folder).mkdir(parents=True)
        shutil.copy(room / "weights" / name, room / "build" / folder)
    assert "build/train/model.safetensors" in run("info").stdout


def test_predict_and_the_parser_agree(released, tmp_path, monkeypatch):
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


def test_evaluate_holds_a_split_against_its_truth_and_names_what_it_leaves_out(room):
    for split, seed in (("val", 0), ("val", 1), ("train", 2)):
        write(room / "faces" / split, str(seed), synthetic.draw(seed))
    (room / "faces/val/images/1.png").write_bytes(b"no picture")
    done = run("evaluate", "faces", "--format", "starter")
    assert done.exit_code == 1
    assert "left out faces/val/images/1.png" in done.stderr
    figures = json.loads(done.stdout)
    assert figures["pictures"] == 1
    assert figures["landmarks"]["faces"] == len(synthetic.draw(0).points)
    assert figures["landmarks"]["recall"] == 0  # by an untrained network
    assert 0 <= figures["mean_f1"] < 30
    done = run("evaluate", "faces", "--format", "starter", "--split", "test")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no sound pictures in its test split" in done.stderr


def test_serve_without_an_archive_and_stop_without_a_server(tmp_path, monkeypatch):
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


def test_promoting_outside_the_project_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["promote"])
    assert done.exit_code == 1
    assert done.stderr == "facemark: params.yaml: No such file or directory\n"
