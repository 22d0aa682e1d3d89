"""Videos: frames in and out, faces followed from frame to frame, and their points smoothed over time."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what goes wrong is told in our own words

import cv2
import numpy as np

from facemark.geometry import box_iom
from facemark.inference.types import Face

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
MAX_GAP = 0.5
"""Seconds that a face may be missed and still be taken for the same."""
MIN_TRACK_IOM = 0.3
"""Share of the smaller box that two boxes of one face have in common, at least, from one frame to the next."""
MIN_CUTOFF, BETA, SPEED_CUTOFF = 1.0, 40.0, 1.0
"""The one-euro filter's lowest cut-off in Hz, the Hz that it gains for each face size a second, and its own speed's."""


@dataclass(frozen=True)
class Video:
    """A video file; sizes in pixels, as a person sees it, which is how OpenCV turns it."""

    path: Path
    fps: float
    length: int
    """Frames, as the file says; it may be wrong, or where their rate varies, tell how long it is at this one."""

    @classmethod
    def open(cls, path: Path) -> "Video":
        """Look into a file; OSError where it cannot be opened, ValueError where it is no video."""
        with path.open("rb"):
            pass  # OpenCV does not say why
        capture = _capture(path)
        if not capture.isOpened():
            raise ValueError("it cannot be read as a video; convert it to MP4 with H.264, or give pictures")
        fps = capture.get(cv2.CAP_PROP_FPS)
        return cls(path, fps if 0 < fps < 1000 else 25.0, max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))))

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """The times in seconds, which grow, and H × W × 3 RGB uint8 pictures, in their order."""
        capture, time = _capture(self.path), -1.0
        while (read := capture.read())[0]:
            told = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            time = told if told > time else time + 1 / self.fps
            yield time, cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)


def _capture(path: Path) -> cv2.VideoCapture:
    return cv2.VideoCapture(str(path.absolute()))  # what stands before a colon in a name would be a protocol


def unfinished(path: Path) -> Path:
    """The name that a file bears beside ``path`` until it is whole."""
    return path.with_name(f".{path.stem}.partial{path.suffix}")


class Writer:
    """An MP4 file (MPEG-4 part 2, which OpenCV's wheel can write), begun with its first frame.

    Until :meth:`close` it bears another name, so that a file of the right name is whole.
    """

    def __init__(self, path: Path, fps: float):
        self.path, self.count = path, 0
        self.fps = max(0.01, round(fps, 2))  # MPEG-4 cannot tell some finer ones
        self.partial = unfinished(path).absolute()
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        """Append an H × W × 3 RGB frame; all are of one size, and of an odd one the last row or column is lost.

        Raises:
            OSError: the file cannot be written.
        """
        if self._writer is None:
            size = frame.shape[1::-1]
            self.partial.touch()  # OpenCV does not say why
            self._writer = cv2.VideoWriter(str(self.partial), cv2.VideoWriter_fourcc(*"mp4v"), self.fps, size)
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write a video of {size[0]} × {size[1]} pixels")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self.count += 1

    def close(self) -> None:
        """Finish the file; OSError where not all of it could be written, which OpenCV does not notice."""
        if self._writer is None:
            return
        self._writer.release()
        written = _capture(self.partial).get(cv2.CAP_PROP_FRAME_COUNT)
        if written < self.count:
            self.discard()
            raise OSError(f"{self.path}: not all of its {self.count} frames could be written; is the disk full?")
        self.partial.replace(self.path)

    def discard(self) -> None:
        """Give the file up."""
        if self._writer is not None:
            self._writer.release()
        self.partial.unlink(missing_ok=True)


@dataclass(eq=False)
class OneEuro:
    """The one-euro filter (Casiez, Roussel & Vogel, CHI 2012, https://doi.org/10.1145/2207676.2208639) of N points.

    A low-pass filter whose cut-off grows with the speed: little jitter at rest, little lag in motion. Speeds are in
    ``size`` a second, so that a face far away is smoothed as one close by.
    """

    points: np.ndarray
    """N × 2, as they are after the last frame."""
    speed: np.ndarray = field(init=False)

    def __post_init__(self):
        self.speed = np.zeros_like(self.points)

    def __call__(self, points: np.ndarray, seconds: float, size: float) -> np.ndarray:
        """The smoothed N × 2 points of a frame that comes so many seconds after the last one."""
        speed = (points - self.points) / seconds
        self.speed = self.speed + _share(SPEED_CUTOFF, seconds) * (speed - self.speed)
        cutoff = MIN_CUTOFF + BETA * np.linalg.norm(self.speed, axis=1, keepdims=True) / size
        self.points = self.points + _share(cutoff, seconds) * (points - self.points)
        return self.points


def _share(cutoff: np.ndarray | float, seconds: float) -> np.ndarray | float:
    """How far a low-pass filter of this cut-off in Hz follows a new value after so many seconds."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * seconds))


@dataclass(eq=False)
class Track:
    """One face, followed."""

    number: int
    box: np.ndarray
    time: float
    filter: OneEuro


class Follower:
    """Follows the faces of a video: those whose boxes overlap from one frame to the next are one face."""

    def __init__(self, smooth: bool = True):
        self.smooth, self.tracks, self.count = smooth, [], 0

    def __call__(self, faces: list[Face], time: float) -> list[tuple[int, Face]]:
        """The faces of the frame at ``time`` in seconds, their points smoothed, each with its track's number, from 0.

        Box, pupils and the mouth's centre move with the points; regions stay as they were seen.
        """
        known = [track for track in self.tracks if time - track.time <= MAX_GAP]
        pairs = sorted(
            ((box_iom(face.box, track.box), i, track) for i, face in enumerate(faces) for track in known),
            key=lambda pair: -pair[0],
        )
        matched: dict[int, Track] = {}
        for share, i, track in pairs:
            if share >= MIN_TRACK_IOM and i not in matched and track not in matched.values():
                matched[i] = track
        followed = []
        for i, face in enumerate(faces):
            points = np.concatenate([face.points, face.pupils, face.mouth_center[None]]).astype(float)
            if i in matched:
                track = matched[i]
                if self.smooth:
                    size = float(np.linalg.norm(face.box[2:] - face.box[:2]))
                    points = track.filter(points, time - track.time, size)
                track.box, track.time = face.box, time
            else:
                track = Track(self.count, face.box, time, OneEuro(points))
                known.append(track)
                self.count += 1
            followed.append((track.number, _moved(face, points) if self.smooth else face))
        self.tracks = known
        return followed


def _moved(face: Face, points: np.ndarray) -> Face:
    """The face with other points: 68, the pupils, the mouth's centre."""
    box = np.r_[points[:68].min(0), points[:68].max(0)]
    return replace(face, box=box, points=points[:68], pupils=points[68:70], mouth_center=points[70])
