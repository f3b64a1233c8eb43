"""Zhang et al. (2017): 2n+d weights fit any labels, written down. Theorem 1, Lemma 1, Corollary 1."""

from __future__ import annotations

from shattering.core.record import Status
from shattering.core.spec import AT_ONCE, ComputeSpec, CorruptionSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec
from shattering.core.study import Records, Request, Study, refuse_models, register
from shattering.studies.zhang2017 import ZHANG_2017, accuracy_of, chance
from shattering.studies.zhang2017_expressivity_claims import (
    WEIGHTS_FACTOR,
    WIDTH_FACTOR,
    claims,
    every_two_layers,
    largest_random,
)
from shattering.studies.zhang2017_expressivity_pictures import (
    DEPTHS,
    FIGURES,
    ended,
    first_missed,
    largest_size,
    size,
    two_layers,
)

TOP = {"smoke": 128, "small": 10_000, "paper": None}
"""Training examples of the largest network; none: all."""

POINTS = {"smoke": 2, "small": 5, "paper": 5}
"""Sizes, each about √10 times the next smaller."""

TESTED = {"smoke": 64, "small": 2000, "paper": None}
"""Test examples; none: all."""

DEEP_SIZE = 10_000
"""Training examples of the deep networks, at most."""

SEEDS = {"smoke": 1, "small": 3, "paper": 3}
FEWEST = 10
"""The smallest network is at least so large."""

DEFAULT_DEPTH = 3
"""Of the learner; digests leave it out."""

HALF = {"place": 0.5}
"""Thresholds half-way between the points."""


def sizes(request: Request) -> tuple[int, ...]:
    """Training examples of the two-layer networks, ascending, in steps of √10."""
    top = min(TOP[request.scale] or request.data.train_size, request.data.train_size)
    below = (round(top / 10 ** (step / 2)) for step in reversed(range(POINTS[request.scale])))
    return tuple(examples for examples in below if examples >= min(FEWEST, top))


def specs(request: Request) -> list[RunSpec]:
    """Random and true labels at every size; thresholds half-way as well; every depth at one size."""
    refuse_models(request, "zhang2017-expressivity constructs networks of its own; run it without --models.")
    every = sizes(request)
    runs = []
    for seed in range(request.seeds or SEEDS[request.scale]):
        for examples in every:
            runs += [_spec(request, examples, labels, seed) for labels in ("random_labels", "true_labels")]
            half = ModelSpec(name="two_layer_memoriser", fields=HALF)
            runs.append(_spec(request, examples, "random_labels", seed, half))
        for depth in DEPTHS:
            model = ModelSpec(name="deep_memoriser", fields={} if depth == DEFAULT_DEPTH else {"depth": depth})
            runs.append(_spec(request, min(DEEP_SIZE, every[-1]), "random_labels", seed, model))
    return runs


def _spec(request: Request, examples: int, labels: str, seed: int, model: ModelSpec | None = None) -> RunSpec:
    tested = TESTED[request.scale]
    return RunSpec(
        data=DataSpec(
            name=request.data.name,
            train_size=None if examples == request.data.train_size else examples,
            test_size=None if tested is None else min(tested, request.data.test_size),
            whiten=False,
        ),
        corruption=CorruptionSpec(name=labels),
        model=model or ModelSpec(name="two_layer_memoriser"),
        training=AT_ONCE,
        compute=ComputeSpec(device=request.device, dtype="float64"),
        measures=MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0),
        seed=seed,
    )


# What is said


def answer(records: Records) -> str:
    """Whether all labels were fitted, with how many weights, what was learned, and in which precision."""
    runs = largest_random(records)
    if not ended(runs):
        return "No network has been constructed for random labels yet. Run the same command again to go on."
    largest = largest_size(runs)
    whole = every_two_layers(records)
    fitted = sum(record.status is Status.DONE for record in whole)
    random = accuracy_of(runs, "test_accuracy")
    real = [run for run in two_layers(records, "true_labels") if size(run) == largest]
    true = accuracy_of(real, "test_accuracy")
    first = f"{fitted} of {len(whole)} two-layer networks with 2n + d weights, n up to {largest:,}, "
    first += "fit every training label"
    if random:
        first += f"; test accuracy at n = {largest:,} is {random.value:.1%} after random labels"
        first += f" and {true.value:.1%} after true ones" if true else ""
        first += f", where guessing gives {chance(records):.0%}"
    errors = [record.last["largest_error"] for record in ended(runs) if "largest_error" in record.last]
    if not errors:
        return f"{first}. What precision they need cannot be told yet."
    second = f"Summed unit by unit in float64, the output is off by at most {max(errors):.1g} there"
    missed = first_missed(records)
    if missed is None:
        return f"{first}. {second}; float32 suffices for all classes at these sizes."
    at, weight, condition = missed
    return (
        f"{first}. {second}; in float32 classes are missed from n = {at:,} on, where weights reach {weight:.1g} and "
        f"the condition number {condition:.1g}."
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs relate to the paper, which proves and does not run."""
    top = sizes(request)[-1]
    told = ["The paper proves these statements and runs no experiment for them; every number here is ours."]
    if top < request.data.train_size:
        told.append(f"The largest network fits {top:,} of {request.data.train_size:,} training examples.")
    return (*told, *request.data.notes)


CHOICES = (
    ("direction a", "uniform in a cube, the best of eight by its smallest gap beside the spread of the projections"),
    (
        "thresholds b",
        "next to the point on their left, 1/1024 of the gap away; half-way, as is usual, in runs of their own",
    ),
    ("weights w", "forward substitution with exact sums, each weight rounded once to float64"),
    ("classes", "the real-valued output is the number of the class, and the nearest class is predicted"),
    ("pixels", "divided by 255, not whitened: whitening may make different images equal"),
    ("condition number", "in the maximum norm, in closed form"),
    ("float32", "points, direction, thresholds, weights and sums, all rounded to float32"),
    ("activations", "ReLU; the points are distinct; the output is a linear unit without bias, a real number"),
    (
        "depth k",
        "k - 1 hidden layers, each with the hinges of one block of points and three units that hand on the rest",
    ),
    ("O(n/k) and O(n+d)", f"held to {WIDTH_FACTOR} n/k units and {WEIGHTS_FACTOR} (n + d) weights"),
)

study = register(
    Study(
        name="zhang2017-expressivity",
        paper=ZHANG_2017,
        question="How small and shallow can a network be that fits any labels of n points, and in what precision?",
        datasets=("digits", "mnist", "cifar10"),
        specs=specs,
        claims=claims(),
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
        weight=lambda spec: spec.data.train_size or 60_000,
        worked_example=True,
    )
)
