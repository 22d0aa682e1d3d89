import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image
from pyarrow import fs
from typer.testing import CliRunner

from facemark import batch, images
from facemark.cli import app
from facemark.data import synthetic
from facemark.inference.parser import FaceParser


@pytest.fixture
def s3(monkeypatch):
    """An S3 on loopback, empty but for a bucket; yields its address."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fs.FileSystem.from_uri("s3://bucket?allow_bucket_creation=true")[0].create_dir("bucket")
    yield "s3://bucket"
    server.stop()


def write(where: str, count: int) -> list[str]:
    """Write small pictures, every tenth of them broken; answers their names."""
    files, root, _ = batch.place(where)
    files.create_dir(f"{root}/more", recursive=True)
    names = [f"{'more/' if i % 3 else ''}{i:03}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        with files.open_output_stream(f"{root}/{name}") as file:
            if i % 10 == 3:
                file.write(b"\xff\xd8 no more")
            else:
                Image.fromarray(np.full((40, 30 + i, 3), i, np.uint8)).save(file, "JPEG")
    with files.open_output_stream(f"{root}/notes.txt") as file:
        file.write(b"no picture")
    return names


def parse(source: str, target: str, model: tuple[Path, Path], more: str = "", before: str = "") -> subprocess.Popen:
    """Parse in a process of its own: what Ray leaves behind would stay in that of the tests.

    ``more`` are further arguments, ``before`` what the process does first; it prints the counts that it is told and
    the summary.
    """
    code = f"import sys; from pathlib import Path; from facemark import batch\n{before}\n"
    code += "source, target, *model = sys.argv[1:]\n"
    code += f"done = batch.parse(source, target, tuple(map(Path, model)), started=print, advanced=print, {more})\n"
    code += "print(done.pictures, done.before, done.errors)"
    command = [sys.executable, "-c", code, source, target, *map(str, model)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def printed(process: subprocess.Popen) -> list[list[int]]:
    """The numbers of each line that a process has printed, which must end well."""
    out, err = process.communicate()
    assert process.returncode == 0, err
    return [[int(each) for each in line.split()] for line in out.splitlines()]


def table(where: str, name: str) -> pa.Table:
    files, root, _ = batch.place(where)
    return pq.read_table(f"{root}/{name}", filesystem=files)


def test_after_a_kill_each_picture_has_one_row(s3, untrained, tmp_path):
    """Ray is started twice: once to be killed, once to go on from there."""
    names, out = write(f"{s3}/faces", 30), str(tmp_path / "out")
    first = parse(f"{s3}/faces", out, untrained, "workers=1, part=4")
    while not list((tmp_path / "out").glob("rows/[!.]*")) and first.poll() is None:
        time.sleep(0.02)
    first.kill()
    first.communicate()
    before = sum(len(table(out, name)) for name in ("rows", "errors"))
    assert 4 <= before < len(names)

    *counts, done = printed(parse(f"{s3}/faces", out, untrained, "workers=1"))
    assert done == [len(names), before, 3]
    assert counts[0][0] == sum(count for (count,) in counts[1:]) == len(names) - before
    rows, errors = table(out, "rows"), table(out, "errors")
    broken = [f"{s3}/faces/{name}" for i, name in enumerate(names) if i % 10 == 3]
    assert sorted(errors["path"].to_pylist()) == sorted(broken)
    paths = rows["path"].to_pylist() + broken
    assert sorted(paths) == sorted(f"{s3}/faces/{name}" for name in names)
    for row in rows.to_pylist():
        assert (row["width"], row["height"]) == (30 + int(Path(row["path"]).stem), 40)

    assert printed(parse(f"{s3}/faces", out, untrained)) == [[0], [len(names), len(names), 3]]


def worker(model, files=None, prefix="") -> batch.Worker:
    return batch.Worker(model, "a model", files or fs.LocalFileSystem(), prefix)


def test_a_row_says_what_the_parser_says(released, tmp_path):
    image = synthetic.draw(0).image
    Image.fromarray(image).save(tmp_path / "face.png")
    (row,) = worker(released)(pa.table({"path": [str(tmp_path / "face.png")]})).to_pylist()
    (parse,) = FaceParser(released)([image])
    assert len(row["faces"]) == len(parse.faces) > 0
    for found, face in zip(row["faces"], parse.faces, strict=True):
        assert np.array(found["box"]) == pytest.approx(face.box, abs=0.01)
        assert found["score"] == pytest.approx(face.score, abs=1e-3)
        assert np.array(found["points"]) == pytest.approx(face.points, abs=0.01)
        assert np.array(found["scores"]) == pytest.approx(face.scores, abs=1e-3)
    mask = np.zeros(parse.mask.size, np.uint8)
    for name, counts in row["mask"]:
        ends = np.cumsum(counts)
        for start, end in zip(ends[::2], ends[1::2], strict=False):
            mask[start:end] = batch.answer.CLASSES.index(name)
    assert (mask.reshape(parse.mask.shape, order="F") == parse.mask).all()
    assert (row["type"], row["message"]) == (None, None)


def test_bad_pictures_are_errors_and_their_neighbours_are_not(untrained, tmp_path):
    for name in ("a.jpg", "c.jpg"):
        Image.new("RGB", (40, 30)).save(tmp_path / name)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    paths = [str(tmp_path / f"{name}.jpg") for name in "abcd"]
    rows = worker(untrained, prefix="file:")(pa.table({"path": paths})).to_pylist()
    assert [row["path"] for row in rows] == [f"file:{path}" for path in paths]
    assert [row["type"] for row in rows] == [None, "RequestError", None, "FileNotFoundError"]
    assert "no known format" in rows[1]["message"]


def test_a_file_larger_than_the_endpoint_takes_is_parsed(untrained, tmp_path):
    Image.new("RGB", (3000, 2400)).save(tmp_path / "a.bmp")
    assert (tmp_path / "a.bmp").stat().st_size > images.MAX_BYTES
    (row,) = worker(untrained, prefix="")(pa.table({"path": [str(tmp_path / "a.bmp")]})).to_pylist()
    assert (row["message"], row["width"]) == (None, 3000)


def test_hidden_files_are_no_pictures_and_a_name_that_is_not_utf8_is_told(tmp_path):
    (tmp_path / ".trash").mkdir()
    for name in ("a.jpg", "._a.jpg", ".trash/b.jpg"):
        (tmp_path / name).touch()
    files, root, _ = batch.place(str(tmp_path))
    assert batch.pictures(files, root) == [f"{root}/a.jpg"]
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).touch()
    with pytest.raises(ValueError, match="not UTF-8; rename it"):
        batch.pictures(files, root)


def rows(*paths: str) -> pa.Table:
    """What a worker may answer; every other one is an error."""
    error = {"type": "E", "message": "m"}
    answers = [{"path": p, "model": "a model"} | (error if i % 2 else {}) for i, p in enumerate(paths)]
    return pa.Table.from_pylist(answers, batch.ANSWER)


@pytest.mark.parametrize("store", ["folder", "s3"])
def test_tables_are_kept_and_never_mixed(store, request, tmp_path):
    where = f"{request.getfixturevalue('s3')}/out" if store == "s3" else str(tmp_path / "out")
    first = batch.Target(where, "a model")
    assert first.done == set()
    first.write([rows("a", "b"), rows("c")])
    assert table(where, "rows")["path"].to_pylist() == ["a", "c"]
    assert table(where, "errors").to_pylist() == [{"path": "b", "model": "a model", "type": "E", "message": "m"}]
    with first.files.open_output_stream(f"{first.path}/rows/.torn.parquet") as file:
        file.write(b"PAR1")
    second = batch.Target(where, "a model")
    assert (second.done, second.errors) == ({"a", "b", "c"}, 1)
    assert all(".torn" not in each.path for each in second.files.get_file_info(fs.FileSelector(f"{first.path}/rows")))
    with pytest.raises(ValueError, match="rows of another model"):
        batch.Target(where, "another")


@pytest.mark.parametrize("prefix", ["my folder/é", "a%20b", "#1"])
def test_a_prefix_may_hold_what_addresses_may_not(s3, prefix):
    write(f"{s3}/{prefix}", 1)
    files, root, _ = batch.place(f"{s3}/{prefix}")
    assert batch.pictures(files, root) == [f"{root}/000.jpg"]
    assert root.endswith(prefix.replace("%20", " "))


def test_what_cannot_be_parsed_is_said_in_a_sentence(untrained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").symlink_to(untrained)
    (tmp_path / "empty").mkdir()
    for source, phrase in (
        ("nowhere", "nowhere"),
        ("empty", "has no pictures, whose names end in bmp, jpeg"),
        ("ftp://host/faces", "neither a folder nor s3://bucket/prefix"),
    ):
        done = CliRunner().invoke(app, ["batch", source, "out"])
        assert (done.exit_code, done.exception.__class__) == (1, SystemExit)
        assert phrase in done.stderr


def test_an_interrupt_while_rows_are_written_writes_none_twice(untrained, tmp_path):
    for name in "ab":
        Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.jpg")
    before = """
written = batch.Target.write
def interrupted(self, blocks):
    written(self, blocks)
    raise KeyboardInterrupt
batch.Target.write = interrupted
"""
    process = parse(str(tmp_path), str(tmp_path / "out"), untrained, "workers=1, part=1", before)
    assert process.communicate()[1].rstrip().endswith("KeyboardInterrupt")
    found = table(str(tmp_path / "out"), "rows")["path"].to_pylist()
    assert found and len(found) == len(set(found))
