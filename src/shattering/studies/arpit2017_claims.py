"""What the records of memorisation are held to."""

from __future__ import annotations

from shattering.core.curves import holds_if, holds_within, last
from shattering.core.statistics import geometric_interval
from shattering.core.study import Claim, Effect, Provenance
from shattering.studies.arpit2017_records import (
    EASY,
    GINI,
    HIGH,
    INPUTS,
    NOISY,
    RANDOM_INPUTS,
    REAL,
    Found,
    average,
    capacity,
    climb,
    correlation,
    dropped,
    lost,
    order_of_events,
    paired,
    simulated_on,
    steeper,
    watched,
)


def _claim(source: str, quantity: str, found: Found, effect: Effect, unit: str = "1") -> Claim:
    provenance: Provenance = "Q-text"
    return Claim(source, quantity, None, 0.0, unit, provenance, "mnist", found, effect)


def _above(source: str, quantity: str, found: Found, statement: str, bound: float, unit: str = "1") -> Claim:
    return _claim(source, quantity, found, holds_if(found, statement, above=bound), unit)


PEAK = "Label noise"
CRITICAL = "Critical sample ratio"
DIFFICULT = "Easy examples, first epoch"
SENSITIVE = "Loss sensitivity"
TIMES = "Time to convergence"
DROPOUT = "Regularisers, dropout"

CLAIMS = (
    _above(PEAK, f"time to {HIGH:.0%} training accuracy over time to the best test accuracy, 60% noise",
           average(watched(NOISY), order_of_events, geometric_interval), "the best comes first", 1.0, "x"),
    _above(PEAK, "best test accuracy less the last, 60% noise", average(watched(NOISY), lost),
           "what was learned is lost", 0.0),
    _claim(f"{PEAK}: control", "best test accuracy less the last, true labels", average(watched(0.0), lost),
           holds_within(average(watched(0.0), lost), "at most two points are lost", high=0.02)),
    _above(CRITICAL, "rank correlation with the level of noise", correlation, "the interval above 0.8", 0.8, ""),
    _above(CRITICAL, "critical samples at 80% noise less at none", paired(
        watched(0.8), watched(0.0), last("critical_sample_ratio")), "noise has more of them", 0.0),
    _above(CRITICAL, "rise after the best test accuracy, 60% noise", average(watched(NOISY), climb),
           "it climbs on", 0.0),
    _above(DIFFICULT, "variance over examples, as a multiple of the binomial, real data", REAL,
           "at least three", 3.0, "x"),
    _claim(f"{DIFFICULT}: control", "variance over examples, as a multiple of the binomial, noise inputs",
           RANDOM_INPUTS, holds_within(RANDOM_INPUTS, "at most 1.5", high=1.5), "x"),
    _above(DIFFICULT, "that multiple for real data less for random labels", paired(
        simulated_on(EASY, "true_labels"), simulated_on(EASY, "random_labels"), last("excess_variance")),
        "random labels lie in between", 0.0, "x"),
    _above(DIFFICULT, "that multiple for random labels less for noise inputs", paired(
        simulated_on(EASY, "random_labels"), simulated_on(EASY, "gaussian"), last("excess_variance")),
        "random labels lie in between", 0.0, "x"),
    _above(SENSITIVE, "Gini coefficient on real data less on noise inputs", paired(
        GINI("true_labels"), GINI("gaussian"), last("gini")), "few real examples matter most", 0.0, ""),
    _above(SENSITIVE, "Gini coefficient on real data less with random labels", paired(
        GINI("true_labels"), GINI("random_labels"), last("gini")), "few real examples matter most", 0.0, ""),
    *(
        _above(TIMES, f"slope of log time to fit on log examples, {INPUTS[name]} less real data", steeper(name),
               "time grows faster on noise", 0.0, "")
        for name in ("random_labels", "gaussian")
    ),
    _above("Capacity", "what 256 units gain over 16 in best test accuracy, at 80% noise less at none",
           capacity, "noise needs more capacity", 0.0),
    _above(DROPOUT, "training accuracy on random labels without dropout less with", paired(
        dropped("random_labels", 0.0), dropped("random_labels", 0.5), last("train_accuracy")),
        "at least 20 points of memorising are gone", 0.2),
    _above(f"{DROPOUT}: control", "test accuracy after true labels, with dropout less without", paired(
        dropped("true_labels", 0.5), dropped("true_labels", 0.0), last("test_accuracy")),
        "at most two points of learning are gone", -0.02),
)  # fmt: skip
