"""Chatterjee & Zielinski (2022): gradients agree on real labels and not on random ones, until training aligns them."""

from __future__ import annotations

from shattering.core.record import Status
from shattering.core.spec import RunSpec
from shattering.core.study import Records, Request, Study, register
from shattering.studies.chatterjee2020 import SCALING, ended
from shattering.studies.chatterjee2022 import CHATTERJEE_2022, PAPER_EXAMPLES, is_image, protocol, sizes, weight
from shattering.studies.chatterjee2022_coherence_claims import claims
from shattering.studies.chatterjee2022_coherence_pictures import FIGURES
from shattering.studies.chatterjee2022_records import (
    CONVOLUTIONAL,
    EARLY,
    M,
    early,
    geometric_of,
    noisy,
    peak_from,
    ratio_between,
)
from shattering.studies.zhang2017_figures import models_of

LEVELS = {"smoke": (0.0, 0.5, 1.0), "small": (0.0, 0.5, 1.0), "paper": (0.0, 0.25, 0.5, 0.75, 1.0)}

SMALL_SEEDS = {"mlp": 5}
"""Of the cheapest network at scale `small`; three of the others."""

PAPER_STEPS, PAPER_RATE = 100_000, 0.1
SMALLEST_SIDE = 24
"""Smaller images leave nothing of themselves after the Inception's two halvings."""


def specs(request: Request) -> list[RunSpec]:
    """Every model at every level of label noise."""
    return [
        protocol(request, model, level, seed)
        for model in _models(request)
        for seed in range(request.seeds or _seeds(request, model))
        for level in LEVELS[request.scale]
    ]


def _seeds(request: Request, model: str) -> int:
    return {"smoke": 1, "small": SMALL_SEEDS.get(model, 3), "paper": 3}[request.scale]


def _models(request: Request) -> tuple[str, ...]:
    if request.models or not is_image(request):
        return request.models or ("mlp",)
    large = request.scale == "paper" and min(request.data.input_shape[:2]) >= SMALLEST_SIDE
    return ("mlp", *CONVOLUTIONAL) if large else ("mlp", "small_convnet")


def answer(records: Records) -> str:
    """Whether real labels are the more coherent early, and whether training makes random ones coherent later."""
    parts, risen = [], []
    for model in models_of(ended(records)):
        random = noisy(records, model, 1.0)
        ratio = ratio_between(noisy(records, model, 0.0), random, early)
        if ratio:
            parts.append(f"{ratio.value:.3g} times that on random ones for {model}")
        first, later = geometric_of(random, early), geometric_of(random, lambda record: peak_from(record, M, EARLY[1]))
        if first and later:
            risen.append(f"from {first.value:.3g} to {later.value:.3g} for {model}")
    if not parts:
        return "No pair of runs on real and on random labels has ended yet, so there is no answer."
    answer = f"Over steps {EARLY[0]} to {EARLY[1]}, m-coherence on real labels is {', '.join(parts)}."
    if not risen:
        return f"{answer} What becomes of it on random labels later cannot be told yet."
    unfitted = sum(r.status is not Status.DONE for model in models_of(records) for r in noisy(records, model, 1.0))
    told = f"; {unfitted} of these runs did not fit" if unfitted else ""
    return f"{answer} On random labels it goes later, at its peak, {', '.join(risen)}{told}."


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the papers'."""
    told = [
        "The findings judged were made on ImageNet with ResNet-18, Inception-V3 and EfficientNet, 40,356 examples and "
        f"batches of 4,096; the data here are {request.data.name}, the networks smaller and the batches of 100 or so."
    ]
    if request.data.name != "mnist":
        told.append("The fully connected network and its rate were the papers' for MNIST.")
    for model in _models(request):
        at = sizes(request, model)
        train, test = at.train or request.data.train_size, at.test or request.data.test_size
        rate = f"{at.rate:g}" + ("" if at.rate == PAPER_RATE else f" (the papers' on MNIST is {PAPER_RATE:g})")
        steps = f"{at.steps:,} steps" + ("" if at.steps == PAPER_STEPS else f" (the papers' on MNIST {PAPER_STEPS:,})")
        fields = "".join(f"; {name} {value}" for name, value in at.fields.items())
        told.append(
            f"{model}: {train:,} of {request.data.train_size:,} training examples, tested on {test:,}; batches of "
            f"{at.batch}, a constant rate of {rate}, momentum {at.momentum:g}, {steps}{fields}."
        )
    if request.scale != "paper":
        told.append("Coherence is measured on all training examples, fewer than in the papers, and is at most as many.")
        told.append("Only 0, 50 and 100% random labels; 25 and 75% are left to --scale paper.")
    return (*told, *request.data.notes)


CHOICES = (
    ("examples that coherence is measured on", f"all, or a fixed sample of {PAPER_EXAMPLES:,} where there are more"),
    SCALING,
    ("form of the Xavier initialisation", "uniform (Glorot & Bengio 2010), all layers, biases zero"),
    ("small convolutional network", "ours: two 3×3 convolutions of 16 and 32 channels, linear layers of 128 and k"),
    (
        "batch normalisation",
        "none: with it a gradient of one example is not defined; the Inception is the one without it, trained at a "
        "rate of 0.01 with momentum 0.9 and batches of 128",
    ),
    ("when to look", "eight times in each decade of steps, initialisation and end included"),
    ("what counts as early", "steps 25 to 100: the first 25 are the papers' transient"),
    ("end of training", "a fixed number of steps, at least 2.5 times what fitting random labels takes"),
    (
        "thresholds of the effects",
        "set before coherence was measured: ten times for an order of magnitude, three times for peaks (m bounds what "
        "real labels can reach), twice for a rise, between 0.1 and 10 for 'about 1', above 1 for a sign",
    ),
)

study = register(
    Study(
        name="chatterjee2022-coherence",
        paper=CHATTERJEE_2022,
        question="Do the gradients of different examples agree while a network learns real labels, and random ones?",
        datasets=("mnist", "digits", "cifar10"),
        specs=specs,
        claims=tuple(
            claim for model in ("mlp", *CONVOLUTIONAL) for claim in claims(model, convolutional=model in CONVOLUTIONAL)
        ),
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
        weight=weight,
    )
)
