"""Zhang et al. (2017), Section 5: interpolation without a network. Kernels, random filters, linear models; Table 3."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from shattering.core.errors import SpecError
from shattering.core.spec import (
    AT_ONCE,
    ComputeSpec,
    DataSpec,
    MeasureSpec,
    ModelSpec,
    RunSpec,
    SelectionSpec,
)
from shattering.core.study import Request, Study, register
from shattering.studies.zhang2017 import ZHANG_2017, distinct, is_image
from shattering.studies.zhang2017_kernels_claims import CLAIMS
from shattering.studies.zhang2017_kernels_pictures import FIGURES, answer
from shattering.studies.zhang2017_kernels_records import kind_of

MNIST_GAMMA, MNIST_PIXELS = 0.02, 784
"""The author's code for MNIST, pixels in [0, 1]; elsewhere as wide for each pixel unless listed below."""

GAMMAS = {"mnist": MNIST_GAMMA, "digits": 0.2, "cifar10": 0.015}
GABOR_GAMMAS = {"mnist": 0.01, "digits": 0.4}
"""Of the middle of the sweeps below, the best on held-out training examples, measured once at a few thousand."""

SWEEP = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths of the sweep, in multiples of the study's own γ."""

RIDGES = (1e-3, 1e-2, 1e-1)
"""λ on the kernel's diagonal, which is 1 for the Gaussian kernel and 2 on average for the filters."""

FILTER_RIDGE = 0.03
"""For the filters: the best on held-out training examples of CIFAR-10, at 2,000 examples and 1,000 filters."""

DRAW = AT_ONCE.model_copy(update={"fit_accuracy": 0.01})
"""Of a run that only draws the examples, which it is not meant to fit."""

HELD_OUT = 0.25
SUBSETS = 3
"""At the paper's scale, subsets for whatever is not the whole training set."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything at a scale.

    Args:
        curve: training examples for the kernels; none: all.
        side: training examples for ridges and, with those held out, for bandwidths.
        linear: training examples of the linear models, fewer than the features; descent takes ever longer with more.
        test: test examples; none: all.
        filters: filters, and training examples for them; 0 filters: none are run.
        threads: of the largest solves; with one each, two runs share two cores as well as one run would.
    """

    curve: tuple[int | None, ...]
    side: int
    linear: int
    test: int | None
    filters: tuple[int, int | None] = (0, 0)
    threads: int = 1


SIZES: dict[tuple[str, str], Sizes] = {
    ("smoke", ""): Sizes((50, 100), 100, 20, 100, (60, 100)),
    ("small", "digits"): Sizes((200, 500, 1000), 500, 30, None, (300, 500)),
    ("small", "mnist"): Sizes((500, 2000, 10_000), 2000, 50, 5000),
    ("small", "cifar10"): Sizes((500, 2000, 10_000), 2000, 50, 2000, (1000, 2000)),
    ("small", ""): Sizes((500, 2000), 1000, 50, 2000),
    ("paper", "cifar10"): Sizes((None,), 5000, 50, None, (32_000, None), threads=2),
    ("paper", ""): Sizes((None,), 2000, 100, None, threads=2),
}

SEEDS = {"smoke": 1, "small": 3, "paper": 1}


def sizes(request: Request) -> Sizes:
    """The sizes for a request, never more than the data have."""
    at = SIZES.get((request.scale, request.data.name)) or SIZES[request.scale, ""]
    count, features = request.data.train_size, pixels(request)
    fewest = max(2, min(count, features) // 3)
    test = at.test if at.test is not None and at.test < request.data.test_size else None
    return replace(
        at,
        curve=tuple(dict.fromkeys(size if size is not None and size < count else None for size in at.curve)),
        side=min(at.side, count),
        linear=min(at.linear, fewest),
        test=test,
        filters=(at.filters[0], None if at.filters[1] is None or at.filters[1] >= count else at.filters[1]),
    )


def pixels(request: Request) -> int:
    """Numbers of an example."""
    total = 1
    for size in request.data.input_shape:
        total *= size
    return total


def specs(request: Request) -> list[RunSpec]:
    """Kernels at several sizes, ridges and bandwidths beside them, filters without and with ridge, linear models."""
    if request.models:
        raise SpecError(
            "study-fixed-models",
            "zhang2017-kernels is about kernels, random filters and linear models; run it without --models, or see "
            "zhang2017-other-models for learners of your choice.",
        )
    runs: list[RunSpec] = []
    for seed in range(request.seeds or SEEDS[request.scale]):
        for size in sizes(request).curve:
            runs += [_kernel(request, kind, size, seed) for kind in _largest_kinds(request)]
        for subset in range(SUBSETS if request.scale == "paper" else 1):
            runs += _beside(request, seed, subset)
        runs += _filters(request, seed)
    return distinct(runs)


def _kinds(request: Request) -> tuple[str, ...]:
    """The Gabor features belong to MNIST in the paper; they cost as much again, and CIFAR-10 is left without."""
    return ("pixels",) if request.data.name == "cifar10" or not is_image(request) else ("pixels", "gabor")


def _largest_kinds(request: Request) -> tuple[str, ...]:
    """On a CPU a solve on all 60,000 images takes most of a quarter of an hour, and one is enough for it."""
    alone = request.scale == "paper" and request.device == "cpu"
    return ("pixels",) if alone else _kinds(request)


def _beside(request: Request, seed: int, subset: int) -> list[RunSpec]:
    """On a subset: ridges, bandwidths judged on held-out training examples, and the linear models."""
    at = sizes(request)
    side = None if at.side >= request.data.train_size else at.side
    runs = []
    for kind in _kinds(request):
        runs.append(_kernel(request, kind, side, seed, subset))
        runs += [_kernel(request, kind, side, seed, subset, ridge=ridge) for ridge in _ridges(request)]
        runs += [_held_out(request, kind, seed, subset, factor) for factor in _factors(request)]
    return [*runs, *_linear(request, seed, subset)]


def _ridges(request: Request) -> tuple[float, ...]:
    return RIDGES[1:2] if request.scale == "smoke" else RIDGES


def _factors(request: Request) -> tuple[float, ...]:
    return SWEEP[1:4:2] if request.scale == "smoke" else SWEEP


def gamma(request: Request, kind: str) -> float:
    """γ of the Gaussian kernel on pixels or on Gabor features."""
    if kind == "gabor":
        return GABOR_GAMMAS.get(request.data.name, GABOR_GAMMAS["mnist"])
    return GAMMAS.get(request.data.name, MNIST_GAMMA * MNIST_PIXELS / pixels(request))


def _kernel(
    request: Request, kind: str, size: int | None, seed: int, subset: int | None = None, **changes: Any
) -> RunSpec:
    fields = {"kernel": "gaussian", "gamma": gamma(request, kind), **changes}
    if kind == "gabor":
        fields["features"] = "gabor"
    return _run(request, "kernel_machine", fields, size, seed, subset)


def _held_out(request: Request, kind: str, seed: int, subset: int, factor: float) -> RunSpec:
    """A run on three quarters of a subset, tested on the quarter that is held out: the test set has no say."""
    at = sizes(request)
    size = None if at.side >= request.data.train_size else at.side
    parent = _run(request, "majority_class", {}, size, seed, subset).model_copy(update={"training": DRAW})
    own = _kernel(request, kind, size, seed, subset, gamma=factor * gamma(request, kind))
    selection = SelectionSpec(parent=parent, column="label", part="random", fraction=1.0, held_out=HELD_OUT)
    return own.model_copy(update={"selection": selection})


def _linear(request: Request, seed: int, subset: int) -> list[RunSpec]:
    """The least-norm interpolant and its neighbour, each by the pseudo-inverse and by descent."""
    return [
        _run(request, "least_squares", {"method": method, "start": start}, sizes(request).linear, seed, subset)
        for method in ("pseudo_inverse", "descent")
        for start in ("zero", "random")
    ]


def _filters(request: Request, seed: int) -> list[RunSpec]:
    """Without and with ridge; the paper's 32,000 only where there is a GPU."""
    filters, size = sizes(request).filters
    if not filters or not is_image(request) or (request.scale == "paper" and request.device == "cpu"):
        return []
    patch = 6 if min(request.data.input_shape[:2]) >= 16 else 3
    fields = {"filters": filters, "patch": patch}
    ridges = (0.0, 0.01, FILTER_RIDGE, 0.1) if request.scale == "paper" else (0.0, FILTER_RIDGE)
    return [_run(request, "random_filters", {**fields, "ridge": ridge}, size, seed) for ridge in ridges]


def _run(
    request: Request, model: str, fields: dict[str, Any], size: int | None, seed: int, subset: int | None = None
) -> RunSpec:
    at = sizes(request)
    large = (size or request.data.train_size) > 5000 or model == "random_filters"
    own_subset = request.scale == "paper" and subset is not None
    return RunSpec(
        data=DataSpec(name=request.data.name, train_size=size, test_size=at.test, whiten=False),
        model=ModelSpec(name=model, fields=fields),
        training=AT_ONCE,
        compute=ComputeSpec(device=request.device, dtype="float64", threads=at.threads if large else 1),
        measures=MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0),
        seed=seed,
        stream_seeds={"subset": SUBSETS * seed + subset} if own_subset and subset is not None else {},
    )


def weight(spec: RunSpec) -> int:
    """About how costly a run is: solves grow with the cube of n, filters and wavelets with the images."""
    size = spec.data.train_size or 60_000
    own = {"pixels": 1, "gabor": 2, "filters": 20, "linear": 1, "": 1}[kind_of(spec)]
    return max(1, own * round((size / 500) ** 2))


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    at, data = sizes(request), request.data
    told = []
    if data.name not in ("mnist", "cifar10"):
        told.append(f"The data are {data.name}, neither MNIST nor CIFAR-10: numbers are shown, effects are judged.")
    if request.scale != "paper":
        curve = ", ".join(f"{size or data.train_size:,}" for size in at.curve)
        told.append(f"The kernels are solved on {curve} of {data.train_size:,} training examples (each seed's own).")
        if at.filters[0]:
            told.append(f"{at.filters[0]:,} random filters on {at.filters[1] or data.train_size:,} training examples.")
    elif data.name == "cifar10" and request.device == "cpu":
        told.append(
            "Random filters are left out: 32,000 of them on 50,000 images are planned with --device cuda, and on a CPU "
            "at --scale small with fewer."
        )
    told.append(
        f"Ridges are compared on {at.side:,} training examples, and bandwidths on three quarters of them, judged on "
        "the quarter that is held out."
    )
    told.append(
        f"Linear models are fitted to {at.linear:,} examples: with more examples than the {pixels(request):,} features "
        "nothing interpolates, and with nearly as many descent takes too long."
    )
    if _kinds(request) == ("pixels",):
        told.append("The Gabor wavelets belong to MNIST and are not run here.")
    if _largest_kinds(request) != _kinds(request):
        told.append(
            f"On a CPU the Gabor features are solved on {at.side:,} training examples only, beside pixels on as many; "
            "all of them are planned with --device cuda. Their row is compared where both are solved on all."
        )
    if data.name == "mnist":
        told.append("Random filters belong to CIFAR-10 and are not run here.")
    return (*told, *data.notes)


CHOICES = (
    ("Gaussian kernel on MNIST", "exp(-0.02‖x - x′‖²) on pixels in [0, 1], one-hot targets: the author's code"),
    (
        "Gabor wavelets",
        "8 orientations × 3 wavelengths (4, 5.7 and 8 pixels), bandwidth one octave, envelope twice as long as wide, "
        "no answer to an even grey, unit norm (Daugman 1985, Lee 1996); magnitudes averaged over 4 × 4 pixels; fixed "
        "before any run",
    ),
    (
        "bandwidth on Gabor features",
        "γ = 0.01 on MNIST, the best of a sweep on held-out training examples at a few thousand; the sweep is run "
        "again here, and the norm depends on it",
    ),
    (
        "bandwidth on CIFAR-10 pixels",
        "γ = 0.015 on pixels in [0, 1], neither cropped nor whitened; from held-out training examples, never from the "
        "test set; the sweep is run again here",
    ),
    (
        "random convolutional net",
        "patches of 6 × 6 pixels, normalised and whitened; filters are whitened patches of training images; two-sided "
        "rectifier with threshold 0.25; averages over quadrants; features standardised, with a constant one; linear "
        "kernel (Coates, Lee and Ng 2011; Coates and Ng 2012)",
    ),
    ("ridge of the random filters", "0.03 where the kernel's diagonal is 2, from held-out training examples"),
    ("norm", "√tr(AᵀKA): all ten outputs together, in the kernel's Hilbert space"),
    ("stochastic gradient descent", "single examples, constant rate 1/max‖x‖², float64, no intercept"),
)

study = register(
    Study(
        name="zhang2017-kernels",
        paper=ZHANG_2017,
        question="Do models without hidden layers that fit their training set generalise, and does their norm tell?",
        datasets=("mnist", "cifar10", "digits"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
        weight=weight,
    )
)
