"""Heckel & Yilmaz (2021): epoch-wise double descent is a sum of U-curves, and matched step sizes remove it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from shattering.core.curves import Runs, curve, ended, estimate
from shattering.core.formula_claims import above, agreement, below, compared, mostly
from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.core.study import Axis, Estimate, Figure, Paper, Point, Records, Request, Study, refuse_models, register
from shattering.simulations.registry import simulated
from shattering.theory.early_stopping import turning_points

PAPER = Paper(
    authors="Heckel & Yilmaz",
    year=2021,
    title="Early stopping in deep networks: double descent and how to eliminate it",
    venue="ICLR",
    url="https://arxiv.org/abs/2007.10099",
)

CONSTANT, SCALED, NOISELESS, FEW = "one step size", "matched step sizes", "no label noise", "one step size, d/n = 0.2"

SETTINGS: dict[str, dict[str, Any]] = {
    CONSTANT: {},
    SCALED: {"second_rate": 43.0},
    NOISELESS: {"noise": 0.0},
    FEW: {"copies": 50, "examples": 500, "noise": 1.0},
}
"""43 is the factor in the authors' notebook; minima at exactly the same step would need 44.4."""

SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"copies": 20, "examples": 1000, "noise": 5.0, "draws": 20},
    "small": {},
    "paper": {"copies": 1, "examples": 10, "noise": 1.0, "draws": 1},
}
"""σ² copies / n is 0.1 in all of them, as in the paper's figure."""

SEEDS = {"smoke": 1, "small": 10, "paper": 200}


def specs(request: Request) -> list[RunSpec]:
    """Every setting for every seed; at the paper's scale two features and ten examples, for which d/n is 0.2 anyway."""
    refuse_models(request, "heckel2020-early-stopping simulates a linear model; leave --models out.")
    return [
        simulated("early_stopped_descent", seed, **(SIZES[request.scale] | fields))
        for seed in range(request.seeds or SEEDS[request.scale])
        for name, fields in SETTINGS.items()
        if not (name == FEW and request.scale == "paper")
    ]


def setting(record: Record) -> str:
    """Which of the settings a run has."""
    fields = record.spec.model.fields
    if fields.get("second_rate", 1.0) != 1.0:
        return SCALED
    if fields.get("noise", 10.0) == 0.0:
        return NOISELESS
    return FEW if fields.get("examples", 10_000) == SETTINGS[FEW]["examples"] else CONSTANT


def of(name: str) -> Runs:
    """The runs of a setting."""

    def runs(records: Records) -> Sequence[Record]:
        return [record for record in records if setting(record) == name]

    return runs


def turns(minima: int, maxima: int, record: Record) -> bool:
    """Whether the simulated risk has so many local minima and maxima along the steps."""
    found = turning_points([row["simulated"] for row in record.rows])
    return (len(found[0]), len(found[1])) == (minima, maxima)


def lowest(record: Record) -> float:
    """The smallest risk along the steps: an oracle's early stopping."""
    return min(float(row["simulated"]) for row in record.rows)


def drop(records: Records) -> Estimate | None:
    """By which fraction matched step sizes lower the smallest risk."""
    return compared(records, of(CONSTANT), of(SCALED), lowest, lambda one, matched: 1 - matched / one)


def excess_at_end(records: Records) -> Estimate | None:
    """How far the simulation lies above the formula at the last step where d/n = 0.2, as a fraction."""
    return estimate(of(FEW)(records), lambda record: record.last["simulated"] / record.last["formula"] - 1)


CLAIMS = (
    agreement(
        source="Section 2, the risk as a sum over features", quantity=f"excess risk, {CONSTANT}, d/n = 0.02",
        runs=of(CONSTANT), simulated="simulated", formula="formula", axis="steps", tolerance=0.05, provenance="Q-auth",
    ),
    agreement(
        source="Section 2, the risk as a sum over features", quantity=f"excess risk, {SCALED}, d/n = 0.02",
        runs=of(SCALED), simulated="simulated", formula="formula", axis="steps", tolerance=0.05, provenance="Q-auth",
    ),
    mostly(
        source="Figure 2, one step size", quantity="two minima of the risk and one maximum between them",
        runs=of(CONSTANT), seen=lambda record: turns(2, 1, record), provenance="Q-auth",
    ),
    mostly(
        source="Figure 2, scaled step size", quantity="a single minimum once the second feature's step size is scaled",
        runs=of(SCALED), seen=lambda record: turns(1, 0, record), provenance="Q-auth",
    ),
    above(
        source="Figure 2, both", quantity="fraction by which matched step sizes lower the smallest risk",
        estimate=drop, bound=0.15, provenance="V", unit="1",
    ),
    mostly(
        source="Control: without label noise", quantity="risk falls at every step, without any minimum before the last",
        runs=of(NOISELESS), seen=lambda record: turns(0, 0, record), provenance="D",
    ),
    below(
        source="Limits of the formula, d/n = 0.2", quantity="excess of the simulated risk over the formula at the end",
        estimate=excess_at_end, bound=0.4, provenance="V", unit="1",
    ),
)  # fmt: skip


def risk_points(records: Records) -> list[Point]:
    """Simulated and predicted risk along the steps, a panel for each setting."""
    return [
        point
        for name in SETTINGS
        for key, series in (("formula", "formula"), ("simulated", "simulation"))
        for point in curve(of(name)(records), "steps", key, series=series, panel=name, positive=True)
    ]


def reading(records: Records) -> str:
    """Where the two minima lie, and the one that remains."""
    runs, scaled = estimate(of(CONSTANT)(records), lowest), estimate(of(SCALED)(records), lowest)
    if runs is None or scaled is None:
        return "One of the two step sizes has no runs yet."
    return (
        f"With one step size {_minima(records, CONSTANT)}, and it is {runs.value:.3f} at best; with matched ones "
        f"{_minima(records, SCALED)}, and it is {scaled.value:.3f} at best."
    )


def _minima(records: Records, name: str) -> str:
    """How many minima along the steps the risk has, run by run."""
    counts = Counter(len(turning_points([row["simulated"] for row in run.rows])[0]) for run in ended(of(name)(records)))
    told = [
        f"{minima} minim{'um' if minima == 1 else 'a'} in {count} of {counts.total()} runs"
        for minima, count in counts.most_common()
    ]
    return f"the risk has {', '.join(told)}"


def answer(records: Records) -> str:
    """Whether the formula holds, and what matching does."""
    lower = drop(records)
    one, matched = (claim.estimate(records) for claim in CLAIMS[:2])
    if lower is None or one is None or matched is None:
        return "Both step sizes must be run before there is an answer. Run the same command again to go on."
    return (
        f"Matching the features' step sizes {'lowers' if lower.value >= 0 else 'raises'} the smallest risk by "
        f"{abs(lower.value):.0%}: with one step size {_minima(records, CONSTANT)}, with matched ones "
        f"{_minima(records, SCALED)}. The sum of U-curves is at most {one.value:.1%} away from simulated descent with "
        f"one step size, {matched.value:.1%} with matched ones."
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    linear = "Only the linear model is run; per-layer step sizes of the two-layer and the convolutional net are not."
    if request.scale == "paper":
        return (linear, "Risk is averaged over 200 draws of inputs and noise, where the paper draws its formula.")
    return (
        linear,
        "Each of the paper's two features is split into 100 (at smoke scale 20) and the noise raised with the number "
        "of examples, so that d/n is 0.02 while the formula's numbers stay the paper's.",
    )


study = register(
    Study(
        name="heckel2020-early-stopping",
        paper=PAPER,
        question="Is double descent along training time a sum of U-curves that matched step sizes would align?",
        datasets=("drawn",),
        specs=specs,
        claims=CLAIMS,
        figures=(
            Figure("risk", "Excess risk along gradient descent", Axis("steps of gradient descent", "log"),
                   Axis("excess risk"), risk_points, reading),
        ),
        answer=answer,
        differences=differences,
        choices=(
            ("features", "deviations 1 and 0.15, coefficients 0.45 and 3, as in the authors' notebook"),
            ("step sizes", "0.1 for both; matched: 43 times that for the second, where equal minima would need 44.4"),
            (
                "where the risk is looked at",
                "16 steps a decade; minima and maxima are those of that grid, ends left out",
            ),
            ("risk", "the exact expectation over new examples, without the noise of their labels"),
        ),
    )
)  # fmt: skip
