"""The loss of the parsing network, its validation figures, and its schedule."""

import lightning as L
import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import nn

from facemark.evaluation.scoring import metrics
from facemark.labels import CLASSES, IGNORE, UNIONS
from facemark.models.unet import ParsingNet
from facemark.settings import Train
from facemark.training.datamodule import phase_number

RANK, PHASE_RANK = "val/rank", 100
"""What the best epoch is told by: its mean F1, and LATER for each phase before. Figures at two input sides say nothing
of each other, and what comes last is what was asked for."""


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
        if self.settings.freeze_batchnorm:
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
        self.log(RANK, mean_f1 + PHASE_RANK * phase_number(phases, self.trainer.current_epoch), logger=False)
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
