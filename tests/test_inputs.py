import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from test_video import make_face

from facemark.inference.types import Parse
from facemark.io.inputs import (
    MAX_BATCH_IMAGES,
    MAX_BATCH_PIXELS,
    STDIN,
    InputImage,
    Source,
    VideoFrame,
    batch_images,
    find_all_sources,
    find_sources,
    parse_images,
    read_images,
)
from facemark.io.video import Video


@pytest.mark.parametrize("smooth", [True, False])
def test_faces_of_a_video_are_smoothed_and_each_video_starts_anew(smooth):
    sources = [Source(Path(name), Path(name)) for name in ("a.mp4", "b.mp4")]
    image, places = np.zeros((9, 9, 3), np.uint8), (100, 110, 300, 310)
    frames = (
        InputImage(source, image, VideoFrame(Video(source.path, 25, 2), i, i / 25))
        for source in sources
        for i in range(2)
    )
    detected = iter(places)

    def parser(images: list[np.ndarray]) -> list[Parse]:
        return [Parse(np.zeros((9, 9), np.uint8), [make_face(next(detected))]) for _ in images]

    parsed = list(parse_images(parser, frames, smooth))
    assert [each.tracks for each in parsed] == [[0]] * 4
    offsets = [
        each.parse.faces[0].points[0, 0] - make_face(x).points[0, 0] for each, x in zip(parsed, places, strict=True)
    ]
    assert offsets[0] == offsets[2] == 0
    assert (max(offsets[1], offsets[3]) < -0.1) if smooth else offsets[1] == offsets[3] == 0


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
def test_an_argument_names_a_file_a_folder_or_a_pattern(album, argument, names):
    found = find_sources(argument)
    assert sorted(str(source.name) for source in found) == names
    assert all(source.path.is_file() or argument == "missing.jpg" for source in found)


def test_a_single_file_is_named_without_its_folder(album):
    assert find_sources(str(album / "a" / "two.PNG"))[0].name == Path("two.PNG")
    assert find_sources("-") == [STDIN]


@pytest.mark.parametrize("argument", ["nothing*.jpg", "empty", ""])
def test_an_argument_without_sources_is_an_error(album, argument):
    (album / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no pictures at" if argument else "is empty"):
        find_sources(argument)


def test_a_name_that_is_not_utf8_is_reported_and_the_others_are_read(tmp_path):
    for name in (b"caf\xe9.png", b"one.png"):
        Image.new("RGB", (4, 4)).save(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    errors = []
    (read,) = read_images(find_sources(str(tmp_path)), errors.append)
    assert read.source.path.name == "one.png"
    assert len(errors) == 1 and "its name is not UTF-8" in errors[0]


def test_a_file_that_is_named_twice_is_read_once(album):
    errors = []
    found = find_all_sources(["a", "a/two.PNG", str(album / "a/b"), "missing.jpg", "nothing*.jpg"], errors.append)
    assert [str(source.name) for source in found] == ["b/three.mp4", "two.PNG", "missing.jpg"]
    assert [str(error).split(";")[0] for error in errors] == ["there are no pictures at nothing*.jpg"]


def test_a_truncated_video_is_reported_and_read_to_its_end(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for i in range(30):
        writer.write(np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    data, errors = (tmp_path / "clip.avi").read_bytes(), []
    assert len(list(read_images(find_sources(str(tmp_path / "clip.avi")), errors.append))) == 30 and not errors
    (tmp_path / "clip.avi").write_bytes(data[: len(data) // 2])
    read = list(read_images(find_sources(str(tmp_path / "clip.avi")), errors.append))
    assert 10 < len(read) < 20
    assert [each.frame.number for each in read] == list(range(len(read)))
    assert len(errors) == 1 and f"only {len(read)} of its 30 frames can be read" in errors[0]


def test_batches_keep_the_order_and_the_limits():
    small, large = (
        InputImage(STDIN, np.zeros((side, side, 3), np.uint8)) for side in (10, int((0.7 * MAX_BATCH_PIXELS) ** 0.5))
    )
    inputs = [small] * (MAX_BATCH_IMAGES + 1) + [large, large, small]
    batches = list(batch_images(iter(inputs)))
    assert [each for batch in batches for each in batch] == inputs
    assert [len(batch) for batch in batches] == [MAX_BATCH_IMAGES, 2, 2]
