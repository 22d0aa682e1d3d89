import json
import shutil

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from facemark import synthetic
from facemark.cli import app


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
    for command in ("predict", "serve", "stop"):
        assert command in run("--help").output
        assert run(command, "--help").exit_code == 0


def test_predict_says_how_many_faces(room):
    done = run("predict", "one.png")
    assert done.exit_code == 0
    assert "one.png: " in done.stderr
    assert done.stdout == ""


def test_predict_answers_one_line_a_photograph(room):
    done = run("predict", "one.png", "[b]two.png", "--json")
    assert done.exit_code == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for name, found in zip(("one.png", "[b]two.png"), answers, strict=True):
        assert set(found) == {"image", "faces", "model"}
        assert (found["image"]["width"], found["image"]["height"]) == Image.open(name).size


def test_predict_draws_into_a_file_or_a_folder(room):
    assert run("predict", "one.png", "-o", "drawn.jpg").exit_code == 0
    assert Image.open("drawn.jpg").size == Image.open("one.png").size
    (room / "drawn").mkdir()
    assert run("predict", "one.png", "[b]two.png", "-o", "drawn").exit_code == 0
    assert sorted(path.name for path in (room / "drawn").iterdir()) == ["[b]two.png", "one.png"]


@pytest.mark.parametrize("out", ["nowhere/drawn.png", "drawn.unknown", "drawn"])
def test_predict_says_where_it_cannot_write(room, out):
    done = run("predict", "one.png", "-o", out)
    assert done.exit_code == 1
    assert f"{out} cannot be written" in done.stderr


def test_predict_wants_a_folder_for_several(room):
    done = run("predict", "one.png", "[b]two.png", "-o", "drawn.png")
    assert done.exit_code == 1
    assert "need a folder" in done.stderr


def test_predict_names_what_it_cannot_read_and_goes_on(room):
    (room / "broken.png").write_bytes((room / "one.png").read_bytes()[:100])
    done = run("predict", "broken.png", "none.png", ".", "one.png", "--json")
    assert done.exit_code == 1
    for name, reason in (("broken.png", "truncated"), ("none.png", "No such file"), (".", "Is a directory")):
        assert any(name in line and reason in line for line in done.stderr.splitlines())
    assert len(done.stdout.splitlines()) == 1


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


def test_predict_prefers_what_was_trained_here(room):
    for folder, name in (("train", "model.safetensors"), ("calibrate", "landmarks.npz")):
        (room / "build" / folder).mkdir(parents=True)
        shutil.copy(room / "weights" / name, room / "build" / folder)
    shutil.rmtree(room / "weights")
    assert run("predict", "one.png").exit_code == 0


def test_predict_and_the_parser_agree(released, tmp_path, monkeypatch):
    from facemark.parser import FaceParser

    (tmp_path / "weights").symlink_to(released[0].parent.absolute())
    monkeypatch.chdir(tmp_path)
    image = synthetic.draw(0).image
    Image.fromarray(image).save(tmp_path / "one.png")
    faces = json.loads(run("predict", tmp_path / "one.png", "--json").stdout)["faces"]
    expected = FaceParser(*released)([image])[0].faces
    assert len(faces) == len(expected)
    for face, other in zip(faces, expected, strict=True):
        assert np.array(face["landmarks"]["points"]) == pytest.approx(other.points, abs=0.01)


def test_serve_without_an_archive_and_stop_without_a_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("serve")
    assert done.exit_code == 1
    assert "there is no archive build/facemark.mar; build it with: make repro" in done.stderr
    done = run("stop")
    assert done.exit_code == 0
    assert "no server runs here" in done.stderr
