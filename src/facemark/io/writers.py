"""What ``facemark predict`` leaves behind: JSON lines, a CSV table, 300-W's ``.pts``, masks, drawn pictures, videos."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
from PIL import Image

from facemark.images import SUFFIXES as PHOTOS
from facemark.inference.types import Face, Parse
from facemark.io import drawing, response
from facemark.io.inputs import Shot, Source
from facemark.io.video import Writer, unfinished

COLUMNS = [
    *("path", "frame", "face", "score", "left", "top", "right", "bottom"),
    *(f"{name}_{i}" for i in range(68) for name in ("x", "y", "score")),
]
"""Of the CSV table: what of a video a row belongs to is empty for a photograph; its faces are numbered by tracks."""


def json_line(shot: Shot, parse: Parse, tracks: list[int], model: dict) -> str:
    """The endpoint's answer on one line, with the picture's path before it; of a video with frame, time and tracks."""
    found = response.encode_response(parse, response.Options(max_faces=max(1, len(parse.faces))), model)
    if shot.frame is None:
        return response.to_json({"path": str(shot.source.path)} | found).decode()
    for face, track in zip(found["faces"], tracks, strict=True):
        face["track"] = track
    place = {"path": str(shot.source.path), "frame": shot.frame, "time": round(shot.time, 3)}
    return response.to_json(place | found).decode()


def csv_row(shot: Shot, face: Face, track: int) -> list:
    """One face as a row of :data:`COLUMNS`; coordinates are 0-based pixels."""
    points = np.c_[face.points, face.scores].astype(float)
    place = [str(shot.source.path), "" if shot.frame is None else shot.frame, track]
    return [*place, f"{face.score:.3f}", *(f"{v:.2f}" for v in face.box), *(f"{v:.3f}" for v in points.ravel())]


def pts(points: np.ndarray) -> str:
    """68 × 2 points as a ``.pts`` file of 300-W, in which the first pixel is (1, 1)."""
    lines = "".join(f"{x:.3f} {y:.3f}\n" for x, y in points + 1.0)
    return f"version: 1\nn_points: {len(points)}\n{{\n{lines}}}\n"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; the file gets its own name once it is whole, and is gone where it is not."""
    partial = unfinished(path)
    try:
        yield partial
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # which Pillow leaves out
        if isinstance(error, ValueError):  # Pillow's, of a picture that the format cannot hold
            raise OSError(f"{path} cannot be written: {error}; try another format") from error
        raise


class Results:
    """Writes each picture's result wherever it was asked for; to be closed by ``with``."""

    def __init__(
        self,
        sources: list[Source],
        model: dict,
        failed: Callable[[str], None],
        json: bool = False,
        table: TextIO | None = None,
        points: Path | None = None,
        masks: Path | None = None,
        out: Path | None = None,
        numbers: bool = False,
    ):
        """Write nothing yet.

        Args:
            sources: what is read, and must not be written over.
            model: what JSON says of it.
            failed: is told of each source whose points are not written because their name is that of an input or of
                another result, and likewise of its masks and its drawing, once.
            json: print a JSON line for each picture.
            table: a file for the CSV table.
            points: a folder for ``.pts`` files.
            masks: a folder for masks, PNG files of class ids.
            out: a file for the drawn picture or video where there is one source, or a folder.
            numbers: draw the points' indices as well.
        """
        self.model, self.json, self.numbers = model, json, numbers
        self.points, self.masks, self.out = points, masks, out
        self.failed, self.told = failed, set()
        self.rows = csv.writer(table) if table else None
        self.into_folder = bool(out) and is_folder(out)
        self.taken = {source.path.resolve() for source in sources}
        self.writer: Writer | None = None
        self.drawn: Source | None = None
        self.target: Path | None = None
        if self.rows:
            self.rows.writerow(COLUMNS)

    def add(self, shot: Shot, parse: Parse, tracks: list[int]) -> None:
        """Write one picture's result; faces are those of ``parse``, with a number each.

        Raises:
            OSError: something cannot be written.
        """
        if self.json:
            print(json_line(shot, parse, tracks, self.model), flush=True)
        if self.rows:
            self.rows.writerows(csv_row(shot, face, track) for face, track in zip(parse.faces, tracks, strict=True))
        if self.points:
            self._write_points(shot, parse, tracks)
        if self.masks and (target := self._target(self._beside(self.masks, shot, ".png"), shot.source, "mask")):
            with whole(target) as file:
                Image.fromarray(parse.mask).save(file)
        if self.out:
            self._draw(shot, parse)

    def _target(self, path: Path, source: Source, kind: str) -> Path | None:
        if path.resolve() not in self.taken:
            self.taken.add(path.resolve())
            path.parent.mkdir(parents=True, exist_ok=True)
            return path
        if (source, kind) not in self.told:
            self.told.add((source, kind))
            self.failed(f"{path} is an input or the result of another one; choose another folder, or rename one")
        return None

    def _beside(self, folder: Path, shot: Shot, ending: str) -> Path:
        """A name after that of the picture, or of the video and the frame."""
        frame = "" if shot.frame is None else f"_{shot.frame:06}"
        return folder / shot.source.name.parent / f"{shot.source.name.stem}{frame}{ending}"

    def _write_points(self, shot: Shot, parse: Parse, tracks: list[int]) -> None:
        for face, track in zip(parse.faces, tracks, strict=True):
            path = self._beside(self.points, shot, f"_{track + 1}.pts" if track else ".pts")
            if target := self._target(path, shot.source, "points"):
                with whole(target) as file:
                    file.write_text(pts(face.points))

    def _draw(self, shot: Shot, parse: Parse) -> None:
        if shot.source != self.drawn:
            self._finish()
            self.drawn = shot.source
            self.target = self._target(self._drawn_name(shot.source), shot.source, "drawing")
            if self.target and shot.video:
                self.writer = Writer(self.target, shot.video.fps)
        if not self.target:
            return
        picture = drawing.draw(*drawing.enlarged(shot.image, parse, self.numbers), self.numbers)
        if shot.video:
            self.writer.write(picture)
        else:
            with whole(self.target) as file:
                Image.fromarray(picture).save(file, quality=95)

    def _drawn_name(self, source: Source) -> Path:
        if not self.into_folder:
            return self.out
        if source.is_video:
            return self.out / source.name.with_suffix(".mp4")
        return self.out / (source.name if source.name.suffix.lower() in PHOTOS else source.name.with_suffix(".png"))

    def _finish(self) -> None:
        if self.writer:
            self.writer.close()
        self.writer = None

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is None:
            self._finish()
        elif self.writer:
            self.writer.discard()


def is_folder(out: Path) -> bool:
    """Whether ``out`` is to be a folder: one that is there, or a name without a suffix."""
    return out.is_dir() or not out.suffix


def objection(out: Path, sources: list[Source]) -> str | None:
    """Why the sources cannot be drawn into ``out``, in a phrase; None where they can."""
    if is_folder(out):
        return None
    if len(sources) != 1:
        return f"{len(sources)} pictures need a folder to be drawn into, and {out} names a file"
    suffixes = (".mp4",) if sources[0].is_video else PHOTOS
    if out.suffix.lower() not in suffixes:
        return f"{out} cannot be written; name a file that ends in {', '.join(suffixes)}, or a folder"
    return None
