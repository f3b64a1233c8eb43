"""What Section 5 of Zhang et al. (2017) says of kernels and linear models, number by number."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.record import Record, Status
from shattering.core.study import Claim, Effect, Estimate, Provenance, Records
from shattering.studies.zhang2017 import CHANCE_BAND, chance
from shattering.studies.zhang2017_kernels_records import (
    Kind,
    Pair,
    difference_estimate,
    error,
    error_estimate,
    fact,
    largest,
    number_estimate,
    pairs,
    plain,
    planned,
    positive,
    ridge_of,
    tested,
)

AGREEMENT = 1e-9
"""Two solutions that are closer than this, relative to their norm, are one."""

RIDGE_GAIN = 0.1
"""A ridge that lowers the test error by less than this share of it improves nothing."""

FILTER_RIDGE_PUBLISHED = 0.15


# Estimates


def rows(records: Records, data: str, kind: Kind) -> list[Record]:
    """Runs without ridge on the most examples that any kernel was solved on.

    Pixels of CIFAR-10 and of handwritten digits are rows of their own.
    """
    runs = largest(plain(records, kind))
    if kind in ("pixels", "gabor"):
        runs = [run for run in runs if _size(run) == _size(_largest_kernel(records))]
    return [run for run in runs if _belongs(run, data, kind)]


def _largest_kernel(records: Records) -> Record:
    """One of the kernel runs without ridge on the most examples."""
    return largest([*plain(records, "pixels"), *plain(records, "gabor")])[0]


def _belongs(record: Record, data: str, kind: Kind) -> bool:
    return kind != "pixels" or (record.spec.data.name in ("mnist", "digits")) == (data == "mnist")


def row_error(data: str, kind: Kind) -> Callable[[Records], Estimate | None]:
    """Test error of the interpolant."""

    def estimate(records: Records) -> Estimate | None:
        runs = rows(records, data, kind)
        considered = [run for run in planned(records, kind) if _belongs(run, data, kind)]
        return error_estimate(runs, [run for run in considered if _size(run) == _size(runs[0])]) if runs else None

    return estimate


def _size(record: Record) -> int | None:
    return record.spec.data.train_size


def ridged(records: Records, kind: Kind) -> list[Record]:
    """Runs with the ridge in the middle of those tried, on the most examples."""
    runs = largest([run for run in tested(records, kind) if ridge_of(run.spec) > 0])
    ridges = sorted({ridge_of(run.spec) for run in runs})
    return [run for run in runs if ridge_of(run.spec) == ridges[len(ridges) // 2]]


def ridge_error(records: Records) -> Estimate | None:
    """Test error of random filters with ridge."""
    runs = ridged(records, "filters")
    if not runs:
        return None
    wanted = ridge_of(runs[0].spec)
    return error_estimate(
        runs, [run for run in planned(records, "filters", ridge=True) if ridge_of(run.spec) == wanted]
    )


def kernel_pairs(records: Records) -> list[Pair]:
    """Gabor features and pixels on the same examples, as many as any kernel was solved on."""
    found = pairs(plain(records, "gabor"), plain(records, "pixels"))
    return [pair for pair in found if _size(pair[0]) == _size(_largest_kernel(records))]


def error_fall(records: Records) -> Estimate | None:
    """By how much Gabor features lower the test error, on the same examples."""
    return difference_estimate(kernel_pairs(records), lambda gabor, pixels: error(pixels) - error(gabor))


def norm_ratio(records: Records) -> Estimate | None:
    """Norm with Gabor features over norm with pixels, on the same examples."""
    found = [pair for pair in kernel_pairs(records) if fact(pair[1], "norm") > 0]
    return difference_estimate(found, lambda gabor, pixels: fact(gabor, "norm") / fact(pixels, "norm"))


def norm_rise(records: Records) -> Estimate | None:
    """Norm with Gabor features less that with pixels, on the same examples."""
    return difference_estimate(kernel_pairs(records), lambda gabor, pixels: fact(gabor, "norm") - fact(pixels, "norm"))


def ridge_gain(kind: Kind) -> Callable[[Records], Estimate | None]:
    """The share of the test error that the best ridge of each subset removes, chosen in hindsight; at least 0."""

    def estimate(records: Records) -> Estimate | None:
        with_ridge = [run for run in tested(records, kind) if ridge_of(run.spec) > 0]
        best: dict[tuple[int | None, int], Record] = {}
        for run in with_ridge:
            subset = (run.spec.data.train_size, run.spec.seed_of("subset"))
            if subset not in best or error(run) < error(best[subset]):
                best[subset] = run
        found = [pair for pair in pairs(plain(records, kind), list(best.values())) if error(pair[0]) > 0]
        return difference_estimate(found, lambda none, some: max(0.0, 1 - error(some) / error(none)))

    return estimate


def filter_pairs(records: Records) -> list[Pair]:
    """Random filters without ridge and with it, on the same examples."""
    return pairs(plain(records, "filters"), ridged(records, "filters"))


def filter_gain(records: Records) -> Estimate | None:
    """By how much the ridge lowers the test error of the random filters."""
    return difference_estimate(filter_pairs(records), lambda none, some: error(none) - error(some))


def filters_over_pixels(records: Records) -> Estimate | None:
    """By how much random filters lower the test error, against the Gaussian kernel on the same examples."""
    found = pairs(plain(records, "filters"), plain(records, "pixels"))
    return difference_estimate(found, lambda filters, pixels: error(pixels) - error(filters))


def descents(records: Records, start: str) -> list[Record]:
    """Linear models that descended from zero, or from somewhere else."""
    return [
        run
        for run in tested(records, "linear")
        if run.spec.model.fields.get("method") == "descent" and run.spec.model.fields.get("start", "zero") == start
    ]


def worst(start: str, name: str) -> Callable[[Records], Estimate | None]:
    """The greatest of a number over all descents: no interval, since none may exceed the bound."""

    def estimate(records: Records) -> Estimate | None:
        runs = [run for run in descents(records, start) if name in run.last]
        if not runs:
            return None
        value = max(fact(run, name) for run in runs)
        digests = tuple(run.digest for run in runs)
        return Estimate(value, value, value, digests, len(runs), f"the greatest of {len(runs)} runs")

    return estimate


# Effects


def _interpolates(data: str, kind: Kind) -> Effect:
    def holds(records: Records) -> bool | None:
        runs = rows(records, data, kind)
        found = row_error(data, kind)(records)
        if found is None or found.low is None or found.high is None:
            return None
        if any(run.status is not Status.DONE for run in runs):
            return False
        guess = 1 - chance(records) - CHANCE_BAND
        return True if found.high < guess else False if found.low > guess else None

    return Effect("fits every training example and errs less than guessing does (interval below)", holds)


def _sign(statement: str, estimate: Callable[[Records], Estimate | None]) -> Effect:
    return Effect(statement, lambda records: positive(estimate(records)))


def _little(kind: Kind) -> Effect:
    def holds(records: Records) -> bool | None:
        found = ridge_gain(kind)(records)
        if found is None or found.low is None or found.high is None:
            return None
        return True if found.high < RIDGE_GAIN else False if found.low > RIDGE_GAIN else None

    return Effect(
        f"the best ridge in hindsight removes less than {RIDGE_GAIN:.0%} of the error (interval below)", holds
    )


def _agrees(start: str, name: str) -> Effect:
    def holds(records: Records) -> bool | None:
        found = worst(start, name)(records)
        return None if found is None else found.value <= AGREEMENT

    return Effect(f"every run within {AGREEMENT:g} of it", holds)


def _elsewhere(records: Records) -> bool | None:
    runs = descents(records, "random")
    return all(fact(run, "distance_to_least_norm") > AGREEMENT for run in runs) if runs else None


# Claims


def _claim(
    source: str,
    quantity: str,
    estimate: Callable[[Records], Estimate | None],
    effect: Effect,
    *,
    published: float | None = None,
    tolerance: float = 0.0,
    unit: str = "1",
    provenance: Provenance = "Q-text",
    data: str = "mnist",
) -> Claim:
    return Claim(source, quantity, published, tolerance, unit, provenance, data, estimate, effect)


CLAIMS = (
    _claim(
        "Table 3: MNIST, pixels",
        "test error",
        row_error("mnist", "pixels"),
        _interpolates("mnist", "pixels"),
        published=0.012,
        tolerance=0.001,
    ),
    _claim(
        "Author's code for MNIST: Gaussian kernel, γ = 0.02",
        "test error",
        row_error("mnist", "pixels"),
        _interpolates("mnist", "pixels"),
        published=0.0122,
        tolerance=0.0002,
        provenance="Q-auth",
    ),
    _claim(
        "Table 3: MNIST, Gabor wavelets",
        "test error",
        row_error("mnist", "gabor"),
        _sign("Gabor features err less than pixels on the same examples (interval above 0)", error_fall),
        published=0.006,
        tolerance=0.001,
    ),
    _claim(
        "Table 3: CIFAR-10, pixels",
        "test error",
        row_error("cifar10", "pixels"),
        _interpolates("cifar10", "pixels"),
        published=0.46,
        tolerance=0.01,
        data="cifar10",
    ),
    _claim(
        "Table 3: CIFAR-10, random filters",
        "test error",
        row_error("cifar10", "filters"),
        _sign("random filters err less than the Gaussian kernel on pixels (interval above 0)", filters_over_pixels),
        published=0.17,
        tolerance=0.02,
        data="cifar10",
    ),
    _claim(
        "Table 3: CIFAR-10, random filters, l2",
        "test error",
        ridge_error,
        _sign("the ridge lowers the error on the same examples (interval above 0)", filter_gain),
        published=FILTER_RIDGE_PUBLISHED,
        tolerance=0.02,
        data="cifar10",
    ),
    _claim(
        "Section 5: ridge on MNIST, pixels",
        "share of the error that the best ridge removes",
        ridge_gain("pixels"),
        _little("pixels"),
    ),
    _claim(
        "Section 5: ridge on MNIST, Gabor wavelets",
        "share of the error that the best ridge removes",
        ridge_gain("gabor"),
        _little("gabor"),
    ),
    _claim(
        "Section 5: norm on MNIST, pixels",
        "norm of the interpolant",
        lambda records: number_estimate(rows(records, "mnist", "pixels"), "norm"),
        _sign("smaller than with Gabor features on the same examples (interval of the rise above 0)", norm_rise),
        published=220.0,
        tolerance=22.0,
        unit="",
    ),
    _claim(
        "Section 5: norm on MNIST, Gabor wavelets",
        "norm of the interpolant",
        lambda records: number_estimate(rows(records, "mnist", "gabor"), "norm"),
        _sign("greater than with pixels on the same examples (interval of the rise above 0)", norm_rise),
        published=390.0,
        tolerance=39.0,
        unit="",
    ),
    _claim(
        "Section 5: norm does not predict error",
        "norm with Gabor wavelets over norm with pixels",
        norm_ratio,
        Effect(
            "Gabor features have the smaller error and the greater norm (both intervals)",
            lambda records: _both(positive(error_fall(records)), positive(norm_rise(records))),
        ),
        published=390 / 220,
        tolerance=0.18,
        unit="x",
        provenance="D",
    ),
    _claim(
        "Section 5: SGD from zero",
        "relative distance from the least-norm interpolant",
        worst("zero", "distance_to_least_norm"),
        _agrees("zero", "distance_to_least_norm"),
        published=0.0,
        tolerance=AGREEMENT,
        unit="",
    ),
    _claim(
        "Section 5: SGD stays in the span of the examples",
        "norm of what no example sees",
        worst("zero", "null_component"),
        _agrees("zero", "null_component"),
        published=0.0,
        tolerance=AGREEMENT,
        unit="",
    ),
    _claim(
        "Section 5: SGD from elsewhere",
        "relative distance from the least-norm interpolant plus what no example sees of the start",
        worst("random", "distance_to_limit"),
        Effect(
            f"every run within {AGREEMENT:g} of it, and farther from the least-norm interpolant",
            lambda records: _both(_agrees("random", "distance_to_limit").holds(records), _elsewhere(records)),
        ),
        published=0.0,
        tolerance=AGREEMENT,
        unit="",
        provenance="D",
    ),
)


def _both(left: bool | None, right: bool | None) -> bool | None:
    if left is False or right is False:
        return False
    return True if left and right else None
