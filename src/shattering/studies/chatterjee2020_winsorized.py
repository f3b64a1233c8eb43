"""Chatterjee (2020): steps that a few examples cannot steer do not memorise."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from shattering.core.record import Record
from shattering.core.spec import MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Claim, Effect, Estimate, Records, Request, Study, label_level, register
from shattering.measures.label_noise import CORRUPT_ACCURACY, PRISTINE_ACCURACY
from shattering.studies.chatterjee2020 import (
    SCALING,
    Number,
    Sizes,
    all_hold,
    at_level,
    beyond_proper,
    classes,
    difference_of,
    last,
    lies_above,
    lies_below,
    mean_of,
    overfit,
    prepared,
    rises,
)
from shattering.studies.chatterjee2020_winsorized_pictures import FIGURES, NARROW, is_narrow, network_name, percent
from shattering.studies.chatterjee2022 import CHATTERJEE_2020, label_noise

SOURCE = "Winsorized SGD on MNIST"
PERCENTS = {"smoke": (0.0, 4.0), "small": (0.0, 1.0, 2.0, 4.0, 8.0), "paper": (0.0, 1.0, 2.0, 4.0, 8.0)}
LEVELS = {"smoke": (0.0, 0.5), "small": (0.0, 0.5), "paper": (0.0, 0.25, 0.5, 0.75, 1.0)}
SEEDS = {"smoke": 1, "small": 3, "paper": 3}
JUDGED = 0.5
"""The level of noise that is judged at every scale."""

SLACK = 0.02
"""By so much a training accuracy may exceed the proper one without counting as memorisation."""

NEAR = 0.1
"""Accuracies this close count as near."""

PUBLISHED_PARAMETERS, PUBLISHED_EXAMPLES = 335_114, 60_000
"""Of the paper's network, three hidden layers of 256 on MNIST, and of its training set."""

DEAR = 15
"""Plain steps that a winsorized one costs, about."""


SMALL = {"mnist": Sizes(1000, 2000, 100, 1000), "digits": Sizes(1000, None, 100, 2000)}
SMALL_NARROW = Sizes(5000, 2000, 100, 5000, NARROW)
"""MNIST once more: about as many parameters for each example as in the paper (12 to its 6), and as many epochs, 100."""

FITTED = {"mnist": {0.0: 250, 0.5: 600}, "digits": {0.0: 250, 0.5: 1500}}
"""About how many updates SGD takes to fit the training set, from single pilot runs; for estimates only."""


def sizes(request: Request) -> Sizes:
    """The sizes at the request's scale."""
    if request.scale == "paper":
        return Sizes(None, None, min(100, request.data.train_size), 60_000)
    if request.scale == "smoke":
        return Sizes(64, 64, 32, 300, width=32)
    return SMALL.get(request.data.name, SMALL["mnist"]).within(request)


def specs(request: Request) -> list[RunSpec]:
    """Every c at every level of noise, for every seed; c = 0 is plain SGD."""
    found = _sweep(request, sizes(request), LEVELS[request.scale])
    return found + (_sweep(request, SMALL_NARROW, (JUDGED,)) if _has_narrow(request) else [])


def _has_narrow(request: Request) -> bool:
    return request.scale == "small" and request.data.name == "mnist" and not request.models


def _sweep(request: Request, at: Sizes, levels: tuple[float, ...]) -> list[RunSpec]:
    return [
        RunSpec(
            data=prepared(request, at.train, at.test),
            corruption=label_noise(level),
            model=ModelSpec(name=model, fields={"depth": 3, "width": at.width} if model == "mlp" else {}),
            training=TrainingSpec(
                learning_rate=0.1,
                momentum=0.0,
                batch_size=at.batch,
                max_steps=at.steps,
                stop_when_fitted=request.scale != "paper",
                gradient="winsorized" if c else "mean",
                winsorize=c,
            ),
            compute={"device": request.device},  # type: ignore[arg-type]
            measures=MeasureSpec(names=("accuracy",), points_per_decade=8, every_epochs=10),
            seed=seed,
        )
        for seed in range(request.seeds or SEEDS[request.scale])
        for model in request.models or ("mlp",)
        for level in levels
        for c in PERCENTS[request.scale]
    ]


def _at(records: Records, c: float | None, narrow: bool) -> list[Record]:
    runs = [run for run in at_level(records, JUDGED) if is_narrow(run) == narrow]
    return [run for run in runs if c is None or percent(run) == c]


def _finding(quantity: str, narrow: bool, of: Callable[[Records], Estimate | None], effect: Effect) -> Claim:
    """Something that the paper states without a number."""
    return Claim(
        source=f"{SOURCE}, {JUDGED:.0%} label noise" + (f", 3×{NARROW} units" if narrow else ""),
        quantity=quantity,
        published=None,
        tolerance=0.0,
        unit="1",
        provenance="Q-note",
        data="mnist",
        estimate=of,
        effect=effect,
    )


def _largest_change(number: Number, narrow: bool) -> Callable[[Records], Estimate | None]:
    return lambda records: difference_of(_at(records, 8.0, narrow), _at(records, 0.0, narrow), number)


def trend_claim(quantity: str, number: Number, *, narrow: bool) -> Claim:
    """A number that falls as more of the gradients are clipped."""
    statement = "it falls with c (rank correlation over all c, permutation p ≤ 0.05)"
    effect = Effect(statement, lambda records: rises(_at(records, None, narrow), percent, number, falling=True))
    return _finding(f"{quantity}, c = 8 less c = 0", narrow, _largest_change(number, narrow), effect)


def memorised_claim(c: float, *, narrow: bool) -> Claim:
    """For c above 1 corrupt labels are not memorised; with SGD, the control, they are."""

    def beyond(records: Records) -> Estimate | None:
        return mean_of(_at(records, c, narrow), beyond_proper)

    def not_memorised(records: Records) -> bool | None:
        count = classes(records)
        if not count:
            return None
        wrong = mean_of(_at(records, c, narrow), last(CORRUPT_ACCURACY))
        return all_hold(lies_below(beyond(records), SLACK), lies_below(wrong, 1 / count + NEAR))

    statement = (
        f"at most {SLACK:.0%}, with corrupt labels fitted less than 10 points above chance (intervals of both means)"
    )
    effect = (
        Effect(statement, not_memorised)
        if c
        else Effect("the control memorises: above 10 points", lambda records: lies_above(beyond(records), NEAR))
    )
    return _finding(f"final training accuracy beyond the proper accuracy, c = {c:g}", narrow, beyond, effect)


def cost_claim(*, narrow: bool) -> Claim:
    """A large c costs fit, too."""
    found = _largest_change(last(PRISTINE_ACCURACY), narrow)
    effect = Effect("below zero (interval)", lambda records: lies_below(found(records), 0.0))
    return _finding("accuracy on pristine examples, c = 8 less c = 0", narrow, found, effect)


def claims(*, narrow: bool) -> list[Claim]:
    """What the paper found, of one of the two networks."""
    return [
        trend_claim("adjusted overfit", overfit, narrow=narrow),
        trend_claim("accuracy on corrupt labels as given", last(CORRUPT_ACCURACY), narrow=narrow),
        *(memorised_claim(c, narrow=narrow) for c in (0.0, 2.0, 4.0, 8.0)),
        cost_claim(narrow=narrow),
    ]


def answer(records: Records) -> str:
    """How much is memorised at each c, and what that does to unseen examples."""
    told = []
    for narrow in (False, True):
        fitted, tested = [], []
        for c in sorted({at for run in records if (at := percent(run)) is not None}):
            runs = _at(records, c, narrow)
            wrong, test = (mean_of(runs, last(name)) for name in (CORRUPT_ACCURACY, "test_accuracy"))
            if wrong and test:
                fitted.append(f"{wrong.value:.0%} at c = {c:g}")
                tested.append(f"{test.value:.0%} at c = {c:g}")
        if fitted:
            told.append(
                f"{network_name(_at(records, None, narrow)[0])}: of the wrong labels are fitted in the end "
                f"{', '.join(fitted)}; test accuracy is then {', '.join(tested)}."
            )
    if not told:
        return "No run with label noise has ended yet, so there is no answer. Run the same command again to go on."
    return " ".join(["With half of the labels redrawn,", *told])


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    at = sizes(request)
    told = [] if request.data.name == "mnist" else [f"The data are {request.data.name}, not MNIST."]
    if request.scale != "paper":
        train, test = at.train or request.data.train_size, at.test or request.data.test_size
        told += [
            f"{train:,} of {request.data.train_size:,} training examples (each seed has its own), tested on {test:,}.",
            f"At most {at.steps:,} steps ({at.steps * at.batch / train:,.0f} epochs; the paper's 60,000 are 100), and "
            "training stops when 99% of the training set are fitted.",
        ]
        if _has_narrow(request):
            also = SMALL_NARROW
            told.append(
                f"A second network of 3×{also.width} units, at half noise only, has {also.train:,} examples and "
                f"{also.steps:,} steps ({also.steps * also.batch / (also.train or 1):,.0f} epochs): about 12 "
                "parameters for each example, as against the paper's 6."
            )
        if not request.models:
            each, theirs = _parameters(request) / train, PUBLISHED_PARAMETERS / PUBLISHED_EXAMPLES
            told.append(
                f"The network of 3×{at.width} units has {each:,.0f} parameters for each training example, "
                f"{each / theirs:,.0f} times as many as the paper's: memorising is easier."
            )
    told.append("c = 0 is trained by plain SGD, whose step is the same.")
    return (*told, *request.data.notes)


def _parameters(request: Request) -> int:
    width = sizes(request).width
    inputs = prod(request.data.input_shape)
    return (inputs + 1) * width + 2 * (width + 1) * width + (width + 1) * request.data.num_classes


def expected_steps(spec: RunSpec) -> int:
    """About how many updates a run takes: SGD until it has fitted, the others under noise their whole budget."""
    training, level = spec.training, label_level(spec) or 0.0
    if not training.stop_when_fitted or (training.winsorize and level):
        return training.max_steps
    known = FITTED.get(spec.data.name, {}).get(level, 400) * (5 if spec.model.fields.get("width") == NARROW else 1)
    return min(training.max_steps, known * (3 if training.winsorize else 1))


def weight(spec: RunSpec) -> int:
    """About how costly an update is beside a plain one of the narrow network."""
    plain = 1 if spec.model.fields.get("width") == NARROW else 3
    return plain * (DEAR if spec.training.winsorize else 1)


study = register(
    Study(
        name="chatterjee2020-winsorized",
        paper=CHATTERJEE_2020,
        question="If the extremes of the examples' gradients are clipped, does memorisation stop and learning go on?",
        datasets=("mnist", "digits"),
        specs=specs,
        claims=(*claims(narrow=False), *claims(narrow=True)),
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=(
            ("levels of label noise", "none (the control) and one half; all five at the paper's scale"),
            SCALING,
            ("Xavier initialisation", "uniform, by Glorot and Bengio (2010), the output layer included; zero biases"),
            ("percentiles of b gradients", "the ⌊cb/100⌋ most extreme at each end are clipped to the next one"),
            ("sum or mean of the clipped gradients", "their mean, so that c = 0 is SGD at the same rate"),
            ("what counts as not memorised", "2 points above the proper accuracy, the share of labels left alone"),
        ),
        expected_steps=expected_steps,
        weight=weight,
    )
)
