"""What is taken from the records of double descent: which curve a run belongs to, and its numbers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from shattering.core.curves import ended, estimate, median_of, place_of_largest
from shattering.core.record import Record
from shattering.core.statistics import median_interval
from shattering.core.study import Estimate, Records
from shattering.measures.double_descent import bump, peak_height, second_descent

CURVE = "random_feature_curve"
UNREGULARISED = ("Fourier", "Fourier, 10% wrong labels", "ReLU")
FITTED = 0.99
"""Training accuracy from which a net counts as past the threshold."""


def setting(record: Record) -> str:
    """Which curve a run belongs to, such as ``Fourier, 10% wrong labels, ridge``."""
    if record.spec.model.name != CURVE:
        return "fully connected net"
    fields = record.spec.model.fields
    noisy = record.spec.corruption.name != "true_labels"
    parts = ["ReLU" if fields.get("kind") == "relu" else "Fourier"]
    return ", ".join(parts + ["10% wrong labels"] * noisy + ["ridge"] * bool(fields.get("ridge")))


def of(records: Records, name: str) -> list[Record]:
    """The runs of one setting."""
    return [record for record in records if setting(record) == name]


def nets(records: Records) -> list[Record]:
    """The fully connected nets."""
    return of(records, "fully connected net")


PEAK = place_of_largest("test_mse", "ratio")
HEIGHT = peak_height("test_mse", "ratio")
DESCENT = second_descent("test_error", "ratio")
BUMP = bump("test_mse", "ratio")
NORM = place_of_largest("norm", "ratio")


def by_width(records: Records) -> dict[int, list[Record]]:
    """The nets that ended, by their number of hidden units."""
    found: dict[int, list[Record]] = defaultdict(list)
    for record in ended(nets(records)):
        found[int(record.spec.model.fields["width"])].append(record)
    return dict(sorted(found.items()))


def _typical(runs: Sequence[Record], name: str) -> float:
    return median_of(float(run.last[name]) for run in runs if name in run.last) or 0.0


def net_peak(records: Records, against: str) -> Estimate | None:
    """Test loss at the width where its median is largest, over that at another width of the same seed.

    Args:
        records: all records.
        against: ``end``, the widest net; ``left``, the width with the smallest median below the peak.
    """
    widths = by_width(records)
    inner = list(widths)[1:-1]
    if not inner:
        return None
    top = max(inner, key=lambda width: _typical(widths[width], "test_loss"))
    left = min((width for width in widths if width < top), key=lambda width: _typical(widths[width], "test_loss"))
    other = {run.spec.seed: run.last.get("test_loss") for run in widths[left if against == "left" else max(widths)]}

    def ratio(record: Record) -> float | None:
        loss = other.get(record.spec.seed)
        return float(record.last["test_loss"]) / float(loss) if loss and "test_loss" in record.last else None

    return estimate(widths[top], ratio, note=f"{top} hidden units", interval=median_interval)


def parameters_for_each(record: Record) -> float:
    """Parameters of a net over n·K, what it has to fit."""
    counted = record.summary
    return float(counted["parameters"] or 0) / (float(counted["train_size"] or 1) * float(counted["num_classes"] or 1))


def net_threshold(records: Records) -> Estimate | None:
    """Parameters of the first net that fits 99% of its training examples, over n·K; seeds without one are out."""
    first: dict[int, Record] = {}
    for runs in reversed(by_width(records).values()):
        first |= {run.spec.seed: run for run in runs if run.last.get("train_accuracy", 0) >= FITTED}
    return estimate(list(first.values()), parameters_for_each, interval=median_interval)
