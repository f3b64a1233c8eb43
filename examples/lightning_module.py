"""A Lightning module: the very class that a Trainer would fit, on scikit-learn's digits.

    python examples/lightning_module.py                        # writes the digits, then audits
    shattering audit examples/lightning_module.py:build --data audit-lightning/digits.npz \\
        --set training.learning_rate=1e-2 --budget 1m --out audit-lightning/audit

An audit trains the network many times from scratch, on altered labels and subsets too, so it does so in a loop of its
own, through the module's ``forward``: ``training_step`` and ``configure_optimizers`` are not used, and the report says
so. What you train with is set beside it, as the learning rate is here: ``--set training.weight_decay=1e-4``,
``--set training.batch_size=32``.
"""

import sys
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import shattering

RATE = 1e-2
"""Adam's learning rate, at which the network fits its data in about a second."""


class Digits(lightning.LightningModule):
    """Two layers on 64 pixels."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits ``[n, 10]``."""
        logits: Tensor = self.network(pixels)
        return logits

    def training_step(self, batch: Any, number: int) -> Tensor:
        """What a Trainer would minimise."""
        pixels, labels = batch
        return functional.cross_entropy(self(pixels), labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """What a Trainer would minimise it with."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def build(width: int = 64) -> nn.Module:
    """A new module."""
    return Digits(width)


def write(folder: Path) -> Path:
    """Writes ``digits.npz``: ``x_train``, ``y_train``; a fifth of each class is held out by the audit."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "digits.npz"
    np.savez(path, x_train=(digits.data / 16).astype(np.float32), y_train=digits.target)
    return path


def main(folder: str = "audit-lightning", budget: str = "1m") -> None:
    """Writes the data, audits the module on them and prints what was found."""
    data, out = write(Path(folder)), Path(folder) / "audit"
    print(shattering.audit(build, data, budget=budget, overrides={"training.learning_rate": RATE}, out=out))


if __name__ == "__main__":
    main(*sys.argv[1:])
