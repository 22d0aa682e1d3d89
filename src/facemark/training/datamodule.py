"""The images that the parser is trained on: augmented, batch by batch, phase by phase."""

from collections import Counter, defaultdict
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, DistributedSampler, Sampler, Subset

from facemark.data import partial_masks, transforms
from facemark.data.samples import Sample, read_mask, read_points
from facemark.images import read_image
from facemark.labels import IGNORE
from facemark.settings import Phase, Train

GROUP_PROBABILITY = 0.2
"""Share of training images that are composed of several people."""
NECKLACE_PROBABILITY = 0.3
"""Share of people on whom the paste of a necklace is tried. It fits about a quarter of them."""
OCCLUDER_PROBABILITY = 0.2
"""Share of people who are partly covered by an occluder."""

Pixels = tuple[torch.Tensor, torch.Tensor]
"""An image 3 × S × S and its mask S × S, both uint8."""


def repeat_factor_sample(samples: list[Sample], rarer_than: float, seed: int) -> list[Sample]:
    """Repeat samples by their weight, and by how rare their classes are.

    A sample is repeated √(rarer_than / share) times for its rarest class, where that is above 1: repeat factor sampling
    (Gupta et al., "LVIS", CVPR 2019, https://arxiv.org/abs/1908.03195). Fractions are drawn at random.

    Args:
        samples: training samples. Those without classes are repeated by their weight alone.
        rarer_than: share of the samples with masks; classes in fewer samples than that are rare.
        seed: of the random fractions.

    Returns:
        The samples in their order, repeated ones in a row.
    """
    counts = Counter(name for sample in samples for name in sample.classes)
    masks = sum(bool(sample.classes) for sample in samples)
    factors = {name: max(1, (rarer_than * masks / count) ** 0.5) for name, count in counts.items()}
    rng = np.random.default_rng(seed)
    times = [sample.weight * max((factors[name] for name in sample.classes), default=1) for sample in samples]
    return [s for s, t in zip(samples, times, strict=True) for _ in range(int(t + rng.random()))]


class FaceDataset(Dataset[Pixels]):
    """Images and masks at one input size, augmented in training.

    Every image of every epoch has its own random state. So the number of workers and interruptions do not change
    what is drawn.

    Args:
        samples: with masks, or with the points of one face, from which a partial mask is drawn.
        size: side of the square input, in pixels.
        seed: of the augmentation.
        epoch: number of the training epoch; None: no augmentation, for validation.
        unaugmented: share of training images that are at most flipped.
    """

    def __init__(self, samples: list[Sample], size: int, seed: int, epoch: int | None = None, unaugmented: float = 0):
        self.samples, self.size, self.seed, self.epoch, self.unaugmented = samples, size, seed, epoch, unaugmented
        self.resize, self.augment = transforms.resize(size), transforms.augment(size)
        self.necklaces: defaultdict[Path, list[int]] = defaultdict(list)
        """Indices of the samples with a necklace, by their folder."""
        for index, sample in enumerate(samples):
            if "neck_l" in sample.classes:
                self.necklaces[sample.image.parent].append(index)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Pixels:
        rng = np.random.default_rng((self.seed, self.epoch or 0, index))
        if self.epoch is None or rng.random() < self.unaugmented:
            (image, mask), transform = self._read(index), self.resize
        else:
            (image, mask), transform = self._compose(index, rng), self.augment
            transform.set_random_seed(int(rng.integers(2**31)))
        if self.epoch is not None and rng.random() < 0.5:
            image, mask = transforms.flip(image, mask)
        made = transform(image=image, mask=mask)
        return torch.from_numpy(made["image"]).permute(2, 0, 1), torch.from_numpy(made["mask"])

    def _read(self, index: int) -> transforms.Pair:
        sample = self.samples[index]
        image = read_image(sample.image)
        if sample.mask is not None:
            return image, read_mask(sample.mask)
        if sample.points is None:
            raise ValueError(f"{sample.image} has no mask and no points to train on")
        image, points = partial_masks.crop_context(image, read_points(sample.points)[0].astype(float))
        return image, partial_masks.draw_partial_mask(points, (image.shape[0], image.shape[1]))

    def _compose(self, index: int, rng: np.random.Generator) -> transforms.Pair:
        """The image, alone or in a group, with pasted necklaces and occluders."""
        if rng.random() >= GROUP_PROBABILITY:
            return self._accessorise(index, rng)
        others = rng.integers(len(self), size=rng.integers(4))
        return transforms.compose_group([self._accessorise(i, rng) for i in (index, *others)], self.size, rng)

    def _accessorise(self, index: int, rng: np.random.Generator) -> transforms.Pair:
        image, mask = self._read(index)
        necklaces = self.necklaces[self.samples[index].image.parent]
        if rng.random() < NECKLACE_PROBABILITY and necklaces:
            image, mask = transforms.paste_necklace(image, mask, self._read(rng.choice(necklaces)))
        if rng.random() < OCCLUDER_PROBABILITY:
            image, mask = transforms.add_occluder(image, mask, rng)
        return image, mask


def phase_number(phases: list[Phase], epoch: int) -> int:
    """Return the index of the phase of an epoch, both counted from 0. The last phase has no end."""
    ends = np.cumsum([phase.epochs for phase in phases])
    return min(int((ends <= epoch).sum()), len(phases) - 1)


def phase_at(phases: list[Phase], epoch: int) -> Phase:
    """Return the phase of an epoch, counted from 0."""
    return phases[phase_number(phases, epoch)]


class PaddingDataset(Dataset[Pixels]):
    """Black images of which every pixel is ignored. They give all processes as many images, and change no figure."""

    def __init__(self, count: int, size: int):
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, _: int) -> Pixels:
        side = self.size, self.size
        return torch.zeros(3, *side, dtype=torch.uint8), torch.full(side, IGNORE, dtype=torch.uint8)


class FaceDataModule(L.LightningDataModule):
    """Data loaders at the input size of the current phase; Lightning asks for new ones in each epoch.

    Several processes divide each batch among them, so their number does not change the training.

    Args:
        train: training samples; repeated by :func:`repeat_factor_sample`.
        val: validation samples; those without masks are left out.
        settings: the section ``train``.
    """

    def __init__(self, train: list[Sample], val: list[Sample], settings: Train):
        super().__init__()
        self.train = repeat_factor_sample(train, settings.repeat_rarer_than, settings.seed)
        self.val = [sample for sample in val if sample.mask]
        self.settings = settings

    def train_dataloader(self) -> DataLoader[Pixels]:
        """Augmented images, in a new random order for each epoch."""
        settings, trainer = self.settings, self._current_trainer()
        epoch = trainer.current_epoch
        phase = phase_at(settings.phases, epoch)
        faces = FaceDataset(self.train, phase.size, settings.seed, epoch, phase.unaugmented)
        # not shuffled by the loader: it would draw a new order each time it is begun, so once more on resuming
        shuffled = Subset(faces, np.random.default_rng((settings.seed, epoch)).permutation(len(faces)).tolist())
        sampler: Sampler | None = None
        if trainer.world_size > 1:  # Lightning's own sampler would shuffle once more
            sampler = DistributedSampler(shuffled, trainer.world_size, trainer.global_rank, shuffle=False)
        return self._loader(shuffled, sampler, drop_last=len(self.train) > settings.batch_size)

    def val_dataloader(self) -> DataLoader[Pixels]:
        """The images as they are."""
        settings, trainer = self.settings, self._current_trainer()
        size = phase_at(settings.phases, trainer.current_epoch).size
        faces = FaceDataset(self.val, size, settings.seed)
        # without padding, Lightning's sampler would repeat images, which then count twice
        return self._loader(ConcatDataset([faces, PaddingDataset(-len(faces) % trainer.world_size, size)]))

    def _current_trainer(self) -> L.Trainer:
        if self.trainer is None:
            raise RuntimeError("the data module has no trainer yet")
        return self.trainer

    def _loader(self, faces: Dataset, sampler: Sampler | None = None, drop_last: bool = False) -> DataLoader[Pixels]:
        return DataLoader(
            faces,
            self.settings.batch_size // self._current_trainer().world_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.settings.workers,
            pin_memory=torch.cuda.is_available(),
        )
