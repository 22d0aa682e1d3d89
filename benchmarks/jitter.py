"""Jitter, error and lag of a video's points with and without smoothing: ``python benchmarks/jitter.py``.

Makes a video whose true points are known: a starter face that rests, then sways and rotates. Each frame has new noise
and the losses of MPEG-4. The same parses are tracked with and without the one-euro filter.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from facemark.data.samples import read_points
from facemark.geometry import apply
from facemark.images import read_image
from facemark.inference.parser import FaceParser
from facemark.io.video import FaceTracker, Video, VideoWriter
from facemark.labels import OUTER_EYE_CORNERS
from facemark.settings import RELEASED

FPS = 25
SWAY_FREQUENCY, SWAY, ROTATION = 0.5, 0.5, 15
"""Hz; distances of the outer eye corners to each side; degrees to each side."""
NOISE = 8
"""Standard deviation of each frame's noise, in grey values."""


def motion(time: float, rest: float, eyes: np.ndarray) -> np.ndarray:
    """The 2 × 3 matrix that moves the image at a time in seconds, after ``rest`` seconds without motion.

    Args:
        time: seconds.
        rest: seconds.
        eyes: the outer eye corners, 2 × 2 (x, y).
    """
    phase = 2 * np.pi * SWAY_FREQUENCY * max(0, time - rest)
    turn, sway = np.sin(phase), (1 - np.cos(phase)) / 2
    matrix = cv2.getRotationMatrix2D(eyes.mean(0).tolist(), ROTATION * turn, 1)
    matrix[:, 2] += SWAY * np.linalg.norm(eyes[1] - eyes[0]) * np.array([turn, 0.5 * sway])
    return matrix


def figures(found: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Jitter and NME in per cent of the distance of the outer eye corners, and the lag in milliseconds.

    A point's deviation in a frame is its error there minus the mean of its errors in the frames before and after.
    Jitter is the root mean square of the deviations. The lag is the delay of the truth that explains most of the error.

    Args:
        found: frames × 68 × 2 points.
        truth: likewise.
    """
    right, left = (truth[:, i] for i in OUTER_EYE_CORNERS)
    eyes = np.linalg.norm(left - right, axis=1).mean()
    errors = found - truth
    jitter = np.sqrt(((np.diff(errors, 2, axis=0) / 2) ** 2).sum(2).mean()) / eyes
    speed = np.gradient(truth, 1 / FPS, axis=0)
    lag = -((errors - errors.mean(0)) * speed).sum() / max(1e-9, (speed**2).sum())
    return 100 * jitter, 100 * np.linalg.norm(errors, axis=2).mean() / eyes, 1000 * lag


def main(
    photo: Path = Path("data/test/images/00002.jpg"),
    model: Annotated[Path, typer.Option(help="folder of the bundle")] = RELEASED,
    seconds: Annotated[float, typer.Option(help="at rest, and as many in motion")] = 2,
) -> None:
    """Compare points with and without smoothing, at rest and in motion."""
    parser = FaceParser(model)
    image, face = read_image(photo), read_points(photo.parents[1] / "landmarks" / f"{photo.stem}.txt")[0].astype(float)
    resting = round(seconds * FPS)
    matrices = [motion(i / FPS, seconds, face[OUTER_EYE_CORNERS]) for i in range(2 * resting)]
    truth = np.array([apply(matrix, face) for matrix in matrices])
    rng, size = np.random.default_rng(0), image.shape[1::-1]
    with tempfile.TemporaryDirectory() as folder:
        writer = VideoWriter(Path(folder, "sway.mp4"), FPS)
        for matrix in matrices:
            moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
            writer.write(np.clip(moved + rng.normal(0, NOISE, moved.shape), 0, 255).astype(np.uint8))
        writer.close()
        frames = (frame for _, frame in Video.open(writer.path).frames())
        parses = [parser([frame])[0] for frame in track(frames, "parsing", total=len(truth))]

    table = Table("", "points", "jitter %", "times", "NME %", "lag ms")
    for part, span in (("at rest", slice(0, resting)), ("in motion", slice(resting, None))):
        raw = None
        for smooth in (False, True):
            tracker = FaceTracker(smooth)
            points = np.array([tracker(parse.faces, i / FPS)[0][1].points for i, parse in enumerate(parses)])
            jitter, nme, lag = figures(points[span], truth[span])
            raw = raw or jitter
            lag_text = f"{lag:.0f}" if part == "in motion" else ""
            name = "smoothed" if smooth else "raw"
            table.add_row(part, name, f"{jitter:.2f}", f"{jitter / raw:.2f}", f"{nme:.2f}", lag_text)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
