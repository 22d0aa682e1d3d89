from pathlib import Path

import numpy as np
import pytest

from facemark.inference.types import Face
from facemark.io.video import Follower, OneEuro, Video, Writer


def face(x: float, y: float = 50.0, side: float = 40.0) -> Face:
    """A face of 68 points in a square about (x, y)."""
    square = np.random.default_rng(0).uniform(-0.5, 0.5, (68, 2))
    points = (x, y) + side * square / np.abs(square).max()
    return Face(np.r_[points.min(0), points.max(0)], 1.0, points, np.ones(68), points[:2], points[2], {})


def test_a_video_comes_back_as_it_was_written(tmp_path):
    writer = Writer(tmp_path / "clip.mp4", 20)
    for i in range(5):
        writer.write(np.full((48, 64, 3), (40 * i, 200 - 40 * i, 100), np.uint8))
        assert not (tmp_path / "clip.mp4").exists()
    writer.close()
    assert [file.name for file in tmp_path.iterdir()] == ["clip.mp4"]
    video = Video.open(tmp_path / "clip.mp4")
    assert (video.fps, video.length) == (20, 5)
    times, frames = zip(*video.frames(), strict=True)
    assert times == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 5
    for i, frame in enumerate(frames):
        assert frame.reshape(-1, 3).mean(0) == pytest.approx((40 * i, 200 - 40 * i, 100), abs=8)


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = Writer(Path("12:30.mp4"), 20)
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    assert len(list(Video.open(Path("12:30.mp4")).frames())) == 1


def test_a_video_that_is_given_up_leaves_nothing(tmp_path):
    writer = Writer(tmp_path / "clip.mp4", 20)
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_video_is_told(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="cannot be read as a video"):
        Video.open(tmp_path / "clip.mp4")
    with pytest.raises(FileNotFoundError):
        Video.open(tmp_path / "none.mp4")


def test_the_filter_is_the_papers():
    # by hand, at 10 frames a second: speed 100, its low-passed half-way value, the cut-off that follows, the step
    seconds, size = 0.1, 100.0
    smooth = OneEuro(np.zeros((1, 2)))
    got = smooth(np.array([(10.0, 0)]), seconds, size)
    share = 1 / (1 + 1 / (2 * np.pi * 1.0 * seconds))
    cutoff = 1.0 + 40.0 * share * 100 / size
    assert got[0] == pytest.approx((10 / (1 + 1 / (2 * np.pi * cutoff * seconds)), 0))


def test_a_face_at_rest_jitters_less_and_ends_where_it_is():
    rng, follow = np.random.default_rng(0), Follower()
    plain, smooth = [], []
    for i in range(100):
        shaken = face(100 + rng.normal(0, 0.5))
        plain.append(shaken.points)
        smooth.append(follow([shaken], i / 25)[0][1].points)
    jitter = [np.diff(points, 2, axis=0).std() for points in (plain, smooth)]
    assert jitter[1] < 0.5 * jitter[0]
    assert np.mean(smooth[50:], 0) == pytest.approx(np.mean(plain, 0), abs=0.3)


def test_a_face_in_motion_is_not_left_behind():
    follow = Follower()
    for i in range(50):
        moving = face(100 + 4 * i)  # two and a half face sizes a second
        ((_, smooth),) = follow([moving], i / 25)
    assert 0 <= moving.points[0, 0] - smooth.points[0, 0] < 2
    assert smooth.box == pytest.approx(np.r_[smooth.points.min(0), smooth.points.max(0)])


def test_the_filter_does_not_care_how_large_a_face_is():
    follows = Follower(), Follower()
    for i in range(20):
        x = 10 * np.sin(i / 3)
        small, large = (
            follow([face(k * (100 + x), k * 50, k * 40)], i / 25)[0][1].points
            for k, follow in zip((1, 10), follows, strict=True)
        )
        assert large == pytest.approx(10 * small)


def test_raw_points_stay_as_they_are():
    follow = Follower(smooth=False)
    for i in range(5):
        moving = face(100 + 4 * i)
        assert follow([moving], i / 25) == [(0, moving)]


def test_people_keep_their_numbers_whatever_the_order():
    follow = Follower()
    first = follow([face(100), face(300)], 0)
    assert [number for number, _ in first] == [0, 1]
    assert [number for number, _ in follow([face(303), face(102), face(500)], 0.04)] == [1, 0, 2]
    assert [number for number, _ in follow([face(304)], 0.08)] == [1]
    assert [number for number, _ in follow([face(104), face(304)], 0.12)] == [0, 1], "missed for a moment"
    assert [number for number, _ in follow([face(104)], 2.0)] == [3], "gone for long"
