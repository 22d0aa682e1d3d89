import cv2
import numpy as np
import pytest

from facemark.data import transforms
from facemark.geometry import centroid
from facemark.labels import IGNORE, Region


def test_the_left_eye_of_a_flipped_image_is_labelled_left():
    # the subject's right eye (red) is on the left of the image, the left eye (blue) on its right
    image, mask = np.zeros((4, 8, 3), np.uint8), np.full((4, 8), Region.SKIN, np.uint8)
    image[1, 1], mask[1, 1] = (255, 0, 0), Region.R_EYE
    image[1, 6], mask[1, 6] = (0, 0, 255), Region.L_EYE
    image, mask = transforms.flip(image, mask)
    assert mask[1, 1] == Region.R_EYE
    assert tuple(image[1, 1]) == (0, 0, 255)
    assert mask[1, 6] == Region.L_EYE
    assert tuple(image[1, 6]) == (255, 0, 0)


def test_flipping_twice_changes_nothing():
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (5, 7, 3), np.uint8), rng.integers(0, 19, (5, 7), np.uint8)
    for once, twice in zip((image, mask), transforms.flip(*transforms.flip(image, mask)), strict=True):
        assert (once == twice).all()


@pytest.mark.parametrize("shape", [(64, 64), (30, 90), (200, 50)])
def test_resize_fits_the_image_and_ignores_the_padding(shape):
    fitted = transforms.resize(64)(image=np.full((*shape, 3), 9, np.uint8), mask=np.full(shape, Region.HAIR, np.uint8))
    assert fitted["image"].shape == (64, 64, 3)
    share = min(shape) / max(shape)
    assert (fitted["mask"] == Region.HAIR).mean() == pytest.approx(share, abs=0.02)
    assert ((fitted["mask"] == Region.HAIR) == (fitted["image"][..., 0] == 9)).all()


@pytest.mark.parametrize("side", [320, 512, 1024, 150])
def test_a_resized_mask_stays_aligned_with_its_image(side):
    image, mask = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)
    cv2.circle(image, (side // 2, side // 3), side // 5, (255, 255, 255), -1)
    cv2.circle(mask, (side // 2, side // 3), side // 5, int(Region.NOSE), -1)
    fitted = transforms.resize(192)(image=image, mask=mask)
    of_image, of_mask = (
        centroid(fitted["image"][..., 0].astype(float)),
        centroid((fitted["mask"] == Region.NOSE).astype(float)),
    )
    assert of_mask == pytest.approx(of_image, abs=0.15)


def augmented(size: int, seed: int, image: np.ndarray, mask: np.ndarray) -> dict:
    augment = transforms.augment(size)
    augment.set_random_seed(seed)
    return augment(image=image, mask=mask)


def test_augment_is_deterministic_and_keeps_to_known_ids():
    rng = np.random.default_rng(0)
    image, mask = rng.integers(0, 256, (80, 80, 3), np.uint8), np.full((80, 80), Region.HAIR, np.uint8)
    for seed in range(20):
        one, other = (augmented(64, seed, image, mask) for _ in range(2))
        assert (one["image"] == other["image"]).all()
        assert (one["mask"] == other["mask"]).all()
        assert set(np.unique(one["mask"])) <= {Region.HAIR, IGNORE}


def test_augment_moves_image_and_mask_together():
    image = np.zeros((96, 96, 3), np.uint8)
    image[30:60, 40:70] = 255
    mask = np.where(image[..., 0] > 0, Region.SKIN, Region.BACKGROUND).astype(np.uint8)
    agreements = []
    for seed in range(30):
        out = augmented(96, seed, image, mask)
        bright = out["image"].mean(2) > out["image"].mean(2).max() / 2
        agreements.append((bright == (out["mask"] == Region.SKIN))[out["mask"] != IGNORE].mean())
    assert np.median(agreements) > 0.97


def test_people_in_a_group_are_a_tenth_to_most_of_the_image():
    person = np.full((50, 50, 3), 200, np.uint8), np.full((50, 50), Region.SKIN, np.uint8)
    shares = []
    for seed in range(40):
        image, mask = transforms.compose_group([person], 100, np.random.default_rng(seed))
        assert image.shape == (100, 100, 3)
        assert set(np.unique(mask)) <= {Region.BACKGROUND, Region.SKIN}
        assert abs(image[mask == Region.SKIN].mean() - 200) < 12
        shares.append((mask == Region.SKIN).mean() ** 0.5)
    assert min(shares) < 0.25
    assert max(shares) > 0.5


def person(skin: int, x: int = 30) -> transforms.Pair:
    """A face of 20 × 20 pixels at ``x`` with a nose, and a neck below it; hair covers its left, clothes its right."""
    image, mask = np.full((80, 80, 3), skin, np.uint8), np.full((80, 80), Region.BACKGROUND, np.uint8)
    mask[20:40, x : x + 20] = Region.SKIN
    mask[28:33, x + 8 : x + 12] = Region.NOSE
    mask[40:60, x : x + 20] = Region.NECK
    mask[40:60, x : x + 4], mask[40:60, x + 16 : x + 20] = Region.HAIR, Region.CLOTH
    return image, mask


def test_a_pasted_necklace_moves_with_the_face_and_is_behind_hair():
    source, (image, mask) = person(50), person(100, x=40)
    image, mask = image[:70], mask[:70]
    source[1][48:52, 30:50], source[0][48:52, 30:50] = Region.NECK_L, 80
    pasted, regions = transforms.paste_necklace(image, mask, source)
    rows, columns = np.nonzero(regions == Region.NECK_L)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (48, 51, 44, 59)
    assert (pasted[regions == Region.NECK_L] == 160).all()  # this face is twice as bright as the source's
    assert (regions[regions != Region.NECK_L] == mask[regions != Region.NECK_L]).all()
    assert (pasted[regions != Region.NECK_L] == 100).all()


def test_images_of_several_people_are_excluded_from_copy_paste():
    one, group = person(50), person(50)
    group[1][20:40, 30:50] = Region.BACKGROUND  # two faces, together as large as the one
    for top, left in ((20, 30), (30, 40)):
        group[1][top : top + 10, left : left + 10] = Region.SKIN
        group[1][top + 4 : top + 7, left + 4 : left + 7] = Region.NOSE
    for _, mask in (one, group):
        mask[48:52, 30:50] = Region.NECK_L

    def is_pasted(target: transforms.Pair, source: transforms.Pair) -> bool:
        image, mask = target
        _, regions = transforms.paste_necklace(image, np.where(mask == Region.NECK_L, Region.NECK, mask), source)
        return bool((regions == Region.NECK_L).any())

    assert is_pasted(one, one)
    assert not any(is_pasted(*pair) for pair in ((one, group), (group, one), (group, group)))


def test_a_pasted_necklace_is_scaled_with_the_face():
    source, large = person(50), tuple(np.repeat(np.repeat(a, 2, 0), 2, 1) for a in person(50))
    source[1][48:52, 30:50] = Region.NECK_L
    _, regions = transforms.paste_necklace(*large, source)
    rows, columns = np.nonzero(regions == Region.NECK_L)
    assert np.abs(np.array([rows.min(), rows.max(), columns.min(), columns.max()]) - (96, 103, 68, 99)).max() <= 1


@pytest.mark.parametrize("lacking", [Region.NECK, Region.SKIN])
@pytest.mark.parametrize("other", [Region.CLOTH, Region.BACKGROUND, IGNORE])
def test_without_a_neck_or_a_face_no_necklace_is_pasted(lacking, other):
    source, (image, mask) = person(50), person(100)
    source[1][48:52, 30:50] = Region.NECK_L
    mask[(mask == lacking) | ((lacking == Region.SKIN) & (mask == Region.NOSE))] = other
    pasted, regions = transforms.paste_necklace(image, mask, source)
    assert (pasted == image).all()
    assert (regions == mask).all()


def test_an_occluder_is_background_and_changes_no_other_pixels():
    image, mask = np.full((90, 90, 3), 7, np.uint8), np.full((90, 90), Region.HAIR, np.uint8)
    mask[30:60, 30:60] = Region.SKIN
    drawn = [transforms.add_occluder(image, mask, np.random.default_rng(i)) for i in range(40)]
    for covered, regions in drawn:
        changed = (covered != image).any(-1)
        assert (regions[changed] == Region.BACKGROUND).all()
        assert (regions[regions != mask] == Region.BACKGROUND).all()
    visible = [(regions == Region.SKIN).sum() / 900 for _, regions in drawn]
    assert min(visible) < 0.5 < max(visible)
    assert len(set(visible)) > 20


def test_without_a_face_no_occluder_is_added():
    image, mask = np.full((9, 9, 3), 7, np.uint8), np.full((9, 9), IGNORE, np.uint8)
    covered, regions = transforms.add_occluder(image, mask, np.random.default_rng(0))
    assert (covered == image).all()
    assert (regions == mask).all()
