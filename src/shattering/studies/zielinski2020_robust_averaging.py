"""Zielinski et al. (2020): a median of a few gradients in place of their mean reduces memorisation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shattering.core.record import Record
from shattering.core.spec import MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.statistics import mean_interval
from shattering.core.study import Claim, Effect, Estimate, Records, Request, Study, label_level, register
from shattering.measures.label_noise import CORRUPT_ACCURACY
from shattering.studies.chatterjee2020 import (
    SCALING,
    Number,
    Sizes,
    at_level,
    estimated,
    last,
    lies_above,
    lies_below,
    mean_of,
    overfit,
    pairs,
    prepared,
)
from shattering.studies.chatterjee2022 import ZIELINSKI_2020, is_image, label_noise
from shattering.studies.zielinski2020_pictures import FIGURES, METHODS, value_at_loss

NOISY = (0.25, 0.5, 0.75)
SEEDS = {"smoke": 1, "small": 5, "paper": 3}
EPOCHS = 90
"""At the paper's scale; the rate falls tenfold after every third of them."""


SMALL = {"mnist": Sizes(2000, 2000, 100, 4000), "digits": Sizes(None, None, 100, 6000)}
FITTED = {
    "mnist": {0.0: 400, 0.25: 1000, 0.5: 1150, 0.75: 1300},
    "digits": {0.0: 400, 0.25: 1800, 0.5: 2100, 0.75: 2500},
}
"""About how many updates SGD takes to fit the training set, from single pilot runs; for estimates only."""


def sizes(request: Request) -> Sizes:
    """The sizes at the request's scale."""
    facts = request.data
    if request.scale == "paper":
        batch = min(256, facts.train_size)
        return Sizes(None, None, batch, EPOCHS * max(1, facts.train_size // batch))
    if request.scale == "smoke":
        return Sizes(96, 64, 32, 300, width=32)
    return SMALL.get(facts.name, SMALL["mnist"]).within(request)


def specs(request: Request) -> list[RunSpec]:
    """SGD, M3 and RM3 at every level of noise, for every seed."""
    return [
        _spec(request, model, method, level, seed)
        for seed in range(request.seeds or SEEDS[request.scale])
        for model in request.models or (_network(request),)
        for level in ((0.0, 0.5) if request.scale == "smoke" else (0.0, *NOISY))
        for method in METHODS
    ]


def _network(request: Request) -> str:
    return "resnet18" if request.scale == "paper" and is_image(request) else "mlp"


def _spec(request: Request, model: str, method: str, level: float, seed: int) -> RunSpec:
    at, paper = sizes(request), request.scale == "paper"
    schedule: dict[str, Any] = {"learning_rate": 0.1, "momentum": 0.9 if paper else 0.0}
    if paper:
        schedule |= {"schedule": "exponential", "decay": 0.1, "decay_steps": max(1, at.steps // 3)}
    return RunSpec(
        data=prepared(request, at.train, at.test),
        corruption=label_noise(level),
        model=ModelSpec(name=model, fields={"depth": 3, "width": at.width} if model == "mlp" else {}),
        training=TrainingSpec(
            **schedule,
            batch_size=at.batch,
            max_steps=at.steps,
            stop_when_fitted=not paper,
            gradient=method,  # type: ignore[arg-type]
        ),
        compute={"device": request.device},  # type: ignore[arg-type]
        measures=MeasureSpec(names=("accuracy",), points_per_decade=8, every_epochs=5),
        seed=seed,
    )


def _runs(records: Records, method: str, level: float) -> list[Record]:
    return [run for run in at_level(records, level) if run.spec.training.gradient == method]


def _paired(
    method: str, level: float, number: Callable[[Record, Record], float | None]
) -> Callable[[Records], Estimate | None]:
    """Mean of a number of pairs of runs, ours and SGD's, of equal seed and network."""

    def estimate(records: Records) -> Estimate | None:
        ours, theirs = _runs(records, method, level), _runs(records, "mean", level)
        found = [(our, sgd, value) for our, sgd in pairs(ours, theirs) if (value := number(our, sgd)) is not None]
        if not found:
            return None
        interval = mean_interval([value for _, _, value in found])
        return estimated(interval, [run for our, sgd, _ in found for run in (our, sgd)], [*ours, *theirs])

    return estimate


def _finding(source: str, quantity: str, of: Callable[[Records], Estimate | None], effect: Effect) -> Claim:
    """Something that the abstract states without a number."""
    return Claim(
        source=source,
        quantity=quantity,
        published=None,
        tolerance=0.0,
        unit="1",
        provenance="Q-abs",
        data="imagenet",
        estimate=of,
        effect=effect,
    )


def reduction_claim(method: str, level: float, quantity: str, number: Number) -> Claim:
    """The method greatly reduces something: to less than half of what SGD has."""

    def less(share: float) -> Callable[[Record, Record], float | None]:
        def change(our: Record, sgd: Record) -> float | None:
            first, second = number(our), number(sgd)
            return None if first is None or second is None else first - share * second

        return change

    half = _paired(method, level, less(0.5))
    return _finding(
        f"Abstract, {METHODS[method]}, {level:.0%} label noise",
        f"{quantity}, less that of SGD",
        _paired(method, level, less(1.0)),
        Effect(
            "less than half of SGD's (interval of paired differences)", lambda records: lies_below(half(records), 0.0)
        ),
    )


def equal_loss_claim(method: str, level: float) -> Claim:
    """Slower training must not pass for less memorisation: at the lowest training loss that both reach."""

    def gain(our: Record, sgd: Record) -> float | None:
        both = [run.trajectory("train_loss")[1] for run in (our, sgd)]
        if not all(both):
            return None
        loss = max(min(losses) for losses in both)
        first, second = value_at_loss(our, "test_accuracy", loss), value_at_loss(sgd, "test_accuracy", loss)
        return None if first is None or second is None else first - second

    found = _paired(method, level, gain)
    return _finding(
        f"Abstract, {METHODS[method]}, {level:.0%} label noise, at equal training loss",
        "test accuracy, less that of SGD",
        found,
        Effect("above zero (interval of paired differences)", lambda records: lies_above(found(records), 0.0)),
    )


CLAIMS = tuple(
    claim
    for method in ("median_of_means", "rolling_median")
    for level in NOISY
    for claim in (
        reduction_claim(method, level, "adjusted overfit at the end", overfit),
        reduction_claim(method, level, "accuracy on corrupt labels at the end", last(CORRUPT_ACCURACY)),
        equal_loss_claim(method, level),
    )
)


def answer(records: Records) -> str:
    """How much is memorised at half noise, and what it costs without noise."""
    parts, control = [], []
    for method, name in METHODS.items():
        wrong, test = (
            mean_of(_runs(records, method, 0.5), last(which)) for which in (CORRUPT_ACCURACY, "test_accuracy")
        )
        clean = mean_of(_runs(records, method, 0.0), last("test_accuracy"))
        if wrong and test:
            parts.append(f"{name} ends with {wrong.value:.0%} of the wrong labels fitted and {test.value:.0%} on test")
        if clean:
            control.append(f"{clean.value:.0%} with {name}")
    if not parts:
        return "No run with half of its labels redrawn has ended, so there is no answer. Run the same command again."
    without = f"Without label noise, the control, test accuracy is {', '.join(control)}." if control else ""
    return f"With half of the labels redrawn, {'; '.join(parts)}. {without}".strip()


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    at = sizes(request)
    network = ", ".join(request.models) or _network(request)
    told = [
        f"The data are {request.data.name}, not ImageNet.",
        f"The network is {network}; the paper's are residual, Inception and VGG networks for ImageNet.",
    ]
    if request.scale != "paper":
        train, test = at.train or request.data.train_size, at.test or request.data.test_size
        told += [
            f"{train:,} of {request.data.train_size:,} training examples (each seed has its own), tested on {test:,}.",
            f"Plain SGD at a constant rate of 0.1 in batches of {at.batch}, without momentum, for at most {at.steps:,} "
            "steps; training stops when 99% of the training set are fitted.",
        ]
    return (*told, *request.data.notes)


def expected_steps(spec: RunSpec) -> int:
    """About how many updates a run takes; the medians a little more than SGD."""
    training = spec.training
    if not training.stop_when_fitted:
        return training.max_steps
    known = FITTED.get(spec.data.name, {}).get(label_level(spec) or 0.0, 1500)
    return min(training.max_steps, known if training.gradient == "mean" else known * 6 // 5)


study = register(
    Study(
        name="zielinski2020-robust-averaging",
        paper=ZIELINSKI_2020,
        question="Does a median of three gradients in place of their mean keep a network from memorising wrong labels?",
        datasets=("mnist", "digits"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=(
            ("levels of label noise", "none (the control), 25, 50 and 75%"),
            ("what counts as greatly reduced", "to less than half of what SGD has at the end, at the same rate"),
            ("groups of M3", "consecutive thirds of the batch, whose order is random; sizes differ by one at most"),
            ("first steps of RM3", "the first by its own gradient, the second by the mean of two"),
            ("optimiser at the paper's scale", "rate 0.1, momentum 0.9 after the median, batches of 256"),
            ("length at the paper's scale", f"{EPOCHS} epochs, the rate divided by ten after each third"),
            SCALING,
        ),
        expected_steps=expected_steps,
        weight=lambda spec: 3 if spec.training.gradient == "median_of_means" else 2,
    )
)
