"""The way of making updates that each run of a plan goes: forced, kept by the store, remembered, or to be measured."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from shattering.core.errors import ShatteringError
from shattering.core.spec import RunSpec
from shattering.execution.calibration import fastest, remember, remembered, worth_calibrating
from shattering.execution.estimate import shape_key
from shattering.execution.messages import Job
from shattering.execution.plan import Planned, ask
from shattering.store.store import Store
from shattering.training.ways import PLAIN, forced_way


@dataclass(frozen=True)
class Choice:
    """Which way the runs of one shape go, and why.

    Args:
        model: the network's name.
        batch_size: of its training.
        runs: how many of the plan have the shape.
        way: that they go.
        updates_per_second: of one process, by way, as measured on this machine.
    """

    model: str
    batch_size: int
    runs: int
    way: str
    updates_per_second: Mapping[str, float]


class Ways:
    """The choice for every shape of a plan.

    A store that has chosen keeps to it, so that a run goes on the way it began and all runs of a shape go one way.

    Args:
        planned: the plan.
        store: where choices are kept; none: nowhere.
        measure: whether there is somebody to measure what is not known; where not, runs of that shape go the plain way.
    """

    def __init__(self, planned: Planned, store: Store | None = None, *, measure: bool = True) -> None:
        self.planned, self.store = planned, store
        self.facts = planned.plan.request.data
        self.forced = forced_way()
        self.speeds: dict[str, Mapping[str, float]] = {}
        self.chosen: dict[str, str] = {}
        self.shapes: dict[str, RunSpec] = {}
        if self.forced is None:
            self.shapes = worth_calibrating(planned.plan.specs, planned.study.expected_steps, self.facts)
        for key in self.shapes:
            kept = store.way(key) if store is not None else None
            known = remembered(key) if kept is None else None
            if kept is not None:
                self.chosen[key], self.speeds[key] = kept
            elif known is not None:
                self._choose(key, known)
        self.to_measure = deque(key for key in self.shapes if key not in self.chosen and measure)
        if not measure:
            self.shapes = {key: spec for key, spec in self.shapes.items() if key in self.chosen}

    def of(self, spec: RunSpec) -> str | None:
        """The way a run goes; none where that has to be measured first."""
        if self.forced is not None:
            return self.forced
        if not self.shapes:
            return PLAIN
        key = shape_key(spec, self.facts)
        return self.chosen.get(key, None if key in self.shapes else PLAIN)

    def job(self) -> Job | None:
        """A measurement that nobody has begun yet, if there is one."""
        if not self.to_measure:
            return None
        key = self.to_measure.popleft()
        return self.planned.job("calibrate", self.shapes[key])

    def measure_now(self) -> None:
        """Has a worker measure whatever has to be."""
        while (job := self.job()) is not None:
            try:
                self.measured(job.key, ask(self.planned, "calibrate", [self.shapes[job.key]])[job.key])
            except ShatteringError:
                self.gave_up(job.key)

    def choices(self) -> list[Choice]:
        """What was chosen by measurement, for shapes in planned order."""
        keys = Counter(shape_key(spec, self.facts) for spec in self.planned.plan.specs) if self.shapes else Counter()
        return [
            Choice(spec.model.name, spec.training.batch_size, keys[key], self.chosen[key], self.speeds[key])
            for key, spec in self.shapes.items()
            if key in self.chosen
        ]

    def step_seconds(self, spec: RunSpec) -> float | None:
        """How long one update of a run takes on the way chosen for it; none where none was chosen by measurement."""
        key = shape_key(spec, self.facts) if self.shapes else ""
        return 1 / self.speeds[key][self.chosen[key]] if key in self.chosen else None

    def measured(self, key: str, speeds: Mapping[str, float]) -> None:
        """Takes note of what a measurement found: updates per second by way."""
        remember(key, speeds)
        self._choose(key, speeds)

    def gave_up(self, key: str) -> None:
        """A measurement broke: its runs go the plain way, where the fault shows again if it is theirs."""
        self._choose(key, {PLAIN: 1.0})

    def _choose(self, key: str, speeds: Mapping[str, float]) -> None:
        self.chosen[key], self.speeds[key] = fastest(speeds), speeds
        if self.store is not None and self.store.write:
            self.store.save_way(key, self.chosen[key], dict(speeds))
