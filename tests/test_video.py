from pathlib import Path

import numpy as np
import pytest

from facemark.inference.types import Face
from facemark.io.video import FaceTracker, OneEuro, Video, VideoWriter


def make_face(x: float, y: float = 50.0, side: float = 40.0) -> Face:
    """A face of 68 points in a square with centre (x, y)."""
    square = np.random.default_rng(0).uniform(-0.5, 0.5, (68, 2))
    points = (x, y) + side * square / np.abs(square).max()
    return Face(np.r_[points.min(0), points.max(0)], 1.0, points, np.ones(68), points[:2], points[2], {})


def test_a_written_video_has_its_frames_and_times(tmp_path):
    writer = VideoWriter(tmp_path / "clip.mp4", 20)
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


def test_a_file_name_may_contain_a_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = VideoWriter(Path("12:30.mp4"), 20)
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.close()
    assert len(list(Video.open(Path("12:30.mp4")).frames())) == 1


def test_a_discarded_video_leaves_no_file(tmp_path):
    writer = VideoWriter(tmp_path / "clip.mp4", 20)
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_a_video_is_refused(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="cannot be read as a video"):
        Video.open(tmp_path / "clip.mp4")
    with pytest.raises(FileNotFoundError):
        Video.open(tmp_path / "none.mp4")


def test_the_one_euro_filter_by_hand():
    # 10 frames a second: a speed of 100, low-passed; the cutoff that follows from it; the step
    seconds, size = 0.1, 100.0
    smooth = OneEuro(np.zeros((1, 2)))
    smoothed = smooth(np.array([(10.0, 0)]), seconds, size)
    speed_factor = 1 / (1 + 1 / (2 * np.pi * 1.0 * seconds))
    cutoff = 1.0 + 40.0 * speed_factor * 100 / size
    assert smoothed[0] == pytest.approx((10 / (1 + 1 / (2 * np.pi * cutoff * seconds)), 0))


def test_smoothing_removes_jitter_at_rest_without_bias():
    rng, tracker = np.random.default_rng(0), FaceTracker()
    raw, smooth = [], []
    for i in range(100):
        noisy = make_face(100 + rng.normal(0, 0.5))
        raw.append(noisy.points)
        smooth.append(tracker([noisy], i / 25)[0][1].points)
    jitter = [np.diff(points, 2, axis=0).std() for points in (raw, smooth)]
    assert jitter[1] < 0.5 * jitter[0]
    assert np.mean(smooth[50:], 0) == pytest.approx(np.mean(raw, 0), abs=0.3)


def test_smoothing_lags_less_than_two_pixels_behind_a_moving_face():
    tracker = FaceTracker()
    for i in range(50):
        moving = make_face(100 + 4 * i)  # two and a half face sizes a second
        ((_, smooth),) = tracker([moving], i / 25)
    assert 0 <= moving.points[0, 0] - smooth.points[0, 0] < 2
    assert smooth.box == pytest.approx(np.r_[smooth.points.min(0), smooth.points.max(0)])


def test_smoothing_is_independent_of_face_size():
    trackers = FaceTracker(), FaceTracker()
    for i in range(20):
        x = 10 * np.sin(i / 3)
        small, large = (
            tracker([make_face(k * (100 + x), k * 50, k * 40)], i / 25)[0][1].points
            for k, tracker in zip((1, 10), trackers, strict=True)
        )
        assert large == pytest.approx(10 * small)


def test_without_smoothing_faces_are_unchanged():
    tracker = FaceTracker(smooth=False)
    for i in range(5):
        moving = make_face(100 + 4 * i)
        assert tracker([moving], i / 25) == [(0, moving)]


def test_faces_keep_their_track_numbers_in_any_order():
    tracker = FaceTracker()
    first = tracker([make_face(100), make_face(300)], 0)
    assert [number for number, _ in first] == [0, 1]
    assert [number for number, _ in tracker([make_face(303), make_face(102), make_face(500)], 0.04)] == [1, 0, 2]
    assert [number for number, _ in tracker([make_face(304)], 0.08)] == [1]
    assert [number for number, _ in tracker([make_face(104), make_face(304)], 0.12)] == [0, 1], "a gap of one frame"
    assert [number for number, _ in tracker([make_face(104)], 2.0)] == [3], "a gap beyond MAX_GAP"
