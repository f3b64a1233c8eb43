"""Xiao, Pennington & Schoenholz (2020): order trains slowly, chaos predicts nothing, the line between does both."""

from __future__ import annotations

import math

from shattering.core.curves import Number, at_place
from shattering.core.formula_claims import above, agreement, below
from shattering.core.formula_settings import mean_of
from shattering.core.record import Record
from shattering.core.spec import DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Axis, Figure, Paper, Records, Request, Study, refuse_models, register
from shattering.simulations.registry import simulated
from shattering.studies.xiao2019_phases import (
    CHAOTIC,
    CRITICAL,
    KERNELS,
    NETWORKS,
    ORDERED,
    TEST,
    TRAIN,
    kernel_points,
    kernels,
    network_points,
    networks,
)
from shattering.theory.ridge_equivalents import slope

PAPER = Paper(
    authors="Xiao, Pennington & Schoenholz",
    year=2020,
    title="Disentangling trainability and generalization in deep neural networks",
    venue="ICML",
    url="https://arxiv.org/abs/1912.13053",
)

GRID: dict[str, tuple[tuple[int, ...], int, int, int, int]] = {
    "smoke": ((2,), 16, 60, 10, 2),
    "small": ((4, 16), 256, 200, 300, 5),
    "paper": ((4, 8, 16, 24, 32, 48), 2048, 2000, 20_000, 5),
}
"""Depths, width, training examples, steps, and seeds of both kernels and networks."""

SHALLOW, DEEP = 4, 16


def specs(request: Request) -> list[RunSpec]:
    """The kernels of every phase, and networks of every phase and depth, for every seed."""
    refuse_models(request, "xiao2019-trainability trains erf networks of its own; leave --models out.")
    depths, width, examples, steps, seeds = GRID[request.scale]
    facts = request.data
    data = DataSpec(name=facts.name, train_size=min(examples, facts.train_size), test_size=min(360, facts.test_size))
    training = TrainingSpec(
        learning_rate=0.003, momentum=0.0, batch_size=min(examples, facts.train_size), max_steps=steps,
        stop_when_fitted=False, loss="squared",
    )  # fmt: skip
    runs = []
    for seed in range(request.seeds or seeds):
        kernel_data = DataSpec(name=facts.name, train_size=2, test_size=1)
        runs += [simulated("kernel_phases", seed, data=kernel_data, **fields) for fields in KERNELS.values()]
        for phase in NETWORKS:
            for depth in depths:
                fields = {"depth": depth, "width": width, "weight_variance": NETWORKS[phase]}
                runs.append(
                    RunSpec(
                        data=data, model=ModelSpec(name="deep_erf", fields=fields), training=training, seed=seed,
                        measures=MeasureSpec(names=("accuracy",), points_per_decade=2, every_epochs=0),
                    )
                )  # fmt: skip
    return runs


def rate(record: Record) -> float | None:
    """How fast the logarithm of condition number × depth grows from 8 to 32 layers, over -log χ."""
    rows = [row for row in record.rows if 8 <= row["depth"] <= 32]
    if len(rows) < 3 or not 0 < rows[0]["chi"] != 1:
        return None
    grown = [math.exp(row["depth"]) for row in rows]
    found = slope(grown, [row["simulated_condition"] * row["depth"] for row in rows])
    return found / -math.log(rows[0]["chi"])


def prediction(depth: int) -> Number:
    """Root mean square of the kernel's mean predictor at a depth."""
    return at_place("prediction", depth=depth)


def fall(record: Record) -> float | None:
    """The mean predictor's size at 32 layers beside that at 8."""
    late, early = prediction(32)(record), prediction(8)(record)
    return late / early if late is not None and early else None


KERNEL_SOURCE, NETWORK_SOURCE = "Limits of the tangent kernel, {}", "Training and test accuracy, 16 layers, {}"

CLAIMS = (
    agreement(
        source=KERNEL_SOURCE.format("critical, 96 layers or more"), quantity="condition number, limit (m + 2)/2",
        runs=kernels(CRITICAL), simulated="simulated_condition", formula="formula_condition", axis="depth",
        tolerance=0.06, rows=lambda row: row["depth"] >= 96, data="digits",
    ),
    above(
        source=KERNEL_SOURCE.format("ordered"), quantity="growth of log(condition number × depth), beside -log χ",
        estimate=mean_of(kernels(ORDERED), rate), bound=0.9, provenance="V", unit="x", data="digits",
    ),
    below(
        source=KERNEL_SOURCE.format("ordered"), quantity="the same growth, beside -log χ, from above",
        estimate=mean_of(kernels(ORDERED), rate), bound=1.1, provenance="V", unit="x", data="digits",
    ),
    below(
        source=KERNEL_SOURCE.format("chaotic"), quantity="condition number at 32 layers",
        estimate=mean_of(kernels(CHAOTIC), at_place("simulated_condition", depth=32)), bound=1.05, provenance="V",
        data="digits",
    ),
    below(
        source=KERNEL_SOURCE.format("chaotic"), quantity="mean predictor at 32 layers beside that at 8",
        estimate=mean_of(kernels(CHAOTIC), fall), bound=0.05, provenance="V", unit="x", data="digits",
    ),
    above(
        source=KERNEL_SOURCE.format("ordered"), quantity="mean predictor at 32 layers beside that at 8",
        estimate=mean_of(kernels(ORDERED), fall), bound=0.5, provenance="V", unit="x", data="digits",
    ),
    below(
        source=NETWORK_SOURCE.format("ordered"), quantity="training accuracy: badly conditioned, not trained",
        estimate=mean_of(networks(ORDERED, DEEP), TRAIN), bound=0.5, provenance="Q-abs", unit="1", data="digits",
    ),
    above(
        source=NETWORK_SOURCE.format("chaotic"), quantity="training accuracy: memorised",
        estimate=mean_of(networks(CHAOTIC, DEEP), TRAIN), bound=0.9, provenance="Q-abs", unit="1", data="digits",
    ),
    below(
        source=NETWORK_SOURCE.format("chaotic"), quantity="test accuracy: not generalised",
        estimate=mean_of(networks(CHAOTIC, DEEP), TEST), bound=0.3, provenance="Q-abs", unit="1", data="digits",
    ),
    above(
        source="Control: critical start, 16 layers", quantity="test accuracy: trained and generalised",
        estimate=mean_of(networks(CRITICAL, DEEP), TEST), bound=0.7, provenance="D", unit="1", data="digits",
    ),
    above(
        source="Control: ordered start, 4 layers", quantity="training accuracy: shallow enough",
        estimate=mean_of(networks(ORDERED, SHALLOW), TRAIN), bound=0.7, provenance="D", unit="1", data="digits",
    ),
)  # fmt: skip


def answer(records: Records) -> str:
    """What networks of 16 layers do in each phase."""
    found = {phase: [mean_of(networks(phase, DEEP), number)(records) for number in (TRAIN, TEST)] for phase in NETWORKS}
    if any(number is None for numbers in found.values() for number in numbers):
        return "Networks of 16 layers have not been trained in every phase. Run the same command again to go on."
    told = [
        f"{phase} {train.value:.0%} and {test.value:.0%}" for phase, (train, test) in found.items() if train and test
    ]
    return f"With 16 layers, training and test accuracy end at: {', '.join(told)}."


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    depths, width, examples, steps, _ = GRID[request.scale]
    return (
        f"Fully connected erf networks of width {width} on {examples} images for {steps:,} steps, "
        f"{len(depths)} depths; convolutions, pooling and ReLU are not run.",
        "Kernels are those of inputs drawn at random on a sphere, as their limits do not depend on the data.",
        *request.data.notes,
    )


study = register(
    Study(
        name="xiao2019-trainability",
        paper=PAPER,
        question="Does the phase that a deep network starts in decide whether it trains, and whether it generalises?",
        datasets=("digits", "mnist", "cifar10"),
        specs=specs,
        claims=CLAIMS,
        figures=(
            Figure("kernels", "The tangent kernel against depth", Axis("hidden layers", "log"),
                   Axis("condition number, or prediction", "log"), kernel_points, answer),
            Figure("networks", "Accuracy of trained networks", Axis("hidden layers"),
                   Axis("accuracy", percent=True), network_points, answer),
        ),
        answer=answer,
        differences=differences,
        choices=(
            ("training", "squared loss, full batch, step size 0.003 in every cell, no momentum"),
            ("variances", "σ_b² = 0.1; kernels σ_w² = 0.932, 1.552, 3.102; networks 0.5, 1.552, 5"),
            ("labels of the kernels", "half 1 and half -1, so that a constant prediction is 0"),
        ),
        weight=lambda spec: int(spec.model.fields.get("depth", 1)),
    )
)  # fmt: skip
