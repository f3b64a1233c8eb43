"""The training loop: it yields snapshots, and knows nothing of measures, stores or processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.training.evaluation import Evaluation, evaluate
from shattering.training.examples import Examples, training_batches
from shattering.training.schedule import is_snapshot, learning_rate, log_spaced_steps, steps_per_epoch
from shattering.training.state import Progress
from shattering.training.steppers.plain import PlainStepper
from shattering.training.stepping import Advanced, Stepper, Wanted
from shattering.training.tally import Tally

Ending = Literal["", "fitted", "budget", "diverged"]

LOOK_STEPS = 8
"""On a GPU, a training on images from the disk is looked at so often: its epochs are too long to wait for."""

NEARLY = 0.1
"""An epoch whose running accuracy is this close to the fit criterion is followed by an evaluation of the criterion."""


Permutation = Callable[[int, str, int, int], NDArray[np.int64]]


def _permutation(seed: int, purpose: str, size: int, index: int) -> NDArray[np.int64]:
    return Stream(seed, purpose).permutation(size, index)


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
    stepper: Stepper | None = None,
    on_step: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
    halts_at: frozenset[int] = frozenset(),
) -> Iterator[Snapshot]:
    """Trains until the fit criterion is met, the budget is spent, or the loss is not finite.

    Args:
        model: on the run's device, in the run's dtype.
        optimizer: from `update.build_optimizer`, its state restored where the training is resumed.
        examples: the training split.
        spec: the run.
        progress: where to go on; kept up to date, so that the caller can save it whenever it has control.
        stepper: who makes the updates; none: the plain one.
        on_step: as in `course`.
        should_stop: as in `course`.
        halts_at: as in `course`.

    Yields:
        Snapshots in order of steps; the last one has an ``ending``.

    Raises:
        Stopped: as in `course`.
    """
    stepper = stepper or PlainStepper(model, optimizer, examples, spec)
    answer: Advanced | None = None
    asked = course(
        model,
        examples,
        spec,
        progress,
        reach=stepper.reach,
        may_fit=stepper.may_fit,
        permutation=getattr(stepper, "permutation", _permutation),
        on_step=on_step,
        should_stop=should_stop,
        halts_at=halts_at,
    )
    with closing(asked):
        while True:
            try:
                event = asked.send(answer)
            except StopIteration:
                return
            if isinstance(event, Wanted):
                answer = stepper.advance(event)
            else:
                answer = None
                yield event


def course(
    model: nn.Module,
    examples: Examples,
    spec: RunSpec,
    progress: Progress,
    *,
    reach: int = 1,
    may_fit: Callable[[int], bool] = lambda needed: True,
    permutation: Permutation = _permutation,
    on_step: Callable[[], None] = lambda: None,
    should_stop: Callable[[], bool] = lambda: False,
    halts_at: frozenset[int] = frozenset(),
) -> Generator[Snapshot | Wanted, Advanced | None, None]:
    """The course of a training: what it wants to be updated next, and what there is to see.

    The fit criterion is the training accuracy, in evaluation mode on all training examples, at the end of an epoch. It
    is evaluated where the epoch's running accuracy, which costs nothing, is within 0.1 of the criterion (at every
    epoch's end where the batches are augmented or the forward pass is random, since their accuracy then tells little),
    and where the budget ends; never because a snapshot is due, so that what is measured does not move the time to fit.
    Batches follow the stream ``order`` (a permutation per epoch), augmentation the stream
    ``augmentation``, dropout a generator seeded per step by the stream ``dropout``; so the position in the training is
    told by the step alone, and a resumed training continues to the bit.

    Args:
        model: on the run's device, in the run's dtype; whoever answers has updated it.
        examples: the training split.
        spec: the run.
        progress: where to go on; kept up to date.
        reach: updates wanted at once at most.
        may_fit: whether so many training examples may be right; where not, the criterion is not evaluated.
        permutation: the order of an epoch, from seed, purpose, size and index: the stream's own bits, however made.
        on_step: called before updates, where everything is whole (on a GPU before the first of an epoch,
            and before one in eight where images come from the disk); it may save a checkpoint, or raise to stop.
        should_stop: asked between the batches of an evaluation.
        halts_at: steps after which ``on_step`` is called whatever else there is to see.

    Yields:
        Snapshots in order of steps, the last one with an ``ending``; and `Wanted` updates, each to be answered with
        `send` by the losses and hits of those that were made, the first of them at least.

    Raises:
        Stopped: ``should_stop`` said so during an evaluation. Progress then stands at a step that has not been
            looked at; resumed, the training looks at it first.
    """
    batch_size = min(spec.training.batch_size, len(examples))
    epoch_steps = steps_per_epoch(len(examples), batch_size)
    logarithmic = log_spaced_steps(spec.measures, spec.training.max_steps)
    random_forward = draws_in_forward(model, spec)
    tally = Tally(spec.compute.device)
    streamed = not isinstance(examples.inputs, torch.Tensor)
    rank = 0 if examples.team is None else examples.team.rank

    def halts(step: int) -> bool:
        """Whether there is something to look at after so many updates, wherever in the epoch."""
        return (
            step == spec.training.max_steps
            or step in halts_at
            or is_snapshot(spec.measures, logarithmic, step, epoch_steps)
        )

    model.train()
    while True:
        if progress.step > progress.looked_at:
            if random_forward:  # a user's network may draw even in evaluation mode
                torch.manual_seed(Stream(spec.seed_of("dropout"), "evaluation").integer(progress.step))
            telling = not random_forward and spec.training.augmentation == "none"
            snapshot = _look(model, examples, spec, progress, epoch_steps, logarithmic, telling, may_fit, should_stop)
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
        order = epoch_order(spec, examples, epoch, permutation)
        rest = min(batch_size, len(examples) - (epoch_steps - 1) * batch_size)
        sizes = (batch_size,) * (epoch_steps - 1) + (rest,)
        seeds = _dropout_seeds(spec, epoch * epoch_steps, epoch_steps, rank) if random_forward else None
        feed = _feed(examples, spec, order, sizes, first, progress.step)
        position = first
        looking = False
        while not looking:
            if not tally.pending:
                on_step()
            begun, until = progress.step, position + 1
            while until < min(epoch_steps, position + reach) and not halts(begun + until - position):
                until += 1
            answer = yield Wanted(
                rows=order[position * batch_size : (until - 1) * batch_size + sizes[until - 1]],
                sizes=sizes[position:until],
                rates=tuple(learning_rate(spec.training, begun + k, epoch_steps) for k in range(until - position)),
                seeds=None if seeds is None else seeds[position:until],
                inputs=feed,
                step=begun,
            )
            assert answer is not None, "a wanted update is answered with losses and hits"
            made = len(answer[0])
            tally.add(answer, sizes[position : position + made], begun)
            position += made
            progress.step += made
            looking = position == epoch_steps or halts(progress.step)
            if looking or not tally.deferred or (streamed and progress.step % LOOK_STEPS == 0):
                bad = tally.read_into(progress)
                if bad is not None:
                    progress.step = bad
                    rate = learning_rate(spec.training, bad, epoch_steps)
                    yield Snapshot(bad, bad / epoch_steps, rate, model, None, progress.fitted, "diverged", bad)
                    return
        feed.close()  # what was made ready ahead is not kept while the training is measured


def _look(
    model: nn.Module,
    examples: Examples,
    spec: RunSpec,
    progress: Progress,
    epoch_steps: int,
    logarithmic: frozenset[int],
    telling: bool,
    may_fit: Callable[[int], bool],
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
    epoch_ends = step > 0 and step % epoch_steps == 0
    near = epoch_ends and (not telling or progress.running_accuracy >= training.fit_accuracy - NEARLY)
    criterion = not progress.fitted and (near or spent)
    if not (due or spent or criterion):
        return None
    # One example less than the criterion asks for, so that no rounding of the fraction is left to the screen.
    if not (due or spent) and not may_fit(math.ceil(training.fit_accuracy * len(examples)) - 1):
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


def epoch_order(spec: RunSpec, examples: Examples, epoch: int, permutation: Permutation = _permutation) -> torch.Tensor:
    """The training examples in the order of an epoch: the stream ``order``'s permutation at index ``epoch``."""
    order = permutation(spec.seed_of("order"), "order", len(examples), epoch)
    return torch.from_numpy(order).to(examples.labels.device)


def _feed(
    examples: Examples, spec: RunSpec, order: torch.Tensor, sizes: tuple[int, ...], first: int, step: int
) -> Generator[torch.Tensor, None, None]:
    """The inputs of an epoch's batches from the ``first`` on; nothing is done for who does not ask for them."""
    batches = torch.split(order[: sum(sizes)], list(sizes))[first:]
    yield from training_batches(examples, spec, batches, (step - first) // len(sizes), step)


def epoch_batches(spec: RunSpec, examples: Examples, epoch: int) -> list[torch.Tensor]:
    """The rows of each batch of an epoch."""
    batches = torch.split(epoch_order(spec, examples, epoch), spec.training.batch_size)
    return list(batches[: steps_per_epoch(len(examples), spec.training.batch_size)])


def _dropout_seeds(spec: RunSpec, first: int, count: int, rank: int) -> tuple[int, ...]:
    """A seed for each step: of its words that of this process's place in the team, the first where it is alone."""
    words = Stream(spec.seed_of("dropout"), "dropout").words(np.arange(first, first + count), blocks=rank // 4 + 1)
    return tuple(int(word) for word in words[:, rank])


def draws_in_forward(model: nn.Module, spec: RunSpec) -> bool:
    """Whether a forward pass may draw random numbers: ours do through dropout alone, a user's may anywhere."""
    if ":" in spec.model.name:
        return True
    return any(isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0 for module in model.modules())
