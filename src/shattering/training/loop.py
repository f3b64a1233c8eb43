"""The training loop: it yields snapshots, and knows nothing of measures, stores or processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.training.evaluation import Evaluation, evaluate
from shattering.training.examples import Examples, training_batches
from shattering.training.schedule import is_snapshot, learning_rate, log_spaced_steps, steps_per_epoch
from shattering.training.state import Progress
from shattering.training.update import update

Ending = Literal["", "fitted", "budget", "diverged"]

LOOK_STEPS = 8
"""On a GPU, a training on images from the disk is looked at so often: its epochs are too long to wait for."""

NEARLY = 0.1
"""An epoch whose running accuracy is this close to the fit criterion is followed by an evaluation of the criterion."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The training at a step; the model is the live one, to be measured before the next snapshot is asked for.

    Args:
        step: updates made.
        epoch: passes over the training set, a fraction within one.
        learning_rate: of the next update.
        model: the network.
        evaluation: of the training set; none in the last snapshot of a training that diverged.
        fitted: whether the fit criterion has been met, here or before.
        ending: why the training ends here; empty while it goes on.
        diverged_step: number of updates after which the loss, of a batch or of the training set, was not finite.
    """

    step: int
    epoch: float
    learning_rate: float
    model: nn.Module
    evaluation: Evaluation | None = None
    fitted: bool = False
    ending: Ending = ""
    diverged_step: int | None = None


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    examples: Examples,
    spec: RunSpec,
    progress: Progress,
    *,
    on_step: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Iterator[Snapshot]:
    """Trains until the fit criterion is met, the budget is spent, or the loss is not finite.

    The fit criterion is the training accuracy, in evaluation mode on all training examples, at the end of an epoch. It
    is evaluated where the epoch's running accuracy, which costs nothing, is within 0.1 of the criterion (at every
    epoch's end where the batches are augmented or the forward pass is random, since their accuracy then tells little),
    and where the budget ends; never because a snapshot is due, so that what is measured does not move the time to fit.
    Batches follow the stream ``order`` (a permutation per epoch), augmentation the stream
    ``augmentation``, dropout a generator seeded per step by the stream ``dropout``; so the position in the training is
    told by the step alone, and a resumed training continues to the bit.

    Args:
        model: on the run's device, in the run's dtype.
        optimizer: from `update.build_optimizer`, its state restored where the training is resumed.
        examples: the training split.
        spec: the run.
        progress: where to go on; kept up to date, so that the caller can save it whenever it has control.
        on_step: called before updates, where everything is whole (every one on a CPU; on a GPU the first of an epoch,
            and one in eight where images come from the disk); it may save a checkpoint, or raise to stop.
        should_stop: asked between the batches of an evaluation.

    Yields:
        Snapshots in order of steps; the last one has an ``ending``.

    Raises:
        Stopped: ``should_stop`` said so during an evaluation. Progress then stands at a step that has not been
            looked at; resumed, the training looks at it first.
    """
    epoch_steps = steps_per_epoch(len(examples), spec.training.batch_size)
    logarithmic = log_spaced_steps(spec.measures, spec.training.max_steps)
    random_forward = draws_in_forward(model, spec)
    tally = Tally(spec.compute.device)
    streamed = not isinstance(examples.inputs, torch.Tensor)
    rank = 0 if examples.team is None else examples.team.rank
    model.train()
    while True:
        if progress.step > progress.looked_at:
            if random_forward:  # a user's network may draw even in evaluation mode
                torch.manual_seed(Stream(spec.seed_of("dropout"), "evaluation").integer(progress.step))
            telling = not random_forward and spec.training.augmentation == "none"
            snapshot = _look(model, examples, spec, progress, epoch_steps, logarithmic, telling, should_stop)
            if snapshot is not None:
                yield snapshot
                # Only now: a caller stopped while it measured has not seen this snapshot.
                progress.fitted = snapshot.fitted
                if snapshot.ending:
                    return
            progress.looked_at = progress.step
        epoch, first = divmod(progress.step, epoch_steps)
        if first == 0:
            progress.seen, progress.loss_sum, progress.correct = 0, 0.0, 0
        batches = epoch_batches(spec, examples, epoch)
        seeds = _dropout_seeds(spec, epoch * epoch_steps, epoch_steps, rank) if random_forward else None
        feed = training_batches(examples, spec, batches[first:], epoch, progress.step)
        for position in range(first, epoch_steps):
            if not tally.pending:
                on_step()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(spec.training, progress.step, epoch_steps)
            if seeds is not None:
                torch.manual_seed(seeds[position])
            rows = batches[position]
            loss, hits = update(model, optimizer, examples, spec, rows, next(feed))
            tally.add(loss, hits, len(rows), progress.step)
            progress.step += 1
            due = is_snapshot(spec.measures, logarithmic, progress.step, epoch_steps)
            closing = position == epoch_steps - 1 or progress.step == spec.training.max_steps
            if closing or due or not tally.deferred or (streamed and progress.step % LOOK_STEPS == 0):
                bad = tally.read_into(progress)
                if bad is not None:
                    progress.step = bad
                    rate = learning_rate(spec.training, bad, epoch_steps)
                    yield Snapshot(bad, bad / epoch_steps, rate, model, None, progress.fitted, "diverged", bad)
                    return
            if closing or due:
                feed.close()  # what was made ready ahead is not kept while the training is measured
                break


def _look(
    model: nn.Module,
    examples: Examples,
    spec: RunSpec,
    progress: Progress,
    epoch_steps: int,
    logarithmic: frozenset[int],
    telling: bool,
    should_stop: Callable[[], bool],
) -> Snapshot | None:
    """What there is to see after an update: a snapshot that is due, the fit criterion met, the budget spent.

    ``telling`` says whether the running accuracy of the batches tells how near the criterion is.
    Wherever there is something to see the training set is evaluated, so a loss that is not finite ends the training
    before anything is measured.
    """
    training, step = spec.training, progress.step
    due = is_snapshot(spec.measures, logarithmic, step, epoch_steps)
    spent = step == training.max_steps
    closing = step > 0 and step % epoch_steps == 0
    near = closing and (not telling or progress.running_accuracy >= training.fit_accuracy - NEARLY)
    criterion = not progress.fitted and (near or spent)
    if not (due or spent or criterion):
        return None
    evaluation = evaluate(model, examples, spec, should_stop=should_stop)
    first_fit = criterion and (evaluation.accuracy(examples.labels) or 0.0) >= training.fit_accuracy
    rate = learning_rate(training, step, epoch_steps)
    if not math.isfinite(evaluation.loss):
        return Snapshot(step, step / epoch_steps, rate, model, None, progress.fitted, "diverged", step)
    ending: Ending = "fitted" if first_fit and training.stop_when_fitted else "budget" if spent else ""
    if not (due or first_fit or ending):
        return None
    return Snapshot(step, step / epoch_steps, rate, model, evaluation, progress.fitted or first_fit, ending)


class Tally:
    """Running loss and accuracy, read at once on a CPU and once in a while on a GPU, which must not be waited for.

    Args:
        device: where losses and outputs are.
    """

    def __init__(self, device: str) -> None:
        self.deferred = device != "cpu"
        self._pending: list[tuple[torch.Tensor, torch.Tensor, int, int]] = []

    @property
    def pending(self) -> bool:
        """Whether something has been noted that is not yet read."""
        return bool(self._pending)

    def add(self, loss: torch.Tensor, hits: torch.Tensor, count: int, step: int) -> None:
        """Notes one batch; nothing is copied from the device."""
        self._pending.append((loss, hits, count, step))

    def read_into(self, progress: Progress) -> int | None:
        """Adds what was noted to ``progress``; returns the first step whose loss was not finite, if there is one."""
        losses = torch.stack([entry[0].float() for entry in self._pending]).tolist()
        hits = torch.stack([entry[1] for entry in self._pending]).tolist()
        pending, self._pending = self._pending, []
        for loss, correct, (_, _, count, step) in zip(losses, hits, pending, strict=True):
            if not math.isfinite(loss):
                return step
            progress.seen += count
            progress.loss_sum += loss * count
            progress.correct += correct
        return None


def epoch_batches(spec: RunSpec, examples: Examples, epoch: int) -> list[torch.Tensor]:
    """The rows of each batch of an epoch: the stream ``order``'s permutation at index ``epoch``, cut into batches."""
    order = Stream(spec.seed_of("order"), "order").permutation(len(examples), epoch)
    rows = torch.from_numpy(order).to(examples.labels.device)
    batches = list(torch.split(rows, spec.training.batch_size))
    return batches[: steps_per_epoch(len(examples), spec.training.batch_size)]


def _dropout_seeds(spec: RunSpec, first: int, count: int, rank: int) -> list[int]:
    """A seed for each step: of its words that of this process's place in the team, the first where it is alone."""
    words = Stream(spec.seed_of("dropout"), "dropout").words(np.arange(first, first + count), blocks=rank // 4 + 1)
    return [int(word) for word in words[:, rank]]


def draws_in_forward(model: nn.Module, spec: RunSpec) -> bool:
    """Whether a forward pass may draw random numbers: ours do through dropout alone, a user's may anywhere."""
    if ":" in spec.model.name:
        return True
    return any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in model.modules())
