import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from collection import read_table, s3_server, write_images
from PIL import Image
from pyarrow import fs
from typer.testing import CliRunner

from facemark import batch, images
from facemark.cli import app
from facemark.data import synthetic
from facemark.inference.parser import FaceParser
from facemark.labels import CLASSES


@pytest.fixture
def s3(monkeypatch):
    with s3_server(monkeypatch) as location:
        yield location


def start_parsing(source: str, target: str, model: Path, arguments: str = "", setup: str = "") -> subprocess.Popen:
    """Parse in a process of its own, because Ray leaves state in its process.

    The process runs ``setup`` first. It prints the counts of the callbacks, then those of the summary. ``arguments``
    are further arguments of ``parse``.
    """
    code = f"import sys; from pathlib import Path; from facemark import batch\n{setup}\n"
    code += "source, target, model = sys.argv[1:]\n"
    code += f"done = batch.parse(source, target, Path(model), on_start=print, on_progress=print, {arguments})\n"
    code += "print(done.images, done.before, done.errors)"
    command = [sys.executable, "-c", code, source, target, str(model)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def printed_counts(process: subprocess.Popen) -> list[list[int]]:
    """The numbers of each line that a process prints; it must succeed."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return [[int(each) for each in line.split()] for line in out.splitlines()]


@pytest.mark.slow
def test_after_a_kill_each_image_has_one_row(s3, untrained, tmp_path):
    """Ray is started twice: the first run is killed, the second one continues."""
    names, out = write_images(f"{s3}/faces", 30), str(tmp_path / "out")
    first = start_parsing(f"{s3}/faces", out, untrained, "workers=1, rows_per_file=4")
    while not list((tmp_path / "out").glob("rows/[!.]*")) and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    first.communicate()
    before = sum(len(read_table(out, name)) for name in ("rows", "errors"))
    assert 4 <= before < len(names)

    *counts, summary = printed_counts(start_parsing(f"{s3}/faces", out, untrained, "workers=1"))
    assert summary == [len(names), before, 3]
    assert counts[0][0] == sum(count for (count,) in counts[1:]) == len(names) - before
    rows, errors = read_table(out, "rows"), read_table(out, "errors")
    truncated = [f"{s3}/faces/{name}" for i, name in enumerate(names) if i % 10 == 3]
    assert sorted(errors["path"].to_pylist()) == sorted(truncated)
    paths = rows["path"].to_pylist() + truncated
    assert sorted(paths) == sorted(f"{s3}/faces/{name}" for name in names)
    for row in rows.to_pylist():
        assert (row["width"], row["height"]) == (30 + int(Path(row["path"]).stem), 40)

    assert printed_counts(start_parsing(f"{s3}/faces", out, untrained)) == [[0], [len(names), len(names), 3]]


def make_worker(model: Path, prefix: str = "") -> batch.Worker:
    return batch.Worker(model, "a model", fs.LocalFileSystem(), prefix)


def test_a_row_agrees_with_the_parser(released, tmp_path):
    image = synthetic.draw(0).image
    Image.fromarray(image).save(tmp_path / "face.png")
    (row,) = make_worker(released)(pa.table({"path": [str(tmp_path / "face.png")]})).to_pylist()
    (parse,) = FaceParser(released)([image])
    assert len(row["faces"]) == len(parse.faces) > 0
    for encoded, face in zip(row["faces"], parse.faces, strict=True):
        assert np.array(encoded["box"]) == pytest.approx(face.box, abs=0.01)
        assert encoded["score"] == pytest.approx(face.score, abs=1e-3)
        assert np.array(encoded["points"]) == pytest.approx(face.points, abs=0.01)
        assert np.array(encoded["scores"]) == pytest.approx(face.scores, abs=1e-3)
    mask = np.zeros(parse.mask.size, np.uint8)
    for name, counts in row["mask"]:
        ends = np.cumsum(counts)
        for start, end in zip(ends[::2], ends[1::2], strict=False):
            mask[start:end] = CLASSES.index(name)
    assert (mask.reshape(parse.mask.shape, order="F") == parse.mask).all()
    assert (row["type"], row["message"]) == (None, None)


def test_an_invalid_image_is_an_error_and_the_others_are_parsed(untrained, tmp_path):
    for name in ("a.jpg", "c.jpg"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    paths = [str(tmp_path / f"{name}.jpg") for name in "abcd"]
    rows = make_worker(untrained, prefix="file:")(pa.table({"path": paths})).to_pylist()
    assert [row["path"] for row in rows] == [f"file:{path}" for path in paths]
    assert [row["type"] for row in rows] == [None, "RequestError", None, "FileNotFoundError"]
    assert "no known format" in rows[1]["message"]


def test_a_file_beyond_the_size_limit_of_the_endpoint_is_parsed(untrained, tmp_path):
    Image.new("RGB", (3000, 2400)).save(tmp_path / "a.bmp")
    assert (tmp_path / "a.bmp").stat().st_size > images.MAX_BYTES
    (row,) = make_worker(untrained)(pa.table({"path": [str(tmp_path / "a.bmp")]})).to_pylist()
    assert (row["message"], row["width"]) == (None, 3000)


def test_invalid_arguments_give_a_message_of_one_sentence(untrained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").symlink_to(untrained)
    (tmp_path / "empty").mkdir()
    for source, phrase in (
        ("nowhere", "nowhere"),
        ("empty", "has no pictures; it may have bmp, jpeg"),
        ("ftp://host/faces", "is not a folder or s3://bucket/prefix"),
    ):
        done = CliRunner().invoke(app, ["batch", source, "out"])
        assert (done.exit_code, done.exception.__class__) == (1, SystemExit)
        assert phrase in done.stderr


@pytest.mark.slow
def test_an_interrupt_during_a_write_gives_no_row_twice(untrained, tmp_path):
    for name in "ab":
        Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.jpg")
    setup = """
write = batch.Tables.write
def interrupted(self, results):
    write(self, results)
    raise KeyboardInterrupt
batch.Tables.write = interrupted
"""
    process = start_parsing(str(tmp_path), str(tmp_path / "out"), untrained, "workers=1, rows_per_file=1", setup)
    assert process.communicate()[1].rstrip().endswith("KeyboardInterrupt")
    paths = read_table(str(tmp_path / "out"), "rows")["path"].to_pylist()
    assert paths and len(paths) == len(set(paths))
