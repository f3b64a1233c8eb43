"""Atanasov, Zavatone-Veth & Pehlevan (2024): one renormalised ridge κ predicts ridge and random-feature regression."""

from __future__ import annotations

from typing import Any

from shattering.core.curves import at_place, curve, ended
from shattering.core.formula_claims import above, agreement, below
from shattering.core.formula_settings import curves_beside, mean_of, runs_of
from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.core.study import (
    Axis,
    Claim,
    Effect,
    Figure,
    Paper,
    Point,
    Records,
    Request,
    Study,
    refuse_models,
    register,
)
from shattering.simulations.registry import simulated
from shattering.theory.ridge_equivalents import error_exponent, slope

PAPER = Paper(
    authors="Atanasov, Zavatone-Veth & Pehlevan",
    year=2024,
    title="Scaling and renormalization in high-dimensional regression",
    venue="arXiv",
    url="https://arxiv.org/abs/2405.00592",
)

RIDGE, FEATURES, STRONG = "ridge", "random features", "strong ridge"
SLOW, FAST = "a = 2, b = 2", "a = 2, b = 8"

DECADE = {"axis": "decade", "ridge": 0.0, "noise": 0.0, "decay": 2.0}
SETTINGS: dict[str, dict[str, Any]] = {
    RIDGE: {"repetitions": 20},
    FEATURES: {"axis": "features", "repetitions": 6},
    STRONG: {"ridge": 5.0},
    SLOW: DECADE | {"source": 2.0, "repetitions": 5},
    FAST: DECADE | {"source": 8.0, "repetitions": 5},
}
INPUTS = {"smoke": (60, 400), "small": (None, 3000), "paper": (2000, 20_000)}
"""Of the regressions and of the power laws; none: 400."""

SEEDS = {"smoke": 1, "small": 8, "paper": 20}

IDENTITY = ("axis", "ridge", "source")
of = runs_of({name: {key: fields[key] for key in IDENTITY if key in fields} for name, fields in SETTINGS.items()})


def specs(request: Request) -> list[RunSpec]:
    """Every setting for every seed."""
    refuse_models(request, "atanasov2024-ridge simulates ridge regression; leave --models out.")
    few, many = INPUTS[request.scale]
    runs = []
    for seed in range(request.seeds or SEEDS[request.scale]):
        for name, fields in SETTINGS.items():
            inputs = many if name in (SLOW, FAST) else few
            changes = {"repetitions": 1} if request.scale == "smoke" else {}
            own = fields | changes | ({} if inputs is None else {"inputs": inputs})
            runs.append(simulated("ridge_renormalised", seed, **own))
    return runs


def exponent(record: Record) -> float | None:
    """How fast a run's test error falls with the examples."""
    rows = list(record.rows)
    if len({row["place"] for row in rows}) < 2 or min(row["simulated_test"] for row in rows) <= 0:
        return None
    return -slope([row["place"] for row in rows], [row["simulated_test"] for row in rows])


def naive_excess(record: Record) -> float | None:
    """By what fraction the test error at 40 examples exceeds what λ in place of κ gives."""
    found, naive = (at_place(name, place=40)(record) for name in ("simulated_test", "formula_naive"))
    return found / naive - 1 if found and naive else None


def renormalisation(record: Record) -> float | None:
    """κ/λ at 40 examples."""
    return at_place("renormalisation", place=40)(record)


def _exponent_claim(name: str) -> Claim:
    fields = SETTINGS[name]
    published = error_exponent(fields["decay"], fields["source"])
    estimate = mean_of(of(name), exponent)

    def holds(records: Records) -> bool | None:
        found = estimate(records)
        if found is None or found.low is None or found.high is None:
            return None
        inside = abs(found.low - published) <= 0.05 and abs(found.high - published) <= 0.05
        return (
            True if inside else False if min(abs(found.low - published), abs(found.high - published)) > 0.05 else None
        )

    return Claim(
        f"Power laws, s = i⁻ᵃ, s w² = i⁻ᵇ, {name}", "exponent of the test error, 30 to 300 examples, no noise or ridge",
        published, 0.05, "", "D", "drawn", estimate, Effect(f"within 0.05 of {published:g}", holds),
    )  # fmt: skip


def _agreement(name: str, part: str, words: str, tolerance: float = 0.03) -> Claim:
    return agreement(
        source=f"Deterministic equivalent, {name}", quantity=words, runs=of(name), simulated=f"simulated_{part}",
        formula=f"formula_{part}", axis="place", tolerance=tolerance,
    )  # fmt: skip


CLAIMS = (
    _agreement(RIDGE, "test", "test error"),
    _agreement(RIDGE, "train", "training error"),
    _agreement(FEATURES, "test", "test error, given the features"),
    _agreement(FEATURES, "overlap", "overlap of the mean estimator with the target"),
    _agreement(STRONG, "test", "test error"),
    _exponent_claim(SLOW),
    _exponent_claim(FAST),
    above(
        source="Renormalisation, 40 examples", quantity="κ/λ where the ridge is weak", unit="x",
        estimate=mean_of(of(RIDGE), renormalisation), bound=2.0, provenance="D",
    ),
    above(
        source="Renormalisation, 40 examples", unit="1", provenance="D", bound=0.2,
        quantity="test error beyond that with λ in place of κ, weak ridge", estimate=mean_of(of(RIDGE), naive_excess),
    ),
    below(
        source="Control: strong ridge, 40 examples", quantity="κ/λ: nothing is renormalised", unit="x",
        estimate=mean_of(of(STRONG), renormalisation), bound=1.05, provenance="D",
    ),
    below(
        source="Control: strong ridge, 40 examples", unit="1", provenance="D", bound=0.05,
        quantity="test error beyond that with λ in place of κ", estimate=mean_of(of(STRONG), naive_excess),
    ),
)  # fmt: skip


def error_points(records: Records) -> list[Point]:
    """Test and training error, simulated and by formula; for ridge also with λ in place of κ."""
    lines = {"test": "test error", "train": "training error"}
    naive = [
        point
        for name in (RIDGE, STRONG)
        for point in curve(
            of(name)(records), "place", "formula_naive", series="test error, κ = λ", kind="formula", panel=name
        )
    ]
    return curves_beside(records, {name: of(name) for name in (RIDGE, FEATURES, STRONG)}, "place", lines) + naive


def power_points(records: Records) -> list[Point]:
    """Noise-free test error along a decade of examples."""
    return [
        point
        for name in (SLOW, FAST)
        for point in curves_beside(records, {"": of(name)}, "place", {"test": name}, positive=True)
    ]


def answer(records: Records) -> str:
    """How far the formulas are from simulation, and the exponents."""
    apart = [claim.estimate(records) for claim in (CLAIMS[0], CLAIMS[4], CLAIMS[2])]  # weak, strong, features
    fits = [mean_of(of(name), exponent)(records) for name in (SLOW, FAST)]
    if not ended(records) or any(found is None for found in (*apart, *fits)):
        return "Not every setting has been run. Run the same command again to go on."
    weak, strong, features, slow, fast = (found.value for found in (*apart, *fits) if found is not None)
    return (
        f"The test error that κ gives is at most {max(weak, strong):.1%} from simulated ridge regression, weak or "
        f"strong, and {features:.1%} from that on random features. Exponents fitted over a decade are {slow:.2f} and "
        f"{fast:.2f}, predicted 1 and 4."
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    few, many = INPUTS[request.scale]
    return (
        f"Normal inputs only, {few or 400} of them ({many:,} for the exponents); the paper also trains networks.",
        "With random features, errors are predicted given the features and averaged over those drawn.",
    )


study = register(
    Study(
        name="atanasov2024-ridge",
        paper=PAPER,
        question="Does one renormalised ridge predict errors and scaling exponents of high-dimensional regression?",
        datasets=("drawn",),
        specs=specs,
        claims=CLAIMS,
        figures=(
            Figure("errors", "Test and training error", Axis("examples, or random features", "log"),
                   Axis("mean squared error"), error_points, answer),
            Figure("exponents", "Noise-free test error of the shortest interpolant", Axis("examples", "log"),
                   Axis("test error", "log"), power_points, answer),
        ),
        answer=answer,
        differences=differences,
        choices=(
            ("spectrum", "eigenvalues i⁻¹·², target with s w² = i⁻¹·², noise 0.3, λ = 0.02 (strong: 5)"),
            ("convention", "λ beside the mean, not the sum, of squared errors"),
            ("random features", "linear, entries N(0, 1/N), 200 examples"),
            ("exponents", "a = 2 with b = 2 and 8, so that each term of the error is the larger one once"),
        ),
    )
)  # fmt: skip
