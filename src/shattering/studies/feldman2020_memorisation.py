"""Feldman & Zhang (2020): which examples are memorised, whom they help, and what it costs to train without them."""

from __future__ import annotations

from typing import Any

from shattering.core.curves import ended, last
from shattering.core.spec import CorruptionSpec, DataSpec, RunSpec
from shattering.core.study import Paper, Records, Request, Study, refuse_models, register
from shattering.simulations.registry import simulated
from shattering.studies.feldman2020_claims import CLAIMS, cost, noisy
from shattering.studies.feldman2020_pictures import FIGURES, told

PAPER = Paper(
    authors="Feldman & Zhang",
    year=2020,
    title="What neural networks memorize and why: discovering the long tail via influence estimation",
    venue="NeurIPS",
    url="https://arxiv.org/abs/2008.03703",
)
FLIPPED = 0.05
"""Share of the labels that are wrong."""

SCALES: dict[str, dict[str, Any]] = {
    "smoke": {"models": 16, "width": 16, "batch": 16, "epochs": 10, "repeats": 1},
    "small": {"models": 200},
    "paper": {"models": 2000, "width": 512, "second": 256, "batch": 128, "epochs": 10, "until_fitted": False},
}
SIZES = {"smoke": (64, 50), "small": (1000, 2000), "paper": (None, None)}
SEEDS = {"smoke": (1, 1), "small": (10, 5), "paper": (3, 3)}
"""With flipped labels, and without."""

MIDDLE = 20
"""Side of the middle of an image of MNIST, in which the digit lies."""


def specs(request: Request) -> list[RunSpec]:
    """Fleets of trainings on data with 5% flipped labels, and on data without."""
    refuse_models(request, "feldman2020-memorisation has networks of its own; leave --models out.")
    facts = request.data
    size, tested = SIZES[request.scale]
    crop = MIDDLE if (request.scale, facts.name) == ("small", "mnist") else None
    data = DataSpec(
        name=facts.name,
        train_size=None if size is None else min(size, facts.train_size),
        test_size=None if tested is None else min(tested, facts.test_size),
        whiten=False,
        crop=crop,
    )
    share = FLIPPED * facts.num_classes / (facts.num_classes - 1)  # a redrawn label may be the old one
    flipped = CorruptionSpec(name="partially_corrupted_labels", fields={"p": share})
    fields = SCALES[request.scale]
    noisy, clean = (request.seeds or count for count in SEEDS[request.scale])
    runs = [simulated("memorised_examples", seed, data=data, corruption=flipped, **fields) for seed in range(noisy)]
    control = {**fields, "repeats": 0}
    return runs + [simulated("memorised_examples", seed, data=data, **control) for seed in range(clean)]


def answer(records: Records) -> str:
    """How far flipped labels are memorised, and what memorised examples are worth."""
    runs = noisy(ended(records))
    if not runs:
        return "No fleet on data with flipped labels has ended, so there is no answer. Run the same command again."
    return (
        f"Mean memorisation is {told(runs, last('mean_flipped'))} for flipped labels, against "
        f"{told(runs, last('mean_clean'))} for clean ones. Training without the most memorised three in ten clean "
        f"examples costs {told(runs, cost, '{:.1%}')} more test accuracy than without as many at random."
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the fleets differ from the paper's."""
    common = (
        "The paper's figures are for ResNet-50 on ImageNet and CIFAR-100; ours are for perceptrons, as in its released "
        "demonstration on MNIST.",
        "5% of the labels are redrawn to another class, which the paper does not do, so that it is known what must be "
        "memorised.",
    )
    if request.scale == "paper":
        return (*common, *request.data.notes)
    size, tested = SIZES[request.scale]
    fields = SCALES[request.scale]
    return (
        *common,
        f"{size:,} training and {tested:,} test examples, other ones for each fleet; one hidden layer of "
        f"{fields.get('width', 64)} units; {fields['models']} trainings in a fleet, the demonstration has 2,000.",
        "Trained until the subset is fitted, not for ten epochs.",
        *request.data.notes,
    )


study = register(
    Study(
        name="feldman2020-memorisation",
        paper=PAPER,
        question="Which training examples does a network memorise, and what would it lose without them?",
        datasets=("mnist", "digits", "cifar10"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=(
            ("a run", "a whole fleet: trainings on subsets, the estimates from them, and trainings without examples"),
            ("subsets", "70% of the examples, drawn uniformly, not stratified by class"),
            ("what is removed", "of the clean examples the most memorised, or random ones; flipped labels stay"),
            (
                "pairs",
                "influence of at least 0.15 by an example of memorisation of at least 0.25, found by Fisher's exact "
                "test at 5% for all pairs together; the paper counts all estimates above the thresholds",
            ),
            ("pixels", "from 0 to 1; of MNIST, at scale small, the middle 20×20"),
            ("few", "fewer than 5%; thresholds of all effects were set before the records were made"),
        ),
        weight=lambda spec: int(spec.model.fields.get("models", 200)),
    )
)
