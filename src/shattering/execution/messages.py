"""What the driver and its workers say to one another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shattering.core.record import Record, Row


@dataclass(frozen=True)
class Job:
    """A piece of work for a worker.

    Args:
        kind: ``run`` trains and measures; ``check`` looks at a user's model; ``time`` measures the speed of a step;
            ``calibrate`` that of every way of making updates; ``audit`` looks at all that an audit begins with.
        key: the run's digest, the model's name, or what runs of one shape share.
        spec: the run's spec as JSON.
        data: what to load, as given to `load_data`.
        data_dir: where to look for it.
        fingerprint: what the data must be.
        store: folder of the store that keeps the run's checkpoints; none: keep none.
        keep_weights: whether to send the final weights.
        parent: the record of the run whose examples this one selects from; none where it selects none.
        way: of making updates, one of `shattering.training.ways.WAYS`.
        start: what the run that this one starts from left, see `shattering.training.estate`; none where it starts from
            none.
        weights: file of trained weights to look at.
        leaves: steps whose weights it is to send, with its final ones; none: it leaves none.
    """

    kind: str
    key: str
    spec: str
    data: str
    data_dir: Path | None
    fingerprint: str
    store: Path | None = None
    keep_weights: bool = False
    parent: Record | None = None
    way: str = "plain"
    start: bytes | None = None
    leaves: frozenset[int] | None = None
    weights: Path | None = None


@dataclass(frozen=True)
class Saw:
    """A snapshot's row, for the live table."""

    key: str
    row: Row


@dataclass(frozen=True)
class Ended:
    """A run has its outcome, with its final weights and what it leaves to others where these are wanted."""

    key: str
    record: Record
    weights: bytes | None = None
    estate: bytes | None = None


@dataclass(frozen=True)
class Answered:
    """What a ``check``, ``time`` or ``calibrate`` found."""

    key: str
    facts: Any


@dataclass(frozen=True)
class Interrupted:
    """A run stopped because the user asked; its checkpoint is saved."""

    key: str


@dataclass(frozen=True)
class Broke:
    """A job could not be done.

    Args:
        key: the job's key.
        identifier, message: of the error.
        exit_code: of the error; 1 for one that nobody expected.
    """

    key: str
    identifier: str
    message: str
    exit_code: int


Message = Saw | Ended | Answered | Interrupted | Broke
