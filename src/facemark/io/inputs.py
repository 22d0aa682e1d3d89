"""What is given on the command line → pictures and what is found in them: files, folders, patterns, stdin, videos."""

import glob
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facemark import images
from facemark.images import SUFFIXES as PHOTOS
from facemark.inference.parser import FaceParser
from facemark.inference.types import Parse
from facemark.io.video import SUFFIXES as VIDEOS
from facemark.io.video import Follower, Video

BATCH, BATCH_PIXELS = 8, 20_000_000
"""A batch has no more pictures than this, and no more pixels unless one picture alone has."""
WHOLE = 0.9
"""A video of which less than this share can be read is not whole; its file may be a little wrong about its length."""


@dataclass(frozen=True)
class Source:
    """One photograph or video."""

    path: Path
    name: Path
    """What its results are called: its path inside the folder or pattern it was found by."""

    @property
    def is_video(self) -> bool:
        """Whether its suffix is that of a video."""
        return self.path.suffix.lower() in VIDEOS

    def shots(self) -> Iterator["Shot"]:
        """Its pictures, one by one; raises OSError, ValueError or RequestError where they cannot be read."""
        try:
            str(self.path).encode()
        except UnicodeEncodeError as error:
            raise ValueError("its name is not UTF-8, so no result could tell it; rename it") from error
        if self.is_video:
            video = Video.open(self.path)
            end = 0.0
            for number, (time, frame) in enumerate(video.frames()):
                yield Shot(self, frame, number, time, video)
                end = time + 1 / video.fps
            if not end:
                raise ValueError("no frame of the video can be read")
            if number + 1 < WHOLE * video.length and end < WHOLE * video.length / video.fps:
                raise ValueError(
                    f"only {number + 1} of the {video.length} frames that it names can be read; it is cut or damaged, "
                    "or was trimmed without being encoded anew"
                )
        else:
            data = sys.stdin.buffer.read() if self.path == STDIN.path else self.path.read_bytes()
            yield Shot(self, images.decode(data, max_bytes=len(data)))


STDIN = Source(Path("-"), Path("stdin.png"))


@dataclass(frozen=True)
class Shot:
    """One picture, H × W × 3 RGB; of a video also its number, from 0, and its time in seconds."""

    source: Source
    image: np.ndarray
    frame: int | None = None
    time: float | None = None
    video: Video | None = None


def find_sources(argument: str) -> list[Source]:
    """The photographs and videos that an argument stands for.

    A folder stands for all in it, however deep, whose suffix is that of a picture or video; hidden ones are left out.

    Raises:
        FileNotFoundError: there are none.
        ValueError: the pattern is none.
    """
    if not argument:
        raise FileNotFoundError("one of the names is empty; name files, folders or patterns")
    path = Path(argument)
    if path == STDIN.path:
        return [STDIN]
    if path.is_dir():
        base, below = path, sorted(path.rglob("*"))
        found = [file for file in below if file.suffix.lower() in PHOTOS + VIDEOS and file.is_file()]
        found = [file for file in found if not any(part.startswith(".") for part in file.relative_to(base).parts)]
    elif path.exists() or not glob.has_magic(argument):
        base, found = path.parent, [path]
    else:
        base = next(parent for parent in path.parents if not glob.has_magic(str(parent)))
        found = [file for file in sorted(base.glob(str(path.relative_to(base)))) if file.is_file()]
    if not found:
        kinds = ", ".join(suffix[1:] for suffix in PHOTOS + VIDEOS)
        raise FileNotFoundError(f"there are no pictures at {argument}; it may be a folder of {kinds} files, or a file")
    return [Source(file, file.relative_to(base)) for file in found]


def find_all_sources(arguments: list[str], failed: Callable[[object], None]) -> list[Source]:
    """The sources that all arguments stand for, each file once; why one stands for none is told to ``failed``."""
    sources: dict[Path, Source] = {}
    for argument in arguments:
        try:
            for source in find_sources(argument):
                sources.setdefault(source.path.absolute(), source)
        except (OSError, ValueError) as error:
            failed(error)
    return list(sources.values())


def read_shots(sources: list[Source], failed: Callable[[str], None]) -> Iterator[Shot]:
    """The pictures of all sources; one that cannot be read is told to ``failed`` in a sentence, and left out."""
    for source in sources:
        try:
            yield from source.shots()
        except OSError as error:
            failed(f"{source.path} cannot be read: {error.strerror or error}")
        except ValueError as error:
            failed(f"{source.path}: {error}")


def parse_shots(
    parser: FaceParser, all_shots: Iterator[Shot], smooth: bool = True
) -> Iterator[tuple[Shot, Parse, list[int]]]:
    """Each picture, what is found in it, and the number of each face: of a video, that of the person, from 0."""
    source, follow = None, Follower(smooth)
    for batch in batch_shots(all_shots):
        for shot, parse in zip(batch, parser([shot.image for shot in batch]), strict=True):
            if shot.video is None:
                yield shot, parse, list(range(len(parse.faces)))
                continue
            if shot.source != source:
                source, follow = shot.source, Follower(smooth)
            followed = follow(parse.faces, shot.time)
            yield shot, Parse(parse.mask, [face for _, face in followed]), [number for number, _ in followed]


def batch_shots(all_shots: Iterator[Shot]) -> Iterator[list[Shot]]:
    """Gather pictures into batches that fit into memory."""
    batch, pixels = [], 0
    for shot in all_shots:
        size = shot.image.shape[0] * shot.image.shape[1]
        if batch and (len(batch) == BATCH or pixels + size > BATCH_PIXELS):
            yield batch
            batch, pixels = [], 0
        batch.append(shot)
        pixels += size
    if batch:
        yield batch
