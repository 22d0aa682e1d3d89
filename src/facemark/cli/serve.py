"""``facemark serve`` and ``facemark stop``: the endpoint. ``facemark demo``: the page."""

from pathlib import Path
from typing import Annotated

import typer

from facemark.cli.common import console, fail, load_parser


def serve(
    archive: Annotated[
        Path | None,
        typer.Argument(help="Default: the pipeline's archive; without one, the model of facemark info is packed."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=1, max=65531, help="Port of the predictions; the next four are used as well.")
    ] = 8080,
) -> None:
    """Start TorchServe on loopback and print a curl command for it.

    The server runs in the background until facemark stop ends it.
    """
    from facemark.serving import torchserve

    if not torchserve.SETTINGS.is_dir():
        raise fail(f"there is no folder {torchserve.SETTINGS} with the server's settings; go to the project's folder")
    try:
        mar = archive or _default_archive()
        with console.status("starting TorchServe"):
            endpoint = torchserve.start(mar, port)
    except (OSError, RuntimeError) as error:
        raise fail(error) from error
    photo = next(iter(sorted(Path("data/test/images").glob("*.jpg"))), Path("PHOTO.jpg"))
    console.print(f"ready: {endpoint.url}   metrics: {endpoint.metrics}   end it with: facemark stop")
    print(f'curl --noproxy 127.0.0.1 -T {photo} -H "Authorization: Bearer {endpoint.token}" {endpoint.url}')


def _default_archive() -> Path:
    """The archive that the pipeline built; without one, pack the current model.

    Raises:
        OSError: there is no model.
    """
    from facemark.settings import ARCHIVE, model_folder

    if ARCHIVE.is_file():
        return ARCHIVE
    from facemark.io.response import default_identity
    from facemark.models.bundle import ModelBundle
    from facemark.serving.archive import pack_archive

    packed = ARCHIVE.with_name("packed.mar")
    pack_archive(default_identity(), ModelBundle.open(model_folder()), packed)
    return packed


def stop() -> None:
    """Stop the server that facemark serve started here, after the requests that it has accepted."""
    from facemark.serving import torchserve

    with console.status("finishing accepted requests"):
        stopped = torchserve.stop()
    console.print("stopped" if stopped else "no server runs here")


def demo(port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the page.")] = 7860) -> None:
    """Open a page that shows the result for a photograph.

    It asks the endpoint that runs here. Without one it runs the model itself.
    """
    import threading

    try:
        from facemark.demo import app
    except ModuleNotFoundError as error:
        raise fail(f"the page needs {error.name}; install it with: pip install -e '.[demo]'") from error
    try:
        with console.status("opening the page"):
            client = app.running_client()
            predict = app.endpoint(client) if client else app.local_model(load_parser())
        with app.serve_page(predict, port) as url:
            console.print(f"open {url}   answered by: {client.url if client else 'this process'}   end it with: Ctrl+C")
            threading.Event().wait()
    except (OSError, ValueError) as error:
        raise fail(error) from error
