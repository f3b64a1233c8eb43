"""What the studies of Zhang et al. (2017) share: the protocol, and how its numbers are estimated from records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shattering.core.record import Record, Status
from shattering.core.spec import CorruptionSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.statistics import accuracy_interval
from shattering.core.study import Claim, Effect, Estimate, Paper, Records, Request, label_level

ZHANG_2017 = Paper(
    authors="Zhang, Bengio, Hardt, Recht, Vinyals",
    year=2017,
    title="Understanding deep learning requires rethinking generalization",
    venue="ICLR 2017",
    url="https://arxiv.org/abs/1611.03530",
)

EPOCH_STEPS = 391
"""Updates in an epoch of all 50,000 training images of CIFAR-10 at batches of 128."""

PAPER_EPOCHS = 100
"""The paper gives no number of epochs. At a decay of 0.95 an epoch, the rate is then 0.6% of its start."""

CONV_WEIGHT_DECAY, MLP_WEIGHT_DECAY = 5e-4, 1e-4
"""The paper gives no coefficient; these are the commonest choice of its replications."""

CHANCE_BAND = 0.03
"""An accuracy counts as chance within so much of 1/k."""


@dataclass(frozen=True)
class Sizes:
    """How much a network is given at a scale, and for how long it may train.

    Args:
        train: training examples; none: all.
        test: test examples; none: all.
        batch: batch size.
        rate: initial learning rate.
        steps: budget of updates.
        fit_steps: about how many updates random labels take here, measured; scales budgets and estimates.
        points: snapshots in each decade of steps; few where looking costs more than training.
    """

    train: int | None
    test: int | None
    batch: int
    rate: float
    steps: int
    fit_steps: int
    points: int = 5


PAPER_RATES = {"inception": 0.1, "alexnet": 0.01, "mlp_1x512": 0.01, "mlp_3x512": 0.01}

SMALL: dict[str, dict[str, Sizes]] = {
    "digits": {
        "mlp_1x512": Sizes(None, None, 128, 0.1, 6000, 660),
        "mlp_3x512": Sizes(None, None, 128, 0.1, 6000, 440),
        "alexnet": Sizes(512, None, 128, 0.003, 1500, 150),
        "inception": Sizes(512, None, 64, 0.02, 600, 80),
    },
    "cifar10": {
        "mlp_1x512": Sizes(5000, 5000, 128, 0.01, 20_000, 870),
        "alexnet": Sizes(512, 500, 128, 0.003, 4000, 150, points=2),
        "inception": Sizes(256, 250, 64, 0.02, 1500, 80, points=2),
    },
    "mnist": {
        "mlp_1x512": Sizes(5000, 5000, 128, 0.01, 40_000, 1880),
        "alexnet": Sizes(512, 500, 128, 0.003, 6000, 200, points=2),
        "inception": Sizes(128, 250, 64, 0.02, 1500, 60, points=2),
    },
}
"""Measured so that the whole study ends within half an hour on two cores."""

EXPERIENCE: dict[str, dict[str, dict[str, float]]] = {
    "digits": {
        "mlp_1x512": {"true": 0.08, "shuffled_pixels": 0.08, "random_pixels": 0.17, "gaussian": 0.19},
        "mlp_3x512": {"true": 0.11, "shuffled_pixels": 0.14, "random_pixels": 0.33, "gaussian": 0.35},
    },
    "cifar10": {
        "mlp_1x512": {"true": 0.72, "shuffled_pixels": 0.7, "random_pixels": 0.35, "gaussian": 0.28},
        "alexnet": {"true": 0.9, "shuffled_pixels": 0.9, "random_pixels": 1.0, "gaussian": 0.9},
        "inception": {"true": 1.0, "shuffled_pixels": 0.85, "random_pixels": 0.85, "gaussian": 0.8},
    },
    "mnist": {
        "mlp_1x512": {"true": 0.27, "shuffled_pixels": 0.27, "random_pixels": 0.23, "gaussian": 0.23},
        "alexnet": {"true": 0.33, "shuffled_pixels": 0.5, "random_pixels": 1.0, "gaussian": 1.1},
        "inception": {"true": 1.0, "shuffled_pixels": 1.0, "random_pixels": 1.0, "gaussian": 0.9},
    },
}
"""Updates to fit, in multiples of those for random labels, measured at scale `small`; for estimates only."""

SMOKE = Sizes(96, 64, 32, 0.1, 400, 100)


def sizes(request: Request, model: str) -> Sizes:
    """The sizes for a model at the request's scale; models we know nothing of get those of an MLP on digits."""
    if request.scale == "paper":
        steps = PAPER_EPOCHS * EPOCH_STEPS
        return Sizes(None, None, min(128, request.data.train_size), PAPER_RATES.get(model, 0.1), steps, steps)
    if request.scale == "smoke":
        train = min(SMOKE.train or 0, request.data.train_size)
        return Sizes(train, min(64, request.data.test_size), min(32, train), SMOKE.rate, SMOKE.steps, SMOKE.fit_steps)
    known = SMALL.get(request.data.name, {})
    if model in known:
        return known[model]
    train, test = min(2000, request.data.train_size), min(2000, request.data.test_size)
    return Sizes(train, test, min(128, train), PAPER_RATES.get(model, 0.05), 6000, 1500)


def is_image(request: Request) -> bool:
    """Whether the examples are images, not features."""
    return len(request.data.input_shape) == 3


def crop_side(request: Request, *, augmented: bool = False) -> int | None:
    """28 for CIFAR, as in the paper; elsewhere no crop, or seven eighths of the side where random crops need room."""
    if not is_image(request):
        return None
    side = min(request.data.input_shape[:2])
    if request.data.name.startswith("cifar"):
        return 28
    return side * 7 // 8 if augmented else None


def protocol(
    request: Request,
    model: str,
    corruption: str,
    seed: int,
    *,
    level: float | None = None,
    fields: dict[str, Any] | None = None,
    weight_decay: float = 0.0,
    augmentation: Literal["none", "crop", "full"] = "none",
    decay: float = 0.95,
    epochs: int | None = None,
    budget: int | None = None,
    to_the_end: bool = False,
) -> RunSpec:
    """One run by the paper's protocol, at the request's scale.

    At the paper's scale: SGD with momentum 0.9, the paper's initial rates, decay by 0.95 an epoch, all images, the
    whole budget. Below it: subsets, a constant rate (the decay would starve the few steps that a subset's epoch has),
    and the end when the training set is fitted.

    Args:
        request: scale and data.
        model: registered model, or MODULE:FACTORY.
        corruption: registered corruption.
        seed: of the run.
        level: probability p of `partially_corrupted_labels`.
        fields: of the model.
        weight_decay: coefficient.
        augmentation: of the training images.
        decay: of the learning rate per epoch, at the paper's scale.
        epochs: in place of `PAPER_EPOCHS`, at the paper's scale.
        budget: of updates below the paper's scale, in multiples of what random labels take without a regulariser.
        to_the_end: train on after fitting, at any scale, with a snapshot at least every few epochs.
    """
    at = sizes(request, model)
    paper = request.scale == "paper"
    steps = min(at.steps, budget * at.fit_steps) if budget and not paper else at.steps
    every = 5 if paper else max(1, steps // (40 * max(1, (at.train or request.data.train_size) // at.batch)))
    return RunSpec(
        data=DataSpec(
            name=request.data.name,
            train_size=at.train,
            test_size=at.test,
            crop=crop_side(request, augmented=augmentation != "none"),
        ),
        corruption=CorruptionSpec(name=corruption, fields={} if level is None else {"p": level}),
        model=ModelSpec(name=model, fields=fields or {}),
        training=TrainingSpec(
            learning_rate=at.rate,
            weight_decay=weight_decay,
            batch_size=at.batch,
            schedule="exponential" if paper else "constant",
            decay=decay if paper else 0.95,
            decay_steps=EPOCH_STEPS if paper else None,
            augmentation=augmentation,
            max_steps=epochs * EPOCH_STEPS if paper and epochs else steps,
            stop_when_fitted=not (paper or to_the_end),
        ),
        compute={"device": request.device},  # type: ignore[arg-type]
        measures=MeasureSpec(points_per_decade=at.points, every_epochs=every if paper or to_the_end else 0),
        seed=seed,
    )


def default_weight_decay(model: str) -> float:
    """The coefficient where the paper says "default"."""
    return MLP_WEIGHT_DECAY if model.startswith("mlp") else CONV_WEIGHT_DECAY


def expected_steps(spec: RunSpec) -> int:
    """About how many updates a run takes: all of them where it does not stop when fitted, else by `EXPERIENCE`.

    Partly corrupted labels are taken to lie half-way between true and random ones at p = 0 and to reach the latter at
    p = 1. Runs under an explicit regulariser may spend their whole budget, and are taken to.
    """
    training = spec.training
    known = SMALL.get(spec.data.name, {}).get(spec.model.name)
    if not training.stop_when_fitted or training.augmentation != "none" or training.weight_decay > CONV_WEIGHT_DECAY:
        return training.max_steps
    if known is None or known.train != spec.data.train_size:
        return min(training.max_steps, SMOKE.fit_steps if spec.data.train_size == SMOKE.train else 1500)
    shares = EXPERIENCE[spec.data.name].get(spec.model.name, {})
    level = label_level(spec)
    if level is None:
        share = shares.get(spec.corruption.name, 1.0)
    elif level == 0:
        share = shares.get("true", 1.0)
    else:
        middle = (1 + shares.get("true", 1.0)) / 2
        share = middle + (1 - middle) * level
    return min(training.max_steps, max(1, round(known.fit_steps * share)))


WEIGHTS = {"inception": 200, "resnet18": 200, "alexnet": 35, "mlp_3x512": 2, "mlp_1x512": 1}


def weight(spec: RunSpec) -> int:
    """About how costly an update is beside one of the smallest network."""
    return WEIGHTS.get(spec.model.name, 10)


# Estimates


@dataclass(frozen=True)
class Row:
    """A row of one of the paper's tables: which runs belong to it, and what it printed.

    Args:
        source: place in the paper.
        model: the network.
        batch_norm: of the Inception.
        augmentation, weight_decay: explicit regularisers.
        random_labels: whether all labels are random.
        train, test: printed accuracies, fractions; none where not printed.
        provenance: how the numbers are known.
    """

    source: str
    model: str
    train: float | None
    test: float | None = None
    batch_norm: bool = True
    augmentation: Literal["none", "crop", "full"] = "none"
    weight_decay: bool = False
    random_labels: bool = False
    provenance: Literal["Q-tab", "Q-note"] = "Q-tab"

    @property
    def fields(self) -> dict[str, Any]:
        """The model's fields."""
        return {} if self.batch_norm else {"batch_norm": False}

    @property
    def decay_coefficient(self) -> float:
        """Weight decay of the row's runs."""
        return default_weight_decay(self.model) if self.weight_decay else 0.0

    def runs(self, records: Records) -> list[Record]:
        """The records of this row."""
        wanted = "random_labels" if self.random_labels else "true_labels"
        return [
            record
            for record in records
            if record.spec.model.name == self.model
            and record.spec.model.fields.get("batch_norm", True) == self.batch_norm
            and record.spec.corruption.name == wanted
            and record.spec.training.augmentation == self.augmentation
            and record.spec.training.weight_decay == self.decay_coefficient
        ]


def accuracy_of(records: Sequence[Record], name: str) -> Estimate | None:
    """Mean of the last measured accuracy ``name`` over the runs that ended, with its interval.

    Runs that diverged or failed have no final accuracy; they are counted in the note.
    """
    ended = [r for r in records if r.status in (Status.DONE, Status.NOT_FITTED) and name in r.last]
    if not ended:
        return None
    size = "test_size" if name.startswith("test") else "train_size"
    # Of models tested on unequal numbers of examples the fewest count, which makes the interval too wide, if anything.
    examples = min(int(record.summary[size] or 1) for record in ended)
    value, low, high = accuracy_interval([float(record.last[name]) for record in ended], examples)
    return Estimate(value, low, high, tuple(record.digest for record in ended), len(records), counted(records))


def counted(records: Sequence[Record]) -> str:
    """``17 of 20; 3 diverged``: how many runs stand behind a number, and what became of the others."""
    ended = sum(record.status in (Status.DONE, Status.NOT_FITTED) for record in records)
    parts = [f"{ended} of {len(records)}"]
    for status, word in ((Status.DIVERGED, "diverged"), (Status.FAILED, "failed"), (Status.NOT_FITTED, "not fitted")):
        count = sum(record.status is status for record in records)
        if count:
            parts.append(f"{count} {word}")
    return "; ".join(parts)


def chance(records: Records) -> float:
    """Accuracy of guessing among the classes of the data, 1/k; 0 where no run tells k."""
    classes = next((record.summary["num_classes"] for record in records if "num_classes" in record.summary), None)
    return 1 / classes if classes else 0.0


def at_chance(records: Records) -> bool | None:
    """Whether the runs' test accuracy is that of guessing, 1/k.

    Yes where it lies within `CHANCE_BAND` of 1/k and its interval holds 1/k; no where the interval lies outside the
    band; otherwise, and without an interval, that cannot be told.
    """
    estimate = accuracy_of(records, "test_accuracy")
    if estimate is None or estimate.low is None or estimate.high is None:
        return None
    guess = chance(records)
    if estimate.low > guess + CHANCE_BAND or estimate.high < guess - CHANCE_BAND:
        return False
    close = abs(estimate.value - guess) <= CHANCE_BAND and estimate.low <= guess <= estimate.high
    return True if close else None


def row_claims(row: Row, *, train_tolerance: float, test_tolerance: float) -> list[Claim]:
    """The claims of a table row: training and test accuracy, each with the effect it stands for."""

    def claim(quantity: str, name: str, published: float, tolerance: float, effect: Effect) -> Claim:
        return Claim(
            source=row.source,
            quantity=quantity,
            published=published,
            tolerance=tolerance,
            unit="1",
            provenance=row.provenance,
            data="cifar10",
            estimate=lambda records: accuracy_of(row.runs(records), name),
            effect=effect,
        )

    claims = []
    if row.train is not None:
        claims.append(claim("training accuracy", "train_accuracy", row.train, train_tolerance, fits(row.runs)))
    if row.test is not None:
        effect = chance_effect(row.runs) if row.random_labels else above_chance(row.runs)
        claims.append(claim("test accuracy", "test_accuracy", row.test, test_tolerance, effect))
    return claims


Runs = Callable[[Records], list[Record]]


def fits(runs: Runs) -> Effect:
    """Every run reaches 99% training accuracy; runs that failed by an error are no evidence either way."""

    def holds(records: Records) -> bool | None:
        ended = [record for record in runs(records) if record.status is not Status.FAILED]
        return all(record.status is Status.DONE for record in ended) if ended else None

    return Effect("every run fits its training set to 99%", holds)


def span(fractions: Sequence[float]) -> str:
    """From the smallest fraction to the largest, in percent: ``15%–18%``, or ``3%`` where both are printed alike."""
    return "–".join(dict.fromkeys(f"{end:.0%}" for end in (min(fractions), max(fractions))))


def drawn(train: int, request: Request) -> str:
    """``500 of 1,437 training examples``, with how they are chosen where there are fewer than all."""
    whole = request.data.train_size
    return f"{train:,} of {whole:,} training examples" + (" (each seed draws its own)" if train < whole else "")


def distinct(specs: list[RunSpec]) -> list[RunSpec]:
    """The specs without repetitions, in order."""
    return list({spec.digest: spec for spec in specs}.values())


def chance_effect(runs: Runs) -> Effect:
    """Test accuracy is that of guessing."""
    return Effect(
        f"test accuracy is within {100 * CHANCE_BAND:g} points of guessing",
        lambda records: at_chance(runs(records)),
    )


def above_chance(runs: Runs, whose: str = "") -> Effect:
    """Test accuracy is clearly better than guessing; ``whose`` says of which runs, where that is not plain."""

    def holds(records: Records) -> bool | None:
        estimate = accuracy_of(runs(records), "test_accuracy")
        return None if estimate is None or estimate.low is None else estimate.low > chance(records) + CHANCE_BAND

    return Effect(f"{whose} test accuracy is well above guessing".strip(), holds)
