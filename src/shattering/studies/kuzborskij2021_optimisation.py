"""Kuzborskij et al. (2021): the smallest positive eigenvalue of the covariance, and double descent of descent."""

from __future__ import annotations

from typing import Any

from shattering.core.curves import Number, at_place, curve, ended, place_of_largest
from shattering.core.formula_claims import above, agreement, below, compared, mostly
from shattering.core.formula_settings import mean_of, runs_of
from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.core.study import Axis, Estimate, Figure, Paper, Point, Records, Request, Study, refuse_models, register
from shattering.simulations.descent_least_squares import TIMES
from shattering.simulations.registry import simulated

PAPER = Paper(
    authors="Kuzborskij et al.",
    year=2021,
    title="On the role of optimization in double descent: a least squares study",
    venue="NeurIPS",
    url="https://arxiv.org/abs/2107.12685",
)

ALL, USED, LARGE = "labels use all features", "labels use the same features", "five times as many examples"

SETTINGS: dict[str, dict[str, Any]] = {
    ALL: {},
    USED: {"target": "used features"},
    LARGE: {"examples": 100, "repetitions": 5},
}
SEEDS = {"smoke": 1, "small": 8, "paper": 100}
of = runs_of({ALL: {}, USED: {"target": "used features"}, LARGE: {"examples": 100}})


def specs(request: Request) -> list[RunSpec]:
    """Every setting for every seed; n is the paper's at every scale, the number of repetitions not."""
    refuse_models(request, "kuzborskij2021-optimisation simulates least squares; leave --models out.")
    return [
        simulated("descent_least_squares", seed, **(fields | ({"repetitions": 4} if request.scale == "smoke" else {})))
        for seed in range(request.seeds or SEEDS[request.scale])
        for name, fields in SETTINGS.items()
        if not (request.scale == "smoke" and name == LARGE)
    ]


def peak_over_ends(steps: int) -> Number:
    """The risk at as many features as examples beside the larger of those at a half of it and at five times it."""

    def number(record: Record) -> float | None:
        peak, few, many = (at_place(f"risk_{steps}", ratio=ratio)(record) for ratio in (1.0, 0.5, 5.0))
        return peak / max(few, many) if peak and few and many else None

    return number


def grows(records: Records) -> Estimate | None:
    """The peak's height after a million steps beside that after a hundred."""

    def number(record: Record) -> float | None:
        late, early = peak_over_ends(TIMES[-1])(record), peak_over_ends(TIMES[0])(record)
        return late / early if late and early else None

    return mean_of(of(ALL), number)(records)


def dips_at_threshold(record: Record) -> bool:
    """Whether the smallest positive eigenvalue is smallest within one place of as many features as examples."""
    rows = list(record.rows)
    places = [row["ratio"] for row in rows]
    lowest = min(range(len(rows)), key=lambda index: rows[index]["simulated_eigenvalue"])
    return bool(abs(lowest - min(range(len(rows)), key=lambda index: abs(places[index] - 1))) <= 1)


def bounded(record: Record) -> bool:
    """Whether the mean risk lies below the mean bound at every number of features and every time, but for rounding."""
    return all(row[f"risk_{steps}"] <= row[f"bound_{steps}"] + 1e-12 for row in record.rows for steps in TIMES)


def added_by_target(records: Records) -> Estimate | None:
    """The peak's height where labels depend on all features beside that where they depend on those used."""
    return compared(records, of(ALL), of(USED), peak_over_ends(10_000), lambda left, right: left / right)


CLAIMS = (
    mostly(
        source="Smallest eigenvalue, n = 20", quantity="it is smallest at d = n, within one place",
        runs=of(ALL), seen=dips_at_threshold, provenance="Q-text",
    ),
    mostly(
        source="Smallest eigenvalue, n = 100", quantity="it is smallest at d = n, within one place",
        runs=of(LARGE), seen=dips_at_threshold, provenance="Q-text",
    ),
    *(
        agreement(
            source=f"Bai and Yin's limit, n = 100, {words}", quantity="smallest positive eigenvalue", runs=of(LARGE),
            simulated="simulated_eigenvalue", formula="formula_eigenvalue", axis="ratio", tolerance=0.3,
            provenance="Q-text", rows=rows,
        )
        for words, rows in (
            ("d from 2n on", lambda row: row["ratio"] >= 2), ("d up to n/5", lambda row: row["ratio"] <= 0.2)
        )
    ),
    mostly(
        source="Theorem for noise-free labels", quantity="the bound lies above the risk at every d and every time",
        runs=of(USED), seen=bounded, provenance="Q-text",
    ),
    above(
        source="Synthetic experiment, labels depend on all features", provenance="V", unit="x",
        quantity="risk at d = n beside the larger of those at d = n/2 and d = 5n, after 10,000 steps",
        estimate=mean_of(of(ALL), peak_over_ends(10_000)), bound=1.5,
    ),
    above(
        source="Synthetic experiment, labels depend on all features", provenance="V", unit="x",
        quantity="that height after a million steps beside that after a hundred", estimate=grows, bound=2.0,
    ),
    above(
        source="Optimisation term (1 - αl)²ᵀ, T = 1000", quantity="place of its peak, features per example",
        estimate=mean_of(of(USED), place_of_largest("optimisation", "ratio")), bound=0.9, provenance="V", unit="x",
    ),
    below(
        source="Control: labels depend on the features used", provenance="V", unit="x",
        quantity="risk at d = n beside the larger of those at d = n/2 and d = 5n, after 10,000 steps: no peak",
        estimate=mean_of(of(USED), peak_over_ends(10_000)), bound=1.0,
    ),
)  # fmt: skip


def risk_points(records: Records) -> list[Point]:
    """Risk, and the bound where it is meant to hold, against features per example, a panel for each kind of labels."""
    risks = [
        point
        for name in (ALL, USED)
        for steps in TIMES
        for point in curve(
            of(name)(records), "ratio", f"risk_{steps}", series=f"{steps:,} steps", kind="risk", panel=name
        )
        if point.y > 1e-6
    ]
    bounds = curve(of(USED)(records), "ratio", "bound_1000", series="1,000 steps", kind="bound", panel=USED)
    return risks + [point for point in bounds if point.y > 1e-6]


def eigenvalue_points(records: Records) -> list[Point]:
    """The smallest positive eigenvalue and its limit, n = 20 and n = 100."""
    return [
        point
        for name, series in ((ALL, "n = 20"), (LARGE, "n = 100"))
        for key, kind in (("formula", "limit"), ("simulated", "simulation"))
        for point in curve(of(name)(records), "ratio", f"{key}_eigenvalue", series=series, kind=kind, positive=True)
    ]


def answer(records: Records) -> str:
    """Whether there is a peak, when, and without misspecification."""
    peak, control = (mean_of(of(name), peak_over_ends(10_000))(records) for name in (ALL, USED))
    if peak is None or control is None:
        return "Both kinds of labels must be run before there is an answer. Run the same command again to go on."
    used = ended(of(USED)(records))
    dips = sum(map(dips_at_threshold, used))
    return (
        f"Where labels depend on features not used, the risk at d = n is {peak.value:.1f} times that at the ends after "
        f"10,000 steps. Where they depend on the used ones it is {control.value:.2g} times"
        f"{', no peak' if control.value <= 1 else ''}; there the smallest eigenvalue is smallest within a "
        f"place of d = n in {dips} of {len(used)} runs."
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    return (
        "Only the synthetic experiment is run; the paper's networks on MNIST and Fashion-MNIST are not.",
        "Risk is exact for each fit in place of 10,000 held-out points, and descent is in closed form.",
        "Without noise, labels that depend on the features used give no peak; the peak comes from those that are not.",
    )


study = register(
    Study(
        name="kuzborskij2021-optimisation",
        paper=PAPER,
        question="Does the smallest eigenvalue that gradient descent meets make double descent?",
        datasets=("drawn",),
        specs=specs,
        claims=CLAIMS,
        figures=(
            Figure("risk", "Excess risk after so many steps", Axis("features / examples", "log"),
                   Axis("excess risk", "log"), risk_points, answer),
            Figure("eigenvalue", "Smallest positive eigenvalue", Axis("features / examples", "log"),
                   Axis("eigenvalue", "log"), eigenvalue_points, answer),
        ),
        answer=answer,
        differences=differences,
        choices=(
            ("features", "standard normal numbers truncated to [-1, 1], variance 0.291; 5 n of them"),
            ("labels", "‖w*‖ = 1, w* uniform in direction, drawn anew for each data set; no noise"),
            ("descent", "step size 0.05 from w₀ ~ N(0, I/d)"),
            ("zero", "eigenvalues below 10⁻¹⁰ of the largest"),
        ),
    )
)  # fmt: skip
