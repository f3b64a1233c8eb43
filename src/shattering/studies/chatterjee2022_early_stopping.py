"""Chatterjee & Zielinski (2022): early stopping ends a training before what only single examples want is learned."""

from __future__ import annotations

from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.core.study import Claim, Effect, Estimate, Records, Request, Study, register
from shattering.studies.chatterjee2020 import SCALING, classes, lies_above, lies_below, mean_of
from shattering.studies.chatterjee2022 import CHATTERJEE_2022, is_image, protocol, sizes, weight
from shattering.studies.chatterjee2022_early_stopping_pictures import (
    FIGURES,
    FITTED,
    LEVEL,
    coherence_at_best,
    coherence_reading,
    corrupt_accuracy_at_best,
    gain,
    memorisation_ratio,
    told,
)
from shattering.studies.chatterjee2022_records import end, noisy, ratio_within

SEEDS = {"smoke": 1, "small": 5, "paper": 5}
NEAR = 0.1
"""An accuracy that is at most so much above guessing counts as near it."""
GAIN = 0.02
"""Less is not called a gain: the best of some thirty snapshots is a little above the last by chance alone."""
SOURCE = "Chatterjee & Zielinski (2022), abstract, early stopping"


def specs(request: Request) -> list[RunSpec]:
    """Half of the labels random: the very runs of chatterjee2022-coherence, with more seeds."""
    seeds = range(request.seeds or SEEDS[request.scale])
    return [protocol(request, model, LEVEL, seed) for model in _models(request) for seed in seeds]


def _models(request: Request) -> tuple[str, ...]:
    return request.models or (("mlp", "small_convnet") if is_image(request) else ("mlp",))


def _claims(model: str) -> list[Claim]:
    def runs(records: Records) -> list[Record]:
        return noisy(records, model, LEVEL)

    def ratio(records: Records) -> Estimate | None:
        return memorisation_ratio(runs(records))

    def corrupt(records: Records) -> Estimate | None:
        return mean_of(runs(records), corrupt_accuracy_at_best)

    def coherence(records: Records) -> Estimate | None:
        return ratio_within(runs(records), coherence_at_best, end)

    def gained(records: Records) -> Estimate | None:
        return mean_of(runs(records), gain)

    def near(records: Records) -> bool | None:
        count = classes(records)
        return lies_below(corrupt(records), 1 / count + NEAR) if count else None

    table = (
        (
            f"steps to {FITTED:.0%} of the corrupt examples / to the best test accuracy",
            ratio,
            "x",
            Effect(
                "test accuracy is best before the corrupt examples are fitted",
                lambda records: lies_above(ratio(records), 1),
            ),
        ),
        (
            "accuracy on the corrupt examples' given labels, where test accuracy is best",
            corrupt,
            "1",
            Effect(f"at most {NEAR:.0%} above guessing", near),
        ),
        (
            "m-coherence where test accuracy is best / at the end",
            coherence,
            "x",
            Effect(
                "m-coherence is higher where test accuracy is best than at the end",
                lambda records: lies_above(coherence(records), 1),
            ),
        ),
        (
            "best less last test accuracy",
            gained,
            "1",
            Effect(f"stopping in time gains at least {GAIN:.0%}", lambda records: lies_above(gained(records), GAIN)),
        ),
    )
    return [
        Claim(f"{SOURCE}, {model}", quantity, None, 0.0, unit, "Q-abs", "mnist", estimate, effect)
        for quantity, estimate, unit, effect in table
    ]


def answer(records: Records) -> str:
    """When test accuracy is best, and how coherent gradients are then."""
    parts = told(records, gained=True)
    if not parts:
        return "No run has been trained to its end yet, so there is no answer."
    return f"With half of the labels random, on unseen examples {'; '.join(parts)}. {coherence_reading(records)}"


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    told = ["The paper's section on early stopping could not be read: what its abstract says is judged, on our runs."]
    for model in _models(request):
        at = sizes(request, model)
        train = at.train or request.data.train_size
        told.append(
            f"{model}: {train:,} of {request.data.train_size:,} {request.data.name} examples, batches of {at.batch}, "
            f"rate {at.rate:g}, {at.steps:,} steps."
        )
    return (*told, *request.data.notes)


study = register(
    Study(
        name="chatterjee2022-early-stopping",
        paper=CHATTERJEE_2022,
        question="Does early stopping work because what is learned late helps single examples only?",
        datasets=("mnist", "digits", "cifar10"),
        specs=specs,
        claims=tuple(claim for model in ("mlp", "small_convnet") for claim in _claims(model)),
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=(
            ("level of noise", "half of the labels redrawn"),
            ("where to stop", "at the snapshot of the best test accuracy, in hindsight: no validation set is spent"),
            ("corrupt examples", "those whose label differs from the original; a redrawn label may be right by chance"),
            ("when they are fitted", f"the first snapshot with {FITTED:.0%} of them classified as labelled"),
            (
                "snapshots",
                "eight in each decade of steps; the interval of the ratio of steps is widened by their distance",
            ),
            SCALING,
        ),
        weight=weight,
    )
)
