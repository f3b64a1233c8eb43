"""What Lee & Cherkassky (2022) is held to, in claims and pictures."""

from __future__ import annotations

from functools import partial
from typing import Any

from shattering.core.curves import (
    EffectOf,
    Number,
    curve,
    ended,
    estimate,
    holds_if,
    holds_within,
    in_figures,
    number_claim,
)
from shattering.core.record import Record
from shattering.core.statistics import median_interval
from shattering.core.study import Axis, Claim, Figure, Point, Provenance, Records
from shattering.measures.double_descent import around, bump, peak_height, rank_correlation

RIDGES = {"least norm": 0.0, "ridge": 0.3}


def of(records: Records, name: str) -> list[Record]:
    """The runs without ridge, ``least norm``, or with it."""
    return [record for record in records if record.spec.model.fields.get("ridge", 0.0) == RIDGES[name]]


def bound_minimum(record: Record) -> float | None:
    """N/n where the bound by the number of features is smallest."""
    rows = [row for row in record.rows if "feature_bound" in row]
    return float(min(rows, key=lambda row: row["feature_bound"])["ratio"]) if rows else None


def norm_bound_at_best(record: Record) -> float | None:
    """The smallest bound by the norm from N = n on; above 1 it says nothing."""
    return min(around(record, "norm_bound", "ratio", 1.0)[1], default=None)


CORRELATION = rank_correlation("squared_norm", "test_error", "ratio")
HEIGHT = peak_height("test_error", "ratio")
BUMP = bump("test_error", "ratio")


def _claim(
    name: str,
    source: str,
    quantity: str,
    known: Provenance,
    number: Number,
    effect: EffectOf,
) -> Claim:
    return number_claim(
        lambda records: of(records, name),
        number,
        effect,
        source=source,
        quantity=f"{name}: {quantity}",
        provenance=known,
        data="mnist",
        interval=median_interval,
    )


CLAIMS = (
    _claim(
        "least norm",
        "Second descent: the norm tells the test error",
        "rank correlation of ‖w‖² and test error over N > n",
        "Q-abs",
        CORRELATION,
        partial(holds_if, statement="above 0.9", above=0.9),
    ),
    _claim(
        "least norm",
        "First descent: the number of features as VC dimension",
        "N/n at the minimum of the bound",
        "Q-abs",
        bound_minimum,
        partial(holds_within, statement="left of N = n", high=0.95),
    ),
    _claim(
        "least norm",
        "The peak between the descents",
        "test error at N = n over first minimum and end",
        "V",
        HEIGHT,
        partial(holds_if, statement="above 1.8", above=1.8),
    ),
    _claim(
        "least norm",
        "The raw bound by the norm says nothing",
        "smallest bound from N = n on",
        "V",
        norm_bound_at_best,
        partial(holds_if, statement="above 1, so it saturates", above=1.0),
    ),
    _claim(
        "ridge",
        "Control: a ridge leaves one descent",
        "largest test error near and beyond n over the smallest before",
        "D",
        BUMP,
        partial(holds_within, statement="at most 1.1, so no peak", high=1.1),
    ),
)


def _points(records: Records, names: dict[str, str], settings: tuple[str, ...]) -> list[Point]:
    draw: Any = partial(curve, x="ratio", positive=True, interval=median_interval)
    return [
        point
        for setting in settings
        for name, series in names.items()
        for point in draw(of(records, setting), y=name, series=series, kind=setting if len(settings) > 1 else "")
    ]


BOUNDS = {
    "test_error": "test error",
    "feature_bound": "bound, h = N + 1",
    "norm_bound": "bound, h = min(N, R²‖w‖²) + 1",
}


def _told(records: Records, name: str, number: Number, digits: str = ".2f") -> str:
    return in_figures(estimate(of(records, name), number, interval=median_interval), digits)


def answer(records: Records) -> str:
    """How well the norm orders the test error, and whether the bound as it stands says anything."""
    if not ended(of(records, "least norm")):
        return "No curve of least norm has ended yet. Run the same command again to go on."
    least = estimate(of(records, "least norm"), norm_bound_at_best, interval=median_interval)
    nothing = ": as a number it says nothing" if least is not None and least.value > 1 else ""
    return (
        f"Beyond N = n the rank correlation of squared norm and test error is "
        f"{_told(records, 'least norm', CORRELATION)}, and the bound by the number of features is smallest at "
        f"N/n = {_told(records, 'least norm', bound_minimum)}. The bound by the norm is at least "
        f"{_told(records, 'least norm', norm_bound_at_best)} from N = n on, where a risk is at most 1{nothing}."
    )


RATIO = Axis("features for each training example, N/n", scale="log")
FIGURES = (
    Figure(
        "error",
        "Test error of two classes on random ReLU features",
        RATIO,
        Axis("test error", percent=True),
        lambda records: _points(records, {"test_error": "test error"}, tuple(RIDGES)),
        lambda records: f"At N = n {_told(records, 'least norm', HEIGHT)} times the first minimum and the end.",
    ),
    Figure(
        "bounds",
        "The bound, with two dimensions",
        RATIO,
        Axis("bound on the risk, and test error", scale="log"),
        lambda records: _points(
            records,
            BOUNDS,
            ("least norm",),
        ),
        lambda records: (
            f"The least bound by the norm from N = n on is {_told(records, 'least norm', norm_bound_at_best)}; above "
            "1 it says nothing. Where the two bounds coincide, R²‖w‖² exceeds N."
        ),
        lambda records: {"nothing is said above": 1.0},
    ),
    Figure(
        "norm",
        "The squared norm of the weights",
        RATIO,
        Axis("‖w‖², features of expected squared length 1", scale="log"),
        lambda records: _points(records, {"squared_norm": "‖w‖²"}, tuple(RIDGES)),
        lambda records: f"Rank correlation with test error over N > n: {_told(records, 'least norm', CORRELATION)}.",
    ),
)
