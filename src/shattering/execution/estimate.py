"""What a plan will cost, before it is begun: steps from the study's experience, seconds from a few timed steps."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from shattering.core.spec import RunSpec
from shattering.core.study import DataFacts
from shattering.data.dataset import Splits
from shattering.execution.provenance import peak_bytes
from shattering.learners.registry import is_learner
from shattering.simulations.registry import is_simulation

if TYPE_CHECKING:
    from shattering.execution.ways import Choice

TIMED_EXAMPLES = 64
"""Enough that the fixed cost of a step is small, few enough that the slowest network takes seconds."""

MEASURED_EXAMPLES = 5000
"""Training examples that ways of making updates are measured on, where there are so many."""


@dataclass(frozen=True)
class Speed:
    """How fast one process trains one kind of network here.

    Args:
        fixed_seconds: of a step, whatever the batch.
        example_seconds: of a step, for each example of the batch.
        evaluation_seconds: for each example evaluated.
        peak_bytes: memory of the process that timed it.
    """

    fixed_seconds: float
    example_seconds: float
    evaluation_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class FitSpeed:
    """How fast one process fits one kind of learner here.

    Args:
        seconds: of a fit on ``examples``, predictions included.
        examples: how many it was timed on.
        growth: a fit takes about n to this power.
        peak_bytes: memory of the process that timed it.
    """

    seconds: float
    examples: int
    growth: float
    peak_bytes: int

    def of(self, train: int) -> float:
        """Seconds of a fit on ``train`` examples."""
        return self.seconds * math.pow(train / self.examples, self.growth)


def shape_of(spec: RunSpec) -> str:
    """What two runs must share to be equally fast."""
    training = spec.training
    if is_simulation(spec.model.name):
        return f"{spec.model} {spec.compute}"
    if is_learner(spec.model.name):  # what it costs depends on what it is given: noise takes a deeper tree
        return f"{spec.model} {spec.compute} {spec.data.crop} {spec.corruption}"
    update = f"{training.optimizer} {training.augmentation} {training.gradient} {training.winsorize} {training.loss}"
    return f"{spec.model} {spec.compute} {spec.data.crop} {spec.data.image_size} {update}"


def shape_key(spec: RunSpec, facts: DataFacts) -> str:
    """What two runs must share to be trained the same way: network, batch, arithmetic, and the data's shape."""
    size, _ = spec.sizes(facts.train_size, facts.test_size)
    seen = min(size, MEASURED_EXAMPLES)
    text = f"{shape_of(spec)} {spec.training.batch_size} {facts.input_shape} {facts.num_classes} {seen}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


TIMED_FIT = 1000
"""Examples that a learner is timed on, where there are so many."""


def time_fit(spec: RunSpec, splits: Splits) -> FitSpeed:
    """Times a fit of the spec's learner on a small part of the data, corrupted as the spec says."""
    import numpy as np

    from shattering.execution.fit import fit
    from shattering.learners.registry import learners

    few = splits.train.take(np.arange(min(len(splits.train), TIMED_FIT)))
    some = splits.test.take(np.arange(min(len(splits.test), TIMED_FIT // 5)))
    data = spec.data.unselected
    began = time.perf_counter()
    fit(spec.model_copy(update={"data": data, "selection": None, "start": None}), Splits(few, some))
    seconds = time.perf_counter() - began
    return FitSpeed(seconds, len(few), learners.get(spec.model.name).growth, peak_bytes())


def time_simulation(spec: RunSpec, splits: Splits) -> FitSpeed:
    """What the simulation itself says of its time: to try it out would take as long as to run it."""
    from shattering.execution.simulate import simulation_seconds

    examples = len(splits.train)
    return FitSpeed(simulation_seconds(spec.model.name, spec.model.fields), examples, 0.0, peak_bytes())


def time_step(spec: RunSpec, splits: Splits) -> Speed:
    """Times a few steps at two batch sizes, and an evaluation, on real examples with true labels."""
    import numpy as np

    from shattering.execution.arithmetic import arithmetic
    from shattering.execution.run import corrupted, initial_model
    from shattering.training.evaluation import evaluate
    from shattering.training.examples import prepare
    from shattering.training.loop import train
    from shattering.training.state import Progress
    from shattering.training.update import build_optimizer

    few = splits.train.take(np.arange(min(len(splits.train), TIMED_EXAMPLES)))

    def variant(batch: int, steps: int) -> RunSpec:
        data = spec.data.unselected
        length = {"batch_size": batch, "max_steps": steps, "stop_when_fitted": False}
        silent = spec.measures.model_copy(update={"points_per_decade": 0, "every_epochs": 0})
        training = spec.training.model_copy(update=length)
        changes = {"data": data, "training": training, "measures": silent, "corruption": type(spec.corruption)()}
        return spec.model_copy(update={**changes, "selection": None, "start": None})

    def seconds(batch: int, steps: int) -> float:
        timed = variant(batch, steps + 2)
        both = corrupted(Splits(few, few), timed)
        examples = prepare(both.train, timed, augmented=timed.training.augmentation != "none")
        model = initial_model(timed, prepare(both.test, timed).input_shape, examples.num_classes)
        moments: list[float] = []
        for _ in train(
            model,
            build_optimizer(model, timed),
            examples.laid_out_for(model),
            timed,
            Progress(fitted=True),
            on_step=lambda: moments.append(time.perf_counter()),
        ):
            pass
        gaps = sorted(after - before for before, after in pairwise(moments[1:]))
        return gaps[len(gaps) // 2]

    with arithmetic(spec):
        large = len(few)
        small = max(2, large // 4)
        quick, slow = seconds(small, 5), seconds(large, 4)
        each = max((slow - quick) / max(large - small, 1), 0.0)
        plain = variant(large, 1)
        both = corrupted(Splits(few, few), plain)
        test = prepare(both.test, plain)
        model = initial_model(plain, test.input_shape, test.num_classes)
        test = test.laid_out_for(model)
        evaluate(model, test, plain)
        began = time.perf_counter()
        evaluate(model, test, plain)
        evaluation = (time.perf_counter() - began) / len(test)
    return Speed(max(slow - each * large, 0.0), each, evaluation, peak_bytes())


@dataclass(frozen=True)
class Estimate:
    """The cost of a plan.

    Args:
        runs: planned runs that have no outcome yet.
        steps: updates expected in all, from the study's experience; at most ``budget``.
        budget: updates at most.
        seconds: expected wall-clock time on ``jobs`` processes.
        peak_bytes: memory of all processes together.
        jobs: number of processes.
        choices: the ways of making updates that were chosen by measurement.
    """

    runs: int
    steps: int
    budget: int
    seconds: float
    peak_bytes: int
    jobs: int
    choices: tuple[Choice, ...] = ()


def _gradient_examples(spec: RunSpec, train_size: int) -> float:
    """How many examples a snapshot's measures run forward and backward, over all their passes."""
    from shattering.measures.registry import measures

    passes = sum(measures.get(name).gradient_passes for name in spec.measures.names)
    return passes * min(spec.measures.gradient_examples or train_size, train_size)


def predict(
    specs: list[RunSpec],
    speeds: Mapping[str, Speed | FitSpeed],
    expected_steps: Callable[[RunSpec], int],
    sizes: tuple[int, int],
    jobs: int,
    step_seconds: Callable[[RunSpec], float | None] = lambda spec: None,
) -> Estimate:
    """Adds up the runs: training steps, evaluations at the expected snapshots, start-up of the processes.

    Args:
        specs: the runs to come.
        speeds: by `shape_of`.
        expected_steps: the study's experience of how long a run lasts.
        sizes: of the whole training and test split.
        jobs: number of processes.
        step_seconds: of one update, where its way was measured; none: the plain way's speed counts.
    """
    from shattering.training.schedule import is_snapshot, log_spaced_steps, steps_per_epoch

    steps, durations = 0, []
    for spec in specs:
        speed, training = speeds[shape_of(spec)], spec.training
        train_size, test_size = spec.sizes(*sizes)
        if isinstance(speed, FitSpeed):
            steps += 1
            durations.append(speed.of(train_size))
            continue
        expected = min(expected_steps(spec), training.max_steps)
        epoch = steps_per_epoch(train_size, training.batch_size)
        logarithmic = log_spaced_steps(spec.measures, expected)
        snapshots = 1 + sum(is_snapshot(spec.measures, logarithmic, step, epoch) for step in range(expected))
        steps += expected
        plain = speed.fixed_seconds + speed.example_seconds * min(training.batch_size, train_size)
        durations.append(
            expected * (step_seconds(spec) or plain)
            + snapshots * (train_size + test_size) * speed.evaluation_seconds
            + snapshots * _gradient_examples(spec, train_size) * speed.example_seconds
        )
    jobs = max(1, min(jobs, len(specs)))
    start_up = 4.0 if specs else 0.0
    # Nothing runs shorter than its longest run, nor than an even share of all.
    wall = max(max(durations, default=0.0), sum(durations) / jobs)
    peak = max((speed.peak_bytes for speed in speeds.values()), default=0) * jobs
    return Estimate(len(specs), steps, sum(spec.training.max_steps for spec in specs), start_up + wall, peak, jobs)
