"""Speed and error of Facemark next to MediaPipe and dlib: ``python benchmarks/peers.py --peers-python PATH``.

All place 68 points on the same images, and the same metrics score them. Each gets a whole image, runs its own detector,
and returns all faces. Each runs in a process of its own: the peers' packages conflict with Facemark's, so PATH is the
interpreter of another environment. There this file runs again, and must import nothing of Facemark.

Peers, with the weights that their packages carry:

- MediaPipe (Lugaresi et al., 2019, https://arxiv.org/abs/1906.08172): Face Mesh of 468 points, mapped to 68. Its
  detector is made for faces within two metres. Its jaw points are fixed places on the head, not the visible outline.
- dlib (Kazemi and Sullivan, CVPR 2014): HOG detector on the image enlarged twofold, regression trees for 68 points.
  Its model was trained on 300-W, and has very likely seen the default images.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from sysconfig import get_path

import numpy as np
from PIL import Image, ImageOps

PACKAGES = "mediapipe==0.10.14 dlib-bin==20.0.1.post1 face_recognition_models==0.3.0"
INSTALL = f"python3.11 -m venv {{0}} && {{0}}/bin/pip install {PACKAGES}"
CORES = 2
"""Processor cores that all processes are bound to. MediaPipe and dlib use little more than one."""
MAX_FACES = 20
"""The most faces of an image that MediaPipe returns; the others have no limit."""

MEDIAPIPE = [
    *(127, 227, 177, 215, 172, 136, 149, 148, 152, 377, 378, 365, 397, 435, 401, 447, 356),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91),  # outer lip
    *(78, 81, 13, 311, 308, 402, 14, 178),  # inner lip
]
"""The vertex of MediaPipe's mesh next to each of the 68 points, as in ``docs/migration.md``."""

Landmarker = Callable[[np.ndarray], list[np.ndarray]]
"""Takes an H × W × 3 RGB uint8 image; returns 68 × 2 (x, y) points in pixels, 0-based, of each face."""
Measured = tuple[list[list[np.ndarray]], list[float]]
"""Of each image, the 68 × 2 points of each face; and of each image the milliseconds, without reading it."""


def load_mediapipe(_: Path) -> Landmarker:
    """Return MediaPipe's Face Mesh for single images."""
    import mediapipe

    mesh = mediapipe.solutions.face_mesh.FaceMesh(static_image_mode=True, max_num_faces=MAX_FACES)

    def place(image: np.ndarray) -> list[np.ndarray]:
        faces = mesh.process(image).multi_face_landmarks or []
        points = [np.array([(vertex.x, vertex.y) for vertex in face.landmark]) for face in faces]
        return [each[MEDIAPIPE] * image.shape[1::-1] for each in points]

    return place


def load_dlib(_: Path) -> Landmarker:
    """Return dlib's frontal face detector and 68-point shape predictor."""
    import dlib

    weights = Path(get_path("purelib"), "face_recognition_models/models/shape_predictor_68_face_landmarks.dat")
    detect, predict = dlib.get_frontal_face_detector(), dlib.shape_predictor(str(weights))

    def place(image: np.ndarray) -> list[np.ndarray]:
        shapes = [predict(image, box) for box in detect(image, 1)]
        return [np.array([(point.x, point.y) for point in shape.parts()], float) for shape in shapes]

    return place


def load_facemark(model: Path) -> Landmarker:
    """Return Facemark's parser of a bundle, in the mode ``accurate``. It computes the regions and the mask as well."""
    from facemark.inference.config import MODES
    from facemark.inference.parser import FaceParser

    parser = FaceParser(model, config=MODES["accurate"])
    return lambda image: [face.points for face in parser([image])[0].faces]


LOADERS = {"Facemark": load_facemark, "MediaPipe": load_mediapipe, "dlib": load_dlib}


def read_rgb(path: Path) -> np.ndarray:
    """Read an image as H × W × 3 RGB uint8, rotated as its EXIF orientation says."""
    with Image.open(path) as file:
        return np.array(ImageOps.exif_transpose(file).convert("RGB"))


def measure(landmarker: Landmarker, images: list[Path]) -> Measured:
    """Run a landmarker on one image after the other. The first image runs once more before, untimed."""
    faces, milliseconds = [], []
    landmarker(read_rgb(images[0]))
    for path in images:
        image = read_rgb(path)
        start = time.perf_counter()
        faces.append(landmarker(image))
        milliseconds.append(1000 * (time.perf_counter() - start))
    return faces, milliseconds


def measure_in(python: Path | str, name: str, model: Path, images: list[Path]) -> Measured:
    """Run :func:`measure` for one of ``LOADERS`` in a new process of an interpreter.

    Raises:
        SystemExit: the process failed; the end of what it printed is in the message.
    """
    request = json.dumps([name, str(model), [str(path) for path in images]])
    done = subprocess.run([python, __file__, "--worker"], input=request, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    faces, milliseconds = json.loads(done.stdout.splitlines()[-1])
    return [[np.array(points) for points in image] for image in faces], milliseconds


def work() -> None:
    """Read a request of :func:`measure_in` from standard input, and print what was measured in one line."""
    name, model, images = json.load(sys.stdin)
    faces, milliseconds = measure(LOADERS[name](Path(model)), [Path(path) for path in images])
    print(json.dumps([[[points.tolist() for points in image] for image in faces], milliseconds]))


def is_ready(python: Path) -> bool:
    """Return whether an interpreter exists and imports the peers' packages."""
    check = "import dlib, mediapipe, importlib.util as u; assert u.find_spec('face_recognition_models')"
    return python.exists() and subprocess.run([str(python), "-c", check], capture_output=True).returncode == 0


def score(placed: list[list[np.ndarray]], truth: list[np.ndarray]) -> np.ndarray:
    """Return the errors of the true faces of all images in per cent, faces × 68; inf for a missed face.

    Args:
        placed: of each image, the 68 × 2 points of each face.
        truth: of each image, faces × 68 × 2 true points.
    """
    from facemark.evaluation import metrics

    errors = []
    for faces, true_faces in zip(placed, truth, strict=True):
        for points, i in zip(true_faces, metrics.match(faces, list(true_faces)), strict=True):
            errors.append(np.full(68, np.inf) if i is None else metrics.point_errors(faces[i], points))
    return np.array(errors)


def main() -> None:
    """Measure Facemark and its peers on the same images, and print a table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--peers-python", type=Path, default=Path("build/peers/bin/python"), help="interpreter that has the peers"
    )
    parser.add_argument("--folder", type=Path, default=Path("../shared/data/landmarks68/val"))
    parser.add_argument("--model", type=Path, default=Path("weights"), help="folder of Facemark's bundle")
    args = parser.parse_args()
    from rich.console import Console
    from rich.progress import track
    from rich.table import Table

    from facemark.data.formats.landmarks68 import samples
    from facemark.data.samples import read_points
    from facemark.evaluation import metrics
    from facemark.labels import POINT_GROUPS

    if not args.folder.is_dir():
        raise SystemExit(f"there is no folder {args.folder}; name one that has images/ and landmarks/")
    if not is_ready(args.peers_python):
        install = INSTALL.format(args.peers_python.parent.parent)
        raise SystemExit(f"{args.peers_python} lacks the peers; install them with: {install}")
    some = samples(args.folder)
    truth = [read_points(sample.points).astype(float) for sample in some if sample.points]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])  # new processes are bound as well
    errors, medians = {}, {}
    for name in track(LOADERS, "measuring"):
        python = sys.executable if name == "Facemark" else args.peers_python
        placed, milliseconds = measure_in(python, name, args.model, [sample.image for sample in some])
        errors[name], medians[name] = score(placed, truth), np.median(milliseconds)

    shared = np.all([np.isfinite(each).all(1) for each in errors.values()], axis=0)
    columns = ("ms an image", "recall %", "NME %", "NME %, detected by all", "… without jaw", "failures over 8 %")
    table = Table("", *columns, title=f"{len(shared)} faces, {shared.sum()} detected by all; {CORES} cores")
    table.caption = "dlib's model has very likely seen the default faces"
    for name, each in errors.items():
        hit = np.isfinite(each).all(1)
        nmes = each[hit].mean(), each[shared].mean(), each[shared, POINT_GROUPS["jaw"].stop :].mean()
        figures = (100 * hit.mean(), *nmes, metrics.fr8(each.mean(1)))
        table.add_row(name, f"{medians[name]:.0f}", *(f"{figure:.2f}" for figure in figures))
    Console(width=120).print(table)


if __name__ == "__main__":
    work() if sys.argv[1:] == ["--worker"] else main()
