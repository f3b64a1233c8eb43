"""Chatterjee & Zielinski (2022): six weights by hand. A shared feature makes gradients agree, and generalises."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
from shattering.core.study import (
    Axis,
    Claim,
    Effect,
    Estimate,
    Figure,
    Point,
    Records,
    Request,
    Study,
    register,
    select,
)
from shattering.studies.chatterjee2020 import ended
from shattering.studies.chatterjee2022 import CHATTERJEE_2022

DATA = "six_weights"
RATE = 0.1
TOLERANCE = 1e-3
"""The table has three digits."""

WORLDS = {"true_labels": "shared feature", "without_last_feature": "nothing shared"}
"""The paper's "real" and "random" world, by the corruption that makes them."""

STEPS = {"true_labels": 200, "without_last_feature": 400}
"""Enough for the limit to three digits; with 100 more, the first would train on what rounding leaves of its errors."""


def specs(request: Request) -> list[RunSpec]:
    """Both worlds; the same at every scale, for nothing is random but the seed that a run must have."""
    if request.data.name != DATA or request.models:
        raise SpecError(
            "study-worked-example",
            f"chatterjee2022-toy is worked for one model on the data set {DATA}; run it with --data {DATA} and without "
            "--models.",
        )
    return [_spec(world, seed, request) for seed in range(request.seeds or 1) for world in WORLDS]


def _spec(world: str, seed: int, request: Request) -> RunSpec:
    return RunSpec(
        data=DataSpec(name=DATA, whiten=False),
        corruption=CorruptionSpec(name=world),
        model=ModelSpec(name="linear", fields={"outputs": "one", "bias": False, "initialisation": "zeros"}),
        training=TrainingSpec(
            learning_rate=RATE,
            momentum=0.0,
            batch_size=4,
            max_steps=STEPS[world],
            stop_when_fitted=False,
            loss="squared",
        ),
        compute=ComputeSpec(device=request.device, dtype="float64"),
        measures=MeasureSpec(names=("accuracy", "coherence", "weight_values"), points_per_decade=8, every_epochs=20),
        seed=seed,
    )


def _runs(records: Records, world: str) -> list[Record]:
    return select(ended(records), corruption=world)


def exactly(runs: Sequence[Record], number: Callable[[Record], float | None]) -> Estimate | None:
    """A number in which chance has no part: one run tells it, so its interval is the number itself.

    Where runs differ after all, the interval holds all of them.
    """
    values = [value for record in runs if (value := number(record)) is not None]
    if not values:
        return None
    middle = sum(values) / len(values)
    low, high = min(*values, middle), max(*values, middle)
    return Estimate(middle, low, high, tuple(record.digest for record in runs), len(runs), "no chance in it")


def at_step(name: str, step: int) -> Callable[[Record], float | None]:
    """A number at the snapshot of a step."""
    return lambda record: next((float(row[name]) for row in record.rows if row["step"] == step and name in row), None)


def at_end(name: str) -> Callable[[Record], float | None]:
    """A number at the last snapshot."""
    return lambda record: float(record.last[name]) if name in record.last else None


def farthest(name: str, value: float) -> Callable[[Record], float | None]:
    """Over all snapshots, the number that lies farthest from a value."""
    return lambda record: max(record.trajectory(name)[1], key=lambda found: abs(found - value), default=None)


def _claim(world: str, quantity: str, published: float, number: Callable[[Record], float | None], unit: str) -> Claim:
    def estimate(records: Records) -> Estimate | None:
        return exactly(_runs(records, world), number)

    def holds(records: Records) -> bool | None:
        found = estimate(records)
        return None if found is None else abs(found.value - published) <= TOLERANCE

    return Claim(
        source=f"Illustrative example, {WORLDS[world]}",
        quantity=quantity,
        published=published,
        tolerance=TOLERANCE,
        unit=unit,
        provenance="D",
        data=DATA,
        estimate=estimate,
        effect=Effect(f"within {TOLERANCE:g} of {published:g}", holds),
    )


def _claims() -> tuple[Claim, ...]:
    table = {
        "true_labels": (0.625, 2.5, 0.2, 0.8, 0.5, 0.02, 0.0346, 0.0),
        "without_last_feature": (0.25, 1.0, 1.0, 0.0, 0.5, 0.5, 0.301, 0.0032),
    }
    found = []
    for world, (alpha, coherence, own, shared, before, after, ten, hundred) in table.items():
        rows = (
            ("α, at the step where it is farthest from the table", alpha, farthest("alpha", alpha), ""),
            ("m-coherence, likewise", coherence, farthest("m_coherence", coherence), "examples"),
            ("weight of feature 1 at the end", own, at_end("weight_1"), ""),
            ("weight of feature 5, which no training example has", 0.0, farthest("weight_5", 0.0), ""),
            ("weight of the last feature at the end", shared, at_end("weight_6"), ""),
            ("test loss at the start", before, at_step("test_loss", 0), ""),
            ("test loss at the end", after, at_end("test_loss"), ""),
            ("training loss after 10 steps", ten, at_step("train_loss", 10), ""),
            ("training loss after 100 steps", hundred, at_step("train_loss", 100), ""),
        )
        found += [_claim(world, quantity, published, number, unit) for quantity, published, number, unit in rows]
    return tuple(found)


# Figures


def points(records: Records, names: dict[str, str]) -> list[Point]:
    """Numbers of both worlds against steps; ``names`` maps them to kinds of line."""
    return [
        Point(step, value, WORLDS[world], kind=kind)
        for world in WORLDS
        for record in _runs(records, world)[:1]
        for name, kind in names.items()
        for step, value in zip(*record.trajectory(name), strict=True)
    ]


def weight_points(records: Records) -> list[Point]:
    """The six weights against steps; those of features 1 to 4 have one size."""
    names = {"weight_1": "features 1 to 4", "weight_5": "feature 5", "weight_6": "last feature"}
    return [
        Point(step, value, series, panel=WORLDS[world])
        for world in WORLDS
        for record in _runs(records, world)[:1]
        for name, series in names.items()
        for step, value in zip(*record.trajectory(name), strict=True)
    ]


def _both(records: Records, name: str) -> tuple[float, float] | None:
    found = [exactly(_runs(records, world), at_end(name)) for world in WORLDS]
    return (found[0].value, found[1].value) if found[0] and found[1] else None


def _fitted(records: Records) -> str:
    """How well both worlds fit their training examples."""
    found = _both(records, "train_accuracy")
    return "" if found is None else f" Of their four training examples they fit {found[0]:.0%} and {found[1]:.0%}."


def _reading(name: str, text: str) -> Callable[[Records], str]:
    def reading(records: Records) -> str:
        found = _both(records, name)
        return text.format(*found) if found else "Only one of the two worlds has been run."

    return reading


FIGURES = (
    Figure(
        name="alpha",
        title="α of the four training gradients",
        x=Axis("optimizer steps"),
        y=Axis("α"),
        points=lambda records: points(records, {"alpha": ""}),
        reading=_reading("alpha", "α ends at {0:.3f} with the shared feature and at {1:.3f} without it."),
    ),
    Figure(
        name="weights",
        title="The weights",
        x=Axis("optimizer steps"),
        y=Axis("weight"),
        points=weight_points,
        reading=_reading(
            "weight_6", "The last feature's weight ends at {0:.3f} where it is shared, at {1:.3f} without."
        ),
    ),
    Figure(
        name="loss",
        title="Training and test loss",
        x=Axis("optimizer steps"),
        y=Axis("half the squared error"),
        points=lambda records: points(records, {"train_loss": "train", "test_loss": "test"}),
        reading=_reading(
            "test_loss", "The test loss ends at {0:.3f} with the shared feature and at {1:.3f} without it."
        ),
    ),
)


def answer(records: Records) -> str:
    """α and test loss of both worlds."""
    alpha, loss = _both(records, "alpha"), _both(records, "test_loss")
    if alpha is None or loss is None:
        return "Both worlds must be run before there is an answer. Run the same command again to go on."
    return (
        f"With a shared feature α is {alpha[0]:.3f} and the test loss ends at {loss[0]:.3f}; without it α is "
        f"{alpha[1]:.3f} and the test loss ends at {loss[1]:.3f}.{_fitted(records)}"
    )


study = register(
    Study(
        name="chatterjee2022-toy",
        paper=CHATTERJEE_2022,
        question="Can one see by hand that gradients which agree generalise, and gradients which do not memorise?",
        datasets=(DATA,),
        specs=specs,
        claims=_claims(),
        figures=FIGURES,
        answer=answer,
        differences=lambda request: (
            "The example is known from a survey of the paper; the numbers were derived from its definition.",
        ),
        choices=(
            ("learning rate", "0.1, full batch, weights from zero"),
            ("class where the output is exactly zero", "-1, the test example's own: read its loss, not its accuracy"),
            ("number of steps", "200 with the shared feature, 400 without it, where learning is five times slower"),
        ),
        worked_example=True,
    )
)
