"""What the studies of Chatterjee and Zielinski share: the papers and the protocol."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from shattering.core.spec import CorruptionSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Paper, Request
from shattering.studies.chatterjee2020 import prepared

CHATTERJEE_2022 = Paper(
    authors="Chatterjee, Zielinski",
    year=2022,
    title="On the Generalization Mystery in Deep Learning",
    venue="arXiv",
    url="https://arxiv.org/abs/2203.10036",
)
CHATTERJEE_2020 = Paper(
    authors="Chatterjee",
    year=2020,
    title="Coherent Gradients: An Approach to Understanding Generalization in Gradient Descent-based Optimization",
    venue="ICLR 2020",
    url="https://arxiv.org/abs/2002.10657",
)
MC_2020 = Paper(
    authors="Chatterjee, Zielinski",
    year=2020,
    title="Making Coherence Out of Nothing At All: Measuring the Evolution of Gradient Alignment",
    venue="arXiv",
    url="https://arxiv.org/abs/2008.01217",
)
ZIELINSKI_2020 = Paper(
    authors="Zielinski, Krishnan, Chatterjee",
    year=2020,
    title="Weak and Strong Gradient Directions: Explaining Memorization, Generalization, and Hardness of Examples "
    "at Scale",
    venue="arXiv",
    url="https://arxiv.org/abs/2003.07422",
)

POINTS = 8
"""Snapshots in each decade of steps."""

PAPER_EXAMPLES = 40_356
"""How many training examples the 2020 papers measure coherence on, the same throughout a run."""


@dataclass(frozen=True)
class Sizes:
    """How much a network is given at a scale, and for how long it trains.

    Args:
        train, test: examples; none: all.
        steps: updates, all of which are made: what comes after the fit belongs to the curve.
        batch, rate, momentum: of SGD; constant rate.
        fields: of the model.
    """

    train: int | None
    test: int | None
    steps: int
    batch: int = 100
    rate: float = 0.1
    momentum: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)


PAPER = {
    "inception": Sizes(None, None, 39_100, 128, 0.01, 0.9, {"batch_norm": False}),
    "": Sizes(None, None, 100_000),
}

SMALL: dict[str, dict[str, Sizes]] = {
    "mnist": {"mlp": Sizes(1000, 2000, 3000), "small_convnet": Sizes(1000, 2000, 2500)},
    "cifar10": {
        "mlp": Sizes(1000, 2000, 3000, rate=0.01, fields={"width": 512}),
        "small_convnet": Sizes(1000, 2000, 2500, rate=0.03),
    },
    "digits": {"mlp": Sizes(None, None, 10_000), "small_convnet": Sizes(None, None, 6000)},
}
"""Chosen by cost: random labels are fitted in a seventh to two fifths of the steps, and a run takes a minute at most.

The rate of 0.1 is the paper's for MNIST. Whitened CIFAR-10 has inputs four times as long: at 0.1 the fully connected
network fits a thousand random labels within 80 updates, which leaves no early phase to look at.
"""

SMOKE = {
    "mlp": Sizes(96, 64, 300, 32, fields={"width": 64}),
    "small_convnet": Sizes(96, 64, 150, 32, fields={"channels": 4, "hidden": 32}),
    "": Sizes(96, 64, 100, 32),
}


def sizes(request: Request, model: str) -> Sizes:
    """The sizes for a model at the request's scale; models we know nothing of get a thousand examples."""
    if request.scale == "paper":
        known = PAPER.get(model, PAPER[""])
        return _within(known, request)
    if request.scale == "smoke":
        return _within(SMOKE.get(model, SMOKE[""]), request)
    at = SMALL.get(request.data.name, {}).get(model, Sizes(1000, 2000, 3000))
    return _within(at, request)


def _within(at: Sizes, request: Request) -> Sizes:
    """No more examples than there are, and no batch larger than what is trained on."""
    train = None if at.train is None or at.train >= request.data.train_size else at.train
    test = None if at.test is None or at.test >= request.data.test_size else at.test
    batch = min(at.batch, train or request.data.train_size)
    return Sizes(train, test, at.steps, batch, at.rate, at.momentum, at.fields)


def label_noise(level: float) -> CorruptionSpec:
    """The corruption that redraws each label with probability ``level``, in [0, 1]."""
    if level in (0, 1):
        return CorruptionSpec(name="random_labels" if level else "true_labels")
    return CorruptionSpec(name="partially_corrupted_labels", fields={"p": level})


def protocol(request: Request, model: str, level: float, seed: int) -> RunSpec:
    """One run by the protocol of Chatterjee (2020): SGD at a constant rate, without regularisation, for all its steps.

    Runs of one seed share subset, initialisation and order of examples, whatever the level of noise.

    Args:
        request: scale and data.
        model: registered model, or MODULE:FACTORY.
        level: probability that a label is redrawn.
        seed: of the run.
    """
    at = sizes(request, model)
    train = at.train or request.data.train_size
    return RunSpec(
        data=prepared(request, at.train, at.test),
        corruption=label_noise(level),
        model=ModelSpec(name=model, fields=at.fields),
        training=TrainingSpec(
            learning_rate=at.rate,
            momentum=at.momentum,
            batch_size=at.batch,
            max_steps=at.steps,
            stop_when_fitted=False,
        ),
        compute={"device": request.device},  # type: ignore[arg-type]
        measures=MeasureSpec(
            names=("accuracy", "coherence"),
            points_per_decade=POINTS,
            every_epochs=0,
            gradient_examples=PAPER_EXAMPLES if train > PAPER_EXAMPLES else None,
        ),
        seed=seed,
    )


def is_image(request: Request) -> bool:
    """Whether the examples are images, not features."""
    return len(request.data.input_shape) == 3


WEIGHTS = {"inception": 60, "small_convnet": 2}


def weight(spec: RunSpec) -> int:
    """About how costly an update is beside one of the fully connected network."""
    return WEIGHTS.get(spec.model.name, 1)
