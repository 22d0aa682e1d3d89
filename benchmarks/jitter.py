"""What smoothing a video's points is worth, and what it costs: ``python benchmarks/jitter.py``.

Makes a video whose true points are known: a starter face that stands still, then sways and turns, with new noise in
each frame, and MPEG-4's losses. The same parses are followed with and without the one-euro filter.
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

FPS = 25
SWAYS, REACH, TURN = 0.5, 0.5, 15
"""Hz, distances of the outer eye corners to each side, and degrees to each side."""
NOISE = 8
"""Standard deviation of each frame's noise, in grey values."""


def motion(time: float, still: float, eyes: np.ndarray) -> np.ndarray:
    """The matrix that has moved the picture at a time in seconds; ``eyes`` are the outer corners, 2 × 2."""
    phase = 2 * np.pi * SWAYS * max(0, time - still)
    turn, sway = np.sin(phase), (1 - np.cos(phase)) / 2
    matrix = cv2.getRotationMatrix2D(eyes.mean(0).tolist(), TURN * turn, 1)
    matrix[:, 2] += REACH * np.linalg.norm(eyes[1] - eyes[0]) * np.array([turn, 0.5 * sway])
    return matrix


def figures(found: np.ndarray, truth: np.ndarray) -> tuple[float, float, float]:
    """Jitter and NME in per cent of the eyes' distance, and the lag in milliseconds, of frames × 68 × 2 points.

    Jitter is the root mean square of how far a point's error in a frame lies from the middle of those in the frames
    before and after it; the lag is the delay of the truth that explains most of the error.
    """
    eyes = np.linalg.norm(truth[:, 45] - truth[:, 36], axis=1).mean()
    errors = found - truth
    jitter = np.sqrt(((np.diff(errors, 2, axis=0) / 2) ** 2).sum(2).mean()) / eyes
    speed = np.gradient(truth, 1 / FPS, axis=0)
    lag = -((errors - errors.mean(0)) * speed).sum() / max(1e-9, (speed**2).sum())
    return 100 * jitter, 100 * np.linalg.norm(errors, axis=2).mean() / eyes, 1000 * lag


def main(
    photo: Path = Path("data/test/images/00002.jpg"),
    weights: Path = Path("weights"),
    seconds: Annotated[float, typer.Option(help="at rest, and as many in motion")] = 2,
) -> None:
    """Compare points with and without smoothing, at rest and in motion."""
    parser = FaceParser(weights / "model.safetensors", weights / "landmarks.npz")
    image, face = read_image(photo), read_points(photo.parents[1] / "landmarks" / f"{photo.stem}.txt")[0].astype(float)
    still = round(seconds * FPS)
    matrices = [motion(i / FPS, seconds, face[OUTER_EYE_CORNERS]) for i in range(2 * still)]
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
    for part, span in (("at rest", slice(0, still)), ("in motion", slice(still, None))):
        plain = None
        for smooth in (False, True):
            follow = FaceTracker(smooth)
            points = np.array([follow(parse.faces, i / FPS)[0][1].points for i, parse in enumerate(parses)])
            jitter, nme, lag = figures(points[span], truth[span])
            plain = plain or jitter
            late = f"{lag:.0f}" if part == "in motion" else ""
            name = "smoothed" if smooth else "as found"
            table.add_row(part, name, f"{jitter:.2f}", f"{jitter / plain:.2f}", f"{nme:.2f}", late)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
