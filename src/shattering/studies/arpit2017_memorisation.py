"""Arpit et al. (2017): networks learn simple patterns of real data first, and memorise noise differently."""

from __future__ import annotations

from shattering.core.spec import ComputeSpec, CorruptionSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Paper, Request, Study, refuse_models, register
from shattering.simulations.registry import is_simulation, simulated
from shattering.studies.arpit2017_claims import CLAIMS
from shattering.studies.arpit2017_designs import DESIGNS, SEEDS, Design
from shattering.studies.arpit2017_pictures import FIGURES, answer
from shattering.studies.arpit2017_records import INPUTS

NOISE = "partially_corrupted_labels"


def specs(request: Request) -> list[RunSpec]:
    """Label noise, widths, times to fit, dropout, easiness and sensitivity, for each seed."""
    refuse_models(request, "arpit2017-memorisation has models of its own; run it without --models.")
    design, runs = DESIGNS[request.scale], []
    for seed in range(request.seeds or SEEDS[request.scale]):
        for level in design.levels:
            watched = MeasureSpec(names=("accuracy", "critical_samples"), every_epochs=10)
            runs.append(_network(request, design, seed, _labels(level), watched))
        widths, levels = design.narrow
        for width in widths:
            runs += [_network(request, design, seed, _labels(level), PLAIN, width=width) for level in levels]
        for size in design.sizes:
            runs += [_fitted(request, design, seed, corruption, size) for corruption in INPUTS]
        for rate in design.dropout:
            runs += [_dropped(request, design, seed, name, rate) for name in ("true_labels", "random_labels")]
        data = _data(request, design.tracked, 2)
        for name in INPUTS:
            corruption = CorruptionSpec(name=name)
            runs.append(
                simulated(
                    "first_epoch_easiness", seed, data=data, corruption=corruption, repeats=design.repeats,
                    width=design.width, batch_size=min(32, design.batch), rate=design.rate,
                )
            )  # fmt: skip
            for own in (False, True)[: 1 + design.own_class]:
                runs.append(
                    simulated(
                        "loss_sensitivity", seed, data=data, corruption=corruption, steps=design.unrolled,
                        every=max(1, design.unrolled // 5), batch_size=design.batch, own_class=own,
                    )
                )  # fmt: skip
    return runs


PLAIN = MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=5)
SPARSE = MeasureSpec(names=("accuracy",), points_per_decade=1, every_epochs=0)


def _labels(level: float) -> CorruptionSpec:
    return CorruptionSpec(name=NOISE, fields={"p": level}) if level else CorruptionSpec()


def _data(request: Request, train: int, test: int | None) -> DataSpec:
    tested = None if test is None else min(test, request.data.test_size)
    return DataSpec(
        name=request.data.name, train_size=min(train, request.data.train_size), test_size=tested, whiten=False
    )


def _network(
    request: Request,
    design: Design,
    seed: int,
    corruption: CorruptionSpec,
    measures: MeasureSpec,
    *,
    width: int | None = None,
    dropout: float = 0.0,
    examples: int | None = None,
    steps: int | None = None,
    stop: bool = False,
) -> RunSpec:
    return RunSpec(
        data=_data(request, examples or design.examples, design.tested),
        corruption=corruption,
        model=ModelSpec(
            name="mlp",
            fields={"depth": 2, "width": width or design.width, **({"dropout": dropout} if dropout else {})},
        ),
        training=TrainingSpec(
            learning_rate=design.rate,
            momentum=0.0,
            batch_size=design.batch,
            max_steps=steps or design.steps,
            fit_accuracy=1.0 if stop else 0.99,
            stop_when_fitted=stop,
        ),
        compute=ComputeSpec(device=request.device),
        measures=measures,
        seed=seed,
    )


def _fitted(request: Request, design: Design, seed: int, name: str, size: int) -> RunSpec:
    corruption = CorruptionSpec(name=name)
    return _network(request, design, seed, corruption, SPARSE, examples=size, steps=design.fit_steps, stop=True)


def _dropped(request: Request, design: Design, seed: int, name: str, rate: float) -> RunSpec:
    return _network(
        request, design, seed, CorruptionSpec(name=name), SPARSE, dropout=rate, examples=design.tracked,
        steps=design.dropout_steps,
    )  # fmt: skip


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    design, told = (
        DESIGNS[request.scale],
        ["Perceptrons only: the paper's convolutional network on CIFAR-10 is left out."],
    )
    if request.data.name != "mnist":
        told.append(f"The data are {request.data.name}, not MNIST.")
    if request.scale != "paper":
        told += [
            f"Two hidden layers of {design.width} units on {min(design.examples, request.data.train_size):,} examples, "
            f"rate {design.rate:g}, {design.steps:,} updates; the paper has 4,096 units, the whole training set, rate "
            "0.01, 1,000 epochs.",
            "Critical samples are searched within 2.55 of 255, where the paper's radius is 0.3 of 255.",
            f"{design.repeats} repetitions of the first epoch for each seed, where the paper has 100.",
            f"Loss sensitivity through {design.unrolled:,} updates on {design.tracked:,} examples.",
            "Of the regularisers, dropout alone, at one rate fixed in advance; adversarial training is left out.",
        ]
    return (*told, *request.data.notes)


CHOICES = (
    ("radius of the box, search budget", "0.01 of the inputs' range, ten Langevin steps, in evaluation mode, on 200 "
     "examples; chosen on one seed kept out of the records, as a radius at which the ratio is neither 0 nor 1"),
    ("noise of the search", "one normal vector a step, the same for all examples and snapshots of a run"),
    ("loss sensitivity", "the derivative through the updates alone, five times on the way; 14 × 14 pixels, 16 units"),
    ("unit of sensitivity", "the ℓ1 norm over the pixels, as in the paper"),
    ("noise inputs", "Gaussian, with the mean and deviation of all training pixels"),
    ("random labels", "drawn among all classes: about a tenth stay right by chance where there are ten"),
    ("time to fit", "updates until every training example is right, looked for at the end of an epoch"),
    ("dropout", "half of the hidden units of both layers, after a fixed number of updates"),
)  # fmt: skip


def expected_steps(spec: RunSpec) -> int:
    """A training that stops once it has fitted its examples takes about so many steps, from our records."""
    if not spec.training.stop_when_fitted or is_simulation(spec.model.name):
        return spec.training.max_steps
    each = {"gaussian": 0.27, "true_labels": 0.45}.get(spec.corruption.name, 1.1)
    return max(1, min(spec.training.max_steps, round(each * (spec.data.train_size or 1000))))


study = register(
    Study(
        name="arpit2017-memorisation",
        paper=Paper(
            authors="Arpit, Jastrzębski, Ballas, Krueger, Bengio, Kanwal, Maharaj, Fischer, Courville, Bengio, "
            "Lacoste-Julien",
            year=2017,
            title="A Closer Look at Memorization in Deep Networks",
            venue="ICML 2017",
            url="https://arxiv.org/abs/1706.05394",
        ),
        question="Do networks fit real data in the way in which they memorise noise?",
        datasets=("digits", "mnist"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
        expected_steps=expected_steps,
    )
)
