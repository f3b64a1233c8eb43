"""A watched training as a record of the store, there from its first measurement on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from shattering.core.errors import SpecError
from shattering.core.record import Record, Row, Status
from shattering.core.spec import WATCHED, ComputeSpec, CorruptionSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec
from shattering.measures.registry import measures
from shattering.store.store import Store
from shattering.watching.probe import FixedProbe

UNFINISHED = {
    "identifier": "watch-unfinished",
    "message": "The training has not ended yet, or its process ended first; these are the measurements so far.",
}


def spec_of(kind: str, name: str, probe: FixedProbe, *, device: str, dtype: str, threads: int, seed: int) -> RunSpec:
    """What is known of a watched training; the fields under ``training`` say nothing.

    Args:
        kind: the network's class.
        name: of this training.
        probe: what it is measured on.
        device, dtype, threads: of the arithmetic.
        seed: of the probe's stream.
    """
    count = None if probe.changed is None else int(probe.changed.sum())
    return RunSpec(
        data=DataSpec(name="probe", train_size=probe.examples, fingerprint=probe.fingerprint),
        corruption=CorruptionSpec(name="unknown", fields={} if count is None else {"corrupt_in_probe": count}),
        model=ModelSpec(name=f"{WATCHED}{kind}", fields={"name": name}),
        compute=ComputeSpec.model_validate({"device": device, "dtype": dtype, "threads": threads}),
        measures=MeasureSpec(
            names=("coherence", "learning_step"),
            points_per_decade=0,
            every_epochs=0,
            gradient_examples=probe.examples,
        ),
        seed=seed,
    )


class Log:
    """Writes one watched training. Until `end` it stands among the store's failures, with what there is.

    Args:
        out: folder of the store.
        spec: see `spec_of`.
        units_note: stands in the unit of every number that it holds for; empty: nothing.

    Raises:
        SpecError: ``watch-name-taken`` where a training of that name was watched to its end before.
        StoreError: ``out`` is no store, or cannot be written.
    """

    def __init__(self, out: Path, spec: RunSpec, units_note: str) -> None:
        # What the end needs is loaded now, while its time can still be made up for.
        import_module("pyarrow.parquet")

        self._store = Store.open(out, write=True)
        self.spec = spec
        self.rows: list[Row] = []
        self._units_note = units_note
        if not self._store.missing([spec.digest]):
            raise SpecError(
                "watch-name-taken",
                f"A training named {spec.model.fields['name']!r} with this probe is in {out} already; "
                "give another name=, or none.",
            )

    def add(self, row: Row, provenance: Mapping[str, Any]) -> None:
        """Takes one measurement, and writes all of them so far. Raises `StoreError`."""
        self.rows.append(row)
        self._store.put_failure(self._record(Status.FAILED, {}, {}, provenance, UNFINISHED))

    def end(
        self,
        status: Status,
        summary: Mapping[str, Any],
        columns: Mapping[str, NDArray[Any]],
        provenance: Mapping[str, Any],
        error: dict[str, str] | None = None,
    ) -> None:
        """Writes the record for good. Raises `StoreError`."""
        record = self._record(status, summary, columns, provenance, error)
        if status == Status.FAILED:
            self._store.put_failure(record)
            return
        lease = self._store.lease(record.digest)
        if lease is not None:
            with lease:
                self._store.put(record, lease)

    def _record(
        self,
        status: Status,
        summary: Mapping[str, Any],
        columns: Mapping[str, NDArray[Any]],
        provenance: Mapping[str, Any],
        error: dict[str, str] | None,
    ) -> Record:
        names = {name for row in self.rows for name in row} | set(summary)
        return Record(
            spec=self.spec,
            status=status,
            rows=tuple(self.rows),
            summary=dict(summary),
            units={name: self._unit(name) for name in sorted(names)},
            examples=dict(columns),
            provenance=dict(provenance),
            error=error,
        )

    def _unit(self, name: str) -> str:
        if name in ("step", "steps", "diverged_step"):
            return "steps"
        if name.endswith("_loss"):
            unit = "the loss's own"
        elif name.startswith("m_coherence/"):
            unit = "examples"
        else:
            unit = measures.get("coherence").units.get(name, "1")
        return f"{unit}, {self._units_note}" if self._units_note else unit


def fresh_name() -> str:
    """A name that no other training has; drawn from the system, so that no generator notices."""
    return os.urandom(4).hex()
