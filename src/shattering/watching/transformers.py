"""A callback for the trainer of Transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from shattering.watching.numbers import by_largest_output
from shattering.watching.watch import Watch

SINGLE = "single_label_classification"


class TransformersWatch(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Watches a training by the Trainer of Transformers; the main process measures.

    Args:
        probe: a data set, a loader or batches as the model takes them; none: the trainer's training data.
        every: optimizer steps between two looks.
        loss: of (model, batch); none: what the model itself returns as its loss. The loss of an example is that of a
            batch that holds it alone, so a mean over the tokens of a batch becomes one over those of the example.
        options: further arguments of `shattering.watch`. Without ``right``, an example is right where its largest logit
            is at its label, for models that classify whole sequences or images.
    """

    def __init__(self, probe: Any = None, every: int = 100, loss: Any = None, **options: Any) -> None:
        super().__init__()
        self._loss, self._probe, self._every, self._options = loss or model_loss, probe, every, options
        self.watch: Watch | None = None
        """What measures, from the beginning of the training on."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Measures for the first time."""
        loader = given.get("train_dataloader")
        options = {
            "collate": getattr(loader, "collate_fn", None),
            "enabled": state.is_world_process_zero,
            **self._options,
        }
        probe = loader if self._probe is None else self._probe
        model = given["model"]
        if "right" not in options and classifies(model):
            options["right"] = largest_logit
        self.watch = Watch(model, self._loss, probe=probe, every=self._every, **options)
        self.watch.start(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Measures if it is time."""
        if self.watch is not None:
            self.watch.advance(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Writes the record."""
        if self.watch is not None:
            self.watch.stop()


def model_loss(model: nn.Module, batch: Any) -> Tensor:
    """The loss that the model returns for a batch of its own arguments."""
    loss: Tensor = model(**batch).loss
    return loss


def classifies(model: Any) -> bool:
    """Whether the model gives one of several classes to each example, by its name and configuration."""
    name, config = type(model).__name__, getattr(model, "config", None)
    if getattr(config, "num_labels", 0) < 2 or getattr(config, "problem_type", None) not in (None, SINGLE):
        return False
    return name.endswith(("ForSequenceClassification", "ForImageClassification", "ForAudioClassification"))


def largest_logit(model: nn.Module, batch: Any) -> Tensor:
    """Which examples have their largest logit at ``labels``."""
    found = by_largest_output(model(**batch).logits, batch["labels"])
    if isinstance(found, str):
        raise ValueError(f"{found}; give right=")
    return found.to(torch.bool)
