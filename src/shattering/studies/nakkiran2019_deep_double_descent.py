"""Nakkiran et al. (2019): test error peaks where a network can just fit its training set, in width and in examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shattering.core.curves import estimate_by_seed, holds_if, holds_within
from shattering.core.record import Record
from shattering.core.spec import CorruptionSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Claim, Effect, Estimate, Paper, Records, Request, Study, refuse_models, register
from shattering.measures.model_size import fall, least_error, place_of_peak, rise
from shattering.studies.nakkiran2019_pictures import FIGURES, answer
from shattering.studies.nakkiran2019_records import (
    CNN,
    EXAMPLES,
    NOISE,
    RESNET,
    SIZES,
    complexity_at_peak,
    group,
    more_noise,
    shift,
)

NAKKIRAN_2019 = Paper(
    authors="Nakkiran, Kaplun, Bansal, Yang, Barak, Sutskever",
    year=2019,
    title="Deep Double Descent: Where Bigger Models and More Data Hurt",
    venue="arXiv:1912.02292; ICLR 2020",
    url="https://arxiv.org/abs/1912.02292",
)

SEEDS = {"smoke": 1, "small": 5, "paper": 5}
WIDTHS = {"smoke": (4, 64), "small": (2, 4, 6, 8, 10, 12, 16, 24, 32, 64, 128)}
STEPS = {"smoke": 200, "small": 3000}
RESNET_WIDTHS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64)
CNN_WIDTHS = (2, 4, 6, 8, 10, 12, 16, 24, 32, 48, 64, 128)


def specs(request: Request) -> list[RunSpec]:
    """Widths, at three sizes of the training set with noisy labels, and at one without noise as the control."""
    refuse_models(request, "nakkiran2019-deep-double-descent sweeps widths of its own; omit --models.")
    seeds = range(request.seeds or SEEDS[request.scale])
    if request.scale == "paper":
        return [spec for seed in seeds for spec in _published(request, seed)]
    sizes = (EXAMPLES,) if request.scale == "smoke" else SIZES
    groups = [(size, NOISE) for size in sizes] + [(EXAMPLES, 0.0)]
    return [
        _perceptron(request, width, size, noise, seed)
        for seed in seeds
        for size, noise in groups
        for width in WIDTHS[request.scale]
    ]


def _noisy(p: float) -> CorruptionSpec:
    return CorruptionSpec(name="wrong_labels", fields={"p": p}) if p else CorruptionSpec()


def _perceptron(request: Request, width: int, examples: int, noise: float, seed: int) -> RunSpec:
    training = TrainingSpec(
        optimizer="adam",
        learning_rate=3e-3,
        batch_size=examples,
        max_steps=STEPS[request.scale],
        stop_when_fitted=False,
    )
    return RunSpec(
        data=DataSpec(name=request.data.name, train_size=examples, whiten=False),
        corruption=_noisy(noise),
        model=ModelSpec(name="mlp_1x512", fields={"width": width}),
        training=training,
        measures=MeasureSpec(names=("accuracy",), points_per_decade=8, every_epochs=0),
        seed=seed,
    )


def _published(request: Request, seed: int) -> list[RunSpec]:
    """Widths of the ResNet by Adam for 4,000 epochs at 15% noise, and of the CNN by SGD for 500,000 steps at 20%."""
    epoch = -(-request.data.train_size // 128)
    base = TrainingSpec(batch_size=128, momentum=0.0, stop_when_fitted=False)
    adam = base.model_copy(update={"optimizer": "adam", "learning_rate": 1e-4, "max_steps": 4000 * epoch})
    root = {"schedule": "inverse_square_root", "decay_steps": 512, "max_steps": 500_000}
    sgd = base.model_copy(update=root)
    kinds: list[tuple[str, int, TrainingSpec, float, int | None]]
    kinds = [(RESNET, width, adam, 0.15, None) for width in RESNET_WIDTHS]
    half = request.data.train_size // 2
    kinds += [(CNN, width, sgd, NOISE, size) for width in CNN_WIDTHS for size in (None, half)]
    kinds += [(CNN, width, sgd, 0.0, half) for width in CNN_WIDTHS]
    return [
        RunSpec(
            data=DataSpec(name=request.data.name, train_size=size),
            corruption=_noisy(noise),
            model=ModelSpec(name=model, fields={"width": width}),
            training=training,
            measures=MeasureSpec(names=("accuracy",), points_per_decade=8, every_epochs=0),
            seed=seed,
        )
        for model, width, training, noise, size in kinds
    ]


def _claim(
    source: str,
    quantity: str,
    number: Callable[[Sequence[Record]], float | None],
    effect: Callable[[Callable[[Records], Estimate | None]], Effect],
    unit: str = "1",
) -> Claim:
    def found(records: Records) -> Estimate | None:
        return estimate_by_seed(records, number)

    return Claim(source, quantity, None, 0.0, unit, "Q-text", "cifar10", found, effect(found))


CLAIMS = (
    _claim(
        "Model-wise double descent, 20% label noise",
        "climb of test error to its peak",
        lambda runs: rise(group(runs)),
        lambda found: holds_if(found, "at least 3 points", above=0.03),
    ),
    _claim(
        "Model-wise double descent, 20% label noise",
        "fall from the peak to the widest network",
        lambda runs: fall(group(runs)),
        lambda found: holds_if(found, "at least 10 points", above=0.10),
    ),
    _claim(
        "The peak lies at the interpolation threshold",
        "peak's width over the first that fits",
        lambda runs: place_of_peak(group(runs)),
        lambda found: holds_within(found, "within a factor of 2", low=0.5, high=2.0),
        "x",
    ),
    _claim(
        "Effective model complexity is about n at the peak",
        "complexity over n, sizes a factor of 2 apart",
        complexity_at_peak,
        lambda found: holds_within(found, "within a factor of 2", low=0.5, high=2.0),
        "x",
    ),
    _claim(
        "Sample-wise: more examples move the threshold",
        "width that fits 2n over width that fits n",
        shift,
        lambda found: holds_if(found, "above 1", above=1.0),
        "x",
    ),
    _claim(
        "Control: without label noise the peak shrinks",
        "climb with noise less climb without",
        more_noise,
        lambda found: holds_if(found, "above 0", above=0.0),
    ),
    _claim(
        "Control: with optimal early stopping there is no peak",
        "climb of the smallest test error on the way",
        lambda runs: rise(group(runs), least_error),
        lambda found: holds_within(found, "at most 3 points", high=0.03),
    ),
)


study = register(
    Study(
        name="nakkiran2019-deep-double-descent",
        paper=NAKKIRAN_2019,
        question="Does test error peak where a network can just fit its training set, so that more of it can hurt?",
        datasets=("digits", "mnist", "cifar10"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=lambda request: (
            "The paper crops and flips training images in part of its runs; no run here does.",
            *(
                ()
                if request.scale == "paper"
                else (
                    "One hidden layer trained by Adam on all examples at once stands for its networks; the ResNet and "
                    "the CNN are planned at the paper's scale, for a GPU.",
                    "A second descent in time is not looked for: at these sizes none is to be expected.",
                )
            ),
            *request.data.notes,
        ),
        choices=(
            ("noise", "20% of the labels are wrong, drawn once a seed; test labels are clean"),
            ("threshold", "training error below 1% at the end; the budget of steps is the same for all widths"),
            ("complexity", "resolved by the sizes 250, 500 and 1,000 only"),
        ),
    )
)
