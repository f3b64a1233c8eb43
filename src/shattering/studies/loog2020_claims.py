"""What the prehistory of double descent is held to: numbers of each curve, and the pictures."""

from __future__ import annotations

from functools import partial
from typing import Any

from shattering.core.curves import (
    EffectOf,
    Number,
    at_place,
    curve,
    ended,
    estimate,
    holds_if,
    holds_within,
    number_claim,
    place_of_largest,
)
from shattering.core.record import Record
from shattering.core.study import Axis, Claim, Figure, Point, Provenance, Records
from shattering.measures.double_descent import bump, second_descent

DATA = "drawn"
RIDGES = {"pseudo-inverse": 0.0, "ridge": 1.0}


def of(records: Records, axis: str, name: str = "pseudo-inverse") -> list[Record]:
    """The runs along one axis, by the pseudo-inverse or with a ridge."""

    def fits(fields: dict[str, Any]) -> bool:
        return (fields.get("axis", "examples"), fields.get("ridge", 0.0)) == (axis, RIDGES[name])

    return [record for record in records if fits(record.spec.model.fields)]


def first_minimum(record: Record) -> float | None:
    """n/d at the smallest error of the learning curve before the peak."""
    rows = [row for row in record.rows if row.get("ratio", 2) < 1]
    return float(min(rows, key=lambda row: row["error"])["ratio"]) if rows else None


def excess_at_end(record: Record) -> float | None:
    """Error at the last place over the Bayes error there."""
    return float(record.last["error"] / record.last["bayes"]) if record.last.get("bayes") else None


def rise(record: Record) -> float | None:
    """Error at n = d over that at n = 0.4 d."""
    top, before = at_place("error", ratio=1.0)(record), at_place("error", ratio=0.4)(record)
    return top / before if top and before else None


def disagreement(record: Record) -> float | None:
    """Mean distance of error and limit, away from the peak, where the limit is sharper than any sample."""
    rows = [row for row in record.rows if "ratio" in row and abs(row["ratio"] - 1) > 0.3]
    return sum(abs(row["error"] - row["formula"]) for row in rows) / len(rows) if rows else None


BUMP = bump("error", "ratio", 0.6)
LEARNING, FEATURE = "learning curve", "feature curve"
AXES = {LEARNING: "examples", FEATURE: "features"}


def _claim(
    which: str,
    source: str,
    quantity: str,
    known: Provenance,
    number: Number,
    effect: EffectOf,
    published: tuple[float, float] | None = None,
    name: str = "pseudo-inverse",
) -> Claim:
    return number_claim(
        lambda records: of(records, AXES[which], name),
        number,
        effect,
        source=source,
        quantity=f"{which}, {name}: {quantity}",
        provenance=known,
        data=DATA,
        published=published,
    )


def _value(which: str, source: str, place: dict[str, float], published: float, tolerance: float) -> Claim:
    axis, at = next(iter(place.items()))
    near = partial(
        holds_within,
        statement=f"within {tolerance:g} of {published:g}",
        low=published - tolerance,
        high=published + tolerance,
    )
    letter = "n" if axis == "examples" else "p"
    quantity = f"error at {letter} = {at:g}"
    return _claim(which, source, quantity, "V", at_place("error", **place), near, (published, tolerance))


SIMULATED = "An independent simulation with 200 repetitions"
CLAIMS = (
    _claim(
        LEARNING,
        "Pseudo-inverse classifiers: the peak of the learning curve",
        "n/d at the largest error",
        "Q-text",
        place_of_largest("error", "ratio"),
        partial(holds_within, statement="at n = d, up to the one dimension lost to the mean", low=0.99, high=1.05),
        (1.0, 0.05),
    ),
    _claim(
        FEATURE,
        "Duin (1995): the feature curve peaks and falls again",
        "p/n at the largest error",
        "Q-text",
        place_of_largest("error", "ratio"),
        partial(holds_within, statement="at p = n, up to the one dimension lost to the mean", low=0.9, high=1.05),
        (1.0, 0.05),
    ),
    _claim(
        FEATURE,
        "Duin (1995): both sides of the peak improve",
        "part by which the last error lies below the first minimum",
        "Q-text",
        second_descent("error", "ratio"),
        partial(holds_if, statement="above 0", above=0.0),
    ),
    _claim(
        LEARNING,
        SIMULATED,
        "error at n = d over n = 0.4 d",
        "V",
        rise,
        partial(holds_if, statement="above 1.8", above=1.8),
    ),
    _claim(
        LEARNING,
        SIMULATED,
        "n/d at the first minimum",
        "V",
        first_minimum,
        partial(holds_within, statement="about 0.4", low=0.25, high=0.65),
    ),
    _claim(
        LEARNING,
        SIMULATED,
        "error at n = 8 d over the Bayes error",
        "V",
        excess_at_end,
        partial(holds_within, statement="at most 1.3", high=1.3),
    ),
    *(
        _value(LEARNING, SIMULATED, {"examples": n}, error, 0.02)
        for n, error in {20: 0.210, 50: 0.419, 80: 0.213}.items()
    ),
    *(
        _value(FEATURE, SIMULATED, {"features": p}, error, 0.02)
        for p, error in {20: 0.426, 39: 0.485, 200: 0.231}.items()
    ),
    *(
        _claim(
            which,
            "Limit in many dimensions",
            "mean distance of error and formula, away from the peak",
            "D",
            disagreement,
            partial(holds_within, statement="at most 0.01", high=0.01),
        )
        for which in AXES
    ),
    *(
        _claim(
            which,
            "Control: a ridge leaves no peak",
            "largest error from 0.6 on over the smallest before",
            "D",
            BUMP,
            partial(holds_within, statement="at most 1.05, so no peak", high=1.05),
            name="ridge",
        )
        for which in AXES
    ),
)


def _points(which: str, records: Records) -> list[Point]:
    draw: Any = partial(curve, of(records, AXES[which]), "ratio", positive=True)
    return [
        *draw("error", series="pseudo-inverse", kind="simulated"),
        *draw("formula", series="pseudo-inverse", kind="limit in many dimensions"),
        *curve(of(records, AXES[which], "ridge"), "ratio", "error", series="ridge", kind="simulated"),
        *draw("bayes", series="best possible", kind="limit in many dimensions"),
    ]


def _reading(which: str, records: Records) -> str:
    runs = of(records, AXES[which])
    place = estimate(runs, place_of_largest("error", "ratio"))
    fall = estimate(runs, second_descent("error", "ratio"))
    if place is None or fall is None:
        return "The curve has not been run."
    return f"The error is largest at {place.value:.2f}, and ends {fall.value:.0%} below its first minimum."


def answer(records: Records) -> str:
    """Where both curves peak, and how they end."""
    if not ended(of(records, "examples")):
        return "The learning curve has not been run yet. Run the same command again to go on."
    return f"Learning curve, n/d: {_reading(LEARNING, records)} Feature curve, p/n: {_reading(FEATURE, records)}"


def _figure(which: str, title: str, axis: str) -> Figure:
    return Figure(
        which.replace(" ", "-"),
        title,
        Axis(axis, scale="log"),
        Axis("error", percent=True),
        partial(_points, which),
        partial(_reading, which),
    )


FIGURES = (
    _figure(LEARNING, "Pseudo-Fisher discriminant: more examples", "examples for each dimension, n/d"),
    _figure(FEATURE, "Pseudo-Fisher discriminant: more features", "features for each example, p/n"),
)
