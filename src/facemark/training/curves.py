"""The curves of a training: one row of figures for each epoch."""

import csv
from pathlib import Path
from typing import Any

import lightning as L

COLUMNS = ["epoch", "train/loss", "val/loss", "val/mean_f1", "val/mean_f1_face"]
"""Columns of the table."""


class Curves(L.Callback):
    """Collects the figures of each epoch. Checkpoints carry them, so that a killed training loses none."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Add the row of the epoch that ends; checkpoints are written after it."""
        figures = {name: round(float(trainer.callback_metrics[name]), 5) for name in COLUMNS[1:]}
        self.rows.append({"epoch": trainer.current_epoch, **figures})

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint carries."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the curves of a checkpoint."""
        self.rows = list(state_dict["rows"])

    def write(self, out: Path) -> None:
        """Write the table as CSV."""
        with out.open("w", newline="") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            table.writerows(self.rows)
