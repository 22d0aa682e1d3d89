"""``facemark bench`` measures this machine; ``facemark batch`` parses large collections."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facemark.cli.common import ErrorCounter, console, fail, load_parser

if TYPE_CHECKING:
    import numpy as np

    from facemark.inference.parser import FaceParser

MAX_IMAGES = 16
"""Photographs that ``facemark bench`` measures, at most."""


def bench(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="[INPUT...]", help="Photographs, as for predict; else starter faces.")
    ] = None,
) -> None:
    """Measure this machine on up to 16 photographs: the time of each step, and pictures a second."""
    from itertools import islice

    from facemark.io.inputs import find_sources, read_images

    try:
        sources = [source for argument in inputs or ["data/test/images"] for source in find_sources(argument)]
    except (OSError, ValueError) as error:
        raise fail(error if inputs else "there are no starter faces here; name photographs, or: dvc pull") from error
    on_error = ErrorCounter()
    images = [each.image for each in islice(read_images(sources, on_error), MAX_IMAGES)]
    if not images:
        raise typer.Exit(1)
    times = _measure(load_parser(), images)
    times["landmarks and mask"] = times["predict"] - times["segmentation"]
    for step in ("segmentation", "landmarks and mask", "JSON", "draw"):
        print(f"{step:28}{1000 * times[step]:7.0f} ms")
    print(f"{'one at a time':28}{1 / times['predict']:7.2f} pictures a second")
    print(f"{f'a batch of {len(images)}':28}{len(images) / times['batch']:7.2f} pictures a second")
    raise on_error.exit()


def _measure(parser: "FaceParser", images: list["np.ndarray"]) -> dict[str, float]:
    """The median time of each step in seconds."""
    from collections import defaultdict
    from statistics import median
    from time import perf_counter

    from rich.progress import track

    from facemark.io import drawing, response

    times: dict[str, list[float]] = defaultdict(list)

    def timed(step: str, work: Callable[..., Any], *arguments: object) -> Any:
        start = perf_counter()
        result = work(*arguments)
        times[step].append(perf_counter() - start)
        return result

    parser(images[:1])  # warm-up
    for image in track(images, "measuring", console=console, transient=True, disable=not console.is_terminal):
        timed("segmentation", parser.segment, [image])
        (parse,) = timed("predict", parser, [image])
        timed("JSON", response.encode_response, parse, response.Options(), {})
        timed("draw", drawing.draw, image, parse)
    timed("batch", parser, images)
    return {step: median(values) for step, values in times.items()}


def batch(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Pictures: a folder, or s3://bucket/prefix.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Folder or prefix for the tables.")],
    workers: Annotated[int | None, typer.Option(min=1, help="Default: one for each GPU, or for each core.")] = None,
    address: Annotated[str, typer.Option(help="Address of a Ray cluster; local starts Ray here.")] = "local",
) -> None:
    """Parse a large collection into Parquet; pictures that have a row already are skipped."""
    from ray.exceptions import ActorDiedError, RayError
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from facemark.batch import parse
    from facemark.settings import model_folder

    try:
        columns = *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("parsing", total=None)
            summary = parse(
                source, target, model_folder(), workers, address,
                on_start=lambda count: progress.update(task, total=count),
                on_progress=lambda count: progress.advance(task, count),
            )  # fmt: skip
    except (OSError, ValueError, RayError) as error:
        if isinstance(error, ActorDiedError) and not error.actor_init_failed:
            raise fail(
                "a worker crashed repeatedly: it ran out of memory, or one of the pictures without a row in "
                f"{target} crashes it; try fewer --workers, or part of the pictures"
            ) from None
        raise fail(error) from None
    console.print(
        f"{target}: a row for each of {summary.images} pictures, {summary.before} of which had one before; "
        f"{summary.errors} could not be parsed, see its errors"
    )
