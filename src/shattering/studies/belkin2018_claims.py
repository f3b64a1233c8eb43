"""What Belkin et al. (2018) is held to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from shattering.core.curves import EffectOf, Number, holds_if, holds_within, number_claim, place_of_largest
from shattering.core.statistics import median_interval
from shattering.core.study import Claim, Estimate, Provenance, Records
from shattering.measures.double_descent import largest_after
from shattering.studies.belkin2018_records import (
    BUMP,
    DESCENT,
    HEIGHT,
    PEAK,
    UNREGULARISED,
    net_peak,
    net_threshold,
    of,
)


def _claim(
    name: str,
    source: str,
    quantity: str,
    provenance: Provenance,
    number: Number,
    effect: EffectOf,
    published: tuple[float, float] | None = None,
    unit: str = "x",
) -> Claim:
    return number_claim(
        lambda records: of(records, name),
        number,
        effect,
        source=source,
        quantity=f"{name}: {quantity}",
        provenance=provenance,
        data="mnist",
        unit=unit,
        published=published,
        interval=median_interval,
    )


def _net_claim(
    source: str, quantity: str, provenance: Provenance, found: Callable[[Records], Estimate | None]
) -> Claim:
    effect = holds_if(found, "above 1", above=1.0)
    return Claim(source, f"fully connected nets: {quantity}", None, 0.0, "x", provenance, "mnist", found, effect)


AT_ONE = partial(holds_within, statement="at N = n exactly, in every run", low=1.0, high=1.0)
NO_BUMP = partial(holds_within, statement="at most 1.1, so no peak", high=1.1)

CLAIMS = (
    *(
        _claim(
            name,
            "Random features on MNIST: the threshold",
            "N/n of the largest test MSE",
            "Q-text",
            PEAK,
            AT_ONE,
            (1.0, 0.005),
            "",
        )
        for name in UNREGULARISED
    ),
    *(
        _claim(
            name,
            "The peak, as an independent simulation with n = 1,000 finds it",
            "test MSE at N = n over the first minimum and the end",
            "V",
            HEIGHT,
            partial(holds_if, statement="above 20", above=20.0),
        )
        for name in UNREGULARISED
    ),
    *(
        _claim(
            name,
            "The second descent: below the first minimum",
            "part by which the test error at the end lies below the first minimum",
            "Q-text",
            DESCENT,
            partial(holds_if, statement="above 0", above=0.0),
            unit="1",
        )
        for name in UNREGULARISED
    ),
    _claim(
        "Fourier",
        "Norms of the solution: the norm peaks at N = n too",
        "N/n of the largest norm",
        "Q-text",
        place_of_largest("coefficient_norm", "ratio"),
        AT_ONE,
        (1.0, 0.005),
        "",
    ),
    _claim(
        "Fourier",
        "Interpolation from N = n on",
        "largest training MSE",
        "V",
        largest_after("train_mse", "ratio"),
        partial(holds_within, statement="below 1e-8", high=1e-8),
        unit="",
    ),
    *(
        _claim(name, "Control: a ridge removes the peak", "largest test MSE near and beyond n", "D", BUMP, NO_BUMP)
        for name in ("Fourier, 10% wrong labels, ridge", "ReLU, ridge")
    ),
    Claim(
        "Fully connected nets: the threshold n·K",
        "parameters of the first net that fits 99%, over n·K",
        1.0,
        0.25,
        "x",
        "Q-text",
        "mnist",
        net_threshold,
        holds_within(net_threshold, "between half and twice n·K", low=0.5, high=2.0),
    ),
    _net_claim(
        "Fully connected nets: the peak",
        "test loss at the peak over the minimum left of it",
        "Q-text",
        lambda records: net_peak(records, "left"),
    ),
    _net_claim(
        "Fully connected nets: the second descent",
        "test loss at the peak over that of the widest",
        "Q-text",
        lambda records: net_peak(records, "end"),
    ),
)
