"""What Nakkiran et al. (2020) is held to: numbers of each run, and the pictures of the best ridge."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal

from shattering.core.curves import EffectOf, curve, ended, estimate, holds_if, holds_within, in_figures, number_claim
from shattering.core.record import Record
from shattering.core.statistics import Interval, mean_interval, median_interval
from shattering.core.study import Axis, Claim, Figure, Provenance, Records
from shattering.measures.double_descent import bump, peak_height

FACTORS = {"no ridge": 0.0, "a tenth of the best": 0.1, "the best ridge": 1.0, "ten times the best": 10.0}
AXES = {"examples": "more examples", "features": "more projected features"}
CURVE = "random_feature_curve"
TUNED, FREE = "ReLU features, tuned ridge", "ReLU features, no ridge"


def setting(record: Record) -> tuple[str, str]:
    """Axis and ridge of a run."""
    fields = record.spec.model.fields
    if record.spec.model.name == CURVE:
        return "random features", TUNED if fields.get("ridge") else FREE
    factor = fields.get("factor", 1.0)
    return fields.get("axis", "examples"), next(name for name, value in FACTORS.items() if value == factor)


def of(records: Records, axis: str, ridge: str) -> list[Record]:
    """The runs of one setting."""
    return [record for record in records if setting(record) == (axis, ridge)]


def largest_rise(record: Record) -> float | None:
    """The largest ratio of a risk to that at the place before; below 1 where it only falls."""
    risks = [float(row["risk"]) for row in record.rows if "risk" in row]
    return max((after / before for before, after in pairwise(risks)), default=None)


def disagreement(record: Record) -> float | None:
    """Mean over places of measured risk over formula, less 1."""
    found = [row["risk"] / row["formula"] - 1 for row in record.rows if row.get("formula")]
    return sum(found) / len(found) if found else None


def best_factor(record: Record) -> float | None:
    """Geometric mean over places of the best ridge found by search over that of the formula."""
    product, rows = 1.0, [row for row in record.rows if "best_factor" in row]
    for row in rows:
        product *= row["best_factor"]
    return product ** (1 / len(rows)) if rows else None


BUMP = bump("risk", "ratio")
FEATURE_BUMP = bump("test_mse", "ratio")


def _claim(
    axis: str,
    ridge: str,
    source: str,
    quantity: str,
    provenance: Provenance,
    number: Callable[[Record], float | None],
    effect: EffectOf,
    published: tuple[float, float] | None = None,
    interval: Callable[[Any], Interval] = mean_interval,
) -> Claim:
    return number_claim(
        lambda records: of(records, axis, ridge),
        number,
        effect,
        source=source,
        quantity=f"{AXES.get(axis, axis)}, {ridge}: {quantity}",
        provenance=provenance,
        data="mnist",
        published=published,
        interval=interval,
    )


def _claims() -> tuple[Claim, ...]:
    falls = partial(holds_within, statement="at most 1: risk never rises", high=1.0)
    found = []
    for axis in AXES:
        best = partial(_claim, axis, "the best ridge")
        near = partial(holds_within, statement="within 10% of the formula's", low=0.9, high=1.1)
        agree = partial(holds_within, statement="within 2%", low=-0.02, high=0.02)
        formula = "λ = dσ²/‖β‖²" if axis == "examples" else "λ = [pσ² + (p - d)‖θ‖²]/‖θ‖²"
        known: Provenance = "Q-thm" if axis == "examples" else "D"
        found += [
            best("Exact risk", "measured risk over formula, less 1", known, disagreement, agree, (0.0, 0.02)),
            best(f"Best ridge, {formula}", "best ridge by search over formula", known, best_factor, near, (1.0, 0.1)),
            best("Monotone at the best ridge", "largest rise from place to place", "Q-thm", largest_rise, falls),
        ]
        peak = partial(holds_if, statement="above 5: a peak", above=5.0)
        source = "Control: without ridge there is a peak"
        found.append(
            _claim(axis, "no ridge", source, "peak over the first minimum", "V", BUMP, peak, None, median_interval)
        )
    more = "Over-regularised: any larger ridge is monotone too"
    found.append(_claim("examples", "ten times the best", more, "largest rise", "Q-thm", largest_rise, falls))
    less = "Under-regularised: a tenth of the best leaves a bump"
    left = partial(holds_if, statement="above 1", above=1.0)
    found.append(_claim("examples", "a tenth of the best", less, "peak over the first minimum", "V", BUMP, left))
    flat = partial(holds_within, statement="at most 1.1, so no peak", high=1.1)
    source = "Random ReLU features: a tuned ridge flattens the peak"
    quantity, axis = "largest test MSE near and beyond n over the smallest before", "random features"
    found.append(_claim(axis, TUNED, source, quantity, "Q-text", FEATURE_BUMP, flat, None, median_interval))
    peak = partial(holds_if, statement="above 5: a peak", above=5.0)
    source, number = "Control: random ReLU features without ridge", peak_height("test_mse", "ratio")
    found.append(
        _claim(axis, FREE, source, "test MSE at N = n over minimum and end", "V", number, peak, None, median_interval)
    )
    return tuple(found)


def _risks(axis: str, name: str, ridges: tuple[str, ...], scale: Literal["linear", "log"]) -> Figure:
    def told(records: Records, ridge: str, digits: str = ",.0f") -> str:
        number = BUMP if ridge == "no ridge" else largest_rise
        return in_figures(estimate(of(records, axis, ridge), number, interval=median_interval), digits)

    draw = partial(curve, positive=True, interval=median_interval)
    title = "examples for each dimension, n/d" if axis == "examples" else "features for each example, d/n"
    return Figure(
        f"{name}-{axis}",
        f"Risk of ridge regression with {AXES[axis]}, measured and by formula",
        Axis(title, scale="log"),
        Axis("risk, noise included", scale=scale),
        lambda records: [
            point
            for ridge in ridges
            for name, kind in (
                ("risk", "measured"),
                ("formula", "exact formula"),
                ("limit", "limit"),
            )
            for point in draw(of(records, axis, ridge), "ratio", name, series=ridge, kind=kind)
        ],
        lambda records: (
            f"Without ridge the risk rises to {told(records, 'no ridge')} times its first minimum; at the best ridge "
            f"the largest step is a factor of {told(records, 'the best ridge', '.3f')}."
        ),
    )


def _feature_reading(records: Records) -> str:
    found = [
        estimate(of(records, "random features", ridge), FEATURE_BUMP, interval=median_interval)
        for ridge in (FREE, TUNED)
    ]
    told = [in_figures(each, ".3g") for each in found]
    return (
        f"Largest test MSE near and beyond N = n over the smallest before: {told[0]} without ridge, {told[1]} with a "
        "ridge chosen on the training examples at each N."
    )


RISK, PEAK = "risk", "peak"
CHOSEN: tuple[tuple[str, tuple[str, ...], Literal["linear", "log"]], ...] = (
    (PEAK, ("no ridge", "the best ridge"), "log"),
    (RISK, ("a tenth of the best", "the best ridge", "ten times the best"), "linear"),
)
FIGURES_OF = {(axis, name): _risks(axis, name, ridges, scale) for axis in AXES for name, ridges, scale in CHOSEN}

FIGURES = (
    *FIGURES_OF.values(),
    Figure(
        "random-features",
        "Random ReLU features of real images, 18% wrong labels",
        Axis("features for each training example, N/n", scale="log"),
        Axis("test MSE", scale="log"),
        lambda records: [
            point
            for ridge in (FREE, TUNED)
            for point in curve(
                of(records, "random features", ridge),
                "ratio",
                "test_mse",
                series=ridge,
                positive=True,
                interval=median_interval,
            )
        ],
        _feature_reading,
    ),
)


def answer(records: Records) -> str:
    """Whether the best ridge made the risk fall throughout, and what it did to random features."""
    if not ended(of(records, "examples", "the best ridge")):
        return "No run at the best ridge has ended yet. Run the same command again to go on."
    first = " ".join(f"With {AXES[axis]}: {FIGURES_OF[axis, PEAK].reading(records)}" for axis in AXES)
    return f"{first} Random features: {_feature_reading(records)}"


CLAIMS = _claims()
