"""Pictures of bias and variance against width, and what they say."""

from __future__ import annotations

from shattering.core.curves import Number, curve, ended, estimate, in_figures, last
from shattering.core.record import Record
from shattering.core.study import Axis, Estimate, Figure, Point, Records
from shattering.measures.curve_shapes import first_over_largest, ratio_to_first, ratio_to_largest

NETWORK, LINEAR = "hidden layer", "no hidden layer"


def of(records: Records, kind: str) -> list[Record]:
    """The runs of networks with a hidden layer, or without."""
    hidden = kind == NETWORK
    return [record for record in records if bool(record.spec.model.fields.get("hidden", True)) == hidden]


def _told(records: Records, kind: str, number: Number) -> str:
    return in_figures(estimate(of(records, kind), number))


def answer(records: Records) -> str:
    """What becomes of bias and variance, and whose variance it is."""
    if not ended(of(records, NETWORK)):
        return "No width has ended yet. Run the same command again to go on."
    return (
        f"{_bias(records)} {_variance(records)} The part of it that comes from the training ends at "
        f"{_told(records, NETWORK, ratio_to_largest('optimisation_variance'))} of its largest."
    )


def _bias(records: Records) -> str:
    """What becomes of bias², whichever way it goes."""
    found = estimate(of(records, NETWORK), ratio_to_first("bias"))
    verb = "goes" if found is None or found.value == 1 else "falls" if found.value < 1 else "rises"
    return f"From the narrowest to the widest network bias² {verb} to {in_figures(found)} times its first value."


def _variance(records: Records) -> str:
    """Where the variance begins and ends, beside its largest value."""
    first, end = (_told(records, NETWORK, number("variance")) for number in (first_over_largest, ratio_to_largest))
    return f"The variance begins at {first} and ends at {end} of its largest value."


def _error(records: Records) -> str:
    """Test error of the narrowest and of the widest network."""
    runs = of(records, NETWORK)
    ends = estimate(runs, lambda record: float(record.rows[0]["test_error"])), estimate(runs, last("test_error"))
    return f"From the narrowest to the widest network test error goes from {' to '.join(map(_percent, ends))}."


def _percent(found: Estimate | None) -> str:
    return in_figures(found, ".1%")


PARTS = {
    "bias": "bias²",
    "variance": "variance, all of it",
    "optimisation_variance": "variance, from the training",
    "sampling_variance": "variance, from the sample",
}


def _parts(records: Records) -> list[Point]:
    runs = of(records, NETWORK)
    return [
        point for name, series in PARTS.items() for point in curve(runs, "width", name, series=series, positive=True)
    ]


WIDTH = Axis("units in the hidden layer", scale="log")
FIGURES = (
    Figure(
        "parts",
        "Bias and variance against width",
        WIDTH,
        Axis("part of the mean squared error"),
        _parts,
        lambda records: f"{_variance(records)} {_bias(records)}",
    ),
    Figure(
        "error",
        "Test error against width",
        WIDTH,
        Axis("test error", percent=True),
        lambda records: curve(of(records, NETWORK), "width", "test_error", series="test error"),
        _error,
    ),
)
