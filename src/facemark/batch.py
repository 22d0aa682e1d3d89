"""Parsing a large collection offline, with Ray Data: ``facemark batch SRC DST``.

``DST/rows`` and ``DST/errors`` are folders of Parquet files: together they have exactly one row for each picture under
SRC. Workers read and parse the pictures; one process, that which is started, writes what they answer, file by file,
and never again what is there already. So a run that was cut short, or a worker that died, leaves no picture twice, and
the same command goes on. One run at a time may write to a DST.

Only the pictures' names are held in memory.
"""

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote
from uuid import uuid4

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import torch
from pyarrow import fs

from facemark import images
from facemark.inference.landmarks import LandmarkModel
from facemark.inference.parser import FaceParser
from facemark.io import response
from facemark.models.bundle import ModelBundle
from facemark.settings import PACKAGE

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray Data warns of what it does itself

FACE = pa.struct(
    [
        ("box", pa.list_(pa.float32())),
        ("score", pa.float32()),
        ("points", pa.list_(pa.list_(pa.float32()))),
        ("scores", pa.list_(pa.float32())),
    ]
)
ROWS = pa.schema(
    [
        ("path", pa.string()),
        ("model", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("faces", pa.list_(FACE)),
        ("mask", pa.map_(pa.string(), pa.list_(pa.int32()))),
    ]
)
"""Of each picture: its name, the model's, its size as a person sees it, its faces as the endpoint answers them, and
for each class that it shows COCO's run lengths (see :func:`facemark.answer.rle`)."""
ERRORS = pa.schema([("path", pa.string()), ("model", pa.string()), ("type", pa.string()), ("message", pa.string())])
"""Of each picture that could not be parsed: why."""
ANSWER = pa.unify_schemas([ROWS, ERRORS])
"""What workers answer: of either table, with nothing in the columns of the other."""
MODEL = "model"
"""Folder of the bundle, where it is sent to other machines."""
PART, SECONDS = 1000, 60
"""A file is written when it has so many rows, or when the last one is so long ago."""
BLOCK = 64
"""Pictures that a worker is handed at once, at most; fewer where there are few for each."""
RESTARTS = 3
"""How often a worker that dies is started anew, and its pictures are parsed again: one of them may be what kills it."""


@dataclass(frozen=True)
class Summary:
    """What became of a collection: its pictures, those that had a row before, and the rows of errors in all."""

    pictures: int
    before: int
    errors: int


def place(where: str) -> tuple[fs.FileSystem, str, str]:
    """The file system of a folder or of ``s3://bucket/prefix``, its path there, and what goes before it in names.

    Raises:
        ValueError: it is neither.
    """
    if "://" not in where:
        return fs.LocalFileSystem(), os.path.normpath(Path(where).absolute()), ""
    try:
        files, path = fs.FileSystem.from_uri(quote(where, safe=":/?&=%@"))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{where} is neither a folder nor s3://bucket/prefix") from error
    return files, path, f"{where.split('://')[0]}://"


def pictures(files: fs.FileSystem, root: str) -> list[str]:
    """The paths of all pictures under a folder, told by the ends of their names, in order; what is hidden is left out.

    Raises:
        ValueError: there are none, or a name is not UTF-8.
        OSError: there is no such folder.
    """
    try:
        found = files.get_file_info(fs.FileSelector(root, recursive=True))
        seen = [each for each in found if each.is_file and "/." not in each.path.removeprefix(root)]
        paths = sorted(each.path for each in seen if f".{each.extension.lower()}" in images.SUFFIXES)
    except UnicodeDecodeError as error:
        raise ValueError(f"{error.object.decode(errors='replace')} has a name that is not UTF-8; rename it") from error
    if not paths:
        kinds = ", ".join(sorted(suffix[1:] for suffix in images.SUFFIXES))
        raise ValueError(f"{root} has no pictures, whose names end in {kinds}")
    return paths


class Target:
    """The tables under one DST."""

    def __init__(self, where: str, model: str):
        """Open the tables, make those that are not there, and drop files that were left unfinished.

        Raises:
            ValueError: the tables hold another model's rows.
            OSError: it cannot be written there.
        """
        self.files, self.path, _ = place(where)
        held = []
        for name, schema in (("rows", ROWS), ("errors", ERRORS)):
            folder = f"{self.path}/{name}"
            self.files.create_dir(folder, recursive=True)
            for each in self.files.get_file_info(fs.FileSelector(folder)):
                if each.is_file and each.base_name.startswith("."):
                    self.files.delete_file(each.path)
            table = ds.dataset(folder, schema, "parquet", self.files)
            held.append(table.to_table(columns=["path", "model"]))
        names = pa.concat_tables(held)
        if set(pc.unique(names["model"]).to_pylist()) - {model}:
            raise ValueError(f"{where} holds rows of another model; name another folder, or delete those")
        self.done, self.errors = set(names["path"].to_pylist()), len(held[1])

    def write(self, answers: list[pa.Table]) -> None:
        """Write what workers answered."""
        table = pa.concat_tables(answers)
        bad = pc.is_valid(table["type"])
        errors = table.filter(bad).select(ERRORS.names)
        self._write("rows", table.filter(pc.invert(bad)).select(ROWS.names))
        self._write("errors", errors)
        self.errors += len(errors)

    def _write(self, name: str, table: pa.Table) -> None:
        if len(table):
            file = f"{uuid4().hex}.parquet"
            unfinished = f"{self.path}/{name}/.{file}"  # readers of Parquet folders pass over such names
            pq.write_table(table, unfinished, compression="zstd", filesystem=self.files)
            self.files.move(unfinished, f"{self.path}/{name}/{file}")


class Worker:
    """Parses pictures, each on one core, reading the next one meanwhile."""

    def __init__(self, model: Path, name: str, files: fs.FileSystem, prefix: str):
        """Load the model; ``prefix`` goes before the paths in the answers."""
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self.parser = FaceParser(model)
        self.name, self.files, self.prefix = name, files, prefix
        self.readers = ThreadPoolExecutor(1)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Take a table with the column ``path``, answer one of :data:`ANSWER`."""
        paths, rows = block["path"].to_pylist(), []
        coming = self.readers.submit(self.read, paths[0])
        for path, following in zip_longest(paths, paths[1:]):
            data = coming
            coming = following and self.readers.submit(self.read, following)
            rows.append({"path": self.prefix + path, "model": self.name} | self.row(data))
        return pa.Table.from_pylist(rows, ANSWER)

    def read(self, path: str) -> bytes:
        """Read a file."""
        with self.files.open_input_file(path) as file:
            return file.read()

    def row(self, data: Future) -> dict:
        """What becomes of one picture."""
        try:
            image = images.decode(data.result(), max_bytes=len(data.result()))
            (parse,) = self.parser([image])
            found = response.encode_response(parse, response.Options(mask="rle"), {})
        except Exception as error:  # whatever is wrong with one of millions, the others go on
            return {"type": type(error).__name__, "message": str(error)}
        faces = [
            {"box": face["box"], "score": face["score"]} | {k: face["landmarks"][k] for k in ("points", "scores")}
            for face in found["faces"]
        ]
        return {**found["image"], "faces": faces, "mask": list(found["mask"]["data"].items())}


def parse(
    source: str,
    target: str,
    model: Path,
    workers: int | None = None,
    address: str = "local",
    started: Callable[[int], None] = lambda count: None,
    advanced: Callable[[int], None] = lambda count: None,
    part: int = PART,
) -> Summary:
    """Parse all pictures under ``source`` that have no row in ``target`` yet.

    Args:
        source: a folder, or ``s3://bucket/prefix``.
        target: likewise.
        model: folder of the bundle.
        workers: one for each GPU, or where there is none for each core, by default.
        address: of a Ray cluster; ``local`` starts Ray here and ends it.
        started: is told once how many pictures are to be parsed.
        advanced: is told how many more have been.
        part: rows of a Parquet file.

    Raises:
        ValueError, OSError: there are no pictures, or the model or the target is not what it should be.
        ray.exceptions.RayError: the cluster failed; what was parsed has been written.
    """
    bundle = ModelBundle.open(model)
    bundle.network()  # says here what is wrong with the files
    LandmarkModel.load(bundle.landmarks)
    files = (bundle.weights, bundle.landmarks)
    name = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    files, root, prefix = place(source)
    listed = pictures(files, root)
    out = Target(target, name)
    todo = [path for path in listed if prefix + path not in out.done]
    started(len(todo))
    waiting, since = [], time.monotonic()
    try:
        for block in answers(todo, model, (name, files, prefix), workers, address) if todo else ():
            waiting.append(block)
            advanced(len(block))
            if sum(map(len, waiting)) >= part or time.monotonic() - since > SECONDS:
                ready, waiting, since = waiting, [], time.monotonic()  # or an interrupt would write them again
                out.write(ready)
    finally:
        if waiting:
            out.write(waiting)
    return Summary(len(listed), len(listed) - len(todo), out.errors)


@contextmanager
def connected(address: str, workers: int | None, model: Path) -> Iterator[Path]:
    """Start Ray here or join a cluster; yields the model's folder as its workers find it."""
    import ray

    quiet = {"logging_level": "error", "log_to_driver": False}
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        if address == "local":
            ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
            yield model.absolute()
        else:
            with TemporaryDirectory() as folder:  # its machines have what Facemark needs, not Facemark nor the model
                shutil.copytree(model, Path(folder, MODEL))
                ray.init(address, runtime_env={"py_modules": [str(PACKAGE)], "working_dir": folder}, **quiet)
                yield Path(MODEL)
    finally:
        ray.shutdown()


def answers(paths: list[str], model: Path, others: tuple, workers: int | None, address: str) -> Iterator[pa.Table]:
    """Yield the answers of Ray's workers, tables of :data:`ANSWER`, as they come."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext, from_arrow

    with connected(address, workers, model) as folder:
        DataContext.get_current().enable_progress_bars = False
        there = ray.cluster_resources()
        gpus = there.get("GPU", 0)
        workers = workers or int(gpus or there["CPU"])
        # a block is handed out, answered and, should its worker die, parsed again as a whole
        size = int(np.clip(len(paths) // (8 * workers), 1, BLOCK))
        blocks = [pa.table({"path": paths[i : i + size]}) for i in range(0, len(paths), size)]
        parsed = from_arrow(blocks).map_batches(
            Worker,
            fn_constructor_args=(folder, *others),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=workers),
            num_cpus=1,
            num_gpus=min(1, gpus / workers),
            max_restarts=RESTARTS,
            max_task_retries=RESTARTS,
        )
        yield from parsed.iter_batches(batch_size=None, batch_format="pyarrow")
