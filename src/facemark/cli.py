"""The command line: ``facemark predict | serve | stop``."""

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
    """End the server that ``facemark serve`` started here, once it has answered what it had accepted."""
    from facemark import serving

    with console.status("answering what was accepted"):
        stopped = serving.stop()
    console.print("stopped" if stopped else "no server runs here")


if __name__ == "__main__":
    app()
