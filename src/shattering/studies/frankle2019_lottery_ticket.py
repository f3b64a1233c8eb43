"""Frankle & Carbin (2019): sparse sub-networks that train alone, if they keep the weights they began with."""

from __future__ import annotations

from dataclasses import dataclass

from shattering.core.spec import ComputeSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec, StartSpec, TrainingSpec
from shattering.core.study import Paper, Request, Study, register
from shattering.studies.frankle2019_claims import CLAIMS, answer
from shattering.studies.frankle2019_records import FIGURES

PAPER = Paper(
    authors="Frankle & Carbin",
    year=2019,
    title="The lottery ticket hypothesis: finding sparse, trainable neural networks",
    venue="ICLR",
    url="https://arxiv.org/abs/1803.03635",
)


@dataclass(frozen=True)
class Setting:
    """A scale.

    Args:
        train, validation, test: examples; none: all.
        steps: updates of every training.
        fractions: pruned in a round, of hidden layers and of the output layer.
        rounds: of pruning.
        redrawn, shuffled, reordered: after which rounds the controls are run.
        draws: of new weights after each.
        seeds: repetitions.
    """

    train: int
    validation: int
    test: int | None
    steps: int
    fractions: tuple[float, float]
    rounds: int
    redrawn: tuple[int, ...]
    shuffled: tuple[int, ...]
    reordered: tuple[int, ...]
    draws: int = 2
    seeds: int = 5


TWO_AT_ONCE = (0.36, 0.19)
"""Two of the paper's rounds, of 20% and 10%, in one."""
SETTINGS = {
    "smoke": Setting(240, 60, 100, 60, (0.8, 0.4), 2, (0, 2), (2,), (0,), draws=1, seeds=1),
    "small": Setting(9000, 2000, 5000, 3000, TWO_AT_ONCE, 8, (0, 2, 4, 5, 6, 8), (5, 8), (0, 5)),
    "paper": Setting(55_000, 5000, None, 50_000, (0.2, 0.1), 20, (0, 3, 7, 9, 12, 15, 18), (9, 18), (0, 9)),
}
FEW = Setting(1000, 400, None, 1500, TWO_AT_ONCE, 8, (0, 2, 4, 5, 6, 8), (5, 8), (0, 5))
"""Where the data are few, as digits are."""


def specs(request: Request) -> list[RunSpec]:
    """For each seed the dense network, its tickets, each from the one before, and controls that start from these."""
    own = SETTINGS[request.scale]
    if own.train + own.validation > request.data.train_size:
        own = FEW
    models = [ModelSpec(name=name) for name in request.models] or [_own_model(request)]
    return [
        run
        for seed in range(request.seeds or own.seeds)
        for model in models
        for run in _runs(request, own, model, seed)
    ]


def _own_model(request: Request) -> ModelSpec:
    pool = {"pool": 2} if request.data.input_shape[0] >= 16 else {}
    return ModelSpec(
        name="lenet_300_100", fields={} if request.scale == "paper" else {"first": 100, "second": 50, **pool}
    )


def _runs(request: Request, own: Setting, model: ModelSpec, seed: int) -> list[RunSpec]:
    dense = RunSpec(
        data=DataSpec(
            name=request.data.name,
            train_size=own.train,
            test_size=None if own.test is None else min(own.test, request.data.test_size),
            tested_on="both",
            left_out_size=own.validation,
        ),
        model=model,
        training=TrainingSpec(
            optimizer="adam",
            learning_rate=1.2e-3,
            batch_size=60,
            max_steps=own.steps,
            stop_when_fitted=False,
            fit_accuracy=0.5 if request.scale == "smoke" else 0.99,
        ),
        compute=ComputeSpec(device=request.device),
        measures=MeasureSpec(names=("validation",), points_per_decade=0, example_columns=False),
        seed=seed,
    )
    tickets = [dense]
    for _ in range(own.rounds):
        fields = {"fraction": own.fractions[0], "output_fraction": own.fractions[1]}
        tickets.append(_from(tickets[-1], "magnitude_pruning", fields=fields))
    draws = [(place, draw) for place in own.redrawn for draw in range(own.draws)]
    redrawn = [
        _from(tickets[place], "reinitialised", "initialisation", draw, barrier=draw == 0) for place, draw in draws
    ]
    shuffled = [_from(tickets[place], "shuffled_masks", "initialisation") for place in own.shuffled]
    return [
        *tickets,
        *redrawn,
        *shuffled,
        *(_from(tickets[at], "unchanged", "order", barrier=True) for at in own.reordered),
    ]


def _from(
    parent: RunSpec,
    transform: str,
    purpose: str = "",
    draw: int = 0,
    *,
    fields: dict[str, float] | None = None,
    barrier: bool = False,
) -> RunSpec:
    """A run that begins where ``parent`` began, changed; the stream ``purpose`` gets a seed of its own."""
    names = ("validation", "linear_barrier") if barrier else ("validation",)
    changes = {
        "start": StartSpec(parent=parent, step=0, transform=transform, fields=fields or {}),
        "stream_seeds": {purpose: 1000 * (draw + 1) + parent.seed} if purpose else {},
        "measures": parent.measures.model_copy(update={"names": names}),
    }
    return parent.model_copy(update=changes)


def differences(request: Request) -> tuple[str, ...]:
    """What is not as published, for this request."""
    told = ["The validation loss is looked at once an epoch; the paper looks every 100 steps."]
    if request.scale != "paper":
        own = SETTINGS[request.scale]
        told = [
            f"{own.train:,} training images for {own.steps:,} steps in place of 55,000 for 50,000.",
            "Hidden layers of 100 and 50 units on images pooled over 2×2 pixels; the paper's have 300 and 100.",
            "Two of the paper's rounds in one: a round prunes 36% of the hidden layers and 19% of the output layer.",
            "A sparse network that learns slowly may still be learning when the steps are over.",
            *told,
        ]
    return (*told, *(["The paper's numbers are for MNIST."] if request.data.name != "mnist" else []))


study = register(
    Study(
        name="frankle2019-lottery-ticket",
        paper=PAPER,
        question="Can a sparse sub-network train alone as well as the whole, by its mask or its initial weights?",
        datasets=("mnist", "digits", "cifar10"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=(
            ("inputs", "each image whitened by itself; the paper does not say, and without it training suffers"),
            ("initial weights", "Glorot-normal, biases zero"),
            ("pruning", "by layer, smallest survivors first, biases never; at least one weight of a layer is left"),
            ("rewinding", "every round begins with the weights of step 0"),
            ("optimizer", "Adam begins afresh in every round; gradients and moments of pruned weights are zero"),
            (
                "early stopping",
                "smallest loss on training images left out of the subset; accuracy on the test split there",
            ),
            ("line", "11 points; error of the test split and the validation set together"),
            ("pairs", "all arms of a seed share images and their order; only what an arm is named after differs"),
        ),
    )
)
