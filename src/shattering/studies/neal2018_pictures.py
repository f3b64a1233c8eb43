"""Pictures of bias and variance against width, and what they say."""

from __future__ import annotations

from shattering.core.curves import Number, curve, ended, estimate, in_figures
from shattering.core.record import Record
from shattering.core.study import Axis, Figure, Point, Records
from shattering.measures.curve_shapes import ratio_to_first, ratio_to_largest

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
        f"From the narrowest to the widest network bias² falls to {_told(records, NETWORK, ratio_to_first('bias'))} of "
        f"its value, and the variance to {_told(records, NETWORK, ratio_to_largest('variance'))} of its largest, "
        "after a rise among the narrow ones. The part that comes from the training falls to "
        f"{_told(records, NETWORK, ratio_to_largest('optimisation_variance'))} of its largest."
    )


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
        lambda records: (
            f"The variance ends at {_told(records, NETWORK, ratio_to_largest('variance'))} of its largest, while bias² "
            "falls or stays."
        ),
    ),
    Figure(
        "error",
        "Test error against width",
        WIDTH,
        Axis("test error", percent=True),
        lambda records: curve(of(records, NETWORK), "width", "test_error", series="test error"),
        lambda records: "Wider networks err less, although they fit their samples no better once all are fitted.",
    ),
)
