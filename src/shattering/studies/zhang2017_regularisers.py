"""Zhang et al. (2017): do explicit regularisers prevent fitting noise? Table 4, batch norm, early stopping."""

from __future__ import annotations

from typing import Literal

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.statistics import mean_interval
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
)
from shattering.studies.zhang2017 import (
    CONV_WEIGHT_DECAY,
    MLP_WEIGHT_DECAY,
    ZHANG_2017,
    Row,
    accuracy_of,
    counted,
    distinct,
    drawn,
    expected_steps,
    is_image,
    protocol,
    row_claims,
    sizes,
    weight,
)
from shattering.studies.zhang2017_figures import STEPS, curve

SWEEP = (1e-5, 1e-4, 5e-4, 2e-3, 5e-3, 2e-2, 0.1)
"""Coefficients of weight decay, from what everybody uses to what nobody does."""

BUDGET = 8
"""Below the paper's scale, a run under a regulariser may take so many times the updates of one without."""

SEEDS = {"smoke": 1, "small": 3, "paper": 3}

TABLE_4 = (
    Row(
        "Table 4: Inception, weight decay", "inception", 1.0, weight_decay=True, random_labels=True, provenance="Q-note"
    ),
    Row(
        "Table 4: MLP 3x512, weight decay", "mlp_3x512", 1.0, weight_decay=True, random_labels=True, provenance="Q-note"
    ),
    Row(
        "Table 4: MLP 1x512, weight decay",
        "mlp_1x512",
        0.9921,
        weight_decay=True,
        random_labels=True,
        provenance="Q-note",
    ),
    Row(
        "Table 4: Inception, random crop",
        "inception",
        0.9993,
        augmentation="crop",
        random_labels=True,
        provenance="Q-note",
    ),
    Row(
        "Table 4: Inception, full augmentation",
        "inception",
        0.9928,
        augmentation="full",
        random_labels=True,
        provenance="Q-note",
    ),
)
"""The rows with a number; Alexnet with weight decay, which failed to converge, is a claim of its own below."""

ALEXNET_DECAY = Row(
    "Table 4: Alexnet, weight decay", "alexnet", None, weight_decay=True, random_labels=True, provenance="Q-note"
)

AUGMENTED_EPOCHS = 300
AUGMENTED_DECAY = 0.999
"""For its augmented rows the paper raised a factor from 0.95 to 0.999 and trained longer; how long is not known."""


def specs(request: Request) -> list[RunSpec]:
    """Table 4, the sweep of weight decay, batch norm on and off, and trainings beyond the fit for early stopping."""
    runs: list[RunSpec] = []
    paper = request.scale == "paper"
    for seed in range(request.seeds or SEEDS[request.scale]):
        for model in _sweep_models(request):
            for decay in (0.0, *_coefficients(request)):
                runs.append(protocol(request, model, "random_labels", seed, weight_decay=decay, budget=BUDGET))
        for row in TABLE_4 if paper and is_image(request) and not request.models else ():
            if row.weight_decay:
                decay = row.decay_coefficient
                runs.append(protocol(request, row.model, "random_labels", seed, weight_decay=decay))
        for model in _augmented_models(request):
            runs += [_augmented(request, model, kind, seed) for kind in ("crop", "full")]
        for model, fields in _long_models(request):
            runs.append(protocol(request, model, "true_labels", seed, fields=fields, budget=BUDGET, to_the_end=True))
    return distinct(runs)


def _augmented(request: Request, model: str, kind: Literal["crop", "full"], seed: int) -> RunSpec:
    return protocol(
        request,
        model,
        "random_labels",
        seed,
        augmentation=kind,
        decay=AUGMENTED_DECAY,
        epochs=AUGMENTED_EPOCHS,
        budget=BUDGET,
    )


def _sweep_models(request: Request) -> tuple[str, ...]:
    if request.models:
        return request.models
    if request.scale == "smoke" or not is_image(request):
        return ("mlp_1x512",)
    if request.scale == "paper" or request.data.name == "digits":
        return ("mlp_1x512", "alexnet")
    return ("mlp_1x512", "mlp_3x512")


def _coefficients(request: Request) -> tuple[float, ...]:
    return (MLP_WEIGHT_DECAY, 0.1) if request.scale == "smoke" else SWEEP


def _augmented_models(request: Request) -> tuple[str, ...]:
    if not is_image(request) or request.models:
        return request.models if is_image(request) else ()
    if request.scale == "small" and request.data.name == "digits":
        return ("inception", "mlp_1x512")
    return ("inception",) if request.scale == "paper" else ("mlp_1x512",)


def _long_models(request: Request) -> list[tuple[str, dict[str, bool]]]:
    """Networks trained beyond the fit; the Inception also without batch norm, where a CPU can afford it."""
    if request.models or not is_image(request) or request.scale == "smoke":
        return [(model, {}) for model in _sweep_models(request)]
    if request.scale == "paper" or request.data.name == "digits":
        return [("inception", {}), ("inception", {"batch_norm": False}), ("mlp_1x512", {})]
    return [("mlp_1x512", {}), ("alexnet", {})]


# Claims


def _long_runs(records: Records, model: str | None = None) -> list[Record]:
    return [
        record
        for record in records
        if record.spec.corruption.name == "true_labels"
        and not record.spec.training.stop_when_fitted
        and record.rows
        and record.status in (Status.DONE, Status.NOT_FITTED)
        and (model is None or _name(record) == model)
    ]


def _name(record: Record) -> str:
    without = record.spec.model.fields.get("batch_norm") is False
    return record.spec.model.name + (" without batch norm" if without else "")


def _gain(record: Record) -> float:
    """What stopping at the best test accuracy would have gained over training to the end; at least 0."""
    _, accuracies = record.trajectory("test_accuracy")
    return max(accuracies) - accuracies[-1]


def _early_stopping(records: Records) -> Estimate | None:
    runs = _long_runs(records)
    if not runs:
        return None
    value, low, high = mean_interval([_gain(run) for run in runs])
    low = None if low is None else max(0.0, low)
    return Estimate(value, low, high, tuple(run.digest for run in runs), len(runs), counted(runs))


def _small_gain(records: Records) -> bool | None:
    found = _early_stopping(records)
    if found is None or found.high is None or found.low is None:
        return None
    return True if found.high < 0.02 else False if found.low > 0.02 else None


def _batch_norm_gain(records: Records) -> Estimate | None:
    """Paired by seed: test accuracy with batch norm less that without."""
    without = {run.spec.seed: run for run in _long_runs(records, "inception without batch norm")}
    pairs = [(run, without[run.spec.seed]) for run in _long_runs(records, "inception") if run.spec.seed in without]
    if not pairs:
        return None
    gains = [float(run.last["test_accuracy"]) - float(other.last["test_accuracy"]) for run, other in pairs]
    value, low, high = mean_interval(gains)
    digests = tuple(digest for pair in pairs for digest in (pair[0].digest, pair[1].digest))
    return Estimate(value, low, high, digests, len(digests), f"{len(pairs)} pairs of runs")


def _helps(records: Records) -> bool | None:
    found = _batch_norm_gain(records)
    if found is None or found.low is None or found.high is None:
        return None
    return True if found.low > 0 else False if found.high < 0 else None


def _fails(records: Records) -> bool | None:
    ended = [record for record in ALEXNET_DECAY.runs(records) if record.status is not Status.FAILED]
    return all(record.status is not Status.DONE for record in ended) if ended else None


def _claims() -> tuple[Claim, ...]:
    table = [claim for row in TABLE_4 for claim in row_claims(row, train_tolerance=0.005, test_tolerance=0.03)]
    return (
        *table,
        Claim(
            source=ALEXNET_DECAY.source,
            quantity="training accuracy",
            published=None,
            provenance="Q-text",
            estimate=lambda records: accuracy_of(ALEXNET_DECAY.runs(records), "train_accuracy"),
            effect=Effect("no run fits to 99% at the default coefficient, which the paper does not give", _fails),
            tolerance=0.01,
            unit="1",
            data="cifar10",
        ),
        Claim(
            source="Section 3, Figure 2b: batch norm",
            quantity="gain of batch norm in test accuracy",
            published=0.0375,
            provenance="D",
            estimate=_batch_norm_gain,
            effect=Effect("batch norm raises test accuracy (interval above 0)", _helps),
            tolerance=0.01,
            unit="1",
            data="cifar10",
        ),
        Claim(
            source="Section 3, Figure 2b: early stopping",
            quantity="gain of early stopping in test accuracy",
            published=0.0,
            provenance="Q-text",
            estimate=_early_stopping,
            effect=Effect("stopping at the best step gains less than 2 points (interval below)", _small_gain),
            tolerance=0.01,
            unit="1",
            data="cifar10",
        ),
    )


# Pictures and words


def _sweep_runs(records: Records) -> list[Record]:
    return [
        record
        for record in records
        if record.spec.corruption.name == "random_labels"
        and record.spec.training.augmentation == "none"
        and record.spec.training.weight_decay > 0
    ]


def _sweep_points(records: Records) -> list[Point]:
    table: dict[tuple[str, float], list[Record]] = {}
    for record in _sweep_runs(records):
        table.setdefault((record.spec.model.name, record.spec.training.weight_decay), []).append(record)
    points = []
    for (model, coefficient), runs in sorted(table.items()):
        found = accuracy_of(runs, "train_accuracy")
        if found is not None:
            points.append(Point(coefficient, found.value, model, found.low, found.high))
    return points


def _sweep_reading(records: Records) -> str:
    texts = []
    runs = _sweep_runs(records)
    for model in dict.fromkeys(record.spec.model.name for record in runs):
        fits: dict[float, bool] = {}
        for record in runs:
            if record.spec.model.name == model:
                coefficient = record.spec.training.weight_decay
                fits[coefficient] = fits.get(coefficient, True) and record.status is Status.DONE
        kept = [coefficient for coefficient, fitted in sorted(fits.items()) if fitted]
        broken = [coefficient for coefficient, fitted in sorted(fits.items()) if not fitted]
        if kept and broken:
            texts.append(f"{model} fits random labels up to {max(kept):g} and fails from {min(broken):g}")
        else:
            texts.append(f"{model} {'fits at every coefficient' if kept else 'fits at none'}")
    return f"Within the budget of steps, {'; '.join(texts)}."


def _long_points(records: Records) -> list[Point]:
    points = []
    for model in dict.fromkeys(_name(record) for record in _long_runs(records)):
        runs = _long_runs(records, model)
        points += curve(runs, "train_accuracy", model, "", "train")
        points += curve(runs, "test_accuracy", model, "", "test")
    return points


def _long_reading(records: Records) -> str:
    texts = []
    for model in dict.fromkeys(_name(record) for record in _long_runs(records)):
        gains = [_gain(run) for run in _long_runs(records, model)]
        texts.append(f"{100 * sum(gains) / len(gains):.1f} points for {model}")
    return (
        f"Stopping each training at its best test accuracy, chosen in hindsight, would have gained {', '.join(texts)}."
    )


def answer(records: Records) -> str:
    """Whether random labels are fitted in spite of explicit regularisers, and whether early stopping helps."""
    regularised = [
        record
        for record in records
        if record.spec.corruption.name == "random_labels"
        and (record.spec.training.augmentation != "none" or 0 < record.spec.training.weight_decay <= CONV_WEIGHT_DECAY)
    ]
    if not regularised:
        return "No run under a regulariser has ended yet, so there is no answer. Run the same command again to go on."
    fitted = sum(record.status is Status.DONE for record in regularised)
    first = (
        f"{fitted} of {len(regularised)} trainings under customary weight decay (up to {CONV_WEIGHT_DECAY:g}) or data "
        "augmentation fitted random labels to 99% or more all the same."
    )
    gain = _early_stopping(records)
    if gain is None:
        return first + " Whether early stopping helps cannot be told yet."
    return first + f" On true labels, early stopping in hindsight gains {100 * gain.value:.1f} points of test accuracy."


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    told = []
    if request.data.name != "cifar10":
        told.append(f"The data are {request.data.name}, not CIFAR-10: numbers are shown, effects are judged.")
    if request.scale != "paper":
        models = dict.fromkeys((*_sweep_models(request), *_augmented_models(request), *dict(_long_models(request))))
        for model in models:
            at = sizes(request, model)
            told.append(
                f"{model}: {drawn(at.train or request.data.train_size, request)}; batches of {at.batch}, a constant "
                f"rate of {at.rate:g}."
            )
        told.append(
            f"The budget is {BUDGET} times the updates that random labels take without a regulariser; what has not "
            "fitted by then counts as not fitted."
        )
        if request.data.name == "digits":
            told.append("Random crops are 7×7 out of 8×8.")
    return (*told, *request.data.notes)


CHOICES = (
    ("weight-decay coefficient of Table 4", "5e-4 for convolutional networks, 1e-4 for MLPs; hence the sweep"),
    ("what weight decay applies to", "every parameter, biases and normalisation included"),
    ("full augmentation", "random crop, left-right flip with probability ½, rotation uniform within ±25 degrees"),
    ("length of the augmented trainings", "300 epochs at a decay of 0.999"),
    ("early stopping", "the best snapshot by test accuracy in hindsight, an upper bound of what it can gain"),
)

study = register(
    Study(
        name="zhang2017-regularisers",
        paper=ZHANG_2017,
        question="Do explicit regularisers prevent a network from fitting noise, and are they why it generalises?",
        datasets=("digits", "mnist", "cifar10"),
        specs=specs,
        claims=_claims(),
        figures=(
            Figure(
                name="weight-decay",
                title="Random labels under weight decay: where fitting breaks",
                x=Axis("weight-decay coefficient", scale="log"),
                y=Axis("training accuracy on random labels at the end", percent=True),
                points=_sweep_points,
                reading=_sweep_reading,
                rules=lambda records: {"fit criterion": 0.99},
            ),
            Figure(
                name="early-stopping",
                title="Training on beyond the fit, true labels (after Figure 2b)",
                x=STEPS,
                y=Axis("accuracy", percent=True),
                points=_long_points,
                reading=_long_reading,
            ),
        ),
        answer=answer,
        differences=differences,
        choices=CHOICES,
        expected_steps=expected_steps,
        weight=weight,
    )
)
