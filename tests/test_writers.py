import csv
import io
import json
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from facemark.data.formats.pts300w import read_points
from facemark.data.samples import read_mask
from facemark.inference.types import Face, Parse
from facemark.io.inputs import InputImage, ParsedImage, Source, VideoFrame, find_sources
from facemark.io.video import Video, VideoWriter
from facemark.io.writers import COLUMNS, Outputs, ResultWriter, format_pts

MODEL = {"name": "facemark"}
FAIL = pytest.fail
IMAGE = np.zeros((100, 100, 3), np.uint8)


def make_face(seed: int) -> Face:
    points = np.random.default_rng(seed).uniform(10, 90, (68, 2))
    scores = np.linspace(0, 1, 68)
    return Face(np.r_[points.min(0), points.max(0)], 0.5, points, scores, points[:2], points[2], {})


def parsed(path: Path, parse: Parse, tracks: list[int], frame: int | None = None) -> ParsedImage:
    """A parsed image; with ``frame``, that of a video of 25 frames a second."""
    (source,) = find_sources(str(path))
    place = None if frame is None else VideoFrame(Video(path, 25, 100), frame, frame / 25)
    return ParsedImage(InputImage(source, IMAGE, place), parse, tracks)


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "photo.jpg").touch()
    return tmp_path / "photo.jpg"


@pytest.fixture
def parse():
    return Parse(np.zeros((100, 100), np.uint8), [make_face(0), make_face(1)])


def test_pts_files_are_read_as_those_of_300w(tmp_path, photo, parse):
    with ResultWriter([], MODEL, Outputs(points=tmp_path / "pts"), FAIL) as results:
        results.add(parsed(photo, parse, [0, 1]))
        results.add(parsed(photo, parse, [0, 1], frame=7))
    names = sorted(file.name for file in (tmp_path / "pts").iterdir())
    assert names == ["photo.pts", "photo_000007.pts", "photo_000007_2.pts", "photo_2.pts"]
    for name, expected in zip(("photo.pts", "photo_2.pts"), parse.faces, strict=True):
        assert read_points(tmp_path / "pts" / name)[0] == pytest.approx(expected.points, abs=1e-3)


def test_the_first_pixel_of_pts_files_is_one_one():
    assert format_pts(np.zeros((68, 2))).splitlines()[3] == "1.000 1.000"


def test_masks_are_class_ids_at_the_size_of_the_image(tmp_path, photo, parse):
    mask = np.random.default_rng(0).integers(0, 19, (100, 80), np.uint8)
    with ResultWriter([], MODEL, Outputs(masks=tmp_path / "masks"), FAIL) as results:
        results.add(parsed(photo, Parse(mask, []), []))
        results.add(parsed(photo, Parse(mask.T, []), [], frame=7))
    files = sorted((tmp_path / "masks").iterdir())
    assert [file.name for file in files] == ["photo.png", "photo_000007.png"]
    for file, expected in zip(files, (mask, mask.T), strict=True):
        assert np.array_equal(read_mask(file), expected)


def test_the_table_has_a_row_for_each_face(photo, parse):
    table = io.StringIO(newline="")
    with ResultWriter([], MODEL, Outputs(table=table), FAIL) as results:
        results.add(parsed(photo, parse, [0, 1]))
        results.add(parsed(photo, Parse(parse.mask, parse.faces[:1]), [5], frame=3))
        results.add(parsed(photo, Parse(parse.mask, []), [], frame=4))
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    assert [(row["frame"], row["face"]) for row in rows] == [("", "0"), ("", "1"), ("3", "5")]
    assert list(rows[0]) == COLUMNS
    assert float(rows[1]["x_30"]) == pytest.approx(parse.faces[1].points[30, 0], abs=1e-3)
    assert float(rows[1]["bottom"]) == pytest.approx(parse.faces[1].box[3], abs=1e-2)


def test_json_lines_have_path_frame_time_and_tracks(photo, parse, capsys):
    with ResultWriter([], MODEL, Outputs(json=True), FAIL) as results:
        results.add(parsed(photo, parse, [0, 1]))
        results.add(parsed(photo, parse, [4, 2], frame=50))
    still, moving = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert still["path"] == moving["path"] == str(photo)
    assert "frame" not in still and "track" not in still["faces"][0]
    assert (moving["frame"], moving["time"], [each["track"] for each in moving["faces"]]) == (50, 2.0, [4, 2])


def test_inputs_are_not_overwritten(tmp_path, photo, parse):
    before = photo.read_bytes()
    errors = []
    with ResultWriter(find_sources(str(tmp_path)), MODEL, Outputs(drawings=tmp_path), errors.append) as results:
        results.add(parsed(photo, parse, [0, 1]))
    assert len(errors) == 1 and "is an input" in errors[0]
    assert photo.read_bytes() == before


def test_results_do_not_overwrite_each_other(tmp_path, parse):
    sources = [Source(tmp_path / folder / "photo.jpg", find_sources("photo.jpg")[0].name) for folder in "ab"]
    errors = []
    with ResultWriter(sources, MODEL, Outputs(points=tmp_path / "pts"), errors.append) as results:
        for source in sources:
            results.add(ParsedImage(InputImage(source, IMAGE), parse, [0, 1]))
    assert len(errors) == 1 and "another" in errors[0]


def test_skipped_points_do_not_prevent_drawings(tmp_path, parse):
    errors = []
    sources = [Source(tmp_path / name, Path(name)) for name in ("photo.jpg", "photo.png")]
    with ResultWriter(
        sources, MODEL, Outputs(points=tmp_path / "pts", drawings=tmp_path / "drawn"), errors.append
    ) as results:
        for source in sources:
            results.add(ParsedImage(InputImage(source, IMAGE), parse, [0, 1]))
    assert len(errors) == 1 and "photo.pts" in errors[0]
    assert sorted(file.name for file in (tmp_path / "drawn").iterdir()) == ["photo.jpg", "photo.png"]


@contextmanager
def full_disk():
    """No file can grow beyond 100 bytes. Keep the block short: the output of pytest may be a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_drawing_that_cannot_be_completed_leaves_the_previous_one(tmp_path, photo, parse):
    target = tmp_path / "drawn.png"
    target.write_bytes(b"before")
    with (
        pytest.raises(OSError, match=r"drawn\.png"),
        full_disk(),
        ResultWriter([], MODEL, Outputs(drawings=target), FAIL) as results,
    ):
        results.add(parsed(photo, parse, [0, 1]))
    assert target.read_bytes() == b"before"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["drawn.png", "photo.jpg"]


def test_a_video_that_cannot_be_completed_is_deleted(tmp_path):
    writer = VideoWriter(tmp_path / "drawn.mp4", 25)
    with pytest.raises(OSError, match=r"drawn\.mp4.*disk full"), full_disk():
        for _ in range(5):
            writer.write(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_video_is_reported_once_for_each_kind_of_result(tmp_path, parse):
    writer = VideoWriter(tmp_path / "clip.mp4", 25)
    for _ in range(3):
        writer.write(np.zeros((100, 100, 3), np.uint8))
    writer.close()
    shutil.copy(tmp_path / "clip.mp4", tmp_path / "clip.mov")
    first, second = find_sources(str(tmp_path))
    errors = []
    with ResultWriter(
        [], MODEL, Outputs(points=tmp_path / "pts", drawings=tmp_path / "drawn"), errors.append
    ) as results:
        for each in (*first.read(), *second.read()):
            results.add(ParsedImage(each, parse, [0, 1]))
    assert len(errors) == 2 and ".pts" in errors[0] and ".mp4" in errors[1]
    assert [file.name for file in (tmp_path / "drawn").iterdir()] == ["clip.mp4"]
