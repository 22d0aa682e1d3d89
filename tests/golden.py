"""Write ``golden.json``: what the released weights find in four starter pictures. ``python tests/golden.py``.

The test beside it holds every later version to these numbers. Write them anew only in a commit of its own, which shows
the figures of the whole validation sets before and after.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from facemark.images import read_image
from facemark.inference.backends.openvino import CORE
from facemark.inference.config import MODES
from facemark.inference.parser import FaceParser
from facemark.inference.types import Parse
from facemark.labels import CLASSES
from facemark.settings import RELEASED

FILE = Path(__file__).with_suffix(".json")
MODE = "accurate"
IMAGES = Path("data/test/images")


def pictures() -> dict[str, np.ndarray]:
    """Four starter pictures: one face, three faces, a face that lies on its side, none."""
    one, three, lying, none = (read_image(IMAGES / f"{number:05}.jpg") for number in (0, 25, 3, 7))
    return {"one face": one, "three faces": three, "lying": np.ascontiguousarray(np.rot90(lying)), "none": none[:90]}


@contextmanager
def full_precision() -> Iterator[None]:
    """Networks that are loaded meanwhile compute in fp32, whatever the processor could do."""
    before = CORE.get_property("CPU", "INFERENCE_PRECISION_HINT")
    CORE.set_property("CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    try:
        yield
    finally:
        CORE.set_property("CPU", {"INFERENCE_PRECISION_HINT": before})


def weights_sha256() -> str:
    """Of the released network."""
    return hashlib.sha256((RELEASED / "model.safetensors").read_bytes()).hexdigest()


def figures(parse: Parse) -> dict:
    """Boxes, scores, points and their scores of each face, and the pixels of each class."""
    faces = [
        {
            "box": face.box.astype(float).round(2).tolist(),
            "score": round(float(face.score), 4),
            "points": face.points.astype(float).round(2).tolist(),
            "scores": face.scores.astype(float).round(3).tolist(),
        }
        for face in parse.faces
    ]
    counts = np.bincount(parse.mask.ravel(), minlength=len(CLASSES)).tolist()
    return {"faces": faces, "pixels": dict(zip(CLASSES, counts, strict=True))}


def parses() -> dict[str, Parse]:
    """What the released weights find in each picture, on the CPU in fp32."""
    with full_precision():
        parser = FaceParser(RELEASED, device="cpu", config=MODES[MODE])
    shown = pictures()
    return dict(zip(shown, parser(list(shown.values())), strict=True))


if __name__ == "__main__":
    found = {name: figures(parse) for name, parse in parses().items()}
    text = json.dumps({"weights": weights_sha256(), "mode": MODE, "pictures": found})
    FILE.write_text(text.replace('{"faces"', '\n{"faces"') + "\n")
    print({name: len(each["faces"]) for name, each in found.items()})
