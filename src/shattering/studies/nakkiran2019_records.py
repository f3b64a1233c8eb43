"""What the runs of deep double descent say together: numbers of a seed's networks of all widths."""

from __future__ import annotations

from collections.abc import Sequence

from shattering.core.record import Record
from shattering.measures.model_size import complexity, largest_climb, rise, threshold

EXAMPLES = 500
SIZES = (EXAMPLES // 2, EXAMPLES, 2 * EXAMPLES)
NOISE = 0.2


RESNET, CNN = "resnet18", "five_layer_cnn"


def group(records: Sequence[Record], size: int = EXAMPLES, noise: float = NOISE) -> list[Record]:
    """The networks of one size of training set and one level of noise.

    At the paper's scale these are the convolutional networks: half of the training set stands for `EXAMPLES` there, and
    the whole for twice as many.
    """
    return [
        record
        for record in records
        if record.spec.model.name != RESNET
        and _size(record) == size
        and record.spec.corruption.fields.get("p", 0.0) == noise
    ]


def _size(record: Record) -> int:
    if record.spec.model.name != CNN:
        return record.spec.data.train_size or 0
    return 2 * EXAMPLES if record.spec.data.train_size is None else EXAMPLES


def resnets(records: Sequence[Record]) -> list[Record]:
    """The residual networks, which are run at the paper's scale only."""
    return [record for record in records if record.spec.model.name == RESNET]


def complexity_at_peak(runs: Sequence[Record]) -> float | None:
    """Effective model complexity at the peak's width, over the number of examples trained on there."""
    climb = largest_climb(group(runs))
    noisy = [record for size in SIZES for record in group(runs, size)]
    found = None if climb is None else complexity(noisy, climb[1])
    return None if found is None else found / EXAMPLES


def shift(runs: Sequence[Record]) -> float | None:
    """The width that fits twice as many examples, over the width that fits them."""
    few, many = threshold(group(runs)), threshold(group(runs, 2 * EXAMPLES))
    return None if few is None or many is None else many / few


def more_noise(runs: Sequence[Record]) -> float | None:
    """How much more test error climbs with noisy labels than with clean ones."""
    noisy, clean = rise(group(runs)), rise(group(runs, noise=0.0))
    return None if noisy is None or clean is None else noisy - clean
