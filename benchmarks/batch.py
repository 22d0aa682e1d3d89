"""Pictures a second and core of ``facemark batch`` against a loop in one process: ``python benchmarks/batch.py``.

The same pictures, read from disk, parsed on one core a worker and answered as rows, each way in turn. What starting
takes, Ray, its workers and the model, stands apart: a large collection pays it once.
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


def pace(times: list[float], counts: list[int]) -> float:
    """Pictures a second, from the arrival of the first few to that of the last."""
    return sum(counts[1:]) / (times[-1] - times[0])


def main(
    folder: Path = Path("data/train/images"),
    weights: Path = Path("weights"),
    limit: Annotated[int, typer.Option(help="pictures")] = 96,
) -> None:
    """Parse the same pictures in a loop, with one worker and with two."""
    with TemporaryDirectory() as room:
        source = Path(room) / "source"
        source.mkdir()
        for path in list_images(LocalFileSystem(), str(folder.absolute()))[:limit]:
            (source / Path(path).name).symlink_to(path)
        table = Table("", "start, s", "pictures a second", "a second and core", "of the loop's")
        for workers in (0, 1, 2):
            times, counts, start = [], [], time.perf_counter()

            def arrived(count: int, times: list = times, counts: list = counts) -> None:
                times.append(time.perf_counter())
                counts.append(count)

            if workers:
                parse(str(source), f"{room}/{workers}", weights, workers, on_progress=arrived)
            else:
                worker = Worker(weights, "loop", LocalFileSystem(), "")
                for path in list_images(LocalFileSystem(), str(source)):
                    arrived(len(worker(pa.table({"path": [path]}))))
                loop = pace(times, counts)
            each = pace(times, counts) / max(workers, 1)
            name = f"{workers} worker{'s' * (workers > 1)}" if workers else "loop"
            table.add_row(
                name, f"{times[0] - start:.0f}", f"{pace(times, counts):.2f}", f"{each:.2f}", f"{each / loop:.0%}"
            )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
