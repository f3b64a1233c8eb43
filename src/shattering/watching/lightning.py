"""A callback for Lightning's trainer."""

from __future__ import annotations

import sys
from typing import Any

from shattering.core.errors import SpecError
from shattering.watching.watch import Watch

# Two packages have the same trainer, each with callbacks of its own.
if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
    from pytorch_lightning import Callback
else:
    from lightning.pytorch import Callback


class LightningWatch(Callback):
    """Watches a training by Lightning; the main process measures, at most after every optimizer step.

    Args:
        loss: of (outputs, targets) where a batch is a pair, else of (module, batch). It is called instead of
            ``training_step``, which may log and draw.
        probe: as of `shattering.watch`; none: the trainer's training data.
        every: optimizer steps between two looks.
        options: further arguments of `shattering.watch`.
    """

    def __init__(self, loss: Any, probe: Any = None, every: int = 100, **options: Any) -> None:
        super().__init__()
        self._loss, self._probe, self._every, self._options = loss, probe, every, options
        self.watch: Watch | None = None
        """What measures, from the beginning of the training on."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Measures for the first time."""
        probe = trainer.train_dataloader if self._probe is None else self._probe
        if self._probe is None and not hasattr(probe, "dataset"):
            raise SpecError(
                "watch-probe-empty",
                f"The trainer's training data are a {type(probe).__name__}; give LightningWatch a probe=.",
            )
        options = {"enabled": trainer.is_global_zero, **self._options}
        self.watch = Watch(pl_module, self._loss, probe=probe, every=self._every, **options)
        self.watch.start(trainer.global_step)

    def on_train_batch_end(self, trainer: Any, *given: Any) -> None:
        """Measures if it is time."""
        if self.watch is not None:
            self.watch.advance(trainer.global_step)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Writes the record."""
        if self.watch is not None:
            self.watch.stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Writes what there is."""
        if self.watch is not None:
            self.watch.stop(exception)
