"""Adlam & Pennington (2020): the peak is an interaction of data and initialisation; averages over either remove it."""

from __future__ import annotations

from typing import Any

from shattering.core.curves import Number, at_place
from shattering.core.formula_claims import above, agreement, below, mostly
from shattering.core.formula_settings import curves_beside, mean_of, runs_of, upright
from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.core.study import Axis, Claim, Figure, Paper, Point, Records, Request, Study, refuse_models, register
from shattering.simulations.registry import simulated

PAPER = Paper(
    authors="Adlam & Pennington",
    year=2020,
    title="Understanding double descent requires a fine-grained bias-variance decomposition",
    venue="NeurIPS",
    url="https://arxiv.org/abs/2011.03321",
)

LINEAR, ERF, RIDGE = "projections, weak ridge", "erf features, weak ridge", "projections, strong ridge"

SETTINGS: dict[str, dict[str, Any]] = {
    LINEAR: {"ridge": 1e-3},
    ERF: {"features": "erf", "ridge": 3e-3, "noise": 0.1},
    RIDGE: {"ridge": 1.0},
}
SIZES: dict[str, dict[str, int]] = {"smoke": {"examples": 30, "group": 4}, "small": {}, "paper": {"examples": 600}}
SEEDS = {"smoke": 1, "small": 8, "paper": 20}

TOLERANCE = {LINEAR: 0.1, ERF: 0.1, RIDGE: 0.05}
"""Of a part beside the whole error that the formula gives: 150 examples are not infinitely many."""

WORDS = {
    "bias": "bias",
    "init": "initialisation",
    "inputs": "inputs",
    "both": "inputs × initialisation",
    "noise": "label noise",
    "all_three": "label noise × initialisation",
}


def specs(request: Request) -> list[RunSpec]:
    """Every setting for every seed."""
    refuse_models(request, "adlam2020-variance simulates its own regressions; leave --models out.")
    return [
        simulated("random_feature_variance", seed, **(SIZES[request.scale] | fields))
        for seed in range(request.seeds or SEEDS[request.scale])
        for fields in SETTINGS.values()
    ]


of = runs_of(SETTINGS)


def interaction(row: dict[str, Any]) -> float:
    """The parts of the variance that inits and data sets only make together."""
    return float(row["simulated_both"] + row["simulated_all_three"])


def peaks_at_threshold(record: Record) -> bool:
    """Whether the interaction is largest where width and number of examples agree to a tenth."""
    return bool(abs(max(record.rows, key=interaction)["ratio"] - 1) < 0.11)


def rest(record: Record) -> float:
    """The largest of the other parts at any width."""
    return max(float(row[f"simulated_{name}"]) for row in record.rows for name in ("bias", "init", "inputs", "noise"))


def cut(kind: str) -> Number:
    """By which factor a mean over ten predictors lowers the error at the threshold."""

    def factor(record: Record) -> float | None:
        one, mean = at_place("simulated_error", ratio=1.0)(record), at_place(f"simulated_{kind}", ratio=1.0)(record)
        return one / mean if one and mean else None

    return factor


def height(record: Record) -> float | None:
    """The error at the threshold beside that at half the width."""
    peak, before = (at_place("simulated_error", ratio=ratio)(record) for ratio in (1.0, 0.5))
    return peak / before if peak and before else None


def _formulas() -> tuple[Claim, ...]:
    """The whole error, and every part beside the whole error."""
    return tuple(
        agreement(
            source=f"Decomposition, {name}",
            quantity=WORDS.get(part, "excess error") + (" (beside the whole error)" if part in WORDS else ""),
            runs=of(name), simulated=f"simulated_{part}", formula=f"formula_{part}", axis="ratio",
            tolerance=TOLERANCE[name], scale="formula_error",
        )
        for name in SETTINGS
        for part in ("error", *(WORDS if name != RIDGE else ()))
    )  # fmt: skip


CLAIMS = (
    *(
        mostly(
            source=f"Claim on the peak, {name}", quantity="the interaction is largest at width = examples",
            runs=of(name), seen=peaks_at_threshold, provenance="V",
        )
        for name in (LINEAR, ERF)
    ),
    below(
        source=f"Claim on the other parts, {LINEAR}",
        quantity="largest of bias, initialisation, inputs and label noise alone, in variances of the signal",
        estimate=mean_of(of(LINEAR), rest), bound=1.0, provenance="V",
    ),
    *(
        above(
            source=f"Claim on averaging, {LINEAR}", quantity=f"factor by which {words} lowers the error at the peak",
            estimate=mean_of(of(LINEAR), cut(kind)), bound=5.0, provenance="D", unit="x",
        )
        for kind, words in (("ensemble", "an ensemble over 10 inits"), ("bagging", "bagging over 10 data sets"))
    ),
    above(
        source="Claim on the peak", quantity="error at width = examples beside that at half the width, weak ridge",
        estimate=mean_of(of(LINEAR), height), bound=1.5, provenance="V", unit="x",
    ),
    below(
        source="Control: strong ridge", quantity="error at width = examples beside that at half the width",
        estimate=mean_of(of(RIDGE), height), bound=1.0, provenance="D", unit="x",
    ),
    *_formulas(),
)  # fmt: skip


def part_points(records: Records) -> list[Point]:
    """Every part against the width, measured and by formula, a panel for each setting."""
    return _with_threshold(curves_beside(records, {name: of(name) for name in SETTINGS}, "ratio", WORDS))


def error_points(records: Records) -> list[Point]:
    """The error of one predictor and of means over ten, a panel for each setting."""
    words = {"error": "one predictor", "ensemble": "mean over inits", "bagging": "mean over data sets"}
    return _with_threshold(curves_beside(records, {name: of(name) for name in SETTINGS}, "ratio", words, positive=True))


def _with_threshold(points: list[Point]) -> list[Point]:
    return points + upright(points, dict.fromkeys(SETTINGS, 1.0), "width = examples")


def share(record: Record) -> float | None:
    """The interaction's share of the error at the threshold."""
    rows = [row for row in record.rows if row["ratio"] == 1.0]
    return interaction(rows[0]) / float(rows[0]["simulated_error"]) if rows else None


def answer(records: Records) -> str:
    """What the peak consists of, and what averaging does to it."""
    told = mean_of(of(LINEAR), share)(records)
    means = [mean_of(of(LINEAR), cut(kind))(records) for kind in ("ensemble", "bagging")]
    if told is None or means[0] is None or means[1] is None:
        return "The runs with weak ridge are not there yet. Run the same command again to go on."
    return (
        f"At width = examples {told.value:.0%} of the error is the interaction of data and initialisation. "
        f"A mean over ten inits lowers the error there {means[0].value:.1f} times, one over ten data sets "
        f"{means[1].value:.1f} times."
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    return (
        "The paper's limit is a pair of coupled equations; here it is computed from the Gaussian equivalent of the "
        "features, given one draw of them or of the inputs, and for projections in closed form.",
        f"{SIZES[request.scale].get('examples', 150)} examples, where the paper's curves are for infinitely many.",
    )


study = register(
    Study(
        name="adlam2020-variance",
        paper=PAPER,
        question="Which part of the variance makes the peak of double descent, and what removes it?",
        datasets=("drawn",),
        specs=specs,
        claims=CLAIMS,
        figures=(
            Figure("error", "Error of one predictor and of means", Axis("width / examples"),
                   Axis("excess error / variance of the signal", "log"), error_points, answer),
            Figure("parts", "Bias and the parts of the variance", Axis("width / examples"),
                   Axis("part of the error / variance of the signal"), part_points, answer),
        ),
        answer=answer,
        differences=differences,
        choices=(
            ("ridge", "0.001 beside the mean squared error (projections); 0.003 added to the kernel (erf features)"),
            ("labels", "linear in the inputs with variance 1, and noise of variance 0.25 (erf: 0.1)"),
            ("inputs", "normal, 1.5 n of them for projections and 2n/3 for erf features"),
            ("estimator", "ten inits by ten data sets; products of predictors that share one, both or neither"),
        ),
    )
)  # fmt: skip
