"""When things happen: learning rates, epochs, snapshots."""

from __future__ import annotations

import math

from shattering.core.spec import MeasureSpec, TrainingSpec


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Optimizer steps in an epoch: every full batch and the rest, unless the rest is a single example.

    A batch of one has no batch statistics; that example sits out the epoch (a different one each time).
    """
    full, rest = divmod(examples, batch_size)
    return max(1, full + (rest > 1))


def learning_rate(training: TrainingSpec, step: int, epoch_steps: int) -> float:
    """The rate of the ``step``-th update, from 0: the schedule's, in warm-up (step + 1) / ``warmup_steps`` of it."""
    rate = training.learning_rate
    if training.schedule == "exponential":
        rate *= training.decay ** (step // (training.decay_steps or epoch_steps))
    elif training.schedule == "inverse_square_root":
        rate /= math.sqrt(1 + step // (training.decay_steps or epoch_steps))
    return rate if step >= training.warmup_steps else rate * (step + 1) / training.warmup_steps


def log_spaced_steps(measures: MeasureSpec, max_steps: int) -> frozenset[int]:
    """Steps 0, 1 and then ``points_per_decade`` in each decade, rounded; empty where that is 0."""
    per_decade = measures.points_per_decade
    if per_decade == 0:
        return frozenset()
    chosen, exponent = {0}, 0
    while (step := round(10 ** (exponent / per_decade))) <= max_steps:
        chosen.add(step)
        exponent += 1
    return frozenset(chosen)


def is_snapshot(measures: MeasureSpec, logarithmic: frozenset[int], step: int, epoch_steps: int) -> bool:
    """Whether a snapshot is due after ``step`` updates."""
    if step in logarithmic:
        return True
    epochs, rest = divmod(step, epoch_steps)
    return rest == 0 and measures.every_epochs > 0 and epochs % measures.every_epochs == 0
