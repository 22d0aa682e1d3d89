"""Parsing a large collection offline with Ray Data: ``facemark batch SRC DST``.

``DST/rows`` and ``DST/errors`` are folders of Parquet files. Together they have exactly one row for each image under
SRC. Workers read and parse images; only the process that was started writes their results, one file at a time. Images
that have a row are skipped, so after a crash or an interrupt the same command continues, and no image has two rows.
Only one run at a time may write to a DST.

Memory holds the names of all images, but only the results of one file.
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
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import torch
from pyarrow import fs

from facemark import images
from facemark.inference.landmarks import LandmarkModel
from facemark.inference.parser import FaceParser
from facemark.io import response
from facemark.io.tables import RESULTS, Tables, list_images, open_location
from facemark.models.bundle import ModelBundle
from facemark.settings import PACKAGE

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # Ray Data warns about its own operators

MODEL_FOLDER = "model"
"""Name of the bundle's folder on other machines of a cluster."""
ROWS_PER_FILE, MAX_WRITE_INTERVAL = 1000, 60
"""A file is written after this many rows, or this many seconds after the last one."""
MAX_BLOCK = 64
"""Images that a worker gets at once, at most; fewer for small collections."""
MAX_RESTARTS = 3
"""How often a crashed worker is restarted, and its block parsed again. One of the images may cause the crash."""


@dataclass(frozen=True)
class Summary:
    """Counts of a run: images in the collection, those that had a row before it, and rows of errors in all."""

    images: int
    before: int
    errors: int


class Worker:
    """Parses images on one core, and reads the next image meanwhile."""

    def __init__(self, model: Path, name: str, files: fs.FileSystem, prefix: str):
        """Load the model.

        Args:
            model: folder of the bundle.
            name: of the model, for the column ``model``.
            files: where the images are.
            prefix: added to paths for the column ``path``.
        """
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self.parser = FaceParser(model)
        self.name, self.files, self.prefix = name, files, prefix
        self.reader = ThreadPoolExecutor(1)

    def __call__(self, block: pa.Table) -> pa.Table:
        """Parse the images of a table with the column ``path``; returns a table of the schema RESULTS."""
        paths, rows = block["path"].to_pylist(), []
        upcoming = self.reader.submit(self.read, paths[0])
        for path, following in zip_longest(paths, paths[1:]):
            data = upcoming
            upcoming = following and self.reader.submit(self.read, following)
            rows.append({"path": self.prefix + path, "model": self.name} | self.parse(data))
        return pa.Table.from_pylist(rows, RESULTS)

    def read(self, path: str) -> bytes:
        """Read a file."""
        with self.files.open_input_file(path) as file:
            return file.read()

    def parse(self, data: Future) -> dict:
        """The columns of one image: its faces and mask, or its error."""
        try:
            image = images.decode(data.result(), max_bytes=len(data.result()))
            (parse,) = self.parser([image])
            encoded = response.encode_response(parse, response.Options(mask="rle"), {})
        except Exception as error:  # whatever is wrong with one of millions of images, the others are parsed
            return {"type": type(error).__name__, "message": str(error)}
        faces = [
            {"box": face["box"], "score": face["score"]} | {k: face["landmarks"][k] for k in ("points", "scores")}
            for face in encoded["faces"]
        ]
        return {**encoded["image"], "faces": faces, "mask": list(encoded["mask"]["data"].items())}


def parse(
    source: str,
    target: str,
    model: Path,
    workers: int | None = None,
    address: str = "local",
    on_start: Callable[[int], object] = lambda count: None,
    on_progress: Callable[[int], object] = lambda count: None,
    rows_per_file: int = ROWS_PER_FILE,
) -> Summary:
    """Parse all images under ``source`` that have no row in ``target`` yet.

    Args:
        source: a folder, or ``s3://bucket/prefix``.
        target: likewise.
        model: folder of the bundle.
        workers: default: one for each GPU, or for each core where there is no GPU.
        address: of a Ray cluster; ``local`` starts Ray here and stops it at the end.
        on_start: called once with the number of images to parse.
        on_progress: called with the number of images parsed since the last call.
        rows_per_file: rows of a Parquet file.

    Raises:
        ValueError, OSError: there are no images, or the model or the target is not valid.
        ray.exceptions.RayError: the cluster failed; what was parsed before has been written.
    """
    name = _model_name(model)
    files, root, prefix = open_location(source)
    listed = list_images(files, root)
    tables = Tables(target, name)
    todo = [path for path in listed if prefix + path not in tables.done]
    on_start(len(todo))
    waiting: list[pa.Table] = []
    written = time.monotonic()
    try:
        for block in run_workers(todo, model, (name, files, prefix), workers, address) if todo else ():
            waiting.append(block)
            on_progress(len(block))
            if sum(map(len, waiting)) >= rows_per_file or time.monotonic() - written > MAX_WRITE_INTERVAL:
                ready, waiting, written = waiting, [], time.monotonic()  # first, so an interrupt writes no row twice
                tables.write(ready)
    finally:
        if waiting:
            tables.write(waiting)
    return Summary(len(listed), len(listed) - len(todo), tables.errors)


def _model_name(model: Path) -> str:
    """Check a bundle; its name in the tables is the start of the SHA-256 of its weights and landmark model."""
    bundle = ModelBundle.open(model)
    if bundle.landmarks is None:
        raise ValueError(f"{model} has no landmark model; the stage calibrate makes it")
    bundle.network()  # raises here, not in a worker, if the files are not valid
    LandmarkModel.load(bundle.landmarks)
    return hashlib.sha256(bundle.weights.read_bytes() + bundle.landmarks.read_bytes()).hexdigest()[:16]


@contextmanager
def ray_session(address: str, workers: int | None, model: Path) -> Iterator[Path]:
    """Start Ray here or join a cluster; yields the path at which workers find the model."""
    import ray

    quiet: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        if address == "local":
            ray.init("local", num_cpus=workers, include_dashboard=False, **quiet)
            yield model.absolute()
        else:
            with TemporaryDirectory() as folder:  # machines of the cluster have the requirements, but not Facemark
                shutil.copytree(model, Path(folder, MODEL_FOLDER))
                ray.init(address, runtime_env={"py_modules": [str(PACKAGE)], "working_dir": folder}, **quiet)
                yield Path(MODEL_FOLDER)
    finally:
        ray.shutdown()


def run_workers(paths: list[str], model: Path, others: tuple, workers: int | None, address: str) -> Iterator[pa.Table]:
    """Parse images with Ray; ``others`` are the remaining arguments of Worker. Yields RESULTS tables as they come."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext, from_arrow

    with ray_session(address, workers, model) as folder:
        DataContext.get_current().enable_progress_bars = False
        resources = ray.cluster_resources()
        gpus = resources.get("GPU", 0)
        workers = workers or int(gpus or resources["CPU"])
        # a block is returned as a whole, and parsed again as a whole if its worker crashes
        size = int(np.clip(len(paths) // (8 * workers), 1, MAX_BLOCK))
        blocks = [pa.table({"path": paths[i : i + size]}) for i in range(0, len(paths), size)]
        results = from_arrow(blocks).map_batches(
            Worker,
            fn_constructor_args=(folder, *others),
            batch_size=None,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=workers),
            num_cpus=1,
            num_gpus=min(1, gpus / workers),
            max_restarts=MAX_RESTARTS,
            max_task_retries=MAX_RESTARTS,
        )
        yield from results.iter_batches(batch_size=None, batch_format="pyarrow")
