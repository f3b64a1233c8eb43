"""How much a trained network's losses depend on a single training example."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec

POINT = "held_out_loss/"


@dataclass(frozen=True)
class ReplacementEffect:
    """How losses change when one training example gives way to another.

    Args:
        largest: max over replacements and points of |ℓ(A(S), z) - ℓ(A(Sⁱ), z)|, nats: at most the uniform stability β
            of the training, which is the supremum over all samples S, replacements and points.
        mean: mean of the same over replacements and points, nats.
        replacements: number of replaced examples.
        points: number of points z.
        runs: digests of the runs compared, that on S first.
    """

    largest: float
    mean: float
    replacements: int
    points: int
    runs: tuple[str, ...]


def unreplaced(spec: RunSpec) -> RunSpec:
    """The run on S, for a run on Sⁱ."""
    return spec.model_copy(update={"data": spec.data.model_copy(update={"replaced": None})})


def replacement_effect(base: Record, replaced: Sequence[Record]) -> ReplacementEffect | None:
    """Compares trainings on S with one training example replaced with the training on S, at held-out points.

    Bousquet & Elisseeff (2002) call a training β-uniformly stable where such a change moves no loss at any point by
    more than β, for any sample. That is a property of the training alone: true and random labels are samples to it like
    any other. What is computed here is for *this* sample and its labels, a few replacements and a few points, and so a
    lower bound of β.

    Args:
        base: the run on S, with the measure ``held_out_losses``.
        replaced: runs that differ from it in ``data.replaced`` only; others, and those that did not end, are left out.

    Returns:
        The effect at the last snapshots; none without two runs to compare.
    """
    if not _ended(base):
        return None
    before = _losses(base)
    others = [
        record
        for record in replaced
        if _ended(record) and record.spec.data.replaced is not None and unreplaced(record.spec) == base.spec
    ]
    pairs = [(before[name], value) for record in others for name, value in _losses(record).items() if name in before]
    changes = [abs(first - second) for first, second in pairs]
    if not changes:
        return None
    return ReplacementEffect(
        largest=max(changes),
        mean=math.fsum(changes) / len(changes),
        replacements=len(others),
        points=len(changes) // len(others),
        runs=(base.digest, *(record.digest for record in others)),
    )


def _ended(record: Record) -> bool:
    return record.status in (Status.DONE, Status.NOT_FITTED)


def _losses(record: Record) -> dict[str, float]:
    return {name: float(value) for name, value in record.last.items() if name.startswith(POINT)}
