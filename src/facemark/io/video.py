"""Videos: frames in and out, faces tracked from frame to frame, and their points smoothed over time."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # FFmpeg is silent; errors are reported by this module

import cv2
import numpy as np

from facemark.geometry import box_iom
from facemark.inference.types import Face

SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v")
DEFAULT_FPS = 25.0
"""Frame rate of a video whose file does not state a plausible one."""
MAX_GAP = 0.5
"""Seconds after its last detection until a track ends."""
MIN_TRACK_IOM = 0.3
"""Least intersection of a face's box with a track's last box, over the smaller area, to continue the track."""
MIN_CUTOFF, BETA, SPEED_CUTOFF = 1.0, 40.0, 1.0
"""Parameters of the one-euro filter, as its paper names them.

``MIN_CUTOFF``: cutoff frequency in Hz of a point at rest. ``BETA``: increase of the cutoff in Hz for each face diagonal
a second. ``SPEED_CUTOFF``: cutoff in Hz of the low-pass filter of the speed (the paper's ``dcutoff``).
"""


@dataclass(frozen=True)
class Video:
    """A video file. Frames are oriented as its metadata asks, which OpenCV does."""

    path: Path
    fps: float
    length: int
    """Number of frames that the file states. It may be wrong; with a variable frame rate it is duration × ``fps``."""

    @classmethod
    def open(cls, path: Path) -> "Video":
        """Read the properties of a video file.

        Raises:
            OSError: the file cannot be opened.
            ValueError: the file is not a video that OpenCV can decode.
        """
        with path.open("rb"):
            pass  # raises the reason, which OpenCV does not give
        capture = _capture(path)
        if not capture.isOpened():
            raise ValueError("it cannot be read as a video; convert it to MP4 with H.264, or give pictures")
        fps = capture.get(cv2.CAP_PROP_FPS)
        plausible_fps = fps if 0 < fps < 1000 else DEFAULT_FPS
        return cls(path, plausible_fps, max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT))))

    def frames(self) -> Iterator[tuple[float, np.ndarray]]:
        """Yield (time, frame) in order: strictly increasing seconds, and H × W × 3 RGB uint8."""
        capture, time = _capture(self.path), -1.0
        while (read := capture.read())[0]:
            timestamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            time = timestamp if timestamp > time else time + 1 / self.fps
            yield time, cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)


def _capture(path: Path) -> cv2.VideoCapture:
    return cv2.VideoCapture(str(path.absolute()))  # in a relative path, FFmpeg takes text before a colon for a protocol


def partial_path(path: Path) -> Path:
    """The temporary name, in the same folder, of a file that is being written."""
    return path.with_name(f".{path.stem}.partial{path.suffix}")


class VideoWriter:
    """Writes an MP4 file, created with its first frame (MPEG-4 part 2, the codec that OpenCV's wheel can write).

    The file has a temporary name until :meth:`close`, so a file of the final name is always complete.
    """

    def __init__(self, path: Path, fps: float):
        self.path, self.count = path, 0
        self.fps = max(0.01, round(fps, 2))  # MPEG-4 cannot store some rates with more digits
        self.partial = partial_path(path).absolute()
        self._writer: cv2.VideoWriter | None = None

    def write(self, frame: np.ndarray) -> None:
        """Append a frame.

        Args:
            frame: H × W × 3 RGB uint8, all of one size. The last row or column of an odd size is lost.

        Raises:
            OSError: the file cannot be written.
        """
        if self._writer is None:
            height, width = frame.shape[:2]
            self.partial.touch()  # raises the reason, which OpenCV does not give
            codec = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self.partial), codec, self.fps, (width, height))
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write a video of {width} × {height} pixels")
        self._writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self.count += 1

    def close(self) -> None:
        """Complete the file and give it its final name.

        Raises:
            OSError: some frames could not be written, which OpenCV does not report.
        """
        if self._writer is None:
            return
        self._writer.release()
        written = _capture(self.partial).get(cv2.CAP_PROP_FRAME_COUNT)
        if written < self.count:
            self.discard()
            raise OSError(f"{self.path}: not all of its {self.count} frames could be written; is the disk full?")
        self.partial.replace(self.path)

    def discard(self) -> None:
        """Stop writing and delete the incomplete file."""
        if self._writer is not None:
            self._writer.release()
        self.partial.unlink(missing_ok=True)


@dataclass(eq=False)
class OneEuro:
    """The one-euro filter (Casiez, Roussel & Vogel, CHI 2012, https://doi.org/10.1145/2207676.2208639) of N points.

    A low-pass filter whose cutoff grows with speed: little jitter at rest, little lag in motion. Speed is measured in
    face diagonals a second, so smoothing does not depend on the size of the face.
    """

    points: np.ndarray
    """N × 2, smoothed, of the last frame."""
    speed: np.ndarray = field(init=False)
    """N × 2, smoothed, in pixels a second."""

    def __post_init__(self) -> None:
        self.speed = np.zeros_like(self.points)

    def __call__(self, points: np.ndarray, seconds: float, size: float) -> np.ndarray:
        """Smooth the points of the next frame.

        Args:
            points: N × 2 (x, y) in pixels.
            seconds: time since the last frame.
            size: diagonal of the face in pixels.

        Returns:
            The smoothed points, N × 2.
        """
        speed = (points - self.points) / seconds
        self.speed = self.speed + _smoothing_factor(SPEED_CUTOFF, seconds) * (speed - self.speed)
        cutoff = MIN_CUTOFF + BETA * np.linalg.norm(self.speed, axis=1, keepdims=True) / size
        self.points = self.points + _smoothing_factor(cutoff, seconds) * (points - self.points)
        return self.points


def _smoothing_factor(cutoff: np.ndarray | float, seconds: float) -> np.ndarray | float:
    """Weight of a new value in an exponential filter with a cutoff in Hz, for values so many seconds apart."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * seconds))


@dataclass(eq=False)
class Track:
    """One face over time."""

    number: int
    """From 0, unique in a video."""
    box: np.ndarray
    """x0, y0, x1, y1 at its last detection, not smoothed."""
    time: float
    """Of its last detection, in seconds."""
    filter: OneEuro


class FaceTracker:
    """Tracks the faces of one video: boxes that overlap from one frame to the next belong to one track."""

    def __init__(self, smooth: bool = True):
        self.smooth, self.count = smooth, 0
        self.tracks: list[Track] = []

    def __call__(self, faces: list[Face], time: float) -> list[tuple[int, Face]]:
        """Assign the faces of the next frame to tracks, and smooth their points.

        Args:
            faces: of the frame.
            time: of the frame, in seconds.

        Returns:
            For each face its track number and the face. Box, pupils and mouth centre are smoothed with the points;
            regions are those of the frame.
        """
        active = [track for track in self.tracks if time - track.time <= MAX_GAP]
        matched = _match(faces, active)
        tracked = []
        for i, face in enumerate(faces):
            points = np.concatenate([face.points, face.pupils, face.mouth_center[None]]).astype(float)
            if track := matched.get(i):
                if self.smooth:
                    diagonal = float(np.linalg.norm(face.box[2:] - face.box[:2]))
                    points = track.filter(points, time - track.time, diagonal)
                track.box, track.time = face.box, time
            else:
                track = Track(self.count, face.box, time, OneEuro(points))
                active.append(track)
                self.count += 1
            tracked.append((track.number, _with_points(face, points) if self.smooth else face))
        self.tracks = active
        return tracked


def _match(faces: list[Face], tracks: list[Track]) -> dict[int, Track]:
    """Greedy matching by overlap, largest first: the track of each face by the face's index."""
    pairs = sorted(
        ((box_iom(face.box, track.box), i, track) for i, face in enumerate(faces) for track in tracks),
        key=lambda pair: -pair[0],
    )
    matched: dict[int, Track] = {}
    for iom, i, track in pairs:
        if iom >= MIN_TRACK_IOM and i not in matched and track not in matched.values():
            matched[i] = track
    return matched


def _with_points(face: Face, points: np.ndarray) -> Face:
    """A face with other points, 71 × 2: the 68 landmarks, both pupils, the mouth centre."""
    box = np.r_[points[:68].min(0), points[:68].max(0)]
    return replace(face, box=box, points=points[:68], pupils=points[68:70], mouth_center=points[70])
