"""Zhang et al. (2017), Section 2.2: what a linear model follows of random signs, by its number of features."""

from __future__ import annotations

from collections.abc import Sequence

from shattering.core.errors import SpecError
from shattering.core.record import Record
from shattering.core.spec import (
    ComputeSpec,
    CorruptionSpec,
    DataSpec,
    MeasureSpec,
    ModelSpec,
    RunSpec,
    TrainingSpec,
)
from shattering.core.study import Axis, Claim, Effect, Figure, Point, Records, Request, Study, register
from shattering.measures.rademacher import least_squares_correlation, separable_probability, sign_correlation
from shattering.studies.zhang2017 import ZHANG_2017
from shattering.studies.zhang2017_complexity_records import correlation_interval, correlation_of

DATA = "gaussian_features"
EXAMPLES = 100
SEEDS = {"smoke": 2, "small": 20, "paper": 20}
STEPS = 400
"""What least squares with 10 or 50 features says of an example is then within 1e-8 of its limit, in 20 draws of 20."""

LEAST_SQUARES, LOGISTIC = "least squares", "logistic"
KINDS = {LEAST_SQUARES: ("squared", "one", 0.1), LOGISTIC: ("cross_entropy", "classes", 1.0)}
"""Loss, outputs and learning rate of each way to look for the best linear function."""

REPLICATION = {10: 0.25, 50: 0.69, 100: 1.00, 400: 1.00}
"""Correlation with random signs by the number of features, as a replication of the paper found it for 100 examples."""


def specs(request: Request) -> list[RunSpec]:
    """Every number of features by least squares and by logistic regression; only the number of draws varies."""
    if request.data.name != DATA or request.models:
        raise SpecError(
            "study-worked-example",
            f"zhang2017-complexity-linear is worked for one model on the data set {DATA}; run it with --data {DATA} "
            "and without --models.",
        )
    seeds = range(request.seeds or SEEDS[request.scale])
    return [_spec(request, kind, features, seed) for seed in seeds for kind in KINDS for features in REPLICATION]


def _spec(request: Request, kind: str, features: int, seed: int) -> RunSpec:
    loss, outputs, rate = KINDS[kind]
    fields = {"outputs": outputs, "bias": False, "initialisation": "zeros", "features": features}
    return RunSpec(
        data=DataSpec(name=DATA, train_size=EXAMPLES, whiten=False),
        corruption=CorruptionSpec(name="random_signs"),
        model=ModelSpec(name="linear", fields=fields),
        training=TrainingSpec(
            learning_rate=rate,
            batch_size=EXAMPLES,
            max_steps=STEPS,
            fit_accuracy=1.0,
            loss=loss,
        ),
        compute=ComputeSpec(device=request.device, dtype="float64"),
        measures=MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0),
        seed=seed,
    )


def _runs(records: Records, kind: str, features: int | None = None) -> list[Record]:
    return [
        record
        for record in records
        if record.spec.corruption.name == "random_signs"
        and record.spec.training.loss == KINDS[kind][0]
        and features in (None, record.spec.model.fields.get("features"))
    ]


def _sizes(records: Sequence[Record]) -> list[int]:
    return sorted({int(record.spec.model.fields["features"]) for record in records})


def _claim(features: int, published: float) -> Claim:
    def runs(records: Records) -> list[Record]:
        return _runs(records, LEAST_SQUARES, features)

    def holds(records: Records) -> bool | None:
        found = correlation_of(runs(records))
        return None if found is None else abs(found.value - published) <= 0.1

    return Claim(
        source=f"Section 2.2, Rademacher complexity: a linear model with {features} features",
        quantity="mean of σ·sign h(x) on 100 random signs",
        published=published,
        tolerance=0.1,
        unit="",
        provenance="Q-repl",
        data=DATA,
        estimate=lambda records: correlation_of(runs(records)),
        effect=Effect(f"within 0.1 of {published:g}", holds),
    )


def points(records: Records) -> list[Point]:
    """Mean correlation with the signs against the number of features, measured and expected."""
    found = []
    for kind in KINDS:
        for features in _sizes(_runs(records, kind)):
            interval = correlation_interval(_runs(records, kind, features))
            if interval is not None:
                found.append(Point(features, interval[0], kind, interval[1], interval[2], kind="measured"))
    expected = _sizes(_runs(records, LEAST_SQUARES)) if found else []
    found += [
        Point(features, least_squares_correlation(features, EXAMPLES), LEAST_SQUARES, kind="expected")
        for features in expected
    ]
    return found


def _followed(runs: Sequence[Record]) -> tuple[int, int]:
    values = [value for record in runs if (value := sign_correlation(record)) is not None]
    return sum(value == 1.0 for value in values), len(values)


def reading(records: Records) -> str:
    """How often the signs were followed to the last, beside the share of labellings that are separable."""
    texts = []
    for features in _sizes(_runs(records, LOGISTIC)):
        followed, ended = _followed(_runs(records, LOGISTIC, features))
        if ended:
            share = separable_probability(features, EXAMPLES)
            texts.append(f"{followed} of {ended} draws at d = {features} (expected share {share:.2g})")
    if not texts:
        return "No logistic regression has ended yet."
    return f"Logistic regression followed every sign in {', '.join(texts)}: wherever it did, the supremum is 1."


def answer(records: Records) -> str:
    """The correlation at each number of features, and what the choice of loss does to it."""
    found = {
        kind: [point for point in points(records) if (point.series, point.kind) == (kind, "measured")] for kind in KINDS
    }
    if not all(found.values()):
        return (
            "Least squares and logistic regression must be run before there is an answer. Run the same command again."
        )
    told = {kind: ", ".join(f"{point.y:.2f} at d = {point.x:g}" for point in found[kind]) for kind in KINDS}
    return (
        f"With {EXAMPLES} examples least squares follows random signs to {told[LEAST_SQUARES]} features. Logistic "
        f"regression, another lower bound of the same supremum, reaches {told[LOGISTIC]}."
    )


study = register(
    Study(
        name="zhang2017-complexity-linear",
        paper=ZHANG_2017,
        question="How many features does a linear model need before it follows any random signs?",
        datasets=(DATA,),
        specs=specs,
        claims=tuple(_claim(features, published) for features, published in REPLICATION.items()),
        figures=(
            Figure(
                name="features",
                title="How well linear models follow 100 random signs",
                x=Axis("features, d", scale="log"),
                y=Axis("mean of σ·sign h(x)"),
                points=points,
                reading=reading,
                rules=lambda records: {"every sign followed": 1.0},
            ),
        ),
        answer=answer,
        differences=lambda request: (
            "The numbers are those of an independent replication, which does not say how it trained nor over how many "
            "draws; least squares is taken, whose expectation 2Φ(√(d/(n - d))) - 1 they follow.",
            "Each draw of the signs has a sample of its own, 100 of 1,000 Gaussian examples.",
        ),
        choices=(
            ("how the supremum is sought", "gradient descent from zero on the squared loss; beside it, logistic loss"),
            ("offset", "none: planes pass through the origin"),
            ("draws", "20 for the mean; two at scale smoke"),
        ),
        expected_steps=lambda spec: STEPS if int(spec.model.fields["features"]) < EXAMPLES else 20,
        worked_example=True,
    )
)
