"""Users' networks: one with everything that a checkpoint must carry, and several that fail."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import torch
from torch import nn


def convolutional(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Weights with four axes, whose layout in memory matters, batch statistics, dropout, and tied weights."""
    shared = nn.Conv2d(4, 4, 3, padding=1)
    return nn.Sequential(
        nn.Conv2d(input_shape[0], 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        shared,
        nn.ReLU(),
        shared,
        nn.Dropout(0.3),
        nn.Flatten(),
        nn.LazyLinear(num_classes),
    )


class Noisy(nn.Module):
    """Adds noise to its inputs, in evaluation mode as well."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(features, num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        flat = inputs.flatten(1)
        logits: torch.Tensor = self.layer(flat + 0.1 * torch.randn_like(flat))
        return logits


def noisy(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return Noisy(input_shape[0] * input_shape[1] * input_shape[2], num_classes)


class FailsAtStep(nn.Module):
    """Learns, until it has been called so often in training mode."""

    def __init__(self, features: int, num_classes: int, step: int, fail: Callable[[], object]) -> None:
        super().__init__()
        self.layer = nn.Linear(features, num_classes)
        self.step, self.fail, self.calls = step, fail, 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        # Batches of eight or fewer are the look at the network before anything is planned.
        if self.training and len(inputs) > 8:
            self.calls += 1
            if self.calls > self.step:
                self.fail()
        logits: torch.Tensor = self.layer(inputs.flatten(1))
        return logits


def _failing(fail: Callable[[], object]) -> Callable[..., nn.Module]:
    def build(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
        return FailsAtStep(input_shape[0] * input_shape[1] * input_shape[2], num_classes, 5, fail)

    return build


def _raise() -> None:
    raise ArithmeticError("no more steps")


def _exit() -> None:
    raise SystemExit("enough")


def _segfault() -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)  # the test runner would print a traceback first
    os.kill(os.getpid(), signal.SIGSEGV)


segfaults = _failing(_segfault)
leaves = _failing(lambda: os._exit(7))
hangs = _failing(lambda: time.sleep(3600))
raises = _failing(_raise)
exits = _failing(_exit)
killed = _failing(lambda: os.kill(os.getpid(), 9))
