"""Inputs of the command line: files, folders, patterns, stdin and videos become images, and images become parses."""

import glob
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemark import images
from facemark.images import SUFFIXES as PHOTO_SUFFIXES
from facemark.inference.parser import FaceParser
from facemark.inference.types import Parse
from facemark.io.video import SUFFIXES as VIDEO_SUFFIXES
from facemark.io.video import FaceTracker, Video

MAX_BATCH_IMAGES, MAX_BATCH_PIXELS = 8, 20_000_000
"""Limits of a batch. An image with more pixels is a batch alone."""
MIN_READABLE_SHARE = 0.9
"""A video with a smaller share of readable frames is reported as truncated; stated lengths are often a little wrong."""


@dataclass(frozen=True)
class Source:
    """One photograph or video."""

    path: Path
    name: Path
    """Name of its results: the path relative to the folder or pattern that it was found by."""

    @property
    def is_video(self) -> bool:
        """Whether the suffix is that of a video."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES

    def read(self) -> Iterator["InputImage"]:
        """Yield the image of a photograph, or the frames of a video.

        Raises:
            OSError: the file cannot be opened.
            ValueError: the file cannot be decoded, or only part of the video can; what can be read is yielded first.
        """
        try:
            str(self.path).encode()
        except UnicodeEncodeError as error:
            raise ValueError("its name is not UTF-8, so it cannot be written into results; rename it") from error
        if self.is_video:
            yield from self._read_video()
        else:
            data = sys.stdin.buffer.read() if self.path == STDIN.path else self.path.read_bytes()
            yield InputImage(self, images.decode(data, max_bytes=len(data)))

    def _read_video(self) -> Iterator["InputImage"]:
        video, count, end = Video.open(self.path), 0, 0.0
        for time, frame in video.frames():
            yield InputImage(self, frame, VideoFrame(video, count, time))
            count, end = count + 1, time + 1 / video.fps
        if not count:
            raise ValueError("no frame of the video can be read")
        expected = MIN_READABLE_SHARE * video.length
        if count < expected and end < expected / video.fps:
            raise ValueError(
                f"only {count} of its {video.length} frames can be read; the file is truncated or corrupt, or was "
                "trimmed without re-encoding"
            )


STDIN = Source(Path("-"), Path("stdin.png"))
"""A photograph on standard input."""


@dataclass(frozen=True)
class VideoFrame:
    """The position of an image in a video."""

    video: Video
    number: int
    """From 0."""
    time: float
    """In seconds."""


@dataclass(frozen=True)
class InputImage:
    """A photograph, or a frame of a video."""

    source: Source
    image: np.ndarray
    """H × W × 3 RGB uint8."""
    frame: VideoFrame | None = None
    """None for a photograph."""


@dataclass(frozen=True)
class ParsedImage:
    """An image and what was found in it."""

    input: InputImage
    parse: Parse
    tracks: list[int]
    """A number for each face: in a video that of its track, from 0; in a photograph its index."""


def find_sources(argument: str) -> list[Source]:
    """Find the photographs and videos that an argument of the command line names.

    Args:
        argument: a file, a folder, a pattern, or ``-`` for stdin. A folder stands for all photographs and videos under
            it, by suffix and without hidden ones.

    Raises:
        FileNotFoundError: there are none.
        ValueError: the pattern is not valid.
    """
    if not argument:
        raise FileNotFoundError("one of the names is empty; name files, folders or patterns")
    path = Path(argument)
    if path == STDIN.path:
        return [STDIN]
    if path.is_dir():
        base, files = path, _list_folder(path)
    elif path.exists() or not glob.has_magic(argument):
        base, files = path.parent, [path]
    else:
        base, files = _match_pattern(path)
    if not files:
        kinds = ", ".join(suffix[1:] for suffix in PHOTO_SUFFIXES + VIDEO_SUFFIXES)
        raise FileNotFoundError(f"there are no pictures at {argument}; it may be a folder of {kinds} files, or a file")
    return [Source(file, file.relative_to(base)) for file in files]


def _list_folder(folder: Path) -> list[Path]:
    """All photographs and videos under a folder that are not hidden, sorted."""
    paths = sorted(folder.rglob("*"))
    files = [path for path in paths if path.suffix.lower() in PHOTO_SUFFIXES + VIDEO_SUFFIXES and path.is_file()]
    return [file for file in files if not any(part.startswith(".") for part in file.relative_to(folder).parts)]


def _match_pattern(pattern: Path) -> tuple[Path, list[Path]]:
    """The deepest folder of a glob pattern without wildcards, and the files that match the pattern, sorted."""
    base = next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))
    return base, [path for path in sorted(base.glob(str(pattern.relative_to(base)))) if path.is_file()]


def find_all_sources(arguments: list[str], on_error: Callable[[object], object]) -> list[Source]:
    """Find the sources that all arguments name, each file once.

    Args:
        arguments: see :func:`find_sources`.
        on_error: called with the exception of an argument that names none.
    """
    sources: dict[Path, Source] = {}
    for argument in arguments:
        try:
            for source in find_sources(argument):
                sources.setdefault(source.path.absolute(), source)
        except (OSError, ValueError) as error:
            on_error(error)
    return list(sources.values())


def read_images(sources: list[Source], on_error: Callable[[str], object]) -> Iterator[InputImage]:
    """Yield the images of all sources.

    Args:
        sources: photographs and videos.
        on_error: called with a message for each source that cannot be read; the others are read nevertheless.
    """
    for source in sources:
        try:
            yield from source.read()
        except OSError as error:
            on_error(f"{source.path} cannot be read: {error.strerror or error}")
        except ValueError as error:
            on_error(f"{source.path}: {error}")


def parse_images(parser: FaceParser, inputs: Iterator[InputImage], smooth: bool = True) -> Iterator[ParsedImage]:
    """Parse images in batches, in their order, and track the faces of each video.

    Args:
        parser: the model.
        inputs: images; the frames of a video follow each other.
        smooth: smooth the points of videos over time.
    """
    source, tracker = None, FaceTracker(smooth)
    for batch in batch_images(inputs):
        for each, parse in zip(batch, parser([each.image for each in batch]), strict=True):
            if each.frame is None:
                yield ParsedImage(each, parse, list(range(len(parse.faces))))
                continue
            if each.source != source:
                source, tracker = each.source, FaceTracker(smooth)
            tracked = tracker(parse.faces, each.frame.time)
            faces, tracks = [face for _, face in tracked], [number for number, _ in tracked]
            yield ParsedImage(each, Parse(parse.mask, faces), tracks)


def batch_images(inputs: Iterator[InputImage]) -> Iterator[list[InputImage]]:
    """Group images, in their order, into batches of at most MAX_BATCH_IMAGES images and MAX_BATCH_PIXELS pixels."""
    batch: list[InputImage] = []
    pixels = 0
    for each in inputs:
        size = each.image.shape[0] * each.image.shape[1]
        if batch and (len(batch) == MAX_BATCH_IMAGES or pixels + size > MAX_BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(each)
        pixels += size
    if batch:
        yield batch
