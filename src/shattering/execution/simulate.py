"""One run of a simulation, the whole way: data → corruption → simulation → record."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from shattering.core.record import Record, Row, Status
from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.data.dataset import Splits
from shattering.execution.arithmetic import linear_algebra
from shattering.execution.control import Control
from shattering.execution.fit import desk_of
from shattering.execution.provenance import provenance
from shattering.execution.run import corrupted
from shattering.simulations.registry import Bench, simulation_fields, simulations


def simulate(spec: RunSpec, splits: Splits, control: Control | None = None, parent: Record | None = None) -> Record:
    """Carries out one simulation.

    Args:
        spec: the resolved spec; its model names a simulation.
        splits: the data as loaded.
        control: how to be stopped, and where pieces of unfinished work are kept.
        parent: the record of the run whose examples this one selects from; none where it selects none.

    Returns:
        The record: a row for each place along the simulation's axis, numbered in ``step`` from 1. It is `DONE`, or
        `DIVERGED` at the first row with a number that is not finite, which is kept out with those after it.

    Raises:
        Stopped: the user asked to.
        ShatteringError: the data or the spec do not fit the simulation.
    """
    control = control or Control()
    began = time.monotonic()
    entry = simulations.get(spec.model.name)
    both = corrupted(splits, spec, parent)
    bench = Bench(lambda purpose: Stream(spec.seed_of(purpose), purpose), both, spec.data.whiten, desk_of(control))
    rows: list[Row] = []
    diverged_step = None
    with linear_algebra(spec) as nondeterministic:
        for number, numbers in enumerate(entry.simulate(bench, **simulation_fields(entry, spec.model.fields)), 1):
            bench.desk.should_stop()
            if not all(math.isfinite(value) for value in numbers.values()):
                diverged_step = number
                break
            rows.append({"step": number, "epoch": float(number), **numbers})
    return Record(
        spec=spec,
        status=Status.DONE if diverged_step is None else Status.DIVERGED,
        rows=tuple(rows),
        summary=_summary(both, len(rows), diverged_step),
        units={"step": "rows", "epoch": "rows", **entry.units},
        provenance={
            **provenance(spec),
            "seconds": round(time.monotonic() - began, 3),
            "nondeterministic": sorted(set(nondeterministic)),
        },
    )


def _summary(both: Splits, rows: int, diverged_step: int | None) -> dict[str, float | int | None]:
    facts: dict[str, float | int | None] = {
        "steps": rows,
        "train_size": len(both.train),
        "test_size": len(both.test),
        "num_classes": both.train.num_classes,
    }
    return facts if diverged_step is None else {**facts, "diverged_step": diverged_step}


def simulation_seconds(name: str, fields: Mapping[str, Any]) -> float:
    """About how long a run takes on one core."""
    return simulations.get(name).seconds(fields)
