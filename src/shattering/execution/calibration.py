"""Which way of making updates is the fastest for a shape of network on this machine: measured once, and kept.

How is not what: no way changes a run's name, and each is held to the plain one's numbers by tests. But the last bits
differ between ways, so that the choice is kept with the store as well: what is resumed goes on the way it began.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from shattering.core import io
from shattering.core.errors import StoreError
from shattering.core.spec import RunSpec
from shattering.core.study import DataFacts
from shattering.data.cache import cache_folder
from shattering.data.dataset import Splits
from shattering.execution.estimate import MEASURED_EXAMPLES, shape_key
from shattering.execution.provenance import processor
from shattering.learners.registry import is_learner
from shattering.simulations.registry import is_simulation
from shattering.training.ways import PLAIN

WORTH_STEPS = 2000
"""A shape is calibrated where its runs are expected to make so many updates together; fewer are not worth the wait."""

WINS = 1.1
"""Another way than the plain one is taken where it makes so many times the updates per second."""

MEASURED_SECONDS = 0.25


def worth_calibrating(
    specs: Iterable[RunSpec], expected_steps: Callable[[RunSpec], int], facts: DataFacts
) -> dict[str, RunSpec]:
    """One run of each shape whose planned runs make enough updates for a calibration, by `shape_key`."""
    steps: dict[str, int] = {}
    examples: dict[str, RunSpec] = {}
    for spec in specs:
        stepless = is_learner(spec.model.name) or is_simulation(spec.model.name)
        if not stepless and spec.compute.processes == 1:
            key = shape_key(spec, facts)
            steps[key] = steps.get(key, 0) + expected_steps(spec)
            examples.setdefault(key, spec)
    return {key: examples[key] for key, count in steps.items() if count >= WORTH_STEPS}


def updates_per_second(spec: RunSpec, splits: Splits) -> dict[str, float]:
    """Times every way that a run of this shape can go, on its own kind of examples, in this process.

    Returns:
        Updates per second by way; the plain one is always among them.
    """
    import numpy as np

    from shattering.execution.arithmetic import arithmetic
    from shattering.execution.run import corrupted, initial_model
    from shattering.training.examples import prepare
    from shattering.training.ways import WAYS, why_not

    size, _ = spec.sizes(len(splits.train), len(splits.test))
    few = splits.train.take(np.arange(min(len(splits.train), size, MEASURED_EXAMPLES)))
    some = splits.test.take(np.arange(min(len(splits.test), 10)))
    data = spec.data.unselected
    silent = spec.measures.model_copy(update={"points_per_decade": 0, "every_epochs": 0})
    training = spec.training.model_copy(update={"max_steps": 10**9, "stop_when_fitted": False})
    changes = {"data": data, "measures": silent, "training": training, "corruption": type(spec.corruption)()}
    timed = spec.model_copy(update={**changes, "selection": None, "start": None})
    speeds = {}
    with arithmetic(timed):
        both = corrupted(Splits(few, some), timed)
        examples = prepare(both.train, timed, augmented=timed.training.augmentation != "none")
        shape = prepare(both.test, timed).input_shape
        for way in WAYS:
            model = initial_model(timed, shape, examples.num_classes)
            examples = examples.laid_out_for(model)
            if why_not(way, model, timed, examples) is None:
                speeds[way] = _speed(way, model, examples, timed)
    return speeds


class _Enough(Exception):
    """The measurement has lasted long enough."""


def _speed(way: str, model: Any, examples: Any, spec: RunSpec) -> float:
    from shattering.training.loop import train
    from shattering.training.state import Progress
    from shattering.training.update import build_optimizer
    from shattering.training.ways import build_stepper

    optimizer = build_optimizer(model, spec)
    stepper, _, _ = build_stepper(way, model, optimizer, examples, spec)
    progress = Progress(fitted=True)
    moments: list[tuple[float, int]] = []

    def on_step() -> None:
        moments.append((time.perf_counter(), progress.step))
        # What is done first is not timed: memory is fetched, kernels are compiled.
        if len(moments) > 3 and moments[-1][0] - moments[1][0] > MEASURED_SECONDS:
            raise _Enough

    try:
        for _ in train(model, optimizer, examples, spec, progress, stepper=stepper, on_step=on_step):
            break  # it diverged: how fast is known all the same
    except _Enough:
        pass
    (began, before), (ended, after) = moments[1] if len(moments) > 2 else moments[0], moments[-1]
    return (after - before) / max(ended - began, 1e-9)


def fastest(speeds: Mapping[str, float]) -> str:
    """The way to go: the plain one, unless another is clearly faster."""
    best = max(speeds, key=lambda way: speeds[way])
    return best if speeds[best] >= WINS * speeds[PLAIN] else PLAIN


def remembered(key: str) -> dict[str, float] | None:
    """The updates per second by way that were measured on this machine for a shape; none where they were not."""
    try:
        known = json.loads(io.read_bytes(_place(key)) or b"null")
        if known["machine"] == _machine():
            return {str(way): float(speed) for way, speed in known["speeds"].items()}
    except (StoreError, ValueError, KeyError, TypeError, AttributeError):
        pass  # a memory that cannot be read is none: the shape is measured again
    return None


def remember(key: str, speeds: Mapping[str, float]) -> None:
    """Keeps them in the user's cache; a cache that cannot be written is not used."""
    text = json.dumps({"machine": _machine(), "speeds": dict(speeds)}, indent=1, sort_keys=True)
    try:
        io.write_file(_place(key), (text + "\n").encode())
    except StoreError:
        return


def _place(key: str) -> Path:
    return cache_folder() / "steppers" / f"{key}.json"


def _machine() -> dict[str, str]:
    """What a measured speed depends on beside the shape."""
    from importlib.metadata import PackageNotFoundError, version

    from shattering.core.version import VERSION

    facts = {"processor": processor(), "shattering": VERSION}
    for package in ("torch", "numba"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "none"
    return facts
