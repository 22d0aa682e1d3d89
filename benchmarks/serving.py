"""Throughput of the served parser against the bare network, side by side: ``make bench``.

``bare`` is the network alone on the very inputs that the parser gives it, ``pipeline`` the parser in this process from
JPEG bytes to the JSON answer, ``served`` TorchServe with 16 clients, ``naive`` TorchServe with the same weights eager,
in fp32 and with batches of one. All take turns in every round; what is printed are medians, of the ratios as well.
"""

import asyncio
import shutil
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import cv2
import naive_engine
import numpy as np
import torch
import typer
import yaml
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemark import images
from facemark.data.samples import read_points
from facemark.evaluation import metrics
from facemark.images import read_image
from facemark.inference.parser import FaceParser
from facemark.io import response
from facemark.models import bundle
from facemark.serving import torchserve
from facemark.serving.archive import SERVE, zip_archive
from facemark.serving.client import AsyncClient
from facemark.settings import ARCHIVE, RELEASED

CLIENTS = 16
BATCH = yaml.safe_load((SERVE / "model-config.yaml").read_text())["batchSize"]
KINDS = {"portraits, 320 px": 16, "groups, 1 megapixel": 4, "photographs, 12 megapixels": 2}
"""What is parsed, and how many of it in a round."""
CROWDS = (1, 4, 16, 64)
console = Console(width=120)


def pictures(data: Path) -> dict[str, list[bytes]]:
    """JPEG files of each kind, made of starter faces."""
    faces = [read_image(path) for path in sorted((data / "test/images").glob("*.jpg"))]
    portraits = [cv2.resize(face, (320, 320), interpolation=cv2.INTER_CUBIC) for face in faces]
    rows = [np.hstack(portraits[i : i + 2]) for i in range(0, len(portraits) - 1, 2)]
    groups = [cv2.resize(np.vstack(rows[i : i + 2]), (1024, 1024)) for i in range(0, len(rows) - 1, 2)]
    photographs = [cv2.resize(group, (3464, 3464), interpolation=cv2.INTER_CUBIC) for group in groups]
    made = zip(KINDS.items(), (portraits, groups, photographs), strict=True)
    return {name: [jpeg(some[i % len(some)]) for i in range(count)] for (name, count), some in made}


def jpeg(image: np.ndarray) -> bytes:
    """A picture's JPEG file."""
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def recorded(parser: FaceParser, files: list[bytes]) -> list[list[np.ndarray]]:
    """What the parser asks its network to look at for these pictures, call by call."""
    calls, look = [], parser.look
    parser.look = lambda some: calls.append(some) or look(some)
    for file in files:
        parser([images.decode(file)])
    parser.look = look
    return calls


def pipeline(parser: FaceParser, files: list[bytes]) -> None:
    """From files to answers, as many pictures at a time as the server takes."""
    for i in range(0, len(files), BATCH):
        for parse in parser([images.decode(file) for file in files[i : i + BATCH]]):
            response.to_json(response.encode_response(parse, response.Options(), {"name": "facemark"}))


async def ask(endpoint: torchserve.Endpoint, files: list[bytes], clients: int) -> list[float]:
    """Send all files, so many at a time; answers the seconds that each took."""
    gate = asyncio.Semaphore(clients)
    async with AsyncClient(endpoint.token, endpoint.url, timeout=600) as client:

        async def one(file: bytes) -> float:
            async with gate:
                start = time.perf_counter()
                await client.parse(file)
                return time.perf_counter() - start

        return await asyncio.gather(*(one(file) for file in files))


async def arriving(endpoint: torchserve.Endpoint, files: list[bytes], gaps: np.ndarray) -> list[float]:
    """Send the files one by one with these seconds between them; answers the seconds that each took."""
    async with AsyncClient(endpoint.token, endpoint.url, timeout=600) as client:

        async def one(file: bytes, moment: float) -> float:
            await asyncio.sleep(moment)
            start = time.perf_counter()
            await client.parse(file)
            return time.perf_counter() - start

        return await asyncio.gather(*(one(*each) for each in zip(files, np.cumsum(gaps), strict=True)))


@contextmanager
def served(archive: Path, port: int):
    """A server of this archive on this port and the four above it."""
    with tempfile.TemporaryDirectory() as home:
        try:
            yield torchserve.start(archive, port, Path(home) / "server")
        finally:
            torchserve.stop(Path(home) / "server")


def naive(archive: Path, out: Path) -> Path:
    """The same archive with the eager engine and batches of one."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive) as mar:
        mar.extractall(folder)
        shutil.copy(Path(__file__).with_name("naive_engine.py"), Path(folder, "facemark/engine.py"))
        config = Path(folder, "model-config.yaml")
        config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"batchSize": 1}))
        Path(folder, "SHA256SUMS").unlink()
        zip_archive(Path(folder), out)
    return out


def rate(work: Callable[[], object], count: int) -> float:
    """Pictures a second."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def throughput(
    files: dict[str, list[bytes]],
    parser: FaceParser,
    ours: torchserve.Endpoint,
    other: torchserve.Endpoint,
    rounds: int,
) -> None:
    """Print the table of the four ways."""
    table = Table(
        "", "bare /s", "pipeline /s", "served /s", "naive /s", "pipeline/bare", "served/pipeline", "served/naive"
    )
    for name, some in files.items():
        calls = recorded(parser, some)
        ways = {
            "bare": lambda calls=calls: [parser.look(call) for call in calls],
            "pipeline": lambda some=some: pipeline(parser, some),
            "served": lambda some=some: asyncio.run(ask(ours, some, CLIENTS)),
            "naive": lambda some=some: asyncio.run(ask(other, some, CLIENTS)),
        }
        rates = [{way: rate(work, len(some)) for way, work in ways.items()} for _ in track(range(rounds), name)]
        middle = {way: np.median([each[way] for each in rates]) for way in ways}
        pairs = [("pipeline", "bare"), ("served", "pipeline"), ("served", "naive")]
        ratios = [np.median([each[a] / each[b] for each in rates]) for a, b in pairs]
        table.add_row(name, *(f"{middle[way]:.2f}" for way in ways), *(f"{ratio:.2f}" for ratio in ratios))
    console.print(table)


def latency(some: list[bytes], ours: torchserve.Endpoint) -> None:
    """Print throughput and waiting time for crowds of clients, and at half of the highest throughput."""
    table = Table("portraits by", "/s", "p50 ms", "p99 ms", "p99/p50")
    best = 0.0
    for clients in track(CROWDS, "clients"):
        start = time.perf_counter()
        times = asyncio.run(ask(ours, some * (2 if clients < 64 else 4), clients))
        best = max(best, per_second := len(times) / (time.perf_counter() - start))
        table.add_row(f"{clients} clients", f"{per_second:.2f}", *waiting(times))
    gap = 2 / best
    random = np.random.default_rng(0).exponential(gap, 4 * len(some))
    for name, gaps in (("at an even pace", np.full_like(random, gap)), ("at random", random)):
        times = asyncio.run(arriving(ours, some * 4, gaps))
        table.add_row(f"half load, {name}", f"{1 / gap:.2f}", *waiting(times))
    console.print(table)


def waiting(times: list[float]) -> list[str]:
    """Median and 99th percentile in milliseconds, and their ratio."""
    p50, p99 = np.percentile(times, [50, 99])
    return [f"{1000 * p50:.0f}", f"{1000 * p99:.0f}", f"{p99 / p50:.2f}"]


def faithfulness(parser: FaceParser, data: Path) -> None:
    """Print how far the optimised network is from the same one eager and in fp32, on some starter test pictures."""
    eager = FaceParser(*RELEASED)
    eager.look = naive_engine.engine(bundle.load_network(RELEASED[0])[0], torch.device("cpu"))
    same, errors = [], []
    for path in track(sorted((data / "test/images").glob("*.jpg"))[::4], "faithfulness"):
        truth = read_points(data / f"test/landmarks/{path.stem}.txt").astype(float)
        ours, theirs = (each([read_image(path)])[0] for each in (parser, eager))
        same.append(np.mean(ours.mask == theirs.mask))
        pairs = [metrics.match([face.points for face in parse.faces], list(truth)) for parse in (ours, theirs)]
        for i, (one, other) in enumerate(zip(*pairs, strict=True)):
            if one is not None and other is not None:
                found = ours.faces[one].points, theirs.faces[other].points
                errors.append([metrics.nme(points, truth[i]) for points in found])
    one, other = np.mean(errors, 0)
    console.print(
        f"against eager fp32: {np.mean(same):.2%} of pixels the same, NME {one:.3f} instead of {other:.3f} "
        f"({len(errors)} faces found by both)"
    )


def main(
    data: Annotated[Path, typer.Option(help="starter data")] = Path("data"),
    archive: Annotated[Path, typer.Option(help="what is served")] = ARCHIVE,
    rounds: Annotated[int, typer.Option(help="of all ways in turn")] = 3,
    port: Annotated[int, typer.Option(help="and the nine above it")] = 8180,
) -> None:
    """Measure all ways on this machine; needs the archive that the pipeline builds."""
    parser, files = FaceParser(*RELEASED), pictures(data)
    faithfulness(parser, data)
    with tempfile.TemporaryDirectory() as folder, served(archive, port) as ours:
        with served(naive(archive, Path(folder, "naive.mar")), port + 5) as other:
            throughput(files, parser, ours, other, rounds)
        latency(next(iter(files.values())), ours)


if __name__ == "__main__":
    typer.run(main)
