"""Zhang et al. (2017), Section 2.2: can measures of complexity tell true labels from random ones?"""

from __future__ import annotations

from typing import Any

from shattering.core.spec import AT_ONCE, CorruptionSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Claim, Effect, Records, Request, Study, register
from shattering.learners.registry import is_learner
from shattering.measures.rademacher import sign_correlation
from shattering.studies.zhang2017 import (
    EPOCH_STEPS,
    PAPER_EPOCHS,
    PAPER_RATES,
    WEIGHTS,
    ZHANG_2017,
    crop_side,
    distinct,
    is_image,
)
from shattering.studies.zhang2017_complexity_pictures import FIGURES, separation_counts, spread
from shattering.studies.zhang2017_complexity_records import (
    correlation_interval,
    correlation_of,
    effect_ratio,
    gap_is_larger,
    gap_on_random_labels,
    models_of,
    sign_runs,
    stability_runs,
    with_most_examples,
)

SEEDS = {"smoke": 1, "small": 3, "paper": 3}

SIGN_SIZES = {"smoke": (32, 96), "small": (100, 500, 2000), "paper": (1000, 10_000, 50_000)}
"""Examples with random signs; a smaller data set gives all it has."""

NORM_SIZE = {"smoke": 96, "small": 1000, "paper": 50_000}
LEVELS = {"smoke": (0.0, 1.0), "small": (0.0, 0.25, 0.5, 0.75, 1.0), "paper": (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)}

STABILITY_SIZE = {"smoke": 64, "small": 500, "paper": 10_000}
STABILITY_STEPS = {"smoke": 60, "small": 400, "paper": 8000}
REPLACEMENTS = {"smoke": 2, "small": 5, "paper": 10}
TEST_SIZE = {"smoke": 64, "small": 500, "paper": None}

BUDGET = {"smoke": 400, "small": 4000, "paper": PAPER_EPOCHS * EPOCH_STEPS}
BATCH = {"smoke": 32, "small": 100, "paper": 128}

RATES = {"linear": 0.1, "small_convnet": 0.01, "mlp_1x512": 0.02, "mlp_3x512": 0.02}
DIGITS_RATES = RATES | {"mlp_1x512": 0.1, "mlp_3x512": 0.05}
"""Below the paper's scale: rates at which every network fits random signs within the budget, and none diverges."""

PAPER_NETS = ("inception", "alexnet", "mlp_1x512", "mlp_3x512")


def specs(request: Request) -> list[RunSpec]:
    """Random signs at several sizes, label noise with norms at the end, and trainings with one example replaced."""
    runs = []
    for seed in range(request.seeds or SEEDS[request.scale]):
        for model in _sign_models(request):
            for size in _sign_sizes(request):
                signs = _spec(request, model, seed, size, "random_signs")
                runs.append(signs.model_copy(update={"training": AT_ONCE}) if is_learner(model) else signs)
        for model in _norm_models(request):
            size = min(NORM_SIZE[request.scale], request.data.train_size)
            for level in LEVELS[request.scale]:
                measures = ("accuracy", "weights", "weight_norms")
                runs.append(_spec(request, model, seed, size, *_noise(level), measures=measures))
        for model in _norm_models(request)[:1]:
            size = min(STABILITY_SIZE[request.scale], request.data.train_size - 1)
            count = REPLACEMENTS[request.scale]
            places = [(2 * number + 1) * size // (2 * count) for number in range(count)]
            for corruption in ("true_labels", "random_labels"):
                runs += [_stability(request, model, seed, size, corruption, place) for place in (None, *places)]
    return distinct(runs)


def _sign_models(request: Request) -> tuple[str, ...]:
    if request.models:
        return request.models
    if request.scale == "smoke":
        return ("linear", "mlp_1x512")
    networks = PAPER_NETS if request.scale == "paper" else ("mlp_1x512", "mlp_3x512", "small_convnet")
    return ("linear", "decision_tree", *(model for model in networks if is_image(request) or model.startswith("mlp")))


def _norm_models(request: Request) -> tuple[str, ...]:
    """Networks whose norms are measured; of the first of them losses are compared as well."""
    if request.models:
        return tuple(model for model in request.models if not is_learner(model))
    if request.scale == "smoke" or not is_image(request):
        return ("mlp_1x512",)
    return ("mlp_1x512", "alexnet", "inception") if request.scale == "paper" else ("mlp_1x512", "small_convnet")


def _sign_sizes(request: Request) -> list[int]:
    return sorted({min(size, request.data.train_size) for size in SIGN_SIZES[request.scale]})


def _noise(level: float) -> tuple[str, dict[str, Any]]:
    plain = {0.0: "true_labels", 1.0: "random_labels"}
    return (plain[level], {}) if level in plain else ("partially_corrupted_labels", {"p": level})


def _spec(
    request: Request,
    model: str,
    seed: int,
    size: int,
    corruption: str,
    fields: dict[str, Any] | None = None,
    *,
    measures: tuple[str, ...] = ("accuracy",),
    data: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
) -> RunSpec:
    """SGD with momentum 0.9 until every training example is fitted, or the budget is spent."""
    paper = request.scale == "paper"
    known = DIGITS_RATES if request.data.name == "digits" else RATES
    rate = PAPER_RATES.get(model, 0.01) if paper else known.get(model, 0.02)
    test = TEST_SIZE[request.scale]
    return RunSpec(
        data=DataSpec(
            name=request.data.name,
            train_size=size,
            test_size=None if test is None else min(test, request.data.test_size),
            crop=crop_side(request),
            **(data or {}),
        ),
        corruption=CorruptionSpec(name=corruption, fields=fields or {}),
        model=ModelSpec(name=model),
        training=TrainingSpec(
            learning_rate=rate,
            batch_size=min(BATCH[request.scale], size),
            schedule="exponential" if paper else "constant",
            decay_steps=EPOCH_STEPS if paper else None,
            **({"max_steps": BUDGET[request.scale], "fit_accuracy": 1.0} | (training or {})),
        ),
        compute={"device": request.device},  # type: ignore[arg-type]
        measures=MeasureSpec(names=measures, points_per_decade=0, every_epochs=0),
        seed=seed,
    )


def _stability(request: Request, model: str, seed: int, size: int, corruption: str, place: int | None) -> RunSpec:
    """The same number of steps for all, so that the training is one and the same, whatever the labels."""
    return _spec(
        request,
        model,
        seed,
        size,
        corruption,
        measures=("accuracy", "held_out_losses"),
        data={"replaced": place},
        training={"max_steps": STABILITY_STEPS[request.scale], "stop_when_fitted": False},
    )


FIT_STEPS = {"linear": 4000, "mlp_1x512": 400, "mlp_3x512": 400, "small_convnet": 1000}
"""About how many updates random labels of two thousand examples take at scale `small`, measured."""


def expected_steps(spec: RunSpec) -> int:
    """About how many updates a run takes: all where it does not stop when fitted, fewer for fewer examples."""
    training = spec.training
    if is_learner(spec.model.name):
        return 1
    if not training.stop_when_fitted or training.schedule != "constant":
        return training.max_steps
    share = (spec.data.train_size or 2000) / 2000
    # A linear model has an ever harder time the nearer it comes to as many examples as features.
    steps = FIT_STEPS.get(spec.model.name, 1000) * (share**1.5 if spec.model.name == "linear" else share)
    return min(training.max_steps, max(20, round(steps)))


def weight(spec: RunSpec) -> int:
    """About how costly an update is beside one of the smallest network."""
    return {"linear": 1, "small_convnet": 4}.get(spec.model.name, WEIGHTS.get(spec.model.name, 10))


# Claims


def _followed(records: Records, model: str) -> bool | None:
    runs = with_most_examples(records, model)
    values = [value for record in runs if (value := sign_correlation(record)) is not None]
    return all(value >= 0.98 for value in values) if values else None


def _rademacher_claim(model: str) -> Claim:
    return Claim(
        source=f"Section 2.2, Rademacher complexity: {model}",
        quantity="mean of σ·sign h(x) on random signs, most examples",
        published=1.0,
        tolerance=0.02,
        unit="",
        provenance="Q-text",
        data="cifar10",
        estimate=lambda records: correlation_of(with_most_examples(records, model)),
        effect=Effect("at least 0.98 in every run, so that the bound says nothing", lambda r: _followed(r, model)),
    )


CLAIMS = (
    *(_rademacher_claim(model) for model in PAPER_NETS),
    Claim(
        source="Section 2.2, uniform stability",
        quantity="generalisation gap on random labels, which uniform stability in the 0-1 loss cannot be below",
        published=0.9,
        tolerance=0.03,
        unit="1",
        provenance="D",
        data="cifar10",
        estimate=gap_on_random_labels,
        effect=Effect("larger than the gap on true labels (interval of paired differences above 0)", gap_is_larger),
    ),
)


def answer(records: Records) -> str:
    """What follows signs, and what tells true from random labels."""
    ends = []
    for model in models_of(records):
        sizes = sign_runs(records, model)
        found = correlation_interval(sizes[max(sizes)]) if sizes else None
        if found is not None:
            ends.append(f"{found[0]:.2f} for {model} (n = {max(sizes):,})")
    gap = gap_on_random_labels(records)
    if not ends or gap is None:
        return "Random signs and random labels must be run before there is an answer. Run the same command again."
    first = (
        f"Rademacher complexity does not see the labels, and trained on random signs the models reach "
        f"{', '.join(ends)} of at most 1; uniform stability does not see them either, and is at least {gap.value:.2f}, "
        "the gap on random labels."
    )
    seen = [
        f"the mean effect of replacing one example is {spread(ratio)} times as large on random labels ({model})"
        for model in models_of(stability_runs(records))
        if (ratio := effect_ratio(records, model)) is not None
    ]
    parts = [*separation_counts(records), *seen]
    return f"{first} Of what is measured on the trained networks: {'; '.join(parts) or 'not known yet'}."


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's argument."""
    told = [
        "The paper argues, from its trainings on random labels; here networks are trained on random signs as well, and "
        "norms and the effect of a replacement are measured, which it does not report.",
        "The supremum over functions is approached by training until every sign is followed; where training stops "
        "short, the number is a lower bound.",
        "Uniform stability is a supremum over all samples, replacements and points. What is measured for a sample and "
        "a few replacements depends on the labels, and bounds it from below.",
    ]
    if request.data.name != "cifar10":
        told.append(f"The data are {request.data.name}, not CIFAR-10: numbers are shown, effects are judged.")
    if request.scale != "paper":
        sizes = ", ".join(f"{size:,}" for size in _sign_sizes(request))
        told.append(
            f"Subsets of {sizes} examples for random signs, {NORM_SIZE[request.scale]:,} for norms and "
            f"{STABILITY_SIZE[request.scale]:,} for replacements; constant rates, at most "
            f"{BUDGET[request.scale]:,} steps."
        )
    return (*told, *request.data.notes)


CHOICES = (
    ("classes of functions", "linear models, a decision tree and networks, each as wide and deep as it is used here"),
    ("binary output", "the sign of f₁ - f₀; the network keeps one output per class of the data"),
    ("how the supremum is sought", "SGD on the cross-entropy until every sign is followed, or the budget is spent"),
    ("when norms are measured", "at the end of the epoch in which the last training example is fitted"),
    ("norm of a convolution", "that of its kernel matrix, [channels out, channels in · height · width]"),
    ("margin", "the lower decile over the training set"),
    ("what separates", "a ratio of random over true labels, paired by seed, whose 95% interval excludes 1"),
    ("steps when one example is replaced", "as many for all runs, since a rule that looks at the labels would differ"),
    ("points where losses are compared", "the first 64 of the test examples, clean labels"),
)

study = register(
    Study(
        name="zhang2017-complexity",
        paper=ZHANG_2017,
        question="Can Rademacher complexity, norms of weights or stability tell true labels from random ones?",
        datasets=("digits", "mnist", "cifar10"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
        expected_steps=expected_steps,
        weight=weight,
    )
)
