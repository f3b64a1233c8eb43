"""Zhang et al. (2017), beyond networks: which other models fit noise, at what size, and what they still learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shattering.core.errors import SpecError
from shattering.core.spec import AT_ONCE, ComputeSpec, CorruptionSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec
from shattering.core.study import Claim, Effect, Estimate, Provenance, Records, Request, Study, register
from shattering.learners.registry import is_learner, learners
from shattering.studies.zhang2017 import CHANCE_BAND, ZHANG_2017, accuracy_of, chance, crop_side, distinct, drawn
from shattering.studies.zhang2017_other_models_pictures import FIGURES
from shattering.studies.zhang2017_other_models_records import (
    FIT,
    ended,
    growth,
    memorises,
    price,
    price_text,
    runs_of,
    series_of,
)

INPUTS = ("shuffled_pixels", "random_pixels", "gaussian")
"""The conditions that replace the images."""

SEEDS = {"smoke": 1, "small": 3, "paper": 3}
SMALL = {"decision_tree": 2000, "gradient_boosting": 1000}
"""Training examples at scale small. A tree looks at every feature for each split, boosting grows ten trees a round."""

SMALL_OTHERS, SMALL_TEST = 5000, 2000
SMOKE_TRAIN, SMOKE_TEST = 200, 100

TREES = {"smoke": 10, "small": 30, "paper": 100}

Kind = Literal["labels", "everything"]


@dataclass(frozen=True)
class Variant:
    """A model of the study.

    Args:
        model: the learner.
        fields: its fields.
        conditions: whether it meets random labels only, or random inputs as well.
    """

    model: str
    fields: dict[str, Any] = field(default_factory=dict)
    conditions: Kind = "everything"


def variants(request: Request) -> tuple[Variant, ...]:
    """The models at the request's scale, or those that the user asked for, each in all its variants here."""
    trees = TREES[request.scale]
    own = (
        Variant("decision_tree"),
        Variant("decision_tree", {"min_leaf": 10}, "labels"),
        Variant("random_forest", {"trees": trees}),
        Variant("random_forest", {"trees": trees, "bootstrap": False}),
        Variant("gradient_boosting", {"bins": 32}),
        Variant("nearest_neighbours"),
        Variant("nearest_neighbours", {"neighbours": 5}),
        Variant("kernel_machine", {"kernel": "gaussian", "gamma": 1 / features(request)}),
        Variant("kernel_machine", {"kernel": "laplacian", "gamma": features(request) ** -0.5}),
    )
    if not request.models:
        return own
    for model in request.models:
        if not is_learner(model):
            raise SpecError(
                "study-needs-learner",
                f"zhang2017-other-models is about models that are fitted at once, and {model!r} is trained by steps; "
                f"choose from: {', '.join(learners.names())}.",
            )
    known = {variant.model for variant in own}
    return tuple(
        variant
        for model in request.models
        for variant in ([one for one in own if one.model == model] if model in known else [Variant(model)])
    )


def features(request: Request) -> int:
    """Numbers of an example, after the crop."""
    side = crop_side(request)
    if side is None:
        total = 1
        for size in request.data.input_shape:
            total *= size
        return total
    return side * side * request.data.input_shape[2]


def specs(request: Request) -> list[RunSpec]:
    """Every model under true and random labels, every level between, and the inputs replaced."""
    runs = []
    for seed in range(request.seeds or SEEDS[request.scale]):
        for variant in variants(request):
            for corruption in ("true_labels", "random_labels"):
                runs.append(_spec(request, variant, corruption, seed))
            for level in _levels(request, variant):
                runs.append(_spec(request, variant, "partially_corrupted_labels", seed, level))
            if variant.conditions == "everything" and request.scale != "smoke":
                runs += [_spec(request, variant, corruption, seed) for corruption in INPUTS]
    return distinct(runs)


def _levels(request: Request, variant: Variant) -> tuple[float, ...]:
    """All of them for a single tree, whose size is the study's yardstick; in smoke, one for whom a claim asks it."""
    if request.scale == "smoke":
        return (0.5,) if variant.model == "kernel_machine" else ()
    if variant.model == "decision_tree" or request.data.name == "digits":
        return (0.25, 0.5, 0.75)
    return (0.5,)


def _sizes(request: Request, model: str) -> tuple[int | None, int | None]:
    """Training and test examples; none: all of them."""
    if request.scale == "smoke":
        return SMOKE_TRAIN, SMOKE_TEST
    if request.scale == "paper" or request.data.name == "digits":
        return None, None
    return SMALL.get(model, SMALL_OTHERS), SMALL_TEST


def _spec(request: Request, variant: Variant, corruption: str, seed: int, level: float | None = None) -> RunSpec:
    train, test = _sizes(request, variant.model)
    return RunSpec(
        data=DataSpec(
            name=request.data.name,
            train_size=train if train and train < request.data.train_size else None,
            test_size=test if test and test < request.data.test_size else None,
            crop=crop_side(request),
        ),
        corruption=CorruptionSpec(name=corruption, fields={} if level is None else {"p": level}),
        model=ModelSpec(name=variant.model, fields=variant.fields),
        training=AT_ONCE.model_copy(update={"fit_accuracy": FIT}),
        compute=ComputeSpec(device=request.device, dtype="float64" if variant.model == "kernel_machine" else "float32"),
        measures=MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0),
        seed=seed,
    )


def weight(spec: RunSpec) -> int:
    """About how costly a fit is beside that of the nearest neighbours; noise takes a tree twice as long."""
    own = {"decision_tree": 8, "random_forest": 7, "gradient_boosting": 8, "kernel_machine": 5}.get(spec.model.name, 1)
    return own * (1 if spec.corruption.name in ("true_labels", "shuffled_pixels") else 2)


# Claims

CHATTERJEE = "Chatterjee (2020), remark on trees and forests"
BELKIN = "Belkin, Ma & Mandal (2018), abstract"


def _claim(
    source: str,
    quantity: str,
    provenance: Provenance,
    unit: str,
    estimate: Callable[[Records], Estimate | None],
    effect: Effect,
) -> Claim:
    """A finding that is known without a number."""
    return Claim(source, quantity, None, 0.0, unit, provenance, "mnist", estimate, effect)


def _above(estimate: Callable[[Records], Estimate | None], threshold: float) -> Callable[[Records], bool | None]:
    """Whether the whole interval lies above a threshold; none where it holds it, or where there is no interval."""

    def holds(records: Records) -> bool | None:
        found = estimate(records)
        if found is None or found.low is None or found.high is None:
            return None
        return True if found.low > threshold else False if found.high < threshold else None

    return holds


def _tree_claims(series: str) -> list[Claim]:
    def ratio(name: str) -> Callable[[Records], Estimate | None]:
        return lambda records: growth(records, series, name)

    def density(records: Records) -> Estimate | None:
        return price(runs_of(records, series, "random_labels"), "leaves_per_example")

    source = f"{CHATTERJEE}: {series}"
    return [
        _claim(
            source,
            "leaves with random / with true labels",
            "Q-note",
            "x",
            ratio("leaves"),
            Effect("at least twice the leaves (interval above 2)", _above(ratio("leaves"), 2.0)),
        ),
        _claim(
            source,
            "depth with random / with true labels",
            "Q-note",
            "x",
            ratio("depth"),
            Effect("deeper with random labels (interval above 1)", _above(ratio("depth"), 1.0)),
        ),
        _claim(
            source,
            "leaves of a tree for each example, random labels",
            "Q-note",
            "leaves",
            density,
            Effect("more than one leaf for every two examples (interval above 0.5)", _above(density, 0.5)),
        ),
    ]


def _kernel_claims(series: str) -> list[Claim]:
    def tested(corruption: str, level: float | None) -> Callable[[Records], Estimate | None]:
        return lambda records: accuracy_of(runs_of(records, series, corruption, level), "test_accuracy")

    def generalises(corruption: str, level: float | None) -> Effect:
        def holds(records: Records) -> bool | None:
            runs = runs_of(records, series, corruption, level)
            found = tested(corruption, level)(records)
            if found is None or found.low is None or found.high is None:
                return None
            if not memorises(runs) or found.high < chance(records) + CHANCE_BAND:
                return False
            return True if found.low > chance(records) + CHANCE_BAND else None

        return Effect("interpolates, and test accuracy is well above guessing", holds)

    source = f"{BELKIN}: {series}"
    half = ("partially_corrupted_labels", 0.5)
    return [
        _claim(
            source,
            "test accuracy, true labels",
            "Q-abs",
            "1",
            tested("true_labels", None),
            generalises("true_labels", None),
        ),
        _claim(source, "test accuracy, half of the labels random", "Q-abs", "1", tested(*half), generalises(*half)),
    ]


def _laplacian_fits() -> Claim:
    def runs(records: Records) -> Sequence[Any]:
        return runs_of(records, "Laplacian kernel", "random_labels")

    return _claim(
        f"{BELKIN}: Laplacian kernel",
        "training accuracy, random labels",
        "Q-abs",
        "1",
        lambda records: accuracy_of(runs(records), "train_accuracy"),
        Effect(
            f"every run fits random labels to {FIT:.0%}, as networks do",
            lambda records: memorises(runs(records)) if runs(records) else None,
        ),
    )


def _condition_claim() -> Claim:
    def estimate(records: Records) -> Estimate | None:
        return growth(records, "Gaussian kernel", "condition", "random_labels", "random_labels", "Laplacian kernel")

    return _claim(
        f"{BELKIN}: smooth kernels need many more epochs",
        "condition of the Gaussian / of the Laplacian kernel matrix",
        "Q-abs",
        "x",
        estimate,
        Effect("at least ten times (interval above 10): so much slower is gradient descent", _above(estimate, 10.0)),
    )


def _claims() -> tuple[Claim, ...]:
    return (
        *(
            claim
            for series in ("decision tree", "forest, bootstrap", "forest, all examples")
            for claim in _tree_claims(series)
        ),
        _laplacian_fits(),
        _condition_claim(),
        *(claim for series in ("Laplacian kernel", "Gaussian kernel") for claim in _kernel_claims(series)),
    )


# Words


def answer(records: Records) -> str:
    """Which models memorised random labels, and what that cost them."""
    found = ended(records)
    names = list(dict.fromkeys(series_of(record.spec) for record in found))
    verdicts = {name: runs_of(records, name, "random_labels") for name in names}
    verdicts = {name: runs for name, runs in verdicts.items() if runs}
    if not verdicts:
        return "No fit of random labels has ended yet, so there is no answer. Run the same command again to go on."
    fits = [name for name, runs in verdicts.items() if memorises(runs)]
    fails = [name for name in verdicts if name not in fits]
    first = f"{len(fits)} of {len(verdicts)} models memorise random labels in every run ({FIT:.0%} or more of them)"
    parts = [part for part in ("; ".join(fits), f"not so {'; '.join(fails)}" if fails else "") if part]
    first += f": {', but '.join(parts)}."
    tested = accuracy_of([run for name in fits for run in verdicts[name]], "test_accuracy")
    learned = [accuracy_of(runs_of(records, name, "true_labels"), "test_accuracy") for name in fits]
    known = [one.value for one in learned if one is not None]
    if tested is None or not known:
        return first
    second = (
        f" Those that do are right on {tested.value:.0%} of unseen examples then, where guessing gives "
        f"{chance(records):.0%}, and on {min(known):.0%} to {max(known):.0%} after true labels"
    )
    prices = [text for name in fits if (text := price_text(records, name))]
    return first + second + (f"; fitting noise takes {', '.join(prices)}." if prices else ".")


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    told = ["The paper tests networks and linear models on random data; these models it does not run."]
    if request.data.name != "cifar10":
        told.append(f"The data are {request.data.name}; the paper's randomization tests are on CIFAR-10.")
    if any(variant.model == "kernel_machine" for variant in variants(request)):
        told.append(
            "Belkin, Ma & Mandal train kernel machines by epochs of gradient descent; here the equations are solved, "
            "and the condition of the kernel matrix stands for the epochs."
        )
    if request.scale != "paper":
        for variant in variants(request):
            spec = _spec(request, variant, "true_labels", 0)
            if spec.data.train_size is not None:
                told.append(
                    f"{series_of(spec)}: {drawn(spec.data.train_size, request)}, tested on "
                    f"{spec.data.test_size or request.data.test_size:,}."
                )
        if any(variant.model == "random_forest" for variant in variants(request)):
            told.append(f"Forests have {TREES[request.scale]} trees; at the paper's scale {TREES['paper']}.")
    return (*told, *request.data.notes)


CHOICES = (
    ("inputs", "cropped and whitened as the networks get them, then flattened"),
    ("when a model has memorised", f"training accuracy of at least {FIT:.0%}, the networks' criterion, in every run"),
    ("trees", "grown until leaves are pure, by the Gini impurity; beside it a tree of at least 10 examples a leaf"),
    ("forests", "√features for each split; with the bootstrap, and with all examples for every tree"),
    ("boosting", "31 leaves of at least 20 examples, rate 0.1, 32 bins, until the training error is 0 or 200 rounds"),
    ("nearest neighbours", "Euclidean distance; one, which memorises by construction, and five, which vote"),
    ("kernel widths", "gamma 1/d (Gaussian) and 1/√d (Laplacian) for d features: distances of whitened images grow so"),
    ("ridge", "none: the kernel machines interpolate"),
    ("price of noise", "leaves, rounds until the fit, or norm, with noise over with true labels, paired by seed"),
)

study = register(
    Study(
        name="zhang2017-other-models",
        paper=ZHANG_2017,
        question="Do trees, forests, boosting, neighbours and kernels fit noise as networks do, and at what price?",
        datasets=("digits", "mnist", "cifar10"),
        specs=specs,
        claims=_claims(),
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
        weight=weight,
    )
)
