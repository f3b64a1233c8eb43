"""When each training example was learned, for good: what tells easy examples from hard ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.core.errors import DataError
from shattering.core.record import Record
from shattering.measures.registry import Probe, example_measure

NEVER = -1


@example_measure(units={"learning_step": "steps"}, paper="Chatterjee & Zielinski (2022), easy and hard examples")
def learning_step(probe: Probe, before: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The first snapshot since which an example has been classified right without interruption; -1 for never.

    Right means with the label it is trained on, in evaluation mode. An example that is forgotten later starts again, so
    the column tells what the network has known *since* when, at the last snapshot. Its resolution is the distance
    between snapshots. Easy examples are those learned early (Chatterjee & Zielinski 2022; Zielinski et al. 2020).

    Args:
        probe: the network beside its training data.
        before: the columns at the snapshot before; empty at the first.

    Returns:
        ``learning_step``, int64 ``[n]``, one number for each training example: a step, or -1.
    """
    right = (probe.train[1] == probe.labels).cpu().numpy()
    return {"learning_step": known_since(right, before.get("learning_step"), probe.step)}


def known_since(right: NDArray[np.bool_], before: NDArray[Any] | None, step: int) -> NDArray[np.int64]:
    """The column `learning_step` at ``step``, from who is right now and the column before (none: at the first)."""
    known = np.full(len(right), NEVER) if before is None else before
    return np.where(right, np.where(known == NEVER, step, known), NEVER).astype(np.int64)


def learning_steps(record: Record) -> NDArray[np.int64]:
    """The column ``learning_step`` of a record, int64 ``[n]``; raises `DataError` (``column-missing``) without it."""
    if "learning_step" not in record.examples:
        raise DataError(
            "column-missing",
            f"The run {record.digest} has no column 'learning_step'; add learning_step to its measures.names.",
        )
    return np.asarray(record.examples["learning_step"], dtype=np.int64)
