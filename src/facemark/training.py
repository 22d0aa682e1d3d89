"""The Lightning side of training: data, loss, schedule, validation, callbacks."""

import ctypes
import sys
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import lightning as L
import numpy as np
import segmentation_models_pytorch as smp
import torch
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
    RichProgressBar,
    WeightAveraging,
)
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.data import ConcatDataset, DataLoader, Dataset, DistributedSampler, Subset

from facemark import metrics, model, partial_masks, transforms
from facemark.datasets import Sample, read_image, read_mask, read_points
from facemark.labels import CLASSES, IGNORE, UNIONS
from facemark.model import ParsingNet
from facemark.settings import Phase, Train

COMPOSED = 0.2
"""Share of training pictures that show several people."""
ADORNED = 0.3
"""Share of people who are offered a necklace of another picture of their folder; some quarter of them can wear it."""
COVERED = 0.2
"""Share of people who are partly hidden behind a board."""
BEST, LAST = "best", "last"
"""Names of the checkpoints of the best and of the latest epoch."""
RANK, LATER = "val/rank", 100
"""What the best epoch is told by: its mean F1, and LATER for each phase before. Figures at two input sides say nothing
of each other, and what comes last is what was asked for."""


def repeated(samples: list[Sample], rarer_than: float, seed: int) -> list[Sample]:
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


class Faces(Dataset):
    """Pictures and masks as uint8 tensors 3 × S × S and S × S.

    Augmented where an ``epoch`` is given, all but a ``plain`` share, which is at most mirrored. Each picture of each
    epoch has a random state of its own: neither the number of workers nor an interruption changes what is drawn.
    """

    def __init__(self, samples: list[Sample], size: int, seed: int, epoch: int | None = None, plain: float = 0):
        self.samples, self.size, self.seed, self.epoch, self.plain = samples, size, seed, epoch, plain
        self.fit, self.augment = transforms.resize(size), transforms.augment(size)
        self.necklaces = defaultdict(list)
        for index, sample in enumerate(samples):
            if "neck_l" in sample.classes:
                self.necklaces[sample.image.parent].append(index)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng((self.seed, self.epoch or 0, index))
        if self.epoch is None or rng.random() < self.plain:
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
            image, points = partial_masks.around(image, read_points(sample.points)[0].astype(float))
            return image, partial_masks.draw(points, image.shape[:2])
        return image, read_mask(sample.mask)

    def _draw(self, index: int, rng: np.random.Generator) -> transforms.Pair:
        def pair(i: int) -> transforms.Pair:
            image, mask = self._read(i)
            necklaces = self.necklaces[self.samples[i].image.parent]
            if rng.random() < ADORNED and necklaces:
                image, mask = transforms.wear(image, mask, self._read(rng.choice(necklaces)))
            if rng.random() < COVERED:
                image, mask = transforms.cover(image, mask, rng)
            return image, mask

        if rng.random() >= COMPOSED:
            return pair(index)
        others = rng.integers(len(self), size=rng.integers(4))
        return transforms.compose([pair(i) for i in (index, *others)], self.size, rng)


def phase_number(phases: list[Phase], epoch: int) -> int:
    """Which phase, from 0, an epoch, counted from 0 over all phases, belongs to; the last one goes on for ever."""
    ends = np.cumsum([phase.epochs for phase in phases])
    return min(int((ends <= epoch).sum()), len(phases) - 1)


def phase_at(phases: list[Phase], epoch: int) -> Phase:
    """The phase that an epoch belongs to."""
    return phases[phase_number(phases, epoch)]


class Nothing(Dataset):
    """So many black pictures whose pixels say nothing: processes go in step, but no figure counts what they fill up."""

    def __init__(self, count: int, size: int):
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, _: int) -> tuple[torch.Tensor, torch.Tensor]:
        side = self.size, self.size
        return torch.zeros(3, *side, dtype=torch.uint8), torch.full(side, IGNORE, dtype=torch.uint8)


class FaceData(L.LightningDataModule):
    """Loaders at the input side of the current phase; Lightning asks for new ones at each epoch.

    Several processes share each batch between them, so that their number changes nothing but the time it takes.
    """

    def __init__(self, train: list[Sample], val: list[Sample], settings: Train):
        super().__init__()
        self.train = repeated(train, settings.repeat_rarer_than, settings.seed)
        self.val = [sample for sample in val if sample.mask]
        self.settings = settings

    def _loader(self, samples: list[Sample], epoch: int | None) -> DataLoader:
        settings, processes, sampler = self.settings, self.trainer.world_size, None
        phase = phase_at(settings.phases, self.trainer.current_epoch)
        faces: Dataset = Faces(samples, phase.size, settings.seed, epoch, phase.plain)
        if epoch is None:  # Lightning's sampler would fill up with pictures that are counted twice
            faces = ConcatDataset([faces, Nothing(-len(faces) % processes, phase.size)])
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


class ParsingTask(L.LightningModule):
    """Dice + cross-entropy on the network's logits; mean F1 of the validation pictures.

    Where a pixel is known to be of one of several classes, their probabilities are added up (the marginal loss of Shi
    et al. 2021, https://arxiv.org/abs/2007.03868).
    """

    def __init__(self, network: ParsingNet, settings: Train, class_weights: list[float]):
        super().__init__()
        self.network, self.settings = network, settings
        self.dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)
        self.cross_entropy = nn.CrossEntropyLoss(torch.tensor(class_weights), ignore_index=IGNORE)
        # not a buffer: weight averaging swaps those before the epoch's end is reported
        self.confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)

    def _loss(self, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        images, masks = batch[0], batch[1].long()
        logits = self.network(images)
        several = logits.new_zeros(())
        for value, classes in UNIONS.items():
            there = masks == value
            pixels = logits.movedim(1, -1)[there].float()
            likelihood = pixels[:, list(classes)].logsumexp(1) - pixels.logsumexp(1)
            several = several - likelihood.sum() / masks.numel()
            masks = masks.masked_fill(there, IGNORE)
        if (masks == IGNORE).all():  # a mean over nothing is NaN
            return several, logits
        return self.dice(logits, masks) + self.cross_entropy(logits, masks) + several, logits

    def on_train_epoch_start(self) -> None:
        """Keep the means and variances that batch normalisation has seen: a small dataset's would displace them."""
        if self.settings.norm_statistics == "kept":
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        """Answer the loss of one batch."""
        loss, _ = self._loss(batch)
        self.log(
            "train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch[0]), sync_dist=True
        )
        return loss

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> None:
        """Count one batch into the confusion matrix (rows: truth, columns: prediction)."""
        loss, logits = self._loss(batch)
        self.confusion += metrics.confusion(logits.argmax(1).cpu().numpy(), batch[1].cpu().numpy())
        self.log("val/loss", loss, batch_size=len(batch[0]), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Turn the confusion matrix of all processes into figures and start a new one."""
        confusion = self.all_gather(torch.from_numpy(self.confusion).to(self.device))
        confusion = confusion.reshape(-1, *self.confusion.shape).sum(0).cpu().numpy()
        self.confusion[:] = 0
        mean_f1, phases = metrics.mean_f1(confusion), self.settings.phases
        self.log("val/mean_f1", mean_f1, prog_bar=True)
        self.log(RANK, mean_f1 + LATER * phase_number(phases, self.trainer.current_epoch), logger=False)
        self.log("val/mean_f1_face", metrics.mean_f1_face(confusion), prog_bar=True)

    def configure_optimizers(self) -> dict:
        """AdamW; the rate climbs during the warm-up and then follows half a cosine down to nothing."""
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, self.trainer.estimated_stepping_batches, pct_start=settings.warmup
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def precision(accelerator: str) -> str:
    """Lightning's name of the number format that suits the device."""
    device = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    return {torch.float16: "16-mixed", torch.bfloat16: "bf16-mixed", torch.float32: "32-true"}[model.precision(device)]


def exponential_average(decay: float) -> Callable[[list[torch.Tensor], list[torch.Tensor], torch.Tensor], None]:
    """An exponential moving average whose memory grows with its age, so that it soon forgets the random start."""

    def average(averaged: list[torch.Tensor], current: list[torch.Tensor], updates: torch.Tensor) -> None:
        kept = min(decay, (1 + float(updates)) / (10 + float(updates)))
        get_ema_multi_avg_fn(kept)(averaged, current, updates)

    return average


def best_mean_f1(done: L.Trainer, phases: list[Phase]) -> float:
    """Validation mean F1 of the best epoch of a finished training."""
    best = float(done.checkpoint_callback.best_model_score) - LATER * phase_number(phases, done.current_epoch - 1)
    return round(best, 3)  # Lightning keeps it in float32


def keep_memory() -> None:
    """Tell glibc to keep freed blocks: handing big tensors back to the kernel at each step costs 40 % of a CPU step."""
    if sys.platform == "linux" and not torch.cuda.is_available():
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            trim_threshold, mmap_max = -1, -4
            libc.mallopt(trim_threshold, 2**31 - 1)
            libc.mallopt(mmap_max, 0)


def trainer(settings: Train, checkpoints: Path, logger: list) -> L.Trainer:
    """A Lightning trainer that keeps in ``checkpoints`` the latest epoch, and the best of the last phase it reached.

    Raises:
        SystemExit: its processes cannot share a batch evenly.
    """
    made = L.Trainer(
        max_epochs=sum(phase.epochs for phase in settings.phases),
        accelerator=settings.accelerator,
        devices=settings.devices,
        num_nodes=settings.nodes,
        precision=precision(settings.accelerator),
        gradient_clip_val=settings.clip,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        logger=logger,
        callbacks=[
            WeightAveraging(multi_avg_fn=exponential_average(settings.ema_decay)),
            ModelCheckpoint(checkpoints, BEST, monitor=RANK, mode="max", enable_version_counter=False),
            ModelCheckpoint(checkpoints, LAST, enable_version_counter=False),
            EarlyStopping(RANK, mode="max", patience=settings.patience),
            LearningRateMonitor("step"),
            RichProgressBar(leave=True),
        ],
    )
    if settings.batch_size % made.world_size:
        raise SystemExit(
            f"train.batch_size {settings.batch_size} cannot be shared by {made.world_size} processes; "
            "make it a multiple of their number"
        )
    return made
