"""Loss, validation figures and schedule of the parsing network, as a Lightning module."""

from typing import Any

import lightning as L
import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import nn

from facemark.evaluation import metrics
from facemark.labels import CLASSES, IGNORE, UNIONS
from facemark.settings import Train
from facemark.training.datamodule import phase_number

RANK = "val/rank"
"""Name of the figure that ranks epochs: the mean F1, plus PHASE_RANK for each earlier phase. Figures at two input sizes
cannot be compared, and the size of the last phase is the one that is wanted."""
PHASE_RANK = 100
"""As much as the mean F1 can be, so that every epoch of a phase ranks above all epochs of earlier phases."""

Batch = tuple[torch.Tensor, torch.Tensor]
"""Images N × 3 × S × S and masks N × S × S, both uint8."""


class ParsingTask(L.LightningModule):
    """Trains a network by Dice loss plus cross-entropy, and reports the mean F1 of the validation images.

    If a pixel is known to be of one of several classes (UNIONS), their probabilities are summed: the marginal loss of
    Shi et al. 2021, https://arxiv.org/abs/2007.03868.

    Args:
        network: N × 3 × S × S pixels to N × 19 × S × S logits, usually a ParsingNet.
        settings: the section ``train``.
        class_weights: 19 weights of the cross-entropy.
    """

    def __init__(self, network: nn.Module, settings: Train, class_weights: list[float]):
        super().__init__()
        self.network, self.settings = network, settings
        self.dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)
        self.cross_entropy = nn.CrossEntropyLoss(torch.tensor(class_weights), ignore_index=IGNORE)
        # not a buffer: weight averaging swaps buffers before the end of the epoch is reported
        self.confusion = np.zeros((len(CLASSES), len(CLASSES)), np.int64)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of a batch, a scalar, and its logits, N × 19 × S × S."""
        images, masks = batch[0], batch[1].long()
        logits = self.network(images)
        marginal = logits.new_zeros(())
        for value, classes in UNIONS.items():
            among = masks == value
            pixels = logits.movedim(1, -1)[among].float()
            likelihood = pixels[:, list(classes)].logsumexp(1) - pixels.logsumexp(1)
            marginal = marginal - likelihood.sum() / masks.numel()
            masks = masks.masked_fill(among, IGNORE)
        if (masks == IGNORE).all():  # the mean over no pixel is NaN
            return marginal, logits
        return self.dice(logits, masks) + self.cross_entropy(logits, masks) + marginal, logits

    def on_train_epoch_start(self) -> None:
        """Freeze the running statistics of batch normalisation, if ``freeze_batchnorm`` says so."""
        if self.settings.freeze_batchnorm:
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def training_step(self, batch: Batch, _: int) -> torch.Tensor:
        """Return the loss of one batch."""
        loss, _logits = self.loss(batch)
        self.log(
            "train/loss", loss, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(batch[0]), sync_dist=True
        )
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        """Count the pixels of one batch into the confusion matrix."""
        loss, logits = self.loss(batch)
        self.confusion += metrics.confusion(logits.argmax(1).cpu().numpy(), batch[1].cpu().numpy())
        self.log("val/loss", loss, batch_size=len(batch[0]), sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the confusion matrix, summed over all processes, and reset it."""
        gathered = self.all_gather(torch.from_numpy(self.confusion).to(self.device))
        assert isinstance(gathered, torch.Tensor)
        confusion = gathered.reshape(-1, *self.confusion.shape).sum(0).cpu().numpy()
        self.confusion[:] = 0
        mean_f1, phases = metrics.mean_f1(confusion), self.settings.phases
        self.log("val/mean_f1", mean_f1, prog_bar=True)
        self.log(RANK, mean_f1 + PHASE_RANK * phase_number(phases, self.trainer.current_epoch), logger=False)
        self.log("val/mean_f1_face", metrics.mean_f1_face(confusion), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate rises during the warm-up and then falls to almost 0 along half a cosine."""
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, settings.learning_rate, steps, pct_start=settings.warmup
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
