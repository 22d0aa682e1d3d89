import subprocess
import sys

import cv2
import numpy as np
import pytest

from facemark import geometry, labels
from facemark.data import synthetic
from facemark.evaluation import metrics
from facemark.geometry import apply, scaling
from facemark.inference import alignment, compositing, confidence, detection, instances, parser, regions, types
from facemark.inference.parser import FaceParser
from facemark.inference.types import View
from facemark.io import drawing
from facemark.labels import CLASSES, FLIP, Region


@pytest.fixture(scope="module")
def untaught(untrained):
    return FaceParser(*untrained, device="cpu")


@pytest.fixture(scope="module")
def taught(released):
    return FaceParser(*released, device="cpu")


def test_a_mirrored_picture_is_parsed_the_same_with_flip(untrained):
    parser = FaceParser(*untrained, device="cpu")
    images = list(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8))
    both = images, [image[:, ::-1] for image in images]
    faces = [np.stack(parser._mean_of_both_ways(each)) for each in both]
    wholes = [np.stack([views[0].regions for views in parser.portraits(each)[0]]) for each in both]
    for one, other in (faces, wholes):
        assert other[:, FLIP[: len(CLASSES)]][..., ::-1] == pytest.approx(one, abs=1e-5)
        assert one.sum(1) == pytest.approx(1, abs=1e-2)


def portraits(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Starter pictures of one whole, upright face of some size, with its points."""
    found = []
    for seed in range(1000):
        drawn = synthetic.draw(seed)
        points = drawn.points[0]
        across = points[45] - points[36]
        whole = (points > 0).all() and (points < drawn.mask.shape[::-1]).all()
        if len(drawn.points) == 1 and whole and across[0] > 45 and abs(across[1]) < 0.1 * across[0]:
            found.append((drawn.image, points))
            if len(found) == count:
                return found
    raise AssertionError("too few portraits among a thousand pictures")


def masks(*discs: tuple[int, tuple[int, int], int]) -> np.ndarray:
    """One-hot regions, 19 × 100 × 200, of discs painted in order."""
    ids = np.zeros((100, 200), np.uint8)
    for region, centre, radius in discs:
        cv2.circle(ids, centre, radius, int(region), -1)
    return (np.arange(len(CLASSES))[:, None, None] == ids).astype(np.float32)


def face(x: int) -> list[tuple[int, tuple[int, int], int]]:
    parts = [(Region.SKIN, (x, 50), 40), (Region.R_EYE, (x - 12, 42), 4), (Region.L_EYE, (x + 12, 42), 4)]
    return [*parts, (Region.NOSE, (x, 53), 6), (Region.U_LIP, (x, 69), 5)]


def test_pyramid_doubles_up_to_the_pictures_side():
    assert detection.pyramid_sides(100, 256) == [256]
    assert detection.pyramid_sides(320, 256) == [256]
    assert detection.pyramid_sides(700, 256) == [256, 512]
    assert detection.pyramid_sides(9000, 256) == [256, 512, 1024]


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_are_those_of_numpy(turns):
    image = np.zeros((5, 9))
    image[1, 7] = 1
    x, y = apply(geometry.quarter_turns(5, 9, turns), np.array([7.0, 1.0]))
    assert np.rot90(image, turns)[round(y), round(x)] == 1


def test_touching_faces_are_told_apart_by_their_noses():
    apart = instances.split_instances(masks(*face(60), *face(130)))
    assert len(apart) == 2
    whole = np.zeros((2, 100, 200), bool)
    for mask, (box, inside) in zip(whole, apart, strict=True):
        mask[box] = inside
    assert not whole.all(0).any()
    left, right = sorted(whole, key=lambda each: np.nonzero(each)[1].mean())
    assert left[53, 60]
    assert right[53, 130]


def test_many_touching_faces_are_told_apart_each_in_a_box_of_its_own():
    (tall, wide), one = (4, 7), masks(*face(45))[:, 12:90, 10:80]  # cut so that skin touches skin
    one[Region.SKIN] += one[Region.BACKGROUND]
    one[Region.BACKGROUND] = 0
    crowd = np.tile(one, (1, tall, wide))
    apart = instances.split_instances(crowd)
    assert len(apart) == tall * wide
    for (rows, columns), inside in apart:
        assert inside.shape == (rows.stop - rows.start, columns.stop - columns.start)
        assert inside.any(0).all() and inside.any(1).all()
        assert crowd[Region.NOSE, rows, columns][inside].sum() == one[Region.NOSE].sum()
    assert sum(inside.sum() for _, inside in apart) == crowd[parser.FACE].sum()


@pytest.mark.parametrize("places", [(60,), (60, 130)])
def test_a_nose_in_two_pieces_is_one(places):
    lines = [(Region.BACKGROUND, (x + dx, 53), 1) for x in places for dx in range(-8, 9)]
    regions = masks(*(part for x in places for part in face(x)), *lines)
    assert cv2.connectedComponents((regions[Region.NOSE] > 0).astype(np.uint8))[0] == 1 + 2 * len(places)
    apart = instances.split_instances(regions)
    assert len(apart) == len(places)
    for (rows, columns), inside in apart:
        for part in (Region.R_EYE, Region.L_EYE, Region.U_LIP):
            assert (regions[part, rows, columns] * inside).any()


def test_a_masked_and_an_eyeless_person_side_by_side_are_two():
    masked = [part for part in face(60) if part[0] != Region.U_LIP]
    eyeless = [part for part in face(130) if part[0] not in labels.EYES]
    assert len(instances.split_instances(masks(*masked, *eyeless))) == 2


def test_the_face_in_the_middle_is_left_alone():
    regions = masks(*face(30), *face(100))
    alone = instances.suppress_other_faces(regions)
    assert alone[Region.NOSE, 53, 100] == 1
    assert alone[Region.NOSE, :, :50].sum() == 0
    assert alone[Region.SKIN, :, :50].sum() == 0


def test_a_portrait_stands_where_the_training_portraits_do():
    regions = masks(*face(100))
    frame = alignment.estimate_alignment(regions)
    right, left, lips = apply(frame, np.array([(88.0, 42), (112, 42), (100, 69)]))
    assert right[0] < 0.5 < left[0]
    assert right[1] == pytest.approx(0.477, abs=0.03)
    assert lips == pytest.approx([0.5, 0.751], abs=0.03)
    assert alignment.estimate_alignment(masks((Region.SKIN, (100, 50), 40))) is None


def test_sunglasses_count_as_eyes():
    bare = masks(*face(100))
    hidden = masks(*(part for part in face(100) if part[0] not in labels.EYES), (Region.EYE_G, (100, 42), 9))
    assert confidence.face_confidence(hidden) == pytest.approx(confidence.face_confidence(bare), abs=0.01)
    hidden[Region.EYE_G] = 0
    assert confidence.face_confidence(hidden) == pytest.approx(0.75 * confidence.face_confidence(bare), abs=0.01)


def test_cutting_out_follows_the_frame():
    image = np.zeros((300, 400, 3), np.uint8)
    cv2.circle(image, (250, 120), 6, (255, 255, 255), -1)
    frame = np.array([(1 / 200, 0, -0.5), (0, 1 / 200, -0.25)])
    for size in (32, 96, 192):
        cut = alignment.warp_crop(image, frame, size)[..., 0].astype(float)
        y, x = np.mgrid[:size, :size]
        centre = np.array([(cut * x).sum(), (cut * y).sum()]) / cut.sum()
        expected = apply(alignment.crop_matrix(frame, size), np.array([250.0, 120.0]))
        assert centre == pytest.approx(expected, abs=0.3)


def test_the_mask_lies_where_the_regions_were_seen():
    seen = masks(*face(60))
    assert (compositing.compose_mask((100, 200), [View(scaling(1), seen)], []) == seen.argmax(0)).all()
    frame, nothing = alignment.estimate_alignment(seen), np.zeros_like(seen)
    nothing[Region.BACKGROUND] = 1
    cut = np.stack([alignment.warp_crop(region, frame, 128) for region in seen])
    closer = compositing.compose_mask((100, 200), [View(scaling(1), nothing)], [View(frame, cut)])
    for region in (Region.R_EYE, Region.L_EYE, Region.NOSE, Region.U_LIP):
        from_afar, from_near = (np.argwhere(ids == region).mean(0) for ids in (seen.argmax(0), closer))
        assert from_near == pytest.approx(from_afar, abs=0.5)


def test_regions_are_measured_in_the_pictures_pixels():
    crop = masks((Region.SKIN, (100, 50), 40), (Region.NOSE, (60, 40), 10))
    matrix = np.array([(0.5, 0, 10.0), (0, 0.5, -5.0)])  # from the picture to the crop
    nose = regions.region_shapes(crop, matrix, (300, 400))["nose"]
    assert nose.centroid == pytest.approx((100, 90))
    assert nose.area == 4 * (crop[Region.NOSE] > 0).sum()
    assert [*nose.contour.min(0), *nose.contour.max(0)] == pytest.approx((79, 69, 121, 111), abs=2.1)


def test_regions_end_where_the_picture_does():
    crop, matrix = masks((Region.SKIN, (100, 50), 40)), np.array([(1, 0, 0.0), (0, 1, 0.0)])
    skin = regions.region_shapes(crop, matrix, (50, 200))["skin"]
    assert skin.contour[:, 1].max() == pytest.approx(49.5, abs=0.1)
    assert skin.area == crop[Region.SKIN, :50].sum()
    assert "skin" not in regions.region_shapes(crop, matrix, (100, 50))


@pytest.mark.parametrize("side", [1280, 1536, 3000])
def test_what_the_parser_saw_of_a_large_picture_is_what_is_drawn(side, monkeypatch):
    ids = np.random.default_rng(0).integers(0, len(CLASSES), (parser.LONGEST, 64), np.uint8)
    regions = (np.arange(len(CLASSES))[:, None, None] == ids).astype(np.float32)
    mask = compositing.compose_mask((side, side // 16), [View(scaling(parser.LONGEST / side), regions)], [])
    assert mask.shape == (side, side // 16)
    drawn = []
    monkeypatch.setattr(drawing, "blend", lambda image, seen: drawn.append(seen) or image)
    drawing.draw(np.zeros((*mask.shape, 3), np.uint8), types.Parse(mask, []))
    assert (drawn[0] == ids[:, : drawn[0].shape[1]]).all()


def test_overlap_is_the_share_of_the_smaller_box():
    big, small, far = np.array([0, 0, 10, 10.0]), np.array([5, 5, 9, 15.0]), np.array([20, 20, 30, 30.0])
    assert geometry.box_iom(big, small) == pytest.approx(0.5)
    assert geometry.box_iom(big, far) == 0


@pytest.mark.parametrize("shape", [(1, 1), (7, 300), (300, 7), (64, 64), (133, 217)])
def test_no_picture_is_too_strange(untaught, shape):
    rng = np.random.default_rng(0)
    pictures = [np.zeros((*shape, 3), np.uint8), rng.integers(0, 256, (*shape, 3), np.uint8)]
    for parse in untaught(pictures):
        assert parse.mask.shape == shape
        assert parse.mask.dtype == np.uint8
        assert parse.mask.max() < len(CLASSES)


def test_pictures_of_any_sizes_go_together(untaught):
    pictures = [np.zeros((*shape, 3), np.uint8) for shape in ((1, 1), (7, 300), (80, 50))]
    assert [parse.mask.shape for parse in untaught(pictures)] == [(1, 1), (7, 300), (80, 50)]


def test_no_pictures_no_answers(untaught):
    assert untaught([]) == []


@pytest.mark.parametrize("together", [1, parser.TOGETHER])
def test_a_batch_is_what_its_pictures_are_alone(taught, monkeypatch, together):
    monkeypatch.setattr(parser, "TOGETHER", together)
    images = [image for image, _ in portraits(2)]
    images[1] = images[1][:-30]
    for together, image in zip(taught(images), images, strict=True):
        alone = taught([image])[0]
        assert (together.mask == alone.mask).mean() > 0.995
        assert len(together.faces) == len(alone.faces)


def test_portraits_are_found_and_measured(taught):
    errors, pupils = [], []
    for image, points in portraits(4):  # the last one turns away in sunglasses
        (found,) = taught([image])[0].faces
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
def test_lying_faces_are_found(taught, turns):
    image, points = portraits(1)[0]
    faces = taught([np.ascontiguousarray(np.rot90(image, turns))])[0].faces
    truth = apply(geometry.quarter_turns(*image.shape[:2], turns), points)
    size = np.linalg.norm(points[36] - points[45])
    assert min(np.linalg.norm(found.points - truth, axis=1).mean() for found in faces) < 0.15 * size


def test_a_group_is_found_largest_first(taught):
    (one, _), (other, _) = portraits(2)
    height = min(len(one), len(other))
    small = cv2.resize(other[:height], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    small = cv2.copyMakeBorder(small, 0, height - len(small), 0, 0, cv2.BORDER_REPLICATE)
    faces = taught([np.hstack([small, one[:height]])])[0].faces
    assert len(faces) == 2
    assert np.prod(faces[0].box[2:] - faces[0].box[:2]) > np.prod(faces[1].box[2:] - faces[1].box[:2])
    assert faces[0].box[0] > faces[1].box[0]


CROWD = """
import resource, sys
import numpy as np
from facemark.parser import FaceParser

parser = FaceParser(*sys.argv[1:3], device="cpu")
portrait = np.load(sys.argv[3])
peaks = []
for image in (portrait, np.tile(portrait, (4, 5, 1))[:4000, :6000]):
    count = len(parser([image])[0].faces)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print(count, (peaks[1] - peaks[0]) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are counted in other units elsewhere")
def test_a_crowd_in_24_megapixels_stays_within_memory(released, tmp_path):
    portrait = cv2.resize(portraits(1)[0][0], (1200, 1200))
    np.save(tmp_path / "portrait.npy", portrait)
    command = [sys.executable, "-c", CROWD, *released, tmp_path / "portrait.npy"]
    count, megabytes = map(float, subprocess.check_output(command, text=True).split())
    assert count >= 10
    assert megabytes < 1000


FACELESS = """
import resource, sys
import numpy as np
from facemark.parser import FaceParser

parser = FaceParser(*sys.argv[1:3], device="cpu")
peaks = []
for count in (1, 3):
    parser([np.full((1024, 1024, 3), 128, np.uint8)] * count)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
print((peaks[1] - peaks[0]) / 1024 / 2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are counted in other units elsewhere")
def test_pictures_that_are_tried_all_ways_up_do_not_pile_up(released):
    megabytes = float(subprocess.check_output([sys.executable, "-c", FACELESS, *released], text=True))
    assert megabytes < 250
