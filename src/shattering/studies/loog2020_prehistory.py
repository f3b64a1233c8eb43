"""Loog, Viering, Mey, Krijthe & Tax (2020): double descent before 2018, in a discriminant of the year 1936."""

from __future__ import annotations

from typing import Any

from shattering.core.errors import SpecError
from shattering.core.spec import RunSpec
from shattering.core.study import Paper, Request, Study, register
from shattering.simulations.registry import simulated
from shattering.studies.loog2020_claims import CLAIMS, DATA, FIGURES, RIDGES, answer

LOOG_2020 = Paper(
    authors="Loog, Viering, Mey, Krijthe, Tax",
    year=2020,
    title="A brief prehistory of double descent",
    venue="PNAS 117 (2020)",
    url="https://arxiv.org/abs/2004.04328",
)

SEEDS = {"smoke": 1, "small": 6, "paper": 6}
DRAWS = {"smoke": 5, "small": 50, "paper": 200}
SIZES = {"examples": 50, "features": 40}
"""d of the learning curve, n of the feature curve."""

DEFAULT_DRAWS, DEFAULT_SIZE = 100, 50


def specs(request: Request) -> list[RunSpec]:
    """Learning and feature curve, by the pseudo-inverse and, as a control, with a ridge, for each seed."""
    if request.data.name != DATA or request.models:
        raise SpecError(
            "study-worked-example",
            "loog2020-prehistory draws its own examples; run it with --data drawn and without --models.",
        )
    runs = []
    for seed in range(request.seeds or SEEDS[request.scale]):
        for axis, size in SIZES.items():
            for ridge in RIDGES.values():
                fields: dict[str, Any] = {"draws": DRAWS[request.scale]}
                fields |= {"axis": axis, "size": size} if size != DEFAULT_SIZE else {}
                fields |= {"ridge": ridge} if ridge else {}
                runs.append(simulated("pseudo_fisher", seed, **fields))
    return runs


study = register(
    Study(
        name="loog2020-prehistory",
        paper=LOOG_2020,
        question="Do the peak and the second descent stand in a linear discriminant older than neural networks?",
        datasets=(DATA,),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=lambda request: (
            "The letter traces a history; its figures, on real data among others, are not remade. Two Gaussian classes "
            "stand for them, whose errors are computed exactly for each plane.",
        ),
        choices=(
            (
                "classes",
                "N(±μ, I), 3 deviations apart in 50 dimensions, or in 200 that share them for the feature curve",
            ),
            (
                "discriminant",
                "centred, w = X⁺y for y = ±1, the plane through the sample's mean; half of each class",
            ),
            ("control", "a ridge λ = d in place of the pseudo-inverse"),
        ),
    )
)
