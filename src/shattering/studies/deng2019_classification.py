"""Deng, Kammoun & Thrampoulidis (2019): double descent of classification, its curves predicted exactly."""

from __future__ import annotations

from typing import Any

from shattering.core.curves import Number, at_place, holds_within
from shattering.core.formula_claims import above, agreement, mostly
from shattering.core.formula_settings import curves_beside, mean_of, runs_of, upright
from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.core.study import Axis, Claim, Figure, Paper, Point, Records, Request, Study, refuse_models, register
from shattering.simulations.registry import simulated

PAPER = Paper(
    authors="Deng, Kammoun & Thrampoulidis",
    year=2019,
    title="A model of double descent for high-dimensional binary linear classification",
    venue="Information and Inference",
    url="https://arxiv.org/abs/1911.05822",
)

MIXTURE, LOGISTIC, CONSTANT = "Gaussian mixture", "logistic labels", "Gaussian mixture, signal constant"

SETTINGS: dict[str, dict[str, Any]] = {
    MIXTURE: {},
    LOGISTIC: {"world": "logistic", "strength": 5.0},
    CONSTANT: {"profile": "constant", "strength": 1.0},
}
SIZES: dict[str, dict[str, int]] = {
    "smoke": {"examples": 30, "repetitions": 2},
    "small": {"examples": 300, "repetitions": 12},
    "paper": {"examples": 1000, "repetitions": 10},
}
SEEDS = {"smoke": 1, "small": 8, "paper": 20}
TOLERANCE = 0.05

of = runs_of(SETTINGS)


def specs(request: Request) -> list[RunSpec]:
    """Every setting for every seed."""
    refuse_models(request, "deng2019-classification fits linear classifiers; leave --models out.")
    return [
        simulated("margin_classifiers", seed, **(SIZES[request.scale] | fields))
        for seed in range(request.seeds or SEEDS[request.scale])
        for fields in SETTINGS.values()
    ]


def crossing(record: Record) -> float | None:
    """Where the ratio of features to examples passes the threshold of the signal seen there: κ* of the joined curve."""
    return next((float(row["ratio"]) for row in record.rows if row["ratio"] >= row["threshold"]), None)


def first_separable(record: Record) -> float | None:
    """The smallest ratio at which at least half of the data sets are separable, beside κ*."""
    place = next((float(row["ratio"]) for row in record.rows if row["separable"] >= 0.5), None)
    threshold = crossing(record)
    return place / threshold if place and threshold else None


def peak(kind: str) -> Number:
    """Where between 0.6 and 1.6 κ* the error is largest beside the straight line between its values there, over κ*."""

    def place(record: Record) -> float | None:
        threshold = crossing(record)
        if threshold is None:
            return None
        rows = [row for row in record.rows if 0.6 * threshold <= row["ratio"] <= 1.6 * threshold]
        if len(rows) < 3:
            return None
        first, final = rows[0], rows[-1]
        slope = (final[f"{kind}_error"] - first[f"{kind}_error"]) / (final["ratio"] - first["ratio"])
        best = max(rows, key=lambda row: row[f"{kind}_error"] - slope * row["ratio"])
        return float(best["ratio"]) / threshold

    return place


def ratio_of(above_at: float, below_at: float) -> Number:
    """The error at one number of features per example beside that at another."""

    def number(record: Record) -> float | None:
        one, other = (at_place("simulated_error", ratio=ratio)(record) for ratio in (above_at, below_at))
        return one / other if one and other else None

    return number


def descends_twice(record: Record) -> bool | None:
    """Whether the error falls, rises to the threshold and then falls below its first minimum."""
    threshold = crossing(record)
    if threshold is None:
        return None
    errors = [(row["ratio"], row["simulated_error"]) for row in record.rows]
    first = min((error for ratio, error in errors if ratio < 0.9 * threshold), default=None)
    top = max((error for ratio, error in errors if 0.9 * threshold <= ratio <= 1.3 * threshold), default=None)
    second = min((error for ratio, error in errors if ratio > 1.3 * threshold), default=None)
    return None if first is None or top is None or second is None else errors[0][1] > first < top > second < first


def _near_threshold(kind: str, what: str) -> Claim:
    estimate = mean_of(of(MIXTURE), peak(kind) if kind != "separable" else first_separable)
    effect = holds_within(estimate, "within 15% of κ*", high=1.15)
    return Claim(f"Threshold, {MIXTURE}", what, 1.0, 0.15, "x", "V", "drawn", estimate, effect)


CLAIMS = (
    *(
        agreement(
            source=f"Predicted curve, {name}", quantity="test error", runs=of(name), simulated="simulated_error",
            formula="formula_error", axis="ratio", tolerance=TOLERANCE,
        )
        for name in SETTINGS
    ),
    mostly(
        source=f"Double descent, {MIXTURE}", provenance="Q-abs",
        quantity="the error falls, rises to the threshold, and falls below its first minimum",
        runs=of(MIXTURE), seen=descends_twice,
    ),
    above(
        source=f"Double descent, {MIXTURE}", quantity="error at κ = 0.3, near κ*, beside that at κ = 2",
        estimate=mean_of(of(MIXTURE), ratio_of(0.3, 2.0)), bound=1.0, provenance="Q-abs", unit="x",
    ),
    _near_threshold("simulated", "place of the simulated peak beside κ*"),
    _near_threshold("separable", "features per example from which half of the data sets are separable, beside κ*"),
    above(
        source="Control: all the signal in the first features",
        quantity="error at κ = 2 beside that at κ = 0.3: no second descent",
        estimate=mean_of(of(CONSTANT), ratio_of(2.0, 0.3)), bound=1.0, provenance="V", unit="x",
    ),
    above(
        source="Control: all the signal in the first features",
        quantity="error at κ = 0.3 beside that at κ = 0.05: no first descent",
        estimate=mean_of(of(CONSTANT), ratio_of(0.3, 0.05)), bound=1.0, provenance="V", unit="x",
    ),
)  # fmt: skip


def error_points(records: Records) -> list[Point]:
    """Error against features per example, by formula and simulated, a panel for each world with its threshold."""
    panels = {name: of(name) for name in SETTINGS}
    points = curves_beside(records, panels, "ratio", {"error": "test error"})
    places = {name: None if (at := mean_of(of(name), crossing)(records)) is None else at.value for name in SETTINGS}
    return points + upright(points, places, "threshold κ*")


def answer(records: Records) -> str:
    """How near theory and simulation are, and what the error does."""
    agreements = dict(zip(SETTINGS, CLAIMS, strict=False))  # the first claims, one for each setting
    apart = {name: found.value for name, claim in agreements.items() if (found := claim.estimate(records))}
    fall = mean_of(of(MIXTURE), ratio_of(0.3, 2.0))(records)
    if not apart or fall is None:
        return "The mixture has not been run yet. Run the same command again to go on."
    farthest = max(apart, key=lambda name: apart[name])
    return (
        f"Predicted curves are at most {apart[farthest]:.1%} away from simulated ones ({farthest}: the farthest of "
        f"{len(apart)}). In the {MIXTURE} the error near the threshold is {fall.value:.2f} times that at two features "
        "for each example."
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    return (
        "How the signal grows with the features is ours: s² = r² (1 - (1 + κ)⁻²); the paper's profile was not seen.",
        "Gradient descent is replaced by where it ends: Newton's method, or the largest margin, computed exactly.",
        f"{SIZES[request.scale]['examples']} examples, where the formula is for infinitely many.",
    )


study = register(
    Study(
        name="deng2019-classification",
        paper=PAPER,
        question="Does the classification error of linear models descend twice, and can its curve be predicted?",
        datasets=("drawn",),
        specs=specs,
        claims=CLAIMS,
        figures=(
            Figure("error", "Test error against features per example", Axis("features / examples, κ", "log"),
                   Axis("test error", percent=True), error_points, answer),
        ),
        answer=answer,
        differences=differences,
        choices=(
            ("strength", "r = 1.5 for the mixture, 5 for logistic labels; 1 for the control"),
            ("intercept", "none; both classes are equally likely"),
            ("test error", "exact for each classifier, from its angle with the signal"),
            ("peak", "where the error lies highest above the chord between 0.6 and 1.6 κ*"),
        ),
    )
)  # fmt: skip
