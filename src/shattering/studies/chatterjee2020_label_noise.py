"""Chatterjee (2020): pristine examples agree and are learned first, corrupt ones take over only to be memorised."""

from __future__ import annotations

from dataclasses import dataclass

from shattering.core.record import Record
from shattering.core.spec import MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Records, Request, Study, label_level, register
from shattering.measures.label_noise import peak
from shattering.studies.chatterjee2020 import SCALING, at_level, mean_of, prepared
from shattering.studies.chatterjee2020_label_noise_claims import CLAIMS, MIXED, early, late, share
from shattering.studies.chatterjee2020_label_noise_pictures import FIGURES
from shattering.studies.chatterjee2022 import CHATTERJEE_2020, label_noise

LEVELS = {"smoke": (0.0, 0.5, 1.0), "small": (0.0, 0.25, 0.5, 0.75, 1.0), "paper": (0.0, 0.25, 0.5, 0.75, 1.0)}
SEEDS = {"smoke": 1, "small": 5, "paper": 3}


@dataclass(frozen=True)
class Sizes:
    """What a run is given at a scale.

    Args:
        train, test: examples; none: all.
        steps: budget of updates.
        gradients: training examples that gradients are measured on; none: all.
        points: snapshots in each decade of steps.
    """

    train: int | None
    test: int | None
    steps: int
    gradients: int | None
    points: int = 8


SMALL = {
    "mnist": Sizes(2000, 2000, 8000, 1000),
    "digits": Sizes(None, None, 15_000, None),
    "": Sizes(2000, 2000, 8000, 1000),
}
FITTED = {
    "mnist": {0.0: 700, 0.25: 1600, 0.5: 1900, 0.75: 2200, 1.0: 2400},
    "digits": {0.0: 700, 0.25: 3000, 0.5: 3700, 0.75: 3900, 1.0: 3950},
}
"""About how many updates it takes to fit the training set, from single pilot runs; for estimates only."""


def sizes(request: Request) -> Sizes:
    """The sizes at the request's scale."""
    if request.scale == "paper":
        return Sizes(None, None, 100_000, None, points=10)
    if request.scale == "smoke":
        return Sizes(64, 64, 300, None, points=4)
    found = SMALL.get(request.data.name, SMALL[""])
    if found.train is None or found.train <= request.data.train_size:
        return found
    return Sizes(None, None, found.steps, found.gradients)


def specs(request: Request) -> list[RunSpec]:
    """Every level of label noise, for every seed."""
    at = sizes(request)
    train = at.train or request.data.train_size
    return [
        RunSpec(
            data=prepared(request, at.train, at.test),
            corruption=label_noise(level),
            model=ModelSpec(name=model, fields={"width": 64} if (request.scale, model) == ("smoke", "mlp") else {}),
            training=TrainingSpec(
                learning_rate=0.1,
                momentum=0.0,
                batch_size=16 if request.scale == "smoke" else min(100, train),
                max_steps=at.steps,
                stop_when_fitted=request.scale != "paper",
            ),
            compute={"device": request.device},  # type: ignore[arg-type]
            measures=MeasureSpec(
                names=("accuracy", "coherence", "contributions", "learning_step"),
                points_per_decade=at.points,
                every_epochs=0,
                gradient_examples=at.gradients if at.gradients and at.gradients < train else None,
            ),
            seed=seed,
        )
        for seed in range(request.seeds or SEEDS[request.scale])
        for model in request.models or ("mlp",)
        for level in LEVELS[request.scale]
    ]


def answer(records: Records) -> str:
    """Which examples lead, early and late, and what the network knows before it memorises."""
    told, lost = [], []
    for level in MIXED:
        runs = at_level(records, level)
        first = mean_of(runs, lambda run: early(run, share("step_")))
        after = mean_of(runs, lambda run: late(run, share("step_")))
        if first is not None:
            end = f" and {after.value:.0%} late" if after else ""
            told.append(f"{first.value:.0%} early{end} at {level:.0%} noise")
        best = mean_of(runs, _loss_of_test_accuracy)
        if best is not None:
            lost.append(f"{best.value:.0%} at {level:.0%} noise")
    if not told or not lost:
        return "No run with label noise has ended yet, so there is no answer. Run the same command again to go on."
    return (
        f"Of the fall of the loss in a step, examples with their own label account for {'; '.join(told)}. Training on "
        f"until the wrong labels are fitted costs, in points of test accuracy, {', '.join(lost)}."
    )


def _loss_of_test_accuracy(record: Record) -> float | None:
    best = peak(record)
    return best.test_accuracy - best.final_test_accuracy if best else None


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    at = sizes(request)
    told = [
        "An example whose redrawn label happens to be its own counts as pristine; the paper may count it as corrupt."
    ]
    if request.data.name != "mnist":
        told.insert(0, f"The data are {request.data.name}, not MNIST.")
    if request.scale != "paper":
        train, test = at.train or request.data.train_size, at.test or request.data.test_size
        told += [
            f"{train:,} of {request.data.train_size:,} training examples (each seed has its own), tested on {test:,}.",
            f"Training stops when 99% of the training set are fitted, after {at.steps:,} steps at most; the paper's "
            "lasts 100,000.",
        ]
        if at.gradients and at.gradients < train:
            told.append(
                f"Gradients are measured on {at.gradients:,} of the training examples, the same throughout a run."
            )
    return (*told, *request.data.notes)


def expected_steps(spec: RunSpec) -> int:
    """About how many updates a run takes."""
    known = FITTED.get(spec.data.name, {}).get(label_level(spec) or 0.0, 2000)
    if not spec.training.stop_when_fitted:
        return spec.training.max_steps
    return min(spec.training.max_steps, 200 if spec.training.batch_size < 100 else known)


study = register(
    Study(
        name="chatterjee2020-label-noise",
        paper=CHATTERJEE_2020,
        question="Under label noise, do examples with right labels lead the training, and wrong ones follow?",
        datasets=("mnist", "digits"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=(
            SCALING,
            ("Xavier initialisation", "uniform, by Glorot and Bengio (2010), the output layer included; zero biases"),
            ("examples whose gradients are measured", "all of them at the paper's scale"),
            ("moments of measurement", "10 a decade of steps at the paper's scale; cumulative sums are linear between"),
            ("null worlds", "999 permutations of the tags pristine and corrupt, the same at every snapshot"),
            ("gradient whose shares are meant", "that of a mini-batch, in expectation; that of all examples beside it"),
            ("what is early", "until half of the pristine examples are fitted"),
            ("what is late", "since training accuracy first exceeded the proper accuracy"),
        ),
        expected_steps=expected_steps,
    )
)
