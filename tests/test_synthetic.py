import cv2
import numpy as np
import pytest

from facemark.data import synthetic
from facemark.data.samples import folder_samples, read_mask, read_points
from facemark.images import read_image
from facemark.labels import (
    CLASSES,
    COLORS,
    INNER_LIP,
    JAW,
    L_EYE_POINTS,
    NOSE_BASE,
    NOSE_BRIDGE,
    OUTER_LIP,
    R_EYE_POINTS,
    Region,
)

LIPS = (Region.U_LIP, Region.L_LIP, Region.MOUTH)


@pytest.fixture(scope="module")
def drawings():
    return [synthetic.draw(seed) for seed in range(60)]


@pytest.fixture(scope="module")
def single_faces(drawings):
    """Drawings of one face that is wholly inside the image."""
    inside = [d for d in drawings if ((d.points > 2) & (d.points < np.array(d.mask.shape)[::-1] - 3)).all()]
    return [d for d in inside if len(d.points) == 1]


def centroid(mask, region):
    rows, columns = np.nonzero(mask == region)
    return np.array([columns.mean(), rows.mean()])


def gaps(mask, regions, points):
    """Distance of each point from the edge of some regions, in pixels; the edge is halfway between two pixels."""
    inside = np.isin(mask, regions).astype(np.uint8)
    both = [cv2.distanceTransform(side, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for side in (inside, 1 - inside)]
    x, y = np.round(points).astype(int).T
    return np.maximum(*both)[y, x] - 0.5


def test_a_seed_always_gives_the_same_image(drawings):
    again = synthetic.draw(7)
    assert (again.image == drawings[7].image).all()
    assert (again.mask == drawings[7].mask).all()
    assert (again.points == drawings[7].points).all()


def test_shapes_and_types(drawings):
    for d in drawings:
        height, width = d.mask.shape
        assert d.image.shape == (height, width, 3)
        assert d.image.dtype == d.mask.dtype == np.uint8
        assert d.points.shape[1:] == (68, 2) and 1 <= len(d.points) <= 3
        assert d.points.dtype == np.float32 and np.isfinite(d.points).all()
        assert min(height, width) >= 256 and max(height, width) <= 320


def test_every_class_occurs_and_no_other(drawings):
    assert set(np.unique([v for d in drawings for v in np.unique(d.mask)])) == set(range(len(CLASSES)))


def test_eyes_are_between_their_points(single_faces):
    tested = 0
    for d in single_faces:
        for region, eye in ((Region.R_EYE, R_EYE_POINTS), (Region.L_EYE, L_EYE_POINTS)):
            if (d.mask == region).sum() < 30:
                continue
            assert cv2.pointPolygonTest(d.points[0, eye], centroid(d.mask, region).tolist(), False) >= 0
            tested += 1
    assert tested > 20


def test_lip_points_are_on_the_edges_of_the_lips(single_faces):
    whole = [d for d in single_faces if (d.mask == Region.U_LIP).sum() > 50]
    assert len(whole) > 10
    for d in whole:
        assert gaps(d.mask, LIPS, d.points[0, OUTER_LIP]).max() <= 2
    for d in whole:
        if (d.mask == Region.MOUTH).sum() > 50:
            assert gaps(d.mask, (Region.MOUTH,), d.points[0, INNER_LIP]).max() <= 2


def test_jaw_points_are_on_the_edge_of_the_skin(single_faces):
    for d in single_faces:
        # the chin, which neither hair nor an ear can cover
        assert np.median(gaps(d.mask, (Region.SKIN, *LIPS), d.points[0, JAW][5:12])) <= 2


def test_left_is_the_subjects_left(single_faces):
    for d in single_faces:
        right, left = d.points[0, R_EYE_POINTS].mean(0), d.points[0, L_EYE_POINTS].mean(0)
        assert right[0] < left[0]  # all heads are drawn roughly upright
        if {Region.R_EYE, Region.L_EYE} <= set(np.unique(d.mask)):
            assert centroid(d.mask, Region.R_EYE)[0] < centroid(d.mask, Region.L_EYE)[0]


def test_points_are_in_the_order_of_ibug(single_faces):
    for d in single_faces:
        p = d.points[0]
        down = p[8] - p[NOSE_BRIDGE][0]
        heights = [p[part].mean(0) @ down for part in (slice(17, 27), slice(36, 48), NOSE_BASE, slice(48, 68))]
        assert heights == sorted(heights)
        assert p[0, 0] < p[8, 0] < p[16, 0]


def test_skin_ranges_from_dark_to_light(drawings):
    tones = [d.image[d.mask == Region.SKIN].mean() for d in drawings if len(d.points) == 1]
    assert np.percentile(tones, 10) < 80 and np.percentile(tones, 90) > 150


def test_written_files_have_the_layout_of_lapa(tmp_path):
    synthetic.write(tmp_path, {"train": 2, "test": 1}, seed=3)
    samples = folder_samples(tmp_path)
    assert [s.split for s in samples] == ["train", "train", "test"]
    drawn = synthetic.draw((3, 0, 1))
    assert np.abs(read_image(samples[1].image).astype(int) - drawn.image).mean() < 12  # JPEG
    assert (read_mask(samples[1].mask) == drawn.mask).all()
    assert np.abs(read_points(samples[1].points) - drawn.points).max() < 0.01
    assert (cv2.imread(str(samples[1].mask))[..., ::-1] == COLORS[drawn.mask]).all()


def test_an_image_does_not_depend_on_the_others(tmp_path):
    synthetic.write(tmp_path / "few", {"train": 1}, seed=5)
    synthetic.write(tmp_path / "more", {"train": 2}, seed=5)
    name = "train/labels/00000.png"
    assert (tmp_path / "few" / name).read_bytes() == (tmp_path / "more" / name).read_bytes()


def test_a_backdrop_has_the_requested_size_and_some_texture():
    image = synthetic.backdrop(np.random.default_rng(0), 40, 70)
    assert image.shape == (40, 70, 3) and image.dtype == np.uint8
    assert len(np.unique(image)) > 10
