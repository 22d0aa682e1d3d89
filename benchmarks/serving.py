"""Throughput of the served parser next to that of the bare network: ``make bench``.

Four ways are measured in turn, in several rounds. Printed are medians over the rounds, of the ratios too.

- ``bare``: the network alone, on the inputs that the parser gives it.
- ``pipeline``: the parser in this process, from JPEG bytes to the JSON response.
- ``served``: TorchServe, with 16 clients.
- ``naive``: the same with eager torch, fp32, and batches of one request.
"""

import asyncio
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cv2
import naive_backend
import numpy as np
import typer
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemark.data.samples import read_points
from facemark.evaluation import metrics
from facemark.images import decode, read_image
from facemark.inference.backends import Backend
from facemark.inference.parser import FaceParser
from facemark.io import response
from facemark.models.bundle import ModelBundle
from facemark.serving import torchserve
from facemark.serving.archive import HASHES, SERVE, zip_archive
from facemark.serving.client import AsyncClient
from facemark.settings import ARCHIVE, RELEASED

CLIENTS = 16
BATCH = yaml.safe_load((SERVE / "model-config.yaml").read_text())["batchSize"]
KINDS = {"portraits, 320 px": 16, "groups, 1 megapixel": 4, "photographs, 12 megapixels": 2}
"""Kinds of images, and how many of each are parsed in a round."""
CLIENT_COUNTS = (1, 4, 16, 64)
"""Numbers of clients for which latency is measured."""
console = Console(width=120)


def make_images(data: Path) -> dict[str, list[bytes]]:
    """JPEG files of each kind, made of starter faces."""
    faces = [read_image(path) for path in sorted((data / "test/images").glob("*.jpg"))]
    portraits = [cv2.resize(face, (320, 320), interpolation=cv2.INTER_CUBIC) for face in faces]
    rows = [np.hstack(portraits[i : i + 2]) for i in range(0, len(portraits) - 1, 2)]
    groups = [cv2.resize(np.vstack(rows[i : i + 2]), (1024, 1024)) for i in range(0, len(rows) - 1, 2)]
    photographs = [cv2.resize(group, (3464, 3464), interpolation=cv2.INTER_CUBIC) for group in groups]
    kinds = zip(KINDS.items(), (portraits, groups, photographs), strict=True)
    return {name: [jpeg(images[i % len(images)]) for i in range(count)] for (name, count), images in kinds}


def jpeg(image: np.ndarray) -> bytes:
    """The JPEG file of an H × W × 3 RGB image."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


class RecordingBackend:
    """A backend that keeps the inputs of each call."""

    def __init__(self, backend: Backend):
        self.backend, self.device, self.precision = backend, backend.device, backend.precision
        self.calls: list[list[np.ndarray]] = []

    def __call__(self, images: list[np.ndarray]) -> list[np.ndarray]:
        """See :class:`facemark.inference.backends.base.Backend`."""
        self.calls.append(images)
        return self.backend(images)


def record_inputs(parser: FaceParser, files: list[bytes]) -> list[list[np.ndarray]]:
    """The inputs of each call of the backend while the parser parses these files, one at a time."""
    backend = parser.backend
    parser.backend = recording = RecordingBackend(backend)
    for file in files:
        parser([decode(file)])
    parser.backend = backend
    return recording.calls


def run_pipeline(parser: FaceParser, files: list[bytes]) -> None:
    """From files to responses, in batches of the server's size."""
    for i in range(0, len(files), BATCH):
        for parse in parser([decode(file) for file in files[i : i + BATCH]]):
            response.to_json(response.encode_response(parse, response.Options(), response.default_identity()))


async def send(endpoint: torchserve.Endpoint, files: list[bytes], clients: int) -> list[float]:
    """Send all files, ``clients`` at a time; returns the seconds that each took."""
    limit = asyncio.Semaphore(clients)
    async with AsyncClient(endpoint.token, endpoint.url, timeout=600) as client:

        async def send_one(file: bytes) -> float:
            async with limit:
                start = time.perf_counter()
                await client.parse(file)
                return time.perf_counter() - start

        return await asyncio.gather(*(send_one(file) for file in files))


async def send_spaced(endpoint: torchserve.Endpoint, files: list[bytes], gaps: np.ndarray) -> list[float]:
    """Send the files with these seconds between them; returns the seconds that each took."""
    async with AsyncClient(endpoint.token, endpoint.url, timeout=600) as client:

        async def send_one(file: bytes, delay: float) -> float:
            await asyncio.sleep(delay)
            start = time.perf_counter()
            await client.parse(file)
            return time.perf_counter() - start

        return await asyncio.gather(*(send_one(*each) for each in zip(files, np.cumsum(gaps), strict=True)))


@contextmanager
def serve(archive: Path, port: int) -> Iterator[torchserve.Endpoint]:
    """Serve an archive while the block runs, on this port and the next four."""
    with tempfile.TemporaryDirectory() as home:
        try:
            yield torchserve.start(archive, port, Path(home) / "server")
        finally:
            torchserve.stop(Path(home) / "server")


def make_naive(archive: Path, out: Path) -> Path:
    """Write the same archive with the naive backend and batches of one request; returns ``out``."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive) as mar:
        mar.extractall(folder)
        shutil.copy(naive_backend.__file__, Path(folder, "facemark/inference/backends/__init__.py"))
        config = Path(folder, "model-config.yaml")
        config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"batchSize": 1}))
        Path(folder, HASHES).unlink()
        zip_archive(Path(folder), out)
    return out


def rate(work: Callable[[], object], count: int) -> float:
    """Images per second, where ``work`` handles ``count`` images."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def report_throughput(
    files: dict[str, list[bytes]],
    parser: FaceParser,
    endpoint: torchserve.Endpoint,
    naive: torchserve.Endpoint,
    rounds: int,
) -> None:
    """Print images per second of the four ways, for each kind of images."""
    table = Table(
        "", "bare /s", "pipeline /s", "served /s", "naive /s", "pipeline/bare", "served/pipeline", "served/naive"
    )
    for name, some in files.items():
        inputs = record_inputs(parser, some)
        ways = {
            "bare": lambda inputs=inputs: [parser.backend(each) for each in inputs],
            "pipeline": lambda some=some: run_pipeline(parser, some),
            "served": lambda some=some: asyncio.run(send(endpoint, some, CLIENTS)),
            "naive": lambda some=some: asyncio.run(send(naive, some, CLIENTS)),
        }
        rates = [{way: rate(work, len(some)) for way, work in ways.items()} for _ in track(range(rounds), name)]
        medians = [np.median([each[way] for each in rates]) for way in ways]
        pairs = [("pipeline", "bare"), ("served", "pipeline"), ("served", "naive")]
        ratios = [np.median([each[a] / each[b] for each in rates]) for a, b in pairs]
        table.add_row(name, *(f"{value:.2f}" for value in (*medians, *ratios)))
    console.print(table)


def report_latency(files: list[bytes], endpoint: torchserve.Endpoint) -> None:
    """Print latency by the number of clients, and at half of the highest throughput."""
    table = Table("portraits by", "/s", "p50 ms", "p99 ms", "p99/p50")
    highest = 0.0
    for clients in track(CLIENT_COUNTS, "clients"):
        start = time.perf_counter()
        times = asyncio.run(send(endpoint, files * (2 if clients < 64 else 4), clients))
        per_second = len(times) / (time.perf_counter() - start)
        highest = max(highest, per_second)
        table.add_row(f"{clients} clients", f"{per_second:.2f}", *percentiles(times))
    gap = 2 / highest
    random = np.random.default_rng(0).exponential(gap, 4 * len(files))
    for name, gaps in (("evenly spaced", np.full_like(random, gap)), ("at random times", random)):
        times = asyncio.run(send_spaced(endpoint, files * 4, gaps))
        table.add_row(f"half load, {name}", f"{1 / gap:.2f}", *percentiles(times))
    console.print(table)


def percentiles(times: list[float]) -> list[str]:
    """Median and 99th percentile in milliseconds, and their ratio."""
    p50, p99 = np.percentile(times, [50, 99])
    return [f"{1000 * p50:.0f}", f"{1000 * p99:.0f}", f"{p99 / p50:.2f}"]


def report_accuracy(parser: FaceParser, naive: FaceParser, data: Path) -> None:
    """Print how the optimised network differs from the naive one, on some starter test images."""
    equal, errors = [], []
    for path in track(sorted((data / "test/images").glob("*.jpg"))[::4], "accuracy"):
        truth = read_points(data / f"test/landmarks/{path.stem}.txt").astype(float)
        parses = [each([read_image(path)])[0] for each in (parser, naive)]
        equal.append(np.mean(parses[0].mask == parses[1].mask))
        matches = [metrics.match([face.points for face in parse.faces], list(truth)) for parse in parses]
        for i, match in enumerate(zip(*matches, strict=True)):
            if None not in match:
                points = [parse.faces[j].points for parse, j in zip(parses, match, strict=True)]
                errors.append([metrics.nme(each, truth[i]) for each in points])
    optimised, eager = np.mean(errors, 0)
    console.print(
        f"against eager fp32: {np.mean(equal):.2%} of pixels have the same class, NME {optimised:.3f} instead of "
        f"{eager:.3f} ({len(errors)} faces detected by both)"
    )


def main(
    data: Annotated[Path, typer.Option(help="starter data")] = Path("data"),
    model: Annotated[Path, typer.Option(help="folder of the bundle; should be that of the archive")] = RELEASED,
    archive: Annotated[Path, typer.Option(help="archive to serve")] = ARCHIVE,
    rounds: Annotated[int, typer.Option(help="of all ways in turn")] = 3,
    port: Annotated[int, typer.Option(help="the next nine are used too")] = 8180,
) -> None:
    """Measure all ways on this machine. The archive is built by the pipeline."""
    parser, naive, files = FaceParser(model), FaceParser(model), make_images(data)
    naive.backend = naive_backend.create_backend(ModelBundle.open(model), parser.backend.device)
    report_accuracy(parser, naive, data)
    with tempfile.TemporaryDirectory() as folder, serve(archive, port) as endpoint:
        with serve(make_naive(archive, Path(folder, "naive.mar")), port + 5) as other:
            report_throughput(files, parser, endpoint, other, rounds)
        report_latency(next(iter(files.values())), endpoint)


if __name__ == "__main__":
    typer.run(main)
