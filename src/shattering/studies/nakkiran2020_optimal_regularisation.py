"""Nakkiran, Venkat, Kakade & Ma (2020): the best ridge removes double descent, by examples and by features."""

from __future__ import annotations

from typing import Any

from shattering.core.spec import CorruptionSpec, DataSpec, RunSpec
from shattering.core.study import Paper, Request, Study, refuse_models, register
from shattering.simulations.registry import simulated
from shattering.studies.nakkiran2020_pictures import AXES, CLAIMS, CURVE, FACTORS, FIGURES, answer

NAKKIRAN_2020 = Paper(
    authors="Nakkiran, Venkat, Kakade, Ma",
    year=2020,
    title="Optimal Regularization Can Mitigate Double Descent",
    venue="ICLR 2021",
    url="https://arxiv.org/abs/2003.01897",
)

SEEDS = {"smoke": 1, "small": 6, "paper": 6}
DIMENSION = {"smoke": 12, "small": 60, "paper": 500}
DRAWS = {"smoke": 10, "small": 200, "paper": 50}
EXAMPLES = {"smoke": 50, "small": 500, "paper": 4000}
TESTED = {"smoke": 100, "small": 2000, "paper": None}
REDRAWN = 0.2
"""Probability that a label of the random features' examples is redrawn; without noise the peak is lower."""


def specs(request: Request) -> list[RunSpec]:
    """Every ridge on both axes, and random ReLU features without and with a tuned ridge, for each seed."""
    refuse_models(request, "nakkiran2020-optimal-regularisation has models of its own; run it without --models.")
    scale, runs = request.scale, []
    size = {"dimension": DIMENSION[scale], "draws": DRAWS[scale]}
    fields: dict[str, Any] = {
        name: value for name, value in size.items() if value != {"dimension": 60, "draws": 100}[name]
    }
    for seed in range(request.seeds or SEEDS[scale]):
        for axis in AXES:
            for factor in FACTORS.values():
                changes: dict[str, Any] = {"axis": axis} if axis != "examples" else {}
                changes |= {"factor": factor} if factor != 1 else {}
                runs.append(simulated("ridge_risk", seed, data=_data(request), **fields, **changes))
        for ridge in (0.0, "leave_one_out"):
            changes = {"kind": "relu", **({"ridge": ridge} if ridge else {})}
            noise = CorruptionSpec(name="partially_corrupted_labels", fields={"p": REDRAWN})
            runs.append(simulated(CURVE, seed, data=_data(request), corruption=noise, **changes))
    return runs


def _data(request: Request) -> DataSpec:
    train, tested = min(EXAMPLES[request.scale], request.data.train_size), TESTED[request.scale]
    return DataSpec(
        name=request.data.name,
        train_size=None if train == request.data.train_size else train,
        test_size=None if tested is None or tested >= request.data.test_size else tested,
        whiten=False,
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    size = DIMENSION[request.scale]
    told = [
        f"{size} dimensions, where the paper's figure has 500; σ² = 1/4 and ‖β‖ = 1 as there.",
        "Convolutional networks with weight decay are not run.",
        f"Random features are of {request.data.name}.",
    ]
    return (*(told[1:] if request.scale == "paper" else told), *request.data.notes)


CHOICES = (
    ("ridge", "argmin ‖Xb - y‖² + λ‖b‖²: λ is not multiplied by n"),
    (
        "risk",
        "exact for each fitted b, ‖b - β‖² + σ², averaged over draws of the design; no test sample",
    ),
    ("formula", "averaged over the singular values of the same designs, so that heavy tails at n = d are shared"),
    ("search for the best ridge", "steps of 9% from a quarter to four times the formula's, on the measured risk"),
    ("projections", "twice as many inputs as examples, at n = dimension; orthonormal, drawn anew in every draw"),
    ("random features", "as in belkin2018-double-descent; labels redrawn with probability 0.2, test clean"),
    ("tuned ridge", "least exact leave-one-out error on the training examples, at each N, of 21 from 0.001 to 100"),
)

study = register(
    Study(
        name="nakkiran2020-optimal-regularisation",
        paper=NAKKIRAN_2020,
        question="Does the best ridge make risk fall with every example and every feature more?",
        datasets=("mnist", "digits"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
    )
)
