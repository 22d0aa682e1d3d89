import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from test_video import face

from facemark.inference.types import Parse
from facemark.io.inputs import (
    BATCH,
    BATCH_PIXELS,
    STDIN,
    Shot,
    Source,
    batch_shots,
    find_all_sources,
    find_sources,
    parse_shots,
    read_shots,
)


@pytest.mark.parametrize("smooth", [True, False])
def test_faces_of_a_video_are_smoothed_and_each_video_starts_anew(smooth):
    sources, film, places = (
        [Source(Path(name), Path(name)) for name in ("a.mp4", "b.mp4")],
        object(),
        (100, 110, 300, 310),
    )
    filmed = (Shot(source, np.zeros((9, 9, 3), np.uint8), i, i / 25, film) for source in sources for i in range(2))
    seen = iter(places)
    found = list(parse_shots(lambda each: [Parse(np.zeros((9, 9)), [face(next(seen))]) for _ in each], filmed, smooth))
    assert [tracks for *_, tracks in found] == [[0]] * 4
    off = [parse.faces[0].points[0, 0] - face(x).points[0, 0] for (_, parse, _), x in zip(found, places, strict=True)]
    assert off[0] == off[2] == 0
    assert (max(off[1], off[3]) < -0.1) if smooth else off[1] == off[3] == 0


@pytest.fixture
def album(tmp_path, monkeypatch):
    for name in ("one.jpg", "a/two.PNG", "a/b/three.mp4", "a/notes.txt", "a/.hidden/four.jpg", "[b]five.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("argument", "names"),
    [
        ("one.jpg", ["one.jpg"]),
        ("a", ["b/three.mp4", "two.PNG"]),
        (".", ["[b]five.webp", "a/b/three.mp4", "a/two.PNG", "one.jpg"]),
        ("a/*.PNG", ["two.PNG"]),
        ("a/**/*.*4", ["b/three.mp4"]),
        ("[b]five.webp", ["[b]five.webp"]),
        ("missing.jpg", ["missing.jpg"]),
    ],
)
def test_what_an_argument_stands_for(album, argument, names):
    found = find_sources(argument)
    assert sorted(str(source.name) for source in found) == names
    assert all(source.path.is_file() or argument == "missing.jpg" for source in found)


def test_a_whole_path_is_called_by_its_name(album):
    assert find_sources(str(album / "a" / "two.PNG"))[0].name == Path("two.PNG")
    assert find_sources("-") == [STDIN]


def test_a_name_that_is_not_utf8_is_told_and_the_others_are_read(tmp_path):
    for name in (b"caf\xe9.png", b"one.png"):
        Image.new("RGB", (4, 4)).save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    told = []
    (shot,) = read_shots(find_sources(str(tmp_path)), told.append)
    assert shot.source.path.name == "one.png"
    assert len(told) == 1 and "its name is not UTF-8" in told[0]


def test_a_file_that_is_named_twice_is_read_once(album):
    told = []
    found = find_all_sources(["a", "a/two.PNG", str(album / "a/b"), "missing.jpg", "nothing*.jpg"], told.append)
    assert [str(source.name) for source in found] == ["b/three.mp4", "two.PNG", "missing.jpg"]
    assert [str(error).split(";")[0] for error in told] == ["there are no pictures at nothing*.jpg"]


def test_a_video_that_ends_before_its_time_is_told_and_what_there_is_of_it_is_read(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    for i in range(30):
        writer.write(np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    data, told = (tmp_path / "clip.avi").read_bytes(), []
    assert len(list(read_shots(find_sources(str(tmp_path / "clip.avi")), told.append))) == 30 and not told
    (tmp_path / "clip.avi").write_bytes(data[: len(data) // 2])
    assert 10 < len(list(read_shots(find_sources(str(tmp_path / "clip.avi")), told.append))) < 20
    assert len(told) == 1 and "of the 30 frames that it names can be read" in told[0]


@pytest.mark.parametrize("argument", ["nothing*.jpg", "empty"])
def test_nothing_found_is_told(album, argument):
    (album / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no pictures at"):
        find_sources(argument)


def test_batches_keep_the_order_and_fit_into_memory():
    small, large = (Shot(STDIN, np.zeros((side, side, 3), np.uint8)) for side in (10, int((0.7 * BATCH_PIXELS) ** 0.5)))
    given = [small] * (BATCH + 1) + [large, large, small]
    made = list(batch_shots(iter(given)))
    assert [shot for batch in made for shot in batch] == given
    assert [len(batch) for batch in made] == [BATCH, 2, 2]
