"""Chatterjee & Zielinski (2022): what is learned early is easy, and easy examples generalise among themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from shattering.core.record import Record
from shattering.core.spec import MeasureSpec, ModelSpec, RunSpec, SelectionSpec, TrainingSpec
from shattering.core.study import Claim, Effect, Estimate, Provenance, Records, Request, Study, register
from shattering.measures.agreement import rank_agreement
from shattering.studies.chatterjee2020 import (
    SCALING,
    Number,
    Sizes,
    difference_of,
    last,
    lies_above,
    lies_below,
    mean_of,
    prepared,
)
from shattering.studies.chatterjee2022 import CHATTERJEE_2022, is_image
from shattering.studies.chatterjee2022_easy_hard_pictures import ANOTHER, EASY, FIGURES, HARD, RANDOM, halves, parents
from shattering.studies.zhang2017 import accuracy_of

SOURCE = "Zielinski et al. (2020), abstract"
SEEDS = {"smoke": 2, "small": 5, "paper": 3}
EPOCHS = 90
SHARED = {"subset": 0, "labels": 0}
"""Every seed trains on the same examples, or there would be nothing to agree on."""


SMALL = {"mnist": Sizes(5000, 2000, 100, 6000, points=20), "digits": Sizes(None, None, 100, 10_000, points=20)}
FITTED = {"mnist": (1550, 60, 660), "digits": (700, 60, 400)}
"""About how many updates it takes to fit everything, easy halves and other halves; for estimates only."""


def sizes(request: Request) -> Sizes:
    """The sizes at the request's scale."""
    facts = request.data
    if request.scale == "paper":
        batch = min(256, facts.train_size)
        return Sizes(None, None, batch, EPOCHS * max(1, facts.train_size // batch), points=10)
    if request.scale == "smoke":
        return Sizes(96, 64, 16, 400, points=6)
    found = SMALL.get(facts.name, SMALL["mnist"]).within(request)
    return replace(found, batch=min(found.batch, (found.train or facts.train_size) // 4))


def specs(request: Request) -> list[RunSpec]:
    """For every seed: all examples; the half learned first, the half learned last, and two random halves."""
    runs = []
    for seed in range(request.seeds or SEEDS[request.scale]):
        for model in request.models or (_network(request),):
            parent = _parent(request, model, seed)
            runs += [parent, _half(parent, "lowest"), _half(parent, "highest")]
            runs += [_half(parent, "random"), _half(parent, "random", selection=1000 + seed)]
    return runs


def _network(request: Request) -> str:
    return "resnet18" if request.scale == "paper" and is_image(request) else "mlp"


def _parent(request: Request, model: str, seed: int) -> RunSpec:
    at, paper = sizes(request), request.scale == "paper"
    training: dict[str, Any] = {"momentum": 0.9 if paper else 0.0, "learning_rate": 0.1, "stop_when_fitted": not paper}
    if paper:
        training |= {"schedule": "exponential", "decay": 0.1, "decay_steps": max(1, at.steps // 3)}
    return RunSpec(
        data=prepared(request, at.train, at.test),
        model=ModelSpec(name=model, fields={"width": 64} if (request.scale, model) == ("smoke", "mlp") else {}),
        training=TrainingSpec(batch_size=at.batch, max_steps=at.steps, **training),
        compute={"device": request.device},  # type: ignore[arg-type]
        measures=MeasureSpec(
            names=("accuracy", "learning_step"), points_per_decade=at.points, every_epochs=1 if paper else 0
        ),
        seed=seed,
        stream_seeds=SHARED,
    )


def _half(parent: RunSpec, part: Literal["lowest", "highest", "random"], *, selection: int | None = None) -> RunSpec:
    seeds = SHARED if selection is None else {**SHARED, "selection": selection}
    chosen = SelectionSpec(parent=parent, part=part)
    measures = parent.measures.model_copy(update={"names": ("accuracy",)})
    return parent.model_copy(update={"selection": chosen, "measures": measures, "stream_seeds": seeds})


def _claim(
    source: str,
    quantity: str,
    of: Callable[[Records], Estimate | None],
    effect: Effect,
    provenance: Provenance,
    unit: str = "1",
) -> Claim:
    return Claim(
        source=source,
        quantity=quantity,
        published=None,
        tolerance=0.0,
        unit=unit,
        provenance=provenance,
        data="imagenet",
        estimate=of,
        effect=effect,
    )


def _agreement(records: Records) -> Estimate | None:
    found = rank_agreement(parents(records))
    if found is None:
        return None
    note = (
        f"{len(found.runs)} of {found.considered}; unrelated orders give {found.null_low:.3f} to {found.null_high:.3f}"
    )
    return Estimate(found.value, found.low, found.high, found.runs, found.considered, note)


def agreement_claim() -> Claim:
    """Easy means learned early: then early must not be a matter of chance."""

    def beyond(records: Records) -> bool | None:
        found, estimate = rank_agreement(parents(records)), _agreement(records)
        return None if found is None else lies_above(estimate, found.null_high)

    effect = Effect("above the 95% range of unrelated orders (interval)", beyond)
    source = f"{SOURCE}: easy is what is learned early"
    return _claim(source, "agreement of seeds on the order of learning (Spearman)", _agreement, effect, "D", "")


def _between(first: str, second: str, number: Number) -> Callable[[Records], Estimate | None]:
    return lambda records: difference_of(halves(records, first), halves(records, second), number)


def test_claim() -> Claim:
    """Easy examples generalise better among themselves."""
    found = _between(EASY, HARD, last("test_accuracy"))
    effect = Effect(
        "above zero (interval of differences paired by seed)", lambda records: lies_above(found(records), 0.0)
    )
    return _claim(SOURCE, "test accuracy on the same kind, easy half less hard half", found, effect, "Q-abs")


def gap_claim() -> Claim:
    """Their gap between training and test accuracy is smaller."""
    found = _between(EASY, HARD, last("generalization_gap"))
    effect = Effect(
        "below zero (interval of differences paired by seed)", lambda records: lies_below(found(records), 0.0)
    )
    return _claim(SOURCE, "generalisation gap, easy half less hard half", found, effect, "D")


def control_claim() -> Claim:
    """Two random halves must not differ."""
    found = _between(RANDOM, ANOTHER, last("test_accuracy"))

    def none(records: Records) -> bool | None:
        estimate = found(records)
        if estimate is None or estimate.low is None or estimate.high is None:
            return None
        return estimate.low <= 0 <= estimate.high

    effect = Effect("the control: none (interval of differences paired by seed holds 0)", none)
    return _claim(f"{SOURCE}: control", "test accuracy, a random half less another", found, effect, "D")


def answer(records: Records) -> str:
    """Whether easy examples generalise among themselves, and whether seeds agree on what is easy."""

    def tested(runs: Sequence[Record]) -> str | None:
        found = accuracy_of(runs, "test_accuracy")
        return None if found is None else f"{found.value:.1%}"

    easy, hard, random = (tested(halves(records, part)) for part in (EASY, HARD, RANDOM))
    if easy is None or hard is None:
        return "No pair of easy and hard halves has ended, so there is no answer. Run the same command again to go on."
    beside = f", trained on a random half {random}" if random else ""
    gaps = [mean_of(halves(records, part), last("generalization_gap")) for part in (EASY, HARD)]
    gap = f"; the gaps between training and test are {gaps[0].value:.1%} and {gaps[1].value:.1%}" if all(gaps) else ""  # type: ignore[union-attr]
    agreed = _agreement(records)
    second = (
        "How far seeds agree on what is easy cannot be told from these runs."
        if agreed is None
        else f"Seeds agree on the order in which examples are learned with a rank correlation of {agreed.value:.2f}."
    )
    return (
        f"On held-out examples of their own kind, networks trained on the easy half of the examples reach {easy}, "
        f"those trained on the hard half {hard}{beside}{gap}. {second}"
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    at, network = sizes(request), ", ".join(request.models) or _network(request)
    told = [
        f"The data are {request.data.name}, not ImageNet, and the network is {network}.",
        "All seeds share one set of training examples: intervals are about trainings and held-out examples.",
    ]
    if request.scale != "paper":
        train = at.train or request.data.train_size
        told += [
            f"{train:,} of {request.data.train_size:,} training examples; half of them are {train // 2:,}, of which "
            "a quarter is held out for testing.",
            f"Plain SGD at a constant rate of 0.1 in batches of {at.batch} until 99% of the training set are fitted, "
            f"for at most {at.steps:,} steps.",
        ]
    return (*told, *request.data.notes)


def expected_steps(spec: RunSpec) -> int:
    """About how many updates a run takes."""
    whole, easy, other = FITTED.get(spec.data.name, (1500, 300, 1200))
    if not spec.training.stop_when_fitted:
        return spec.training.max_steps
    known = whole if spec.selection is None else easy if spec.selection.part == "lowest" else other
    return min(spec.training.max_steps, known)


study = register(
    Study(
        name="chatterjee2022-easy-hard",
        paper=CHATTERJEE_2022,
        question="Do examples that are learned early generalise better among themselves than those learned late?",
        datasets=("mnist", "digits"),
        specs=specs,
        claims=(test_claim(), gap_claim(), control_claim(), agreement_claim()),
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=(
            (
                "when an example is learned",
                "the first snapshot since which it is classified right without interruption",
            ),
            ("threshold between easy and hard", "the median: halves of equal size; ties are broken at random"),
            ("test set", "a quarter of each half, held out of its training"),
            ("control", "two random halves of the same examples, trained and tested alike"),
            (
                "optimiser at the paper's scale",
                f"rate 0.1, momentum 0.9, batches of 256, {EPOCHS} epochs, rate / 10 twice",
            ),
            SCALING,
        ),
        expected_steps=expected_steps,
        columns=True,
    )
)
