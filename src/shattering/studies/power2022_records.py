"""What is taken from the records of grokking: which runs, and their numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

from shattering.core.curves import ended, largest
from shattering.core.record import Record
from shattering.core.statistics import geometric_interval
from shattering.core.study import Estimate, Records
from shattering.measures.grokking import generalisation_bound

Runs = Callable[[Records], list[Record]]


def _trained(records: Records) -> list[Record]:
    return [record for record in records if record.spec.training.optimizer == "adamw"]


def decayed(record: Record) -> bool:
    """Whether it was trained with weight decay."""
    return record.spec.training.weight_decay > 0


def _own_split(record: Record) -> bool:
    return "initialisation" in record.spec.stream_seeds


def compared(decay: bool) -> Runs:
    """Runs with weight decay, or without, at the one setting that has both: at the middle size where several have."""

    def setting(record: Record) -> tuple[int, float]:
        return record.spec.data.train_size or 0, record.spec.training.learning_rate

    def runs(records: Records) -> list[Record]:
        found = [r for r in _trained(records) if r.spec.compute.dtype == "float32" and not _own_split(r)]
        both = sorted({setting(r) for r in found if decayed(r)} & {setting(r) for r in found if not decayed(r)})
        return [r for r in found if both and setting(r) == both[len(both) // 2] and decayed(r) == decay]

    return runs


def precise(dtype: str) -> Runs:
    """Runs without weight decay in this precision, at the rate that was trained in float64 too."""

    def runs(records: Records) -> list[Record]:
        bare = [record for record in _trained(records) if not decayed(record)]
        rates = {r.spec.training.learning_rate for r in bare if r.spec.compute.dtype == "float64"}
        return [r for r in bare if r.spec.compute.dtype == dtype and r.spec.training.learning_rate in rates]

    return runs


def swept(records: Records) -> list[Record]:
    """Runs with weight decay on the common split, of every size."""
    return [record for record in _trained(records) if decayed(record) and not _own_split(record)]


def _first_step(record: Record, holds: Callable[[dict[str, float | int]], bool]) -> int | None:
    return next((int(row["step"]) for row in record.rows if row["step"] > 0 and holds(row)), None)


def lead(record: Record) -> float | None:
    """Updates until half of the test examples are right, over those until the restricted loss is half of guessing."""
    guessing = math.log(float(record.summary.get("num_classes") or 2))
    rule = _first_step(record, lambda row: row.get("restricted_loss", math.inf) <= guessing / 2)
    half = _first_step(record, lambda row: row.get("test_accuracy", 0.0) >= 0.5)
    return half / rule if rule and half else None


def loss_peak(record: Record) -> float | None:
    """The largest loss on the test set, over that of guessing."""
    found = largest("test_loss")(record)
    return None if found is None else found / math.log(float(record.summary.get("num_classes") or 2))


def less_data(records: Records) -> Estimate | None:
    """Updates to generalise on the smallest part of the table over those on the largest, paired by seed."""
    found = ended(swept(records))
    sizes = sorted({record.spec.data.train_size or 0 for record in found})
    if len(sizes) < 2:
        return None
    by_seed = {
        size: {r.spec.seed: r for r in found if r.spec.data.train_size == size} for size in (sizes[0], sizes[-1])
    }
    pairs = [(few, by_seed[sizes[-1]][seed]) for seed, few in by_seed[sizes[0]].items() if seed in by_seed[sizes[-1]]]
    times = [(generalisation_bound(few), generalisation_bound(many)) for few, many in pairs]
    kept = [(few[0], many[0]) for few, many in times if not many[1] and many[0] and few[0]]
    if not kept:
        return None
    middle, low, high = geometric_interval([few / many for few, many in kept])
    censored = sum(few[1] for few, _ in times)
    note = f"geometric mean; {censored} on the smallest part never did, and count with their budget" if censored else ""
    return Estimate(middle, low, high, tuple(r.digest for pair in pairs for r in pair), len(found), note)


def own_splits(records: Records) -> list[Record]:
    """Runs whose split is their own, all of one initialisation."""
    return [record for record in _trained(records) if _own_split(record)]


DECAY, BARE = compared(True), compared(False)
