import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hand_made import starter_faces

from facemark.evaluation import metrics
from facemark.geometry import apply, quarter_turns
from facemark.inference.config import DEFAULT_MODE, MODES
from facemark.inference.parser import FaceParser
from facemark.inference.segmentation import segment_hflip
from facemark.labels import CLASSES, FLIP


@pytest.fixture(scope="module")
def untrained_parser(untrained):
    return FaceParser(untrained, device="cpu")


@pytest.fixture(scope="module")
def parser(released):
    return FaceParser(released, device="cpu")


def test_with_hflip_a_mirrored_image_is_parsed_the_same(untrained_parser):
    images = list(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))
    both = images, [image[:, ::-1] for image in images]
    crops = [np.stack(segment_hflip(untrained_parser.backend, each)) for each in both]
    coarse = [np.stack([views[0].probabilities for views in untrained_parser.segment(each)[0]]) for each in both]
    for one, other in (crops, coarse):
        assert other[:, FLIP[: len(CLASSES)]][..., ::-1] == pytest.approx(one, abs=1e-5)
        assert one.sum(1) == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (300, 7), (64, 64), (133, 217)])
def test_images_of_any_shape_are_parsed(untrained_parser, shape):
    rng = np.random.default_rng(0)
    images = [np.zeros((*shape, 3), np.uint8), rng.integers(0, 256, (*shape, 3), np.uint8)]
    for parse in untrained_parser(images):
        assert parse.mask.shape == shape
        assert parse.mask.dtype == np.uint8
        assert parse.mask.max() < len(CLASSES)


def test_images_of_several_sizes_go_together(untrained_parser):
    images = [np.zeros((*shape, 3), np.uint8) for shape in ((1, 1), (7, 300), (80, 50))]
    assert [parse.mask.shape for parse in untrained_parser(images)] == [(1, 1), (7, 300), (80, 50)]


def test_no_images_no_parses(untrained_parser):
    assert untrained_parser([]) == []


def test_a_model_without_landmarks_says_so(untrained, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((untrained / "model.safetensors").read_bytes())
    config = (untrained / "config.json").read_text().replace('"accurate": "landmarks.npz"', "")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match="dvc repro calibrate"):
        FaceParser(tmp_path, device="cpu").measure([object()], (10, 10))


@pytest.mark.parametrize("crops_per_batch", [1, MODES[DEFAULT_MODE].max_crops_per_batch])
def test_a_batch_is_what_its_images_are_alone(parser, monkeypatch, crops_per_batch):
    monkeypatch.setattr(parser, "config", replace(parser.config, max_crops_per_batch=crops_per_batch))
    images = [image for image, _ in starter_faces(2)]
    images[1] = images[1][:-30]
    for together, image in zip(parser(images), images, strict=True):
        alone = parser([image])[0]
        assert (together.mask == alone.mask).mean() > 0.995
        assert len(together.faces) == len(alone.faces)


def test_faces_are_found_and_measured(parser):
    errors, pupils = [], []
    for image, points in starter_faces(4):  # the last one turns away in sunglasses
        (found,) = parser([image])[0].faces
        errors.append(metrics.nme(found.points, points))
        pupils.append(np.linalg.norm(found.pupils[0] - points[36:42].mean(0)) / np.linalg.norm(points[36] - points[45]))
        assert found.box == pytest.approx([*found.points.min(0), *found.points.max(0)])
        assert found.points[36, 0] < found.points[45, 0]
        assert {"nose", "skin"} <= found.regions.keys()
    assert np.median(errors) < 8
    assert max(errors) < 20
    assert np.median(pupils) < 0.08
    assert max(pupils) < 0.25


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_faces_in_a_turned_image_are_found(parser, turns):
    image, points = starter_faces(1)[0]
    faces = parser([np.ascontiguousarray(np.rot90(image, turns))])[0].faces
    truth = apply(quarter_turns(*image.shape[:2], turns), points)
    size = np.linalg.norm(points[36] - points[45])
    assert min(np.linalg.norm(found.points - truth, axis=1).mean() for found in faces) < 0.15 * size


def test_a_group_is_found_largest_first(parser):
    (one, _), (other, _) = starter_faces(2)
    height = min(len(one), len(other))
    small = cv2.resize(other[:height], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    small = cv2.copyMakeBorder(small, 0, height - len(small), 0, 0, cv2.BORDER_REPLICATE)
    faces = parser([np.hstack([small, one[:height]])])[0].faces
    assert len(faces) == 2
    assert np.prod(faces[0].box[2:] - faces[0].box[:2]) > np.prod(faces[1].box[2:] - faces[1].box[:2])
    assert faces[0].box[0] > faces[1].box[0]


def test_a_higher_threshold_reports_fewer_faces(parser):
    image, _ = starter_faces(1)[0]
    _, (crops,) = parser.segment([image])
    ((face, _),) = parser.measure(crops, image.shape[:2])
    parser_of_all, before = parser, parser.config
    try:
        parser.config = replace(before, score_threshold=face.score + 0.01)
        assert parser_of_all.measure(crops, image.shape[:2]) == []
    finally:
        parser.config = before


PEAK = """
import resource, sys
import numpy as np
from facemark.inference.parser import FaceParser

parser = FaceParser(sys.argv[1], device="cpu")
peaks = []
for images in ({first}, {second}):
    count = len(parser(images)[0].faces)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(count, (peaks[1] - peaks[0]) / 1024)
"""


def growth(first: str, second: str, *arguments: object) -> tuple[float, float]:
    """Faces found in the second list of images, and the MB by which memory grew from the first to it."""
    command = [sys.executable, "-c", PEAK.format(first=first, second=second), *map(str, arguments)]
    count, megabytes = map(float, subprocess.check_output(command, text=True).split())
    return count, megabytes


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are counted in other units elsewhere")
def test_a_crowd_in_24_megapixels_stays_within_memory(released, tmp_path):
    file = tmp_path / "face.npy"
    np.save(file, cv2.resize(starter_faces(1)[0][0], (1200, 1200)))
    one = "np.load(sys.argv[2])"
    count, megabytes = growth(f"[{one}]", f"[np.tile({one}, (4, 5, 1))[:4000, :6000]]", released, file)
    assert count >= 10
    assert megabytes < 1000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are counted in other units elsewhere")
def test_images_that_are_tried_turned_do_not_pile_up(released):
    grey = "[np.full((1024, 1024, 3), 128, np.uint8)]"
    _, megabytes = growth(grey, f"{grey} * 3", released)
    assert megabytes / 2 < 250
