"""``facemark predict`` and ``facemark info``."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from facemark.cli.common import ErrorCounter, console, fail, load_parser, model_identity, open_bundle

if TYPE_CHECKING:
    from facemark.io.inputs import ParsedImage, Source
    from facemark.io.writers import ResultWriter


def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Photographs (JPEG, PNG, WebP, BMP, TIFF) and videos (MP4, MOV, AVI, MKV, WebM): files, folders with "
            "everything in them, quoted patterns such as 'trip/**/*.jpg', or - for a photograph on stdin.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Draw mask and points into this file or folder; folders are created."),
    ] = None,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print the endpoint's response and the path, one line a photograph or frame."),
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table: one row a face, 0-based pixels.")
    ] = None,
    pts: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write .pts files as 300-W has them: one a face, 1-based.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write masks: one-channel PNG files of class ids, of the picture's size."),
    ] = None,
    numbers: Annotated[bool, typer.Option("--numbers", help="Draw the index of each point as well.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Do not smooth the points of videos over time.")] = False,
) -> None:
    """Find faces, their regions and their 68 landmarks.

    Without options, print the number of faces in each photograph. Files that cannot be read are reported, the others
    are processed, and the exit code is 1.

    In drawings, visible points are yellow and points predicted from the rest of the face dark blue. Small pictures are
    enlarged. Videos are drawn as MP4 without sound.

    - facemark predict photo.jpg -o drawn.png
    - facemark predict holiday -o drawn --csv faces.csv
    - facemark predict clip.mp4 -o drawn.mp4 --json > points.jsonl
    """
    from contextlib import ExitStack

    from facemark.io.inputs import find_all_sources, parse_images, read_images
    from facemark.io.writers import Outputs, ResultWriter

    on_error = ErrorCounter()
    sources = find_all_sources(inputs, on_error)
    _check_usage(sources, out, csv, numbers)
    if not sources:
        raise typer.Exit(1)
    parser, identity = load_parser(), model_identity(open_bundle())
    parsed = parse_images(parser, read_images(sources, on_error), smooth=not raw)
    try:
        with ExitStack() as stack:
            table = stack.enter_context(csv.open("w", newline="")) if csv else None
            outputs = Outputs(json, table, pts, masks, out, numbers)
            writer = stack.enter_context(ResultWriter(sources, identity, outputs, on_error))
            _write_results(parsed, len(sources), writer, in_words=not (out or json or csv or pts or masks))
    except BrokenPipeError:  # the reader of stdout has stopped
        raise
    except OSError as error:
        raise fail(error) from error
    raise on_error.exit()


def _check_usage(sources: list["Source"], out: Path | None, csv: Path | None, numbers: bool) -> None:
    """Raise BadParameter where options contradict each other or the sources."""
    from facemark.io.writers import find_output_problem

    if numbers and not out:
        raise typer.BadParameter("--numbers are drawn; name a file or folder with --out")
    if csv and csv.resolve() in {source.path.resolve() for source in sources}:
        raise typer.BadParameter(f"{csv} is an input; name another file with --csv")
    if out and (problem := find_output_problem(out, sources)):
        raise typer.BadParameter(problem)


def _write_results(parsed: Iterable["ParsedImage"], total: int, writer: "ResultWriter", in_words: bool) -> None:
    """Write the results of ``total`` sources; print the number of faces of each source, or of all."""
    from rich.progress import Progress

    # without a terminal on stdout, the progress bar would print piped lines on the screen
    bar = Progress(
        console=console, transient=True, disable=not console.is_terminal, redirect_stdout=sys.stdout.isatty()
    )
    faces, images = 0, 0
    tracks_of: dict[Source, set[int]] = {}
    with bar:
        task = bar.add_task("parsing", total=total)
        for each in parsed:
            writer.add(each)
            source, frame = each.input.source, each.input.frame
            faces, images = faces + len(each.tracks), images + 1
            bar.advance(task, 1 / frame.video.length if frame else 1)
            if frame:
                tracks_of.setdefault(source, set()).update(each.tracks)
            elif in_words:
                scores = ", ".join(f"{face.score:.2f}" for face in each.parse.faces)
                print(f"{source.path}: {len(each.tracks)} face(s)" + (f", score {scores}" if scores else ""))
    if in_words:
        for video, tracks in tracks_of.items():
            print(f"{video.path}: {len(tracks)} face(s)")
    elif console.is_terminal:
        console.print(f"{faces} face(s) in {images} picture(s)")


def info() -> None:
    """Print the current model, its licence, and the device that it runs on."""
    import torch

    parser, bundle = load_parser(), open_bundle()
    identity = model_identity(bundle)
    lines = {
        "version": identity["version"],
        "weights": f"{bundle.weights}, md5 {identity['weights']}",
        "landmarks": f"{bundle.landmarks}, 68 points in iBUG order",
        "licence": bundle.config.licence,
        "classes": ", ".join(bundle.config.classes),
        "input": f"aligned crops of {parser.size} × {parser.size} pixels",
        "device": f"{parser.backend.device}, {parser.backend.precision}, {torch.get_num_threads()} thread(s)",
    }
    for name, value in lines.items():
        print(f"{name:10} {value}")
