"""Writers of the results of ``facemark predict``: JSON lines, CSV, ``.pts`` files, masks, drawings and videos."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

from facemark.images import SUFFIXES as PHOTO_SUFFIXES
from facemark.inference.types import Face
from facemark.io import drawing, response
from facemark.io.inputs import InputImage, ParsedImage, Source
from facemark.io.video import VideoWriter, partial_path

COLUMNS = [
    *("path", "frame", "face", "score", "left", "top", "right", "bottom"),
    *(f"{name}_{i}" for i in range(68) for name in ("x", "y", "score")),
]
"""Columns of the CSV table. ``frame`` is empty for a photograph; ``face`` is the track number, or the face's index."""


@dataclass(frozen=True)
class Outputs:
    """What is written, and where."""

    json: bool = False
    """Print a JSON line for each image."""
    table: TextIO | None = None
    """Open file for the CSV table."""
    points: Path | None = None
    """Folder for ``.pts`` files."""
    masks: Path | None = None
    """Folder for masks, PNG files of class ids."""
    drawings: Path | None = None
    """File for the drawing of a single source, or a folder."""
    numbers: bool = False
    """Draw the index of each point as well."""


def json_line(parsed: ParsedImage, model: dict) -> str:
    """The endpoint's response on one line, after the path of the image; for a video also frame, time and tracks."""
    options = response.Options(max_faces=max(1, len(parsed.parse.faces)))
    encoded = response.encode_response(parsed.parse, options, model)
    place: dict = {"path": str(parsed.input.source.path)}
    if frame := parsed.input.frame:
        place |= {"frame": frame.number, "time": round(frame.time, 3)}
        for face, track in zip(encoded["faces"], parsed.tracks, strict=True):
            face["track"] = track
    return response.to_json(place | encoded).decode()


def csv_row(image: InputImage, face: Face, track: int) -> list:
    """One face as a row of :data:`COLUMNS`; coordinates are in pixels, 0-based."""
    points = np.c_[face.points, face.scores].astype(float)
    place = [str(image.source.path), image.frame.number if image.frame else "", track]
    return [*place, f"{face.score:.3f}", *(f"{v:.2f}" for v in face.box), *(f"{v:.3f}" for v in points.ravel())]


def format_pts(points: np.ndarray) -> str:
    """Format 68 × 2 points as a ``.pts`` file of 300-W, in which the first pixel is (1, 1)."""
    lines = "".join(f"{x:.3f} {y:.3f}\n" for x, y in points + 1.0)
    return f"version: 1\nn_points: {len(points)}\n{{\n{lines}}}\n"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to. The file is renamed to ``path`` at the end, or deleted on an error.

    Raises:
        OSError: the file cannot be written, or its format cannot hold the image.
    """
    partial = partial_path(path)
    try:
        yield partial
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # Pillow does not set it
        if isinstance(error, ValueError):  # by Pillow, for an image that the format cannot hold
            raise OSError(f"{path} cannot be written: {error}; try another format") from error
        raise


class ResultWriter:
    """Writes the results of images; a context manager, which completes or discards the open video at its end."""

    def __init__(self, sources: list[Source], model: dict, outputs: Outputs, on_error: Callable[[str], object]):
        """Write the header of the table; nothing else is written yet.

        Args:
            sources: all inputs, which are never overwritten.
            model: identity of the model, for JSON lines.
            outputs: what is written, and where.
            on_error: called with a message when a result is skipped, because its path is that of an input or of
                another result. Called once for each source and kind of result.
        """
        self.model, self.outputs, self.on_error = model, outputs, on_error
        self.reported: set[tuple[Source, str]] = set()
        self.rows = csv.writer(outputs.table) if outputs.table else None
        self.reserved = {source.path.resolve() for source in sources}
        self.video_writer: VideoWriter | None = None
        self.drawn_source: Source | None = None
        self.drawing_path: Path | None = None
        if self.rows:
            self.rows.writerow(COLUMNS)

    def add(self, parsed: ParsedImage) -> None:
        """Write the results of one image; the frames of a video follow each other.

        Raises:
            OSError: a file cannot be written.
        """
        if self.outputs.json:
            print(json_line(parsed, self.model), flush=True)
        faces = list(zip(parsed.parse.faces, parsed.tracks, strict=True))
        if self.rows:
            self.rows.writerows(csv_row(parsed.input, face, track) for face, track in faces)
        if self.outputs.points:
            self._write_points(self.outputs.points, parsed.input, faces)
        if self.outputs.masks:
            self._write_mask(self.outputs.masks, parsed)
        if self.outputs.drawings:
            self._draw(self.outputs.drawings, parsed)

    def _write_points(self, folder: Path, image: InputImage, faces: list[tuple[Face, int]]) -> None:
        for face, track in faces:
            path = _result_path(folder, image, f"_{track + 1}.pts" if track else ".pts")
            if self._reserve(path, image.source, "points"):
                with atomic_write(path) as file:
                    file.write_text(format_pts(face.points))

    def _write_mask(self, folder: Path, parsed: ParsedImage) -> None:
        path = _result_path(folder, parsed.input, ".png")
        if self._reserve(path, parsed.input.source, "mask"):
            with atomic_write(path) as file:
                Image.fromarray(parsed.parse.mask).save(file)

    def _draw(self, out: Path, parsed: ParsedImage) -> None:
        source, frame = parsed.input.source, parsed.input.frame
        if source != self.drawn_source:
            self._close_video()
            self.drawn_source = source
            path = _drawing_path(out, source)
            self.drawing_path = path if self._reserve(path, source, "drawing") else None
            if self.drawing_path and frame:
                self.video_writer = VideoWriter(self.drawing_path, frame.video.fps)
        if not self.drawing_path:
            return
        numbers = self.outputs.numbers
        drawn = drawing.draw(*drawing.enlarge_small(parsed.input.image, parsed.parse, numbers), numbers)
        if self.video_writer:
            self.video_writer.write(drawn)
        else:
            with atomic_write(self.drawing_path) as file:
                Image.fromarray(drawn).save(file, quality=95)

    def _reserve(self, path: Path, source: Source, kind: str) -> bool:
        """Whether a result may be written to ``path``; makes its folder, and reserves the path for this result."""
        if path.resolve() not in self.reserved:
            self.reserved.add(path.resolve())
            path.parent.mkdir(parents=True, exist_ok=True)
            return True
        if (source, kind) not in self.reported:
            self.reported.add((source, kind))
            self.on_error(f"{path} is an input or the result of another one; choose another folder, or rename one")
        return False

    def _close_video(self) -> None:
        if self.video_writer:
            self.video_writer.close()
        self.video_writer = None

    def __enter__(self) -> "ResultWriter":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self._close_video()
        elif self.video_writer:
            self.video_writer.discard()


def _result_path(folder: Path, image: InputImage, ending: str) -> Path:
    """The path of a result, named by its photograph, or by its video and frame."""
    frame = f"_{image.frame.number:06}" if image.frame else ""
    return folder / image.source.name.parent / f"{image.source.name.stem}{frame}{ending}"


def _drawing_path(out: Path, source: Source) -> Path:
    """The path of a drawing; formats that cannot be written become PNG or MP4."""
    if not is_folder(out):
        return out
    if source.is_video:
        return out / source.name.with_suffix(".mp4")
    return out / (source.name if source.name.suffix.lower() in PHOTO_SUFFIXES else source.name.with_suffix(".png"))


def is_folder(out: Path) -> bool:
    """Whether ``out`` names a folder: one that exists, or a name without a suffix."""
    return out.is_dir() or not out.suffix


def find_output_problem(out: Path, sources: list[Source]) -> str | None:
    """Why the sources cannot be drawn into ``out``, in a phrase; None where they can."""
    if is_folder(out):
        return None
    if len(sources) != 1:
        return f"{len(sources)} pictures need a folder to be drawn into, and {out} names a file"
    suffixes = (".mp4",) if sources[0].is_video else PHOTO_SUFFIXES
    if out.suffix.lower() not in suffixes:
        return f"{out} cannot be written; name a file that ends in {', '.join(suffixes)}, or a folder"
    return None
