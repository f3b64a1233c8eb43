"""Many runs of one shape trained in lockstep in this process: `run.execute` for a fleet on a GPU."""

from __future__ import annotations

import time
from collections.abc import Sequence

from shattering.core.errors import Stopped
from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.data.dataset import Dataset, Splits
from shattering.execution.arithmetic import arithmetic
from shattering.execution.control import Control
from shattering.execution.run import begun, corrupted
from shattering.execution.training import Training
from shattering.training.loop import Snapshot, course
from shattering.training.steppers.captured import MOST_UPDATES
from shattering.training.steppers.stacked import Fleet, Member, train_stacked
from shattering.training.steppers.stacked_update import Way


def execute_stacked(
    specs: Sequence[RunSpec],
    splits: Splits,
    controls: Sequence[Control] = (),
    *,
    slots: int | None = None,
    way: Way | None = None,
) -> list[Record | Exception]:
    """Trains and measures runs of one `fleet_key`, each going on from its newest sound checkpoint if there is one.

    Args:
        specs: resolved, none of which selects from another run's examples.
        splits: the data as loaded.
        controls: one for each run; none: nothing is saved and nobody stops it.
        slots: as of a `Fleet`.
        way: as of a `Fleet`.

    Returns:
        For each run its record; or what ended it alone: `Stopped` (its checkpoint has been saved), or any error.
    """
    began = time.monotonic()
    told = list(controls) or [Control() for _ in specs]
    found: list[Record | Exception | None] = [None] * len(specs)
    ends: dict[int, tuple[Snapshot, float]] = {}
    with arithmetic(specs[0]) as nondeterministic:
        pairs = [_begun(spec, splits, control) for spec, control in zip(specs, told, strict=True)]
        members = [_member(training) for training, _ in pairs]
        fleet = Fleet(members, slots, way)
        for number, event in train_stacked(members, fleet):
            training, _ = pairs[number]
            try:
                if isinstance(event, Exception):
                    raise event
                training.see(event)
                if event.ending:
                    ends[number] = event, time.monotonic() - began
            except Exception as error:
                members[number].course.close()  # what was measured of it failed: it ends here, and the others go on
                if isinstance(error, Stopped):
                    training._save()
                found[number] = error
        summaries = {number: pairs[number][0].summary(pairs[number][1]) for number in ends}
    for number, (ending, seconds) in ends.items():
        training, train_split = pairs[number]
        training.way = {"stepper": "stacked", "members": str(len(specs)), "gradients": fleet.way, **fleet.facts}
        found[number] = training.record(ending, train_split, summaries[number], seconds, nondeterministic)
    return [one for one in found if one is not None]


def _begun(spec: RunSpec, splits: Splits, control: Control) -> tuple[Training, Dataset]:
    both = corrupted(splits, spec)
    return begun(spec, both, control), both.train


def _member(training: Training) -> Member:
    asked = course(
        training.model,
        training.examples,
        training.spec,
        training.progress,
        reach=MOST_UPDATES,
        on_step=training.on_step,
        should_stop=training.control.should_stop,
    )
    return Member(training.model, training.optimizer, training.examples, training.spec, asked)
