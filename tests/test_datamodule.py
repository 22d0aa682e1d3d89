from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from training_set import settings, write_samples

from facemark.data import synthetic, transforms
from facemark.data.samples import Sample, write_points
from facemark.images import read_image
from facemark.labels import BESIDE_FACE, IGNORE, Region
from facemark.settings import Phase
from facemark.training.datamodule import (
    FaceDataModule,
    FaceDataset,
    PaddingDataset,
    phase_at,
    phase_number,
    repeat_factor_sample,
)


@pytest.fixture
def samples(tmp_path):
    return write_samples(tmp_path)


def test_items_are_uint8_of_the_input_size(samples):
    for epoch in (None, 0):
        image, mask = FaceDataset(samples, 64, seed=1, epoch=epoch)[0]
        assert (image.dtype, tuple(image.shape)) == (torch.uint8, (3, 64, 64))
        assert (mask.dtype, tuple(mask.shape)) == (torch.uint8, (64, 64))


def test_augmentation_depends_on_seed_epoch_and_image_alone(samples):
    def image(seed, epoch, index=1):
        return FaceDataset(samples, 64, seed, epoch)[index][0]

    assert torch.equal(image(1, 5), image(1, 5))
    assert not torch.equal(image(1, 5), image(1, 6))
    assert not torch.equal(image(1, 5), image(2, 5))
    twins = FaceDataset([samples[0], samples[0]], 64, 1, 5)
    assert not torch.equal(twins[0][0], twins[1][0])


def test_batches_depend_on_seed_and_epoch_alone(samples):
    def shown(epoch, workers=0, seed=1):
        data = FaceDataModule(samples, samples, settings(workers=workers, seed=seed))
        data.trainer = SimpleNamespace(world_size=1, current_epoch=epoch)
        loader = data.train_dataloader()
        return [[int(images.sum()) for images, _ in loader] for _ in range(2)]  # Lightning may begin it twice

    first, again = shown(1)
    assert first == again == shown(1, workers=2)[0]
    assert len({tuple(first), tuple(shown(2)[0]), tuple(shown(1, seed=2)[0])}) == 3


def test_loaders_have_the_size_of_the_current_phase(samples):
    data = FaceDataModule(samples, samples, settings(phases=[Phase(size=64, epochs=1), Phase(size=32, epochs=1)]))
    for epoch, size in ((0, 64), (1, 32)):
        data.trainer = SimpleNamespace(world_size=1, current_epoch=epoch)
        for loader in (data.train_dataloader(), data.val_dataloader()):
            images, masks = next(iter(loader))
            assert (images.shape, masks.shape) == ((2, 3, size, size), (2, size, size))


def test_unaugmented_images_are_at_most_flipped(samples):
    read = [(read_image(sample.image), np.zeros((70, 60), np.uint8)) for sample in samples]
    either = [pair for each in read for pair in (each, transforms.flip(*each))]
    clean = {transforms.resize(64)(image=image, mask=mask)["image"].tobytes() for image, mask in either}
    # by chance, one augmentation in ten changes nothing
    for unaugmented, expected in ((0, 0.1), (0.5, 0.55), (0.999, 1)):
        shown = [FaceDataset(samples, 64, 1, epoch, unaugmented)[i][0] for epoch in range(25) for i in range(4)]
        unchanged = [image.permute(1, 2, 0).numpy().tobytes() in clean for image in shown]
        assert np.mean(unchanged) == pytest.approx(expected, abs=0.15)


def test_phases_follow_each_other():
    phases = [Phase(size=128, epochs=2), Phase(size=256, epochs=1)]
    assert [phase_at(phases, epoch).size for epoch in range(5)] == [128, 128, 256, 256, 256]
    assert [phase_number(phases, epoch) for epoch in range(5)] == [0, 0, 1, 1, 1]


def test_samples_of_rare_classes_are_repeated():
    def sample(i, *classes):
        return Sample(Path(f"{i}.jpg"), Path(f"{i}.png"), None, "train", classes)

    many = [sample(i, "skin") for i in range(300)]
    few = [sample(i, "skin", "hat") for i in range(300, 400)]
    unknown = [Sample(Path("u.jpg"), None, Path("u.txt"), "train")] * 50
    # hats: 100 of 400, so √(0.81 / 0.25) = 1.8 times
    shown = repeat_factor_sample(many + few + unknown, 0.81, seed=1)
    assert [s for s in shown if s in many or s in unknown] == many + unknown
    assert sum(s in few for s in shown) == pytest.approx(180, abs=25)
    assert set(few) <= set(shown)
    assert repeat_factor_sample(many + few, 0.0, seed=1) == many + few
    heavy = [replace(s, weight=2.5) for s in many + few]
    # 300 × 2.5 and 100 × 2.5 × 1.8
    assert len(repeat_factor_sample(heavy, 0.81, seed=1)) == pytest.approx(750 + 450, abs=40)


def test_at_a_weight_below_one_the_same_samples_are_left_out_each_time():
    light = [Sample(Path(f"{i}.jpg"), Path(f"{i}.png"), None, "train", ("skin",), 0.25) for i in range(400)]
    shown = repeat_factor_sample(light, 0, seed=1)
    assert len(shown) == len(set(shown)) == pytest.approx(100, abs=30)
    assert shown == repeat_factor_sample(light, 0, seed=1) != repeat_factor_sample(light, 0, seed=2)


def test_faces_with_points_alone_are_for_training_not_for_validation(samples, tmp_path):
    drawn = synthetic.draw(3)
    cv2.imwrite(str(tmp_path / "face.png"), drawn.image[..., ::-1])
    write_points(tmp_path / "face.txt", drawn.points[:1])
    bare = Sample(tmp_path / "face.png", None, tmp_path / "face.txt", "train")
    _, mask = FaceDataset([bare], 128, seed=1)[0]
    assert {Region.SKIN, Region.NOSE, IGNORE, BESIDE_FACE} <= set(np.unique(mask))
    data = FaceDataModule([bare], [bare, *samples], settings())
    assert (data.train, data.val) == ([bare], samples)


def test_an_image_without_mask_and_points_is_refused(samples):
    with pytest.raises(ValueError, match="no mask and no points"):
        FaceDataset([replace(samples[0], mask=None)], 64, seed=1)[0]


def test_necklaces_are_pasted_within_a_folder(tmp_path):
    mask = np.full((60, 60), Region.SKIN, np.uint8)
    mask[30:] = Region.NECK
    with_necklace = mask.copy()
    with_necklace[45:50] = Region.NECK_L
    samples = []
    for i, (folder, regions, classes) in enumerate(
        [
            ("one", with_necklace, ("skin", "neck", "neck_l")),
            ("one", mask, ("skin", "neck")),
            ("two", mask, ("skin", "neck")),
        ]
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        image, file = tmp_path / folder / f"{i}.jpg", tmp_path / folder / f"{i}.png"
        cv2.imwrite(str(image), np.full((60, 60, 3), 128, np.uint8))
        cv2.imwrite(str(file), regions)
        samples.append(Sample(image, file, None, "train", classes))

    def shown(index: int) -> int:
        masks = [
            FaceDataset(samples, 64, 1, epoch)._compose(index, np.random.default_rng(epoch))[1] for epoch in range(60)
        ]
        return sum((m == Region.NECK_L).any() for m in masks if m.shape == mask.shape)

    assert 8 < shown(1) < 30
    assert shown(2) == 0


def test_padding_is_ignored():
    padding = PaddingDataset(2, 32)
    image, mask = padding[1]
    assert len(padding) == 2
    assert (image.shape, mask.shape) == ((3, 32, 32), (32, 32))
    assert (mask == IGNORE).all()
