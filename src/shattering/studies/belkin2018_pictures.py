"""Double descent in pictures, and the answer."""

from __future__ import annotations

from functools import partial

from shattering.core.curves import Number, curve, ended, estimate, in_figures, last, swept
from shattering.core.record import Record
from shattering.core.statistics import median_interval
from shattering.core.study import Axis, Figure, Point, Records
from shattering.studies.belkin2018_records import (
    BUMP,
    CURVE,
    DESCENT,
    HEIGHT,
    NORM,
    PEAK,
    UNREGULARISED,
    net_peak,
    net_threshold,
    nets,
    of,
    parameters_for_each,
    setting,
)


def curves(records: Records, name: str) -> list[Point]:
    """A number of all random feature curves against N/n, medians over seeds."""
    labels = dict.fromkeys(setting(record) for record in records if record.spec.model.name == CURVE)
    draw = partial(curve, x="ratio", y=name, positive=True, interval=median_interval)
    return [point for label in labels for point in draw(of(records, label), series=label)]


def net_points(records: Records) -> list[Point]:
    """Training and test loss of the nets against parameters over n·K."""
    return [
        point
        for name, kind in (("test_loss", "test"), ("train_loss", "train"))
        for point in swept(
            nets(records),
            parameters_for_each,
            last(name),
            series="fully connected net",
            kind=kind,
            positive=True,
            interval=median_interval,
        )
    ]


def _nearest_dependence(record: Record) -> float | None:
    rows = [row for row in record.rows if "smallest_singular_value" in row]
    return float(min(rows, key=lambda row: row["smallest_singular_value"])["ratio"]) if rows else None


def _each(records: Records, number: Number, digits: str) -> str:
    told = {name: estimate(of(records, name), number, interval=median_interval) for name in UNREGULARISED}
    return ", ".join(f"{found.value:{digits}} ({name})" for name, found in told.items() if found) or "no curve yet"


def answer(records: Records) -> str:
    """Where the peak lies, how much lower the curve ends, and what ridge and nets do."""
    if not ended(of(records, "Fourier")):
        return "No curve of random features has ended yet. Run the same command again to go on."
    ridge = estimate(of(records, "ReLU, ridge"), BUMP, interval=median_interval)
    where, fall = _each(records, PEAK, ".3g"), _each(records, DESCENT, ".0%")
    return (
        f"The test MSE of the least-norm solution is largest at N/n = {where}, and its test error ends below its first "
        f"minimum by {fall}. With a ridge the largest test MSE near and beyond N = n is {in_figures(ridge, '.2f')} of "
        f"the smallest before; {_nets(records)}."
    )


def _nets(records: Records) -> str:
    """Where the nets fit and peak, as a clause."""
    place, left, end = net_threshold(records), net_peak(records, "left"), net_peak(records, "end")
    fit = (
        "no fully connected net has fitted 99% of its examples"
        if place is None
        else f"fully connected nets fit 99% of their examples from {place.value:.2g} n·K parameters on"
    )
    if left is None or end is None:
        return fit
    return (
        f"{fit}, and their test loss at the peak is {left.value:.2g} times the minimum left of it and "
        f"{end.value:.2g} times that of the widest"
    )


RATIO = Axis("features for each training example, N/n", scale="log")

FIGURES = (
    Figure(
        "error",
        "Test error of least squares on random features",
        RATIO,
        Axis("test error", percent=True),
        lambda records: curves(records, "test_error"),
        lambda records: f"End below the first minimum by {_each(records, DESCENT, '.0%')}.",
    ),
    Figure(
        "mse",
        "Test MSE of the same",
        RATIO,
        Axis("mean squared distance to the one-hot label", scale="log"),
        lambda records: curves(records, "test_mse"),
        lambda records: f"MSE at N = n over first minimum and end: {_each(records, HEIGHT, ',.0f')}.",
    ),
    Figure(
        "norm",
        "Norm of the solution",
        RATIO,
        Axis("norm of the weights, features of expected squared length 1", scale="log"),
        lambda records: curves(records, "norm"),
        lambda records: f"The norm is largest at N/n = {_each(records, NORM, '.3g')}.",
    ),
    Figure(
        "singular",
        "Smallest singular value of the features",
        RATIO,
        Axis("smallest singular value", scale="log"),
        lambda records: curves(records, "smallest_singular_value"),
        lambda records: (
            f"The features come closest to being dependent at N/n = {_each(records, _nearest_dependence, '.3g')}; the "
            f"test MSE is largest at N/n = {_each(records, PEAK, '.3g')}."
        ),
    ),
    Figure(
        "nets",
        "Fully connected nets, squared loss",
        Axis("parameters over n·K", scale="log"),
        Axis("loss (half the squared distance)", scale="log"),
        net_points,
        lambda records: f"{_nets(records)[0].upper()}{_nets(records)[1:]}.",
    ),
)
