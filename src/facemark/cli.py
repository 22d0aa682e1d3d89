"""The command line: ``facemark predict | batch | serve | stop | data``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(help="Facial landmarks by parsing first.", no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)  # a photograph may be called [b].jpg
RELEASED = Path("weights/model.safetensors"), Path("weights/landmarks.npz")


def fail(message: object) -> typer.Exit:
    """Say in one sentence what was wrong; answers the exit, with code 1, to be raised."""
    console.print(f"facemark: {message}", style="red")
    return typer.Exit(1)


def model_files() -> tuple[Path, Path]:
    """Weights and landmark model: those trained here, else the released ones."""
    from facemark.settings import LANDMARKS, WEIGHTS

    for files in ((WEIGHTS, LANDMARKS), RELEASED):
        if all(file.is_file() for file in files):
            return files
    raise fail("there are no weights here; fetch the released ones with: dvc pull weights.dvc, or train: make repro")


@app.command()
def predict(
    photos: Annotated[list[Path], typer.Argument(help="Photographs: JPEG, PNG, WebP, BMP or TIFF.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to draw: a file, or a folder for many.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the endpoint's answer, one line a photograph.")] = False,
) -> None:
    """Find faces and their landmarks; without options, say how many."""
    from PIL import Image
    from rich.progress import track

    from facemark import answer, images, overlay
    from facemark.parser import FaceParser

    if out and len(photos) > 1 and not out.is_dir():
        raise fail(f"several photographs need a folder to be drawn into, and {out} is none")
    try:
        parser = FaceParser(*model_files())
    except (OSError, ValueError) as error:
        raise fail(error) from error
    failed = False
    for photo in track(photos, "parsing", console=console, disable=len(photos) == 1):
        try:
            image = images.decode(photo.read_bytes())
        except OSError as error:
            fail(f"{photo} cannot be read: {error.strerror}")
            failed = True
            continue
        except images.RequestError as error:
            fail(f"{photo}: {error}")
            failed = True
            continue
        parse = parser([image])[0]
        if json:
            print(answer.dumps(answer.answer(parse, answer.Options(), {"name": "facemark"})).decode())
        if out:
            target = out / f"{photo.stem}.png" if out.is_dir() else out
            try:
                Image.fromarray(overlay.draw(image, parse)).save(target)
            except (OSError, ValueError) as error:
                raise fail(f"{target} cannot be written; name a .png or .jpg in a folder that exists") from error
        if not json:
            scores = ", ".join(f"{face.score:.2f}" for face in parse.faces)
            console.print(f"{photo}: {len(parse.faces)} face(s)" + (f", score {scores}" if scores else ""))
    raise typer.Exit(int(failed))


@app.command()
def batch(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Pictures: a folder, or s3://bucket/prefix.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="Where the tables go, likewise.")],
    workers: Annotated[int | None, typer.Option(min=1, help="One a core, or a GPU, by default.")] = None,
    address: Annotated[str, typer.Option(help="Of a Ray cluster; local starts Ray here.")] = "local",
) -> None:
    """Parse a large collection into Parquet; what has a row already is not parsed again."""
    from ray.exceptions import RayError
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from facemark.batch import parse

    try:
        with Progress(*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn()) as progress:
            task = progress.add_task("parsing", total=None)
            done = parse(
                source, target, model_files(), workers, address,
                started=lambda count: progress.update(task, total=count),
                advanced=lambda count: progress.advance(task, count),
            )  # fmt: skip
    except (OSError, ValueError, RayError) as error:
        raise fail(error) from error
    console.print(
        f"{target}: a row for each of {done.pictures} pictures, {done.before} of which had one before; "
        f"{done.errors} could not be parsed, see its errors"
    )


@app.command()
def serve(
    archive: Annotated[Path, typer.Argument(help="The archive that the pipeline built.")] = Path("build/facemark.mar"),
    port: Annotated[int, typer.Option(help="Of the predictions; the four above it are used as well.")] = 8080,
) -> None:
    """Start TorchServe on loopback and print a curl line that works as pasted."""
    from facemark import serving

    try:
        with console.status("starting TorchServe"):
            endpoint = serving.start(archive, port)
    except (OSError, RuntimeError) as error:
        raise fail(error) from error
    photo = next(iter(sorted(Path("data/test/images").glob("*.jpg"))), Path("PHOTO.jpg"))
    console.print(f"ready: {endpoint.url}   metrics: {endpoint.metrics}   end it with: facemark stop")
    print(f'curl -T {photo} -H "Authorization: Bearer {endpoint.token}" {endpoint.url}')


@app.command()
def stop() -> None:
    """End the server that ``facemark serve`` started here."""
    from facemark import serving

    console.print("stopped" if serving.stop() else "no server runs here")


data = typer.Typer(help="Look at a dataset before training.", no_args_is_help=True)
app.add_typer(data, name="data")
Folder = Annotated[Path, typer.Argument(help="The dataset's folder.")]
Format = Annotated[str, typer.Option(help="As in params.yaml: starter, celebamask, lapa, folder, …")]
Classes = Annotated[str | None, typer.Option(help="Of format folder: '{0: background, 1: skin, 2: ignore}'.")]


def described(folder: Path, form: str, classes: str | None):
    """The dataset that the options describe."""
    import yaml

    from facemark.data import dataset

    try:
        return dataset(folder, form, yaml.safe_load(classes) if classes else None)
    except (ValueError, yaml.YAMLError) as error:
        raise fail(error) from error


@data.command()
def check(folder: Folder, format: Format, classes: Classes = None) -> None:
    """Say what a dataset holds and what is wrong with it; exit code 1 where prepare would refuse it."""
    from facemark import data

    try:
        report, found = data.check(described(folder, format, classes))
    except SystemExit as stopped:
        raise fail(stopped) from stopped
    Console().print(report)
    for image, why in found.bad:
        console.print(f"{image}: {why}")
    for refusal in found.refusals("refuse"):
        fail(refusal)
    raise typer.Exit(int(bool(found.refusals("refuse"))))


@data.command()
def show(
    folder: Folder,
    format: Format,
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to draw into.")],
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Pictures, evenly chosen.")] = 12,
    classes: Classes = None,
) -> None:
    """Draw a contact sheet: each picture with its points, beside it its mask."""
    from facemark import data

    try:
        data.show(described(folder, format, classes), count).save(out)
    except SystemExit as stopped:
        raise fail(stopped) from stopped
    except (OSError, ValueError) as error:
        raise fail(f"{out} cannot be written; name a .png or .jpg in a folder that exists") from error


if __name__ == "__main__":
    app()
