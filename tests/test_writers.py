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
from facemark.io.inputs import Shot, Source, find_sources
from facemark.io.video import Writer
from facemark.io.writers import COLUMNS, Results, pts

MODEL = {"name": "facemark"}
FAIL = pytest.fail


def face(seed: int) -> Face:
    points = np.random.default_rng(seed).uniform(10, 90, (68, 2))
    scores = np.linspace(0, 1, 68)
    return Face(np.r_[points.min(0), points.max(0)], 0.5, points, scores, points[:2], points[2], {})


def shot(path, frame: int | None = None) -> Shot:
    (source,) = find_sources(str(path))
    return Shot(source, np.zeros((100, 100, 3), np.uint8), frame, None if frame is None else frame / 25)


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "photo.jpg").touch()
    return tmp_path / "photo.jpg"


@pytest.fixture
def parse():
    return Parse(np.zeros((100, 100), np.uint8), [face(0), face(1)])


def test_pts_files_are_those_of_300w(tmp_path, photo, parse):
    with Results([], MODEL, FAIL, points=tmp_path / "pts") as results:
        results.add(shot(photo), parse, [0, 1])
        results.add(shot(photo, frame=7), parse, [0, 1])
    names = sorted(file.name for file in (tmp_path / "pts").iterdir())
    assert names == ["photo.pts", "photo_000007.pts", "photo_000007_2.pts", "photo_2.pts"]
    for name, expected in zip(("photo.pts", "photo_2.pts"), parse.faces, strict=True):
        assert read_points(tmp_path / "pts" / name)[0] == pytest.approx(expected.points, abs=1e-3)


def test_the_first_pixel_of_pts_is_one_one():
    assert pts(np.zeros((68, 2))).splitlines()[3] == "1.000 1.000"


def test_masks_are_class_ids_at_the_pictures_size(tmp_path, photo, parse):
    mask = np.random.default_rng(0).integers(0, 19, (100, 80), np.uint8)
    with Results([], MODEL, FAIL, masks=tmp_path / "masks") as results:
        results.add(shot(photo), Parse(mask, []), [])
        results.add(shot(photo, frame=7), Parse(mask.T, []), [])
    files = sorted((tmp_path / "masks").iterdir())
    assert [file.name for file in files] == ["photo.png", "photo_000007.png"]
    for file, expected in zip(files, (mask, mask.T), strict=True):
        assert np.array_equal(read_mask(file), expected)


def test_the_table_has_a_row_a_face(photo, parse):
    table = io.StringIO(newline="")
    with Results([], MODEL, FAIL, table=table) as results:
        results.add(shot(photo), parse, [0, 1])
        results.add(shot(photo, frame=3), Parse(parse.mask, parse.faces[:1]), [5])
        results.add(shot(photo, frame=4), Parse(parse.mask, []), [])
    rows = list(csv.DictReader(io.StringIO(table.getvalue())))
    assert [(row["frame"], row["face"]) for row in rows] == [("", "0"), ("", "1"), ("3", "5")]
    assert list(rows[0]) == COLUMNS
    assert float(rows[1]["x_30"]) == pytest.approx(parse.faces[1].points[30, 0], abs=1e-3)
    assert float(rows[1]["bottom"]) == pytest.approx(parse.faces[1].box[3], abs=1e-2)


def test_json_says_where_an_answer_belongs(photo, parse, capsys):
    with Results([], MODEL, FAIL, json=True) as results:
        results.add(shot(photo), parse, [0, 1])
        results.add(shot(photo, frame=50), parse, [4, 2])
    still, moving = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert still["path"] == moving["path"] == str(photo)
    assert "frame" not in still and "track" not in still["faces"][0]
    assert (moving["frame"], moving["time"], [each["track"] for each in moving["faces"]]) == (50, 2.0, [4, 2])


def test_nothing_is_written_over_what_was_read(tmp_path, photo, parse):
    before = photo.read_bytes()
    told = []
    with Results(find_sources(str(tmp_path)), MODEL, told.append, out=tmp_path) as results:
        results.add(shot(photo), parse, [0, 1])
    assert len(told) == 1 and "is an input" in told[0]
    assert photo.read_bytes() == before


def test_nor_over_another_result(tmp_path, parse):
    sources = [Source(tmp_path / folder / "photo.jpg", find_sources("photo.jpg")[0].name) for folder in "ab"]
    told = []
    with Results(sources, MODEL, told.append, points=tmp_path / "pts") as results:
        for source in sources:
            results.add(Shot(source, np.zeros((9, 9, 3), np.uint8)), parse, [0, 1])
    assert len(told) == 1 and "another" in told[0]


def test_points_whose_name_is_taken_keep_no_drawing_back(tmp_path, parse):
    told, image = [], np.zeros((100, 100, 3), np.uint8)
    sources = [Source(tmp_path / name, Path(name)) for name in ("photo.jpg", "photo.png")]
    with Results(sources, MODEL, told.append, points=tmp_path / "pts", out=tmp_path / "drawn") as results:
        for source in sources:
            results.add(Shot(source, image), parse, [0, 1])
    assert len(told) == 1 and "photo.pts" in told[0]
    assert sorted(file.name for file in (tmp_path / "drawn").iterdir()) == ["photo.jpg", "photo.png"]


@contextmanager
def full_disk():
    """No file may grow beyond 100 bytes; as short as can be, for pytest's own output may be a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_drawing_that_cannot_be_finished_leaves_the_one_before(tmp_path, photo, parse):
    target = tmp_path / "drawn.png"
    target.write_bytes(b"before")
    with pytest.raises(OSError, match=r"drawn\.png"), full_disk(), Results([], MODEL, FAIL, out=target) as results:
        results.add(shot(photo), parse, [0, 1])
    assert target.read_bytes() == b"before"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["drawn.png", "photo.jpg"]


def test_nor_does_a_video(tmp_path):
    writer = Writer(tmp_path / "drawn.mp4", 25)
    with pytest.raises(OSError, match=r"drawn\.mp4.*disk full"), full_disk():
        for _ in range(5):
            writer.write(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_video_whose_name_is_taken_is_told_once(tmp_path, parse):
    writer = Writer(tmp_path / "clip.mp4", 25)
    for _ in range(3):
        writer.write(np.zeros((100, 100, 3), np.uint8))
    writer.close()
    shutil.copy(tmp_path / "clip.mp4", tmp_path / "clip.mov")
    first, second = find_sources(str(tmp_path))
    told = []
    with Results([], MODEL, told.append, points=tmp_path / "pts", out=tmp_path / "drawn") as results:
        for each in (*first.shots(), *second.shots()):
            results.add(each, parse, [0, 1])
    assert len(told) == 2 and ".pts" in told[0] and ".mp4" in told[1]
    assert [file.name for file in (tmp_path / "drawn").iterdir()] == ["clip.mp4"]
