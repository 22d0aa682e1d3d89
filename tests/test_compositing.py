import numpy as np
import pytest
from hand_made import face, one_hot

from facemark.geometry import scaling
from facemark.inference.alignment import estimate_alignment, warp_crop
from facemark.inference.compositing import blend_window, compose_mask
from facemark.inference.config import InferenceConfig
from facemark.inference.regions import region_shapes
from facemark.inference.types import Parse, View
from facemark.io import drawing
from facemark.labels import CLASSES, Region

CONFIG = InferenceConfig()


def test_the_mask_is_what_the_views_saw_and_where():
    seen = one_hot(*face(60))
    assert (compose_mask((100, 200), [View(scaling(1), seen)], [], CONFIG) == seen.argmax(0)).all()


def test_a_crop_overrules_the_coarse_view_in_its_place():
    seen = one_hot(*face(60))
    frame, nothing = estimate_alignment(seen), np.zeros_like(seen)
    nothing[Region.BACKGROUND] = 1
    crop = np.stack([warp_crop(region, frame, 128) for region in seen])
    mask = compose_mask((100, 200), [View(scaling(1), nothing)], [View(frame, crop)], CONFIG)
    for region in (Region.R_EYE, Region.L_EYE, Region.NOSE, Region.U_LIP):
        expected, found = (np.argwhere(ids == region).mean(0) for ids in (seen.argmax(0), mask))
        assert found == pytest.approx(expected, abs=0.5)


def test_a_crop_beyond_the_image_changes_nothing():
    seen = one_hot(*face(60))
    beyond = View(np.array([(0.01, 0, 10.0), (0, 0.01, 10)]), np.ones((len(CLASSES), 64, 64), np.float32))
    assert (compose_mask((100, 200), [View(scaling(1), seen)], [beyond], CONFIG) == seen.argmax(0)).all()


def test_the_window_falls_from_its_weight_to_nothing():
    window = blend_window(64, 0.7)
    assert window[32, 32] == pytest.approx(0.7)
    assert window[0].max() == window[:, -1].max() == 0
    assert window == pytest.approx(window.T)


@pytest.mark.parametrize("side", [1280, 1536, 3000])
def test_what_was_seen_of_a_large_image_is_what_is_drawn(side, monkeypatch):
    ids = np.random.default_rng(0).integers(0, len(CLASSES), (CONFIG.max_side, 64), np.uint8)
    probabilities = (np.arange(len(CLASSES))[:, None, None] == ids).astype(np.float32)
    view = View(scaling(CONFIG.max_side / side), probabilities)
    mask = compose_mask((side, side // 16), [view], [], CONFIG)
    assert mask.shape == (side, side // 16)
    drawn = []
    monkeypatch.setattr(drawing, "blend_mask", lambda image, seen: drawn.append(seen) or image)
    drawing.draw(np.zeros((*mask.shape, 3), np.uint8), Parse(mask, []))
    assert (drawn[0] == ids[:, : drawn[0].shape[1]]).all()


def test_regions_are_measured_in_pixels_of_the_image():
    crop = one_hot((Region.SKIN, (100, 50), 40), (Region.NOSE, (60, 40), 10))
    matrix = np.array([(0.5, 0, 10.0), (0, 0.5, -5.0)])  # from the image to the crop
    nose = region_shapes(crop, matrix, (300, 400), CONFIG)["nose"]
    assert nose.centroid == pytest.approx((100, 90))
    assert nose.area == 4 * (crop[Region.NOSE] > 0).sum()
    assert [*nose.contour.min(0), *nose.contour.max(0)] == pytest.approx((79, 69, 121, 111), abs=2.1)


def test_regions_end_where_the_image_does():
    crop, matrix = one_hot((Region.SKIN, (100, 50), 40)), np.array([(1, 0, 0.0), (0, 1, 0.0)])
    skin = region_shapes(crop, matrix, (50, 200), CONFIG)["skin"]
    assert skin.contour[:, 1].max() == pytest.approx(49.5, abs=0.1)
    assert skin.area == crop[Region.SKIN, :50].sum()
    assert "skin" not in region_shapes(crop, matrix, (100, 50), CONFIG)
