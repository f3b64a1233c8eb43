"""Lee & Cherkassky (2022): does the classical VC bound tell of the second descent, with the norm as its dimension?"""

from __future__ import annotations

from typing import Any

from shattering.core.spec import DataSpec, RunSpec
from shattering.core.study import Paper, Request, Study, refuse_models, register
from shattering.simulations.registry import simulated
from shattering.studies.lee2022_pictures import CLAIMS, FIGURES, RIDGES, answer

LEE_2022 = Paper(
    authors="Lee, Cherkassky",
    year=2022,
    title="VC Theoretical Explanation of Double Descent",
    venue="arXiv:2205.15549",
    url="https://arxiv.org/abs/2205.15549",
)

SEEDS = {"smoke": 1, "small": 8, "paper": 10}
EXAMPLES = {"smoke": 30, "small": 200, "paper": 200}
SHARE = 0.15
"""Of all examples so many at least are of the two classes, among ten; more are drawn than will be needed."""


def specs(request: Request) -> list[RunSpec]:
    """The solution of least norm, and the ridge as a control, for each seed."""
    refuse_models(request, "lee2022-vc has a model of its own; run it without --models.")
    examples = min(EXAMPLES[request.scale], int(SHARE * request.data.train_size) - 50)
    wanted = round(examples / SHARE) + 50
    data = DataSpec(name=request.data.name, train_size=wanted, whiten=False)
    fields: dict[str, Any] = {} if examples == EXAMPLES["small"] else {"examples": examples}
    ridges: list[dict[str, Any]] = [{"ridge": ridge} if ridge else {} for ridge in RIDGES.values()]
    return [
        simulated("vc_curve", seed, data=data, **fields, **ridge)
        for seed in range(request.seeds or SEEDS[request.scale])
        for ridge in ridges
    ]


study = register(
    Study(
        name="lee2022-vc",
        paper=LEE_2022,
        question="Does the classical VC bound tell of both descents, if the norm is its dimension in the second?",
        datasets=("mnist", "digits"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=lambda request: (
            "Only the abstract was at hand: classes, sizes and constants are ours, and so is least squares among its "
            "methods. Support vector machines and trained networks are not run.",
            *request.data.notes,
        ),
        choices=(
            ("data", "5 against 8, 200 training examples, all test examples of the two"),
            ("features", "random ReLU, max(⟨v, x⟩, 0), v on the unit sphere; least squares to ±1, float64"),
            ("bound", "Cherkassky and Mulier's form with practical constants a₁ = a₂ = 1, η = min(4/√n, 1)"),
            ("dimension", "N + 1; or min(N, R²‖w‖²) + 1, at most n. The paper may rescale h by a constant; we do not"),
            ("control", "a ridge of 0.3 on features of expected squared length 1"),
        ),
    )
)
