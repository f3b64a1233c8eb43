"""Belkin, Hsu, Ma & Mandal (2018): test risk against capacity, through the point where the training set is fitted."""

from __future__ import annotations

from shattering.core.spec import ComputeSpec, CorruptionSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Paper, Request, Study, refuse_models, register
from shattering.simulations.registry import simulated
from shattering.studies.belkin2018_claims import CLAIMS
from shattering.studies.belkin2018_pictures import FIGURES, answer
from shattering.studies.belkin2018_records import CURVE

BELKIN_2018 = Paper(
    authors="Belkin, Hsu, Ma, Mandal",
    year=2018,
    title="Reconciling modern machine-learning practice and the classical bias-variance trade-off",
    venue="PNAS 116 (2019)",
    url="https://arxiv.org/abs/1812.11118",
)

EXAMPLES = {"smoke": 60, "small": 1000, "paper": 10_000}
NET_EXAMPLES = {"smoke": 40, "small": 300, "paper": 4000}
TESTED = {"smoke": 100, "small": 2000, "paper": None}
SEEDS = {"smoke": 1, "small": 6, "paper": 6}
LARGEST = {"smoke": 8.0, "small": 8.0, "paper": 6.0}
"""Features for each example, at most; at the paper's scale 60,000, as far as memory for 20,000 rows of them goes."""

WIDTHS = {
    "smoke": (4, 64),
    "small": (4, 8, 16, 32, 128),
    "paper": (2, 5, 10, 20, 30, 40, 45, 50, 55, 60, 80, 100, 200, 400, 800),
}
NET_STEPS = {"smoke": 60, "small": 4000, "paper": 96_000}
"""At the paper's scale 6,000 epochs of 16 batches."""

WRONG = 0.1
"""Share of wrong labels where there is noise; a label redrawn among k classes is wrong with probability 1 - 1/k."""

RIDGE = 0.3
"""Within 15% of the least leave-one-out error at N = n, on training examples of one more draw, for both features."""

MNIST_SCALE, MNIST_PIXELS = 0.2, 784
SETTINGS = {
    "Fourier": ("fourier", False, 0.0),
    "Fourier, 10% wrong labels": ("fourier", True, 0.0),
    "Fourier, 10% wrong labels, ridge": ("fourier", True, RIDGE),
    "ReLU": ("relu", False, 0.0),
    "ReLU, ridge": ("relu", False, RIDGE),
}
"""Features, whether labels are noisy, and the ridge of each curve."""

NOISE = "partially_corrupted_labels"


def specs(request: Request) -> list[RunSpec]:
    """The five curves of random features, and fully connected nets of every width, for each seed."""
    refuse_models(request, "belkin2018-double-descent has models of its own; run it without --models.")
    seeds = range(request.seeds or SEEDS[request.scale])
    return [
        spec
        for seed in seeds
        for spec in (
            *(_curve(request, seed, *setting) for setting in SETTINGS.values()),
            *(_net(request, seed, width) for width in WIDTHS[request.scale]),
        )
    ]


def _data(request: Request, wanted: int) -> DataSpec:
    train, tested = min(wanted, request.data.train_size), TESTED[request.scale]
    return DataSpec(
        name=request.data.name,
        train_size=None if train == request.data.train_size else train,
        test_size=None if tested is None or tested >= request.data.test_size else tested,
        whiten=False,
    )


def _curve(request: Request, seed: int, kind: str, noisy: bool, ridge: float) -> RunSpec:
    pixels = 1
    for side in request.data.input_shape:
        pixels *= side
    fields = {
        "kind": kind,
        "ridge": ridge,
        "scale": MNIST_SCALE * (MNIST_PIXELS / pixels) ** 0.5,
        "largest": LARGEST[request.scale],
    }
    redrawn = WRONG / (1 - 1 / request.data.num_classes)
    corruption = CorruptionSpec(name=NOISE, fields={"p": redrawn}) if noisy else None
    return simulated(
        CURVE, seed, data=_data(request, EXAMPLES[request.scale]), corruption=corruption, **_without_defaults(fields)
    )


def _without_defaults(fields: dict[str, object]) -> dict[str, object]:
    """Digests leave the simulation's defaults out."""
    defaults = {"kind": "fourier", "ridge": 0.0, "scale": MNIST_SCALE, "largest": 8.0}
    return {name: value for name, value in fields.items() if value != defaults[name]}


def _net(request: Request, seed: int, width: int) -> RunSpec:
    data = _data(request, NET_EXAMPLES[request.scale])
    paper = request.scale == "paper"
    classes = request.data.num_classes
    pixels = request.data.input_shape
    units = (pixels[0] * pixels[1] * pixels[2] if len(pixels) == 3 else pixels[0]) + 1
    below = width * units + classes * (width + 1) < classes * (data.train_size or request.data.train_size)
    training = TrainingSpec(
        optimizer="sgd" if paper else "adam",
        learning_rate=0.01 if paper else 0.001,
        momentum=0.95 if paper else 0.9,
        batch_size=256 if paper else min(50, data.train_size or 50),
        max_steps=NET_STEPS[request.scale],
        stop_when_fitted=False,
        loss="squared",
        schedule="exponential" if paper and below else "constant",
        decay=0.9 if paper and below else 0.95,
        decay_steps=8000 if paper and below else None,
    )
    return RunSpec(
        data=data,
        model=ModelSpec(name="mlp", fields={"width": width}),
        training=training,
        compute=ComputeSpec(device=request.device),
        measures=MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0),
        seed=seed,
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    told = [
        "Weights of a net are never taken from a smaller one, as the paper does below the threshold: every net starts "
        "afresh, which replications find makes the left part noisier and the peak weaker.",
        "Random forests and boosting are not run.",
    ]
    if request.data.name != "mnist":
        told.append(f"The data are {request.data.name}, not MNIST.")
    if request.scale != "paper":
        examples = min(EXAMPLES[request.scale], request.data.train_size)
        small = min(NET_EXAMPLES[request.scale], request.data.train_size)
        told.append(f"Random features are fitted to {examples:,} examples, not 10,000.")
        told.append(
            f"Nets are trained on {small:,} examples, not 4,000, for {NET_STEPS[request.scale]:,} steps of Adam at "
            "0.001, not 6,000 epochs of SGD with momentum 0.95, which at this size left narrow nets with units that "
            "answer to nothing."
        )
    else:
        told.append("Below the threshold training is not ended early; the rate falls by a tenth every 500 epochs.")
    return (*told, *request.data.notes)


CHOICES = (
    ("what N counts", "real features: half cosines, half sines; coefficients are real, so the threshold is N = n"),
    ("frequencies", "N(0, 0.2² I) on MNIST's pixels in 0 … 1 (a replication's), as wide for each pixel elsewhere"),
    ("random ReLU features", "max(⟨v, x⟩, 0), v uniform on the unit sphere, without bias"),
    ("solver", "float64, QR or SVD near N = n, rcond = max(n, N) · ε; normal equations only with a ridge or N > 2n"),
    ("norm", "on features divided so that an example has expected squared length 1; without it, `coefficient_norm`"),
    (
        "wrong labels",
        "redrawn with probability 1/9, so that 10% are wrong on average; fixed for an example; test clean",
    ),
    ("ridge", f"λ = {RIDGE} on the divided features, from the leave-one-out error of a draw that is not run here"),
    ("intervals", "medians with exact intervals of order statistics: the value at N = n has a heavy tail"),
    ("nets", "one hidden ReLU layer with biases, Xavier-uniform; all widths for the same number of steps"),
)


def _weight(spec: RunSpec) -> int:
    return 10_000 if spec.model.name == CURVE else 1


study = register(
    Study(
        name="belkin2018-double-descent",
        paper=BELKIN_2018,
        question="Does test error peak where a model can just fit its training set, and fall again beyond?",
        datasets=("mnist", "digits"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
        weight=_weight,
    )
)
