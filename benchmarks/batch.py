"""Throughput of ``facemark batch`` against a loop in one process: ``python benchmarks/batch.py``.

The same images are read from disk, parsed on one core per worker and written as rows, each way in turn. The start of
Ray, of its workers and of the model has a column of its own, since a large collection pays it once.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import pyarrow as pa
import typer
from pyarrow.fs import LocalFileSystem
from rich.console import Console
from rich.table import Table

from facemark.batch import Worker, parse
from facemark.io.tables import list_images
from facemark.settings import RELEASED


def throughput(times: list[float], counts: list[int]) -> float:
    """Images a second, from the arrival of the first block to that of the last."""
    return sum(counts[1:]) / (times[-1] - times[0])


def main(
    folder: Path = Path("data/train/images"),
    model: Annotated[Path, typer.Option(help="folder of the bundle")] = RELEASED,
    limit: Annotated[int, typer.Option(help="images")] = 96,
) -> None:
    """Parse the same images in a loop, with one worker and with two."""
    with TemporaryDirectory() as temporary:
        source = Path(temporary, "source")
        source.mkdir()
        for path in list_images(LocalFileSystem(), str(folder.absolute()))[:limit]:
            (source / Path(path).name).symlink_to(path)
        table = Table("", "start, s", "images a second", "a second and core", "relative to the loop")
        for workers in (0, 1, 2):
            times: list[float] = []
            counts: list[int] = []
            start = time.perf_counter()

            def count_rows(count: int, times: list = times, counts: list = counts) -> None:
                times.append(time.perf_counter())
                counts.append(count)

            if workers:
                parse(str(source), f"{temporary}/{workers}", model, workers, on_progress=count_rows)
            else:
                worker = Worker(model, "loop", LocalFileSystem(), "")
                for path in list_images(LocalFileSystem(), str(source)):
                    count_rows(len(worker(pa.table({"path": [path]}))))
                loop = throughput(times, counts)
            each = throughput(times, counts) / max(workers, 1)
            name = f"{workers} worker{'s' * (workers > 1)}" if workers else "loop"
            table.add_row(
                name, f"{times[0] - start:.0f}", f"{throughput(times, counts):.2f}", f"{each:.2f}", f"{each / loop:.0%}"
            )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
