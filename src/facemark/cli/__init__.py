"""The command line, ``facemark``; its ``--help`` lists the commands.

A command is a function; what it needs is imported inside it, so that ``--help`` is quick. Results go to stdout, all
else to stderr. Exit codes: 0 all went well, 1 something failed, 2 the command was misspelt, 130 Ctrl-C.
"""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import rich
import typer
from rich.console import Console

if TYPE_CHECKING:
    from facemark.inference.parser import FaceParser
    from facemark.inference.types import Parse
    from facemark.io.inputs import Shot
    from facemark.io.writers import Results

app = typer.Typer(
    help="Facial landmarks by parsing first. Exit codes: 0 all went well, 1 something failed, 2 wrong usage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)  # a photograph may be called [b].jpg
rich.reconfigure(stderr=True)  # where progress goes
LICENCE = "code MIT; weights for non-commercial research only, as are those fine-tuned from the released ones"


def fail(message: object) -> typer.Exit:
    """Say in one sentence what was wrong; answers the exit, with code 1, to be raised."""
    if isinstance(message, OSError) and message.strerror:  # without its number
        message = f"{message.filename}: {message.strerror}" if message.filename else message.strerror
    console.print(f"facemark: {message}", style="red")
    return typer.Exit(1)


def load_parser() -> "FaceParser":
    """The parser with the model at hand; where there is none, says how to get one."""
    import facemark

    try:
        return facemark.load()
    except (OSError, ValueError) as error:
        raise fail(error) from error


def model_card() -> dict[str, str]:
    """What answers say of the model: the endpoint's names, and the md5 of the weights."""
    import hashlib

    from facemark.io.response import default_identity
    from facemark.models.bundle import ModelBundle
    from facemark.settings import model_folder

    weights = ModelBundle.open(model_folder()).weights
    md5 = hashlib.md5(weights.read_bytes(), usedforsecurity=False).hexdigest()
    return default_identity() | {"weights": md5}


@app.command()
def predict(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Photographs (JPEG, PNG, WebP, BMP, TIFF) and videos (MP4, MOV, AVI, MKV, WebM): files, folders with "
            "all that lies in them, quoted patterns such as 'trip/**/*.jpg', or - for a photograph on stdin.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Draw mask and points: into a file, or a folder, which is made if need be."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the endpoint's answer, a line a photograph or frame, with its path.")
    ] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table: a row a face, 0-based pixels.")
    ] = None,
    pts: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write 300-W's .pts files: one a face, 1-based pixels.")
    ] = None,
    masks: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write masks: one-channel PNG files of class ids, as large as the picture."
        ),
    ] = None,
    numbers: Annotated[bool, typer.Option("--numbers", help="Draw the index of each point as well.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="Leave the points of videos as found, unsmoothed.")] = False,
) -> None:
    """Find faces, their regions and their 68 landmarks.

    Without options a line a photograph says how many faces it shows; a file that cannot be read is named, the others
    are done all the same, and the exit code is 1.

    In drawings yellow points were seen and dark blue ones guessed; small pictures are enlarged. Drawn videos are MP4
    and have no sound.

    - facemark predict photo.jpg -o drawn.png
    - facemark predict holiday -o drawn --csv faces.csv
    - facemark predict clip.mp4 -o drawn.mp4 --json > points.jsonl
    """
    from contextlib import ExitStack

    from facemark.io import inputs, writers

    failures = []

    def failed(message: object) -> None:
        failures.append(fail(message))

    sources = inputs.find_all_sources(inputs, failed)
    if numbers and not out:
        raise typer.BadParameter("--numbers are drawn; say where with --out")
    if csv and csv.resolve() in {source.path.resolve() for source in sources}:
        raise typer.BadParameter(f"{csv} is an input; name another file with --csv")
    if out and (phrase := writers.objection(out, sources)):
        raise typer.BadParameter(phrase)
    if not sources:
        raise typer.Exit(1)
    parser, model = load_parser(), model_card()
    parsed = inputs.parse_shots(parser, inputs.read_shots(sources, failed), smooth=not raw)
    try:
        with ExitStack() as stack:
            table = stack.enter_context(csv.open("w", newline="")) if csv else None
            written = writers.Results(sources, model, failed, json, table, pts, masks, out, numbers)
            stack.enter_context(written)
            write_all(parsed, len(sources), written, in_words=not (out or json or csv or pts or masks))
    except BrokenPipeError:  # whoever reads has had enough
        raise
    except OSError as error:
        raise fail(error) from error
    raise typer.Exit(int(bool(failures)))


def write_all(
    parsed: Iterable[tuple["Shot", "Parse", list[int]]], total: int, written: "Results", in_words: bool
) -> None:
    """Write what is found in each picture of so many sources, and say how many faces that is."""
    from rich.progress import Progress

    # a redirected stdout would put what is piped on the screen
    bar = Progress(
        console=console, transient=True, disable=not console.is_terminal, redirect_stdout=sys.stdout.isatty()
    )
    faces, pictures, people = 0, 0, {}
    with bar:
        task = bar.add_task("parsing", total=total)
        for shot, parse, tracks in parsed:
            written.add(shot, parse, tracks)
            faces, pictures = faces + len(tracks), pictures + 1
            bar.advance(task, 1 / shot.video.length if shot.video else 1)
            if shot.video:
                people.setdefault(shot.source, set()).update(tracks)
            elif in_words:
                scores = ", ".join(f"{face.score:.2f}" for face in parse.faces)
                print(f"{shot.source.path}: {len(tracks)} face(s)" + (f", score {scores}" if scores else ""))
    if in_words:
        for video, tracks in people.items():
            print(f"{video.path}: {len(tracks)} face(s)")
    elif console.is_terminal:
        console.print(f"{faces} face(s) in {pictures} picture(s)")


@app.command()
def batch(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Pictures: a folder, or s3://bucket/prefix.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Where the tables go, likewise.")],
    workers: Annotated[int | None, typer.Option(min=1, help="One a core, or a GPU, by default.")] = None,
    address: Annotated[str, typer.Option(help="Of a Ray cluster; local starts Ray here.")] = "local",
) -> None:
    """Parse a large collection into Parquet; what has a row already is not parsed again."""
    from ray.exceptions import ActorDiedError, RayError
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from facemark.batch import parse
    from facemark.settings import model_folder

    try:
        columns = *Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=console) as progress:
            task = progress.add_task("parsing", total=None)
            done = parse(
                source, target, model_folder(), workers, address,
                started=lambda count: progress.update(task, total=count),
                advanced=lambda count: progress.advance(task, count),
            )  # fmt: skip
    except (OSError, ValueError, RayError) as error:
        if isinstance(error, ActorDiedError) and not error.actor_init_failed:
            error = (
                "a worker died again and again, for want of memory or by one of the pictures that have no row in "
                f"{target} yet; try fewer --workers, or part of the pictures"
            )
        raise fail(error) from None
    console.print(
        f"{target}: a row for each of {done.pictures} pictures, {done.before} of which had one before; "
        f"{done.errors} could not be parsed, see its errors"
    )


def archive_here() -> Path:
    """The archive that the pipeline built, else one with the model at hand, which is packed anew."""
    from facemark.settings import ARCHIVE, model_folder

    if ARCHIVE.is_file():
        return ARCHIVE
    from facemark.io import response
    from facemark.models.bundle import ModelBundle
    from facemark.serving.archive import pack_archive

    names, packed = response.default_identity(), ARCHIVE.with_name("packed.mar")
    pack_archive(names, ModelBundle.open(model_folder()), packed)
    return packed


@app.command()
def serve(
    archive: Annotated[
        Path | None,
        typer.Argument(help="By default the pipeline's, else one is packed with the weights of facemark info."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65531, help="Of the predictions; the four above it are used as well.")
    ] = 8080,
) -> None:
    """Start TorchServe on loopback and print a curl line that works as pasted.

    It goes on in the background until facemark stop ends it.
    """
    from facemark.serving import torchserve

    if not torchserve.SETTINGS.is_dir():
        raise fail(f"there is no folder {torchserve.SETTINGS} with the server's settings; go to the project's folder")
    try:
        packed = archive or archive_here()
        with console.status("starting TorchServe"):
            endpoint = torchserve.start(packed, port)
    except (OSError, RuntimeError) as error:
        raise fail(error) from error
    photo = next(iter(sorted(Path("data/test/images").glob("*.jpg"))), Path("PHOTO.jpg"))
    console.print(f"ready: {endpoint.url}   metrics: {endpoint.metrics}   end it with: facemark stop")
    print(f'curl --noproxy 127.0.0.1 -T {photo} -H "Authorization: Bearer {endpoint.token}" {endpoint.url}')


@app.command()
def stop() -> None:
    """End the server that facemark serve started here, once it has answered what it had accepted."""
    from facemark.serving import torchserve

    with console.status("answering what was accepted"):
        stopped = torchserve.stop()
    console.print("stopped" if stopped else "no server runs here")


@app.command()
def info() -> None:
    """Say which model runs here, on what, and under which licence."""
    import torch

    from facemark.labels import CLASSES
    from facemark.models.bundle import ModelBundle
    from facemark.settings import model_folder

    parser, card, bundle = load_parser(), model_card(), ModelBundle.open(model_folder())
    lines = {
        "version": card["version"],
        "weights": f"{bundle.weights}, md5 {card['weights']}",
        "landmarks": f"{bundle.landmarks}, 68 points in the order of iBUG",
        "licence": LICENCE,
        "classes": ", ".join(CLASSES),
        "input": f"portraits of {parser.size} × {parser.size} pixels",
        "device": f"{parser.backend.device}, {parser.backend.precision}, {torch.get_num_threads()} thread(s)",
    }
    for name, value in lines.items():
        print(f"{name:10} {value}")


@app.command()
def bench(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="[INPUT...]", help="Photographs, as for predict; else starter faces.")
    ] = None,
) -> None:
    """Measure this machine on up to 16 photographs: the time of each step, and pictures a second."""
    from collections import defaultdict
    from itertools import islice
    from statistics import median
    from time import perf_counter

    from rich.progress import track

    from facemark.io import drawing, inputs, response

    try:
        sources = [source for argument in inputs or ["data/test/images"] for source in inputs.find_sources(argument)]
    except (OSError, ValueError) as error:
        raise fail(error if inputs else "there are no starter faces here; name photographs, or: dvc pull") from error
    failures = []
    shots = inputs.read_shots(sources, lambda message: failures.append(fail(message)))
    images = [shot.image for shot in islice(shots, 16)]
    if not images:
        raise typer.Exit(1)
    parser, times = load_parser(), defaultdict(list)
    parser(images[:1])  # the first is slower

    def timed(step: str, work: Callable[..., Any], *arguments: object) -> Any:
        start = perf_counter()
        done = work(*arguments)
        times[step].append(perf_counter() - start)
        return done

    for image in track(images, "measuring", console=console, transient=True, disable=not console.is_terminal):
        timed("find faces and look closer", parser.segment, [image])
        (parse,) = timed("predict", parser, [image])
        timed("JSON", response.encode_response, parse, response.Options(), {})
        timed("draw", drawing.draw, image, parse)
    timed("batch", parser, images)

    middle = {step: median(each) for step, each in times.items()}
    middle["points and mask"] = middle["predict"] - middle["find faces and look closer"]
    for step in ("find faces and look closer", "points and mask", "JSON", "draw"):
        print(f"{step:28}{1000 * middle[step]:7.0f} ms")
    print(f"{'one at a time':28}{1 / middle['predict']:7.2f} pictures a second")
    print(f"{f'a batch of {len(images)}':28}{len(images) / middle['batch']:7.2f} pictures a second")
    raise typer.Exit(int(bool(failures)))


@app.command()
def demo(port: Annotated[int, typer.Option(min=1, max=65535, help="Of the page.")] = 7860) -> None:
    """Open a page that shows what is found in a photograph: by the endpoint if one runs here, else by itself."""
    import threading

    try:
        from facemark.demo import app
    except ModuleNotFoundError as error:
        raise fail(f"the page needs {error.name}; install it with: pip install -e '.[demo]'") from error
    try:
        with console.status("opening the page"):
            client = app.running_client()
            ask = app.by_client(client) if client else app.by_parser(load_parser())
        with app.served(ask, port) as url:
            console.print(f"open {url}   answered by: {client.url if client else 'this process'}   end it with: Ctrl+C")
            threading.Event().wait()
    except (OSError, ValueError) as error:
        raise fail(error) from error


@app.command()
def promote() -> None:
    """Make the model built here the registry's champion, unless it is worse than the one that is."""
    from rich.table import Table

    from facemark.mlops import registry
    from facemark.mlops.promote import promote
    from facemark.settings import load_params

    try:
        decision = promote(load_params())
    except registry.FAILURES as error:
        raise fail(error) from error
    table = Table("", "champion", "challenger", "limit", "")
    for each in decision.comparisons:
        values = (each.champion, each.challenger, each.limit)
        shown = ["–" if value is None else f"{value:.2f}" for value in values]
        table.add_row(each.figure, *shown, "worse" if each.worse else "")
    if decision.comparisons:
        console.print(table)
    if not decision.promoted:
        raise fail(decision)
    print(decision)


@app.command()
def rollback() -> None:
    """Make the version champion again that the champion replaced."""
    from facemark.mlops import registry

    try:
        fallen, back = registry.roll_back()
    except registry.FAILURES as error:
        raise fail(error) from error
    print(f"version {back.version} is champion again, in place of version {fallen.version}")


@app.command()
def archive(
    version: Annotated[str, typer.Argument(help="Of the registry: champion, challenger, or a number.")] = "champion",
    out: Annotated[Path, typer.Option("--out", "-o", help="The archive to write.")] = Path("build/champion.mar"),
) -> None:
    """Pack a registered model for TorchServe; then: facemark serve ARCHIVE."""
    from facemark.mlops import registry

    try:
        registry.pack(version, out)
    except registry.FAILURES as error:
        raise fail(error) from error


Folder = Annotated[Path, typer.Argument(help="The dataset's folder.")]
Format = Annotated[
    str,
    typer.Option(
        help="starter, celebamask, celebamask_parts, lapa, helen_star, face_synthetics, landmarks68, pts300w, wflw or "
        "folder; the README tells of them."
    ),
]
Classes = Annotated[str | None, typer.Option(help="Of format folder: '{0: background, 1: skin, 2: ignore}'.")]


def described(folder: Path, form: str, classes: str | None):
    """The dataset that the options describe."""
    import yaml

    from facemark.datatools.summary import describe_dataset

    try:
        return describe_dataset(folder, form, yaml.safe_load(classes) if classes else None)
    except (ValueError, yaml.YAMLError) as error:
        raise fail(error) from error


@app.command()
def evaluate(
    folder: Folder,
    format: Format,
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Where the dataset has some.")] = "val",
    classes: Classes = None,
) -> None:
    """Hold what is found in a dataset's pictures against its masks and points, and print the figures as JSON.

    Pictures that the dataset puts into no split are measured whatever the split. Those that are not sound are named and
    left out, and the exit code is 1.

    - facemark evaluate data --format starter
    """
    import json
    from tempfile import TemporaryDirectory

    from facemark.data.validation import validate_dataset
    from facemark.evaluation.evaluate import round_figures
    from facemark.evaluation.scoring import evaluate_samples

    dataset, parser = described(folder, format, classes), load_parser()
    try:
        with TemporaryDirectory() as room:
            found = validate_dataset(dataset, Path(room), split)
            for image, why in found.bad:
                console.print(f"left out {image}: {why}")
            refusals = [fail(refusal) for refusal in found.refusals("set_aside")]
            if not found.sound:
                raise fail(f"{folder} has no sound pictures in its {split} split; name another one with --split")
            figures = evaluate_samples(parser, found.sound, "evaluating", 0).figures()
    except SystemExit as stopped:
        raise fail(stopped) from stopped
    print(json.dumps({"pictures": len(found.sound)} | round_figures(figures), indent=1))
    raise typer.Exit(int(bool(found.bad or refusals)))


contact_sheet = typer.Typer(help="Look at a dataset before training, or add masks to it.", no_args_is_help=True)
app.add_typer(contact_sheet, name="data")


@contact_sheet.command()
def check(folder: Folder, format: Format, classes: Classes = None) -> None:
    """Say what a dataset holds and what is wrong with it; exit code 1 where prepare would refuse it."""
    from facemark.datatools import summary

    try:
        report, found = summary.check_dataset(described(folder, format, classes))
    except SystemExit as stopped:
        raise fail(stopped) from stopped
    Console().print(report)
    for image, why in found.bad:
        console.print(f"{image}: {why}")
    for each in found.outliers:
        console.print(f"{each.sample.image}: {each}")
    if found.outliers:
        console.print("prepare moves such points of training pictures to where the rest of their face has them")
    for refusal in found.refusals("refuse"):
        fail(refusal)
    raise typer.Exit(int(bool(found.refusals("refuse"))))


@contact_sheet.command()
def show(
    folder: Folder,
    format: Format,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to draw into.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Pictures, evenly chosen.")] = 12,
    classes: Classes = None,
) -> None:
    """Draw a contact sheet: each picture with its points, beside it its mask."""
    from facemark.datatools import contact_sheet

    try:
        contact_sheet.draw_contact_sheet(described(folder, format, classes), count).save(out)
    except SystemExit as stopped:
        raise fail(stopped) from stopped
    except (OSError, ValueError) as error:
        raise fail(f"{out} cannot be written; name a .png or .jpg in a folder that exists") from error


@contact_sheet.command("pseudo-labels")
def fill(
    folder: Folder,
    format: Format,
    out: Annotated[Path, typer.Option("--out", "-o", help="A folder that is not there yet.")],
    undrawn: Annotated[
        bool, typer.Option(help="Also the faces that prepare.splits would draw for validation and test.")
    ] = False,
) -> None:
    """Write the training faces of a dataset that has points alone, with masks of what points and parser are sure of."""
    from facemark.datatools import pseudo_labels
    from facemark.settings import Splits, load_params

    try:
        prepare = load_params().prepare
        shares = Splits(val=0, test=0) if undrawn else prepare.splits
        found = pseudo_labels.write_pseudo_labels(
            described(folder, format, None), shares, prepare.seed, load_parser(), out
        )
    except SystemExit as stopped:
        raise fail(stopped) from stopped
    except (OSError, ValueError) as error:
        raise fail(error) from error
    for image, why in found.bad:
        console.print(f"left out {image}: {why}")
    print(f"{out}: train on it as format celebamask, with prepare.splits of 0 lest it be validated on")


if __name__ == "__main__":
    app()
