"""What training sees: augmented images and masks, batch by batch, phase by phase."""

from collections import Counter, defaultdict

import lightning as L
import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, DistributedSampler, Subset

from facemark.data import partial_masks, transforms
from facemark.data.samples import Sample, read_mask, read_points
from facemark.images import read_image
from facemark.labels import IGNORE
from facemark.settings import Phase, Train

GROUP_PROBABILITY = 0.2
"""Share of training pictures that show several people."""
NECKLACE_PROBABILITY = 0.3
"""Share of people who are offered a necklace of another picture of their folder; some quarter of them can wear it."""
OCCLUDER_PROBABILITY = 0.2
"""Share of people who are partly hidden behind a board."""


def repeat_factor_sample(samples: list[Sample], rarer_than: float, seed: int) -> list[Sample]:
    """Repeat samples by their weight, and those that show a class which fewer than this share of them show.

    A picture comes √(rarer_than / share) times for its rarest class, a fraction by chance: repeat factor sampling
    (Gupta et al., "LVIS", CVPR 2019, https://arxiv.org/abs/1908.03195).
    """
    counts = Counter(name for sample in samples for name in sample.classes)
    masks = sum(bool(sample.classes) for sample in samples)
    factors = {name: max(1, (rarer_than * masks / count) ** 0.5) for name, count in counts.items()}
    rng = np.random.default_rng(seed)
    times = [sample.weight * max((factors[name] for name in sample.classes), default=1) for sample in samples]
    return [s for s, t in zip(samples, times, strict=True) for _ in range(int(t + rng.random()))]


class FaceDataset(Dataset):
    """Pictures and masks as uint8 tensors 3 × S × S and S × S.

    Augmented where an ``epoch`` is given, all but a share ``unaugmented``, which is at most mirrored. Each picture of
    each epoch has a random state of its own: neither the number of workers nor an interruption changes what is drawn.
    """

    def __init__(self, samples: list[Sample], size: int, seed: int, epoch: int | None = None, unaugmented: float = 0):
        self.samples, self.size, self.seed, self.epoch, self.unaugmented = samples, size, seed, epoch, unaugmented
        self.fit, self.augment = transforms.resize(size), transforms.augment(size)
        self.necklaces = defaultdict(list)
        for index, sample in enumerate(samples):
            if "neck_l" in sample.classes:
                self.necklaces[sample.image.parent].append(index)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng((self.seed, self.epoch or 0, index))
        if self.epoch is None or rng.random() < self.unaugmented:
            (image, mask), fit = self._read(index), self.fit
        else:
            (image, mask), fit = self._draw(index, rng), self.augment
            fit.set_random_seed(int(rng.integers(2**31)))
        if self.epoch is not None and rng.random() < 0.5:
            image, mask = transforms.flip(image, mask)
        fitted = fit(image=image, mask=mask)
        return torch.from_numpy(fitted["image"]).permute(2, 0, 1), torch.from_numpy(fitted["mask"])

    def _read(self, index: int) -> transforms.Pair:
        sample = self.samples[index]
        image = read_image(sample.image)
        if sample.mask is None:
            image, points = partial_masks.crop_context(image, read_points(sample.points)[0].astype(float))
            return image, partial_masks.draw_partial_mask(points, image.shape[:2])
        return image, read_mask(sample.mask)

    def _draw(self, index: int, rng: np.random.Generator) -> transforms.Pair:
        def pair(i: int) -> transforms.Pair:
            image, mask = self._read(i)
            necklaces = self.necklaces[self.samples[i].image.parent]
            if rng.random() < NECKLACE_PROBABILITY and necklaces:
                image, mask = transforms.paste_necklace(image, mask, self._read(rng.choice(necklaces)))
            if rng.random() < OCCLUDER_PROBABILITY:
                image, mask = transforms.add_occluder(image, mask, rng)
            return image, mask

        if rng.random() >= GROUP_PROBABILITY:
            return pair(index)
        others = rng.integers(len(self), size=rng.integers(4))
        return transforms.compose_group([pair(i) for i in (index, *others)], self.size, rng)


def phase_number(phases: list[Phase], epoch: int) -> int:
    """Which phase, from 0, an epoch, counted from 0 over all phases, belongs to; the last one goes on for ever."""
    ends = np.cumsum([phase.epochs for phase in phases])
    return min(int((ends <= epoch).sum()), len(phases) - 1)


def phase_at(phases: list[Phase], epoch: int) -> Phase:
    """The phase that an epoch belongs to."""
    return phases[phase_number(phases, epoch)]


class PaddingDataset(Dataset):
    """So many black pictures whose pixels say nothing: processes go in step, but no figure counts what they fill up."""

    def __init__(self, count: int, size: int):
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, _: int) -> tuple[torch.Tensor, torch.Tensor]:
        side = self.size, self.size
        return torch.zeros(3, *side, dtype=torch.uint8), torch.full(side, IGNORE, dtype=torch.uint8)


class FaceDataModule(L.LightningDataModule):
    """Loaders at the input side of the current phase; Lightning asks for new ones at each epoch.

    Several processes share each batch between them, so that their number changes nothing but the time it takes.
    """

    def __init__(self, train: list[Sample], val: list[Sample], settings: Train):
        super().__init__()
        self.train = repeat_factor_sample(train, settings.repeat_rarer_than, settings.seed)
        self.val = [sample for sample in val if sample.mask]
        self.settings = settings

    def _loader(self, samples: list[Sample], epoch: int | None) -> DataLoader:
        settings, processes, sampler = self.settings, self.trainer.world_size, None
        phase = phase_at(settings.phases, self.trainer.current_epoch)
        faces: Dataset = FaceDataset(samples, phase.size, settings.seed, epoch, phase.unaugmented)
        if epoch is None:  # Lightning's sampler would fill up with pictures that are counted twice
            faces = ConcatDataset([faces, PaddingDataset(-len(faces) % processes, phase.size)])
        else:  # a loader that shuffles does so anew each time it is begun, which is once more where training goes on
            faces = Subset(faces, np.random.default_rng((settings.seed, epoch)).permutation(len(faces)).tolist())
            if processes > 1:  # Lightning's sampler would shuffle once more
                sampler = DistributedSampler(faces, processes, self.trainer.global_rank, shuffle=False)
        return DataLoader(
            faces,
            settings.batch_size // processes,
            sampler=sampler,
            drop_last=epoch is not None and len(samples) > settings.batch_size,
            num_workers=settings.workers,
            pin_memory=torch.cuda.is_available(),
        )

    def train_dataloader(self) -> DataLoader:
        """Augmented pictures, shuffled anew for the current epoch."""
        return self._loader(self.train, self.trainer.current_epoch)

    def val_dataloader(self) -> DataLoader:
        """The pictures as they are."""
        return self._loader(self.val, None)
