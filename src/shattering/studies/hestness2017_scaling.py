"""Hestness et al. (2017): error falls as a power of the number of training examples; what moves offset and exponent."""

from __future__ import annotations

from typing import Any

from shattering.core.spec import CorruptionSpec, DataSpec, RunSpec
from shattering.core.study import Paper, Request, Study, refuse_models, register
from shattering.simulations.registry import simulated
from shattering.studies.hestness2017_claims import CLAIMS, FACTORS, FIGURES, NARROW, SPECTRA, USUAL, WIDE, answer

HESTNESS_2017 = Paper(
    authors="Hestness et al.",
    year=2017,
    title="Deep Learning Scaling is Predictable, Empirically",
    venue="arXiv:1712.00409",
    url="https://arxiv.org/abs/1712.00409",
)

EXAMPLES = {"smoke": 200, "small": 2500, "paper": 20_000}
"""A fifth of them for validation; the largest shard is the rest."""

TESTED = {"smoke": 100, "small": 2000, "paper": None}
SHARDS = {"smoke": 3, "small": 7, "paper": 9}
FEWEST = 20
SEEDS = {"smoke": 1, "small": 6, "paper": 6}
DIMENSION = {"smoke": 800, "small": 4000, "paper": 8000}
DRAWS = {"smoke": 1, "small": 8, "paper": 8}
MNIST_GAMMA, MNIST_PIXELS = 0.02, 784
GAMMAS = {"mnist": MNIST_GAMMA, "digits": 0.2}
DEFAULTS = {"shards": 7, "gamma": MNIST_GAMMA, "dimension": 4000, "draws": 3}
"""Of the simulations; digests leave them out."""


def specs(request: Request) -> list[RunSpec]:
    """Three kernel widths, random labels as a control, and two synthetic spectra, for each seed."""
    refuse_models(request, "hestness2017-scaling has models of its own; run it without --models.")
    runs = []
    for seed in range(request.seeds or SEEDS[request.scale]):
        for width in (WIDE, USUAL, NARROW):
            runs.append(_curve(request, seed, FACTORS[width]))
        runs.append(_curve(request, seed, 1.0, "random_labels"))
        for decay, source in SPECTRA:
            fields: dict[str, Any] = {"decay": decay, "source": source, "draws": DRAWS[request.scale]}
            fields |= {"dimension": DIMENSION[request.scale]}
            runs.append(simulated("spectrum_curve", seed, data=_data(request), **_changed(fields)))
    return runs


def gamma(request: Request) -> float:
    """γ of the usual width: the published one for MNIST, elsewhere as wide for each pixel unless listed."""
    pixels = 1
    for side in request.data.input_shape:
        pixels *= side
    return GAMMAS.get(request.data.name, MNIST_GAMMA * MNIST_PIXELS / pixels)


def _data(request: Request) -> DataSpec:
    train, tested = min(EXAMPLES[request.scale], request.data.train_size), TESTED[request.scale]
    return DataSpec(
        name=request.data.name,
        train_size=None if train == request.data.train_size else train,
        test_size=None if tested is None or tested >= request.data.test_size else tested,
        whiten=False,
    )


def _curve(request: Request, seed: int, factor: float, labels: str = "true_labels") -> RunSpec:
    largest = 0.8 * min(EXAMPLES[request.scale], request.data.train_size)
    shards = SHARDS[request.scale]
    while largest / 2 ** (shards - 1) < FEWEST - 5:
        shards -= 1
    fields = {"shards": shards, "gamma": factor * gamma(request)}
    data = _data(request)
    return simulated("shard_curve", seed, data=data, corruption=CorruptionSpec(name=labels), **_changed(fields))


def _changed(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value != DEFAULTS.get(name)}


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    largest = round(0.8 * min(EXAMPLES[request.scale], request.data.train_size))
    return (
        "The paper trains deep networks for translation, language, images and speech, on far larger data; here kernel "
        f"ridge regression learns {request.data.name}, up to {largest:,} examples.",
        "The width of the kernel stands for the architecture. How the best size of a model grows with the data is not "
        "asked.",
        *request.data.notes,
    )


study = register(
    Study(
        name="hestness2017-scaling",
        paper=HESTNESS_2017,
        question="Is error a power of the number of training examples, and what changes the power?",
        datasets=("mnist", "digits"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=(
            (
                "shards",
                "nested, each half of the next, in random order; a fifth of the examples is the validation set",
            ),
            (
                "ridge",
                "of eight from 0.0001 to 3, the best on the validation set, for each shard",
            ),
            (
                "fit",
                "slope of log error on log n over shards of at least 150 examples (all, if fewer than three)",
            ),
            ("interval", "one exponent for each seed, with its own examples and shards; Student's interval over seeds"),
            ("kernel", "exp(-γ‖x - x′‖²) on pixels in 0 … 1, γ = 0.02 on MNIST, and a quarter and four times it"),
            ("synthetic", "variances i⁻ᵃ, coefficients with s w² = i⁻ᵇ, no noise, least norm; d eigenvalues in all"),
        ),
    )
)
