"""What the records of grokking are held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shattering.core.curves import Number, ended, estimate, holds_if, largest, last
from shattering.core.statistics import FEWEST_RUNS, Interval, geometric_interval
from shattering.core.study import Claim, Effect, Estimate, Provenance, Records
from shattering.measures.grokking import GENERALISED, at_fit, delay
from shattering.studies.power2022_records import BARE, DECAY, Runs, lead, less_data, loss_peak, own_splits, precise

LONG = 5.0
"""Generalising takes at least so many times as long as memorising, or it is hardly grokking."""

FIGURE_1 = "Figure 1 (there Adam without decay, division modulo 97, half of the table)"
NANDA = "Nanda et al. (2023), one-layer transformer, addition modulo 113"
PRIETO = "Prieto et al. (2025), softmax collapse"
TRIAL = "Independent trial of the fast form, addition modulo 59"


def every(runs: Runs, number: Number, statement: str, holds: Callable[[float], bool]) -> Effect:
    """The effect that each of at least three runs shows; among as many, one that does not is enough to refuse it."""

    def judged(records: Records) -> bool | None:
        found = [number(record) for record in ended(runs(records))]
        if len(found) < FEWEST_RUNS:
            return None
        return all(value is not None and holds(value) for value in found)

    return Effect(statement, judged)


def _claim(
    source: str,
    quantity: str,
    runs: Runs,
    number: Number,
    effect: Effect | Callable[[Callable[[Records], Estimate | None]], Effect],
    provenance: Provenance,
    *,
    unit: str = "1",
    data: str = "division_mod_97",
    interval: Callable[[Sequence[float]], Interval] | None = None,
) -> Claim:
    def found(records: Records) -> Estimate | None:
        chosen = runs(records)
        return estimate(chosen, number, interval=interval) if interval else estimate(chosen, number)

    told = effect if isinstance(effect, Effect) else effect(found)
    return Claim(source, quantity, None, 0.0, unit, provenance, data, found, told)


ABOVE = f"the whole interval above {LONG:g}"

CLAIMS = (
    _claim(
        FIGURE_1, "accuracy on pairs left out, the largest, with weight decay", DECAY, largest("test_accuracy"),
        every(DECAY, largest("test_accuracy"), "at least 99% in every run", lambda value: value >= GENERALISED),
        "Q-text",
    ),
    _claim(
        FIGURE_1, "time to generalise over time to memorise", DECAY, delay,
        lambda found: holds_if(found, ABOVE, above=LONG), "Q-text", unit="x", interval=geometric_interval,
    ),
    _claim(
        f"{FIGURE_1}; here one initialisation, a split of its own for each run",
        "time to generalise over time to memorise", own_splits, delay,
        lambda found: holds_if(found, ABOVE, above=LONG), "Q-text", unit="x", interval=geometric_interval,
    ),
    _claim(
        TRIAL, "accuracy on pairs left out when the training set is memorised", DECAY,
        lambda r: at_fit(r, "test_accuracy"),
        every(DECAY, lambda r: at_fit(r, "test_accuracy"), "below 10% in every run", lambda value: value < 0.1), "V",
        data="addition_mod_59",
    ),
    _claim(
        f"{NANDA}, no weight decay", "accuracy on pairs left out, the largest, without weight decay", BARE,
        largest("test_accuracy"),
        every(BARE, largest("test_accuracy"), "below 10% in every run: no grokking", lambda value: value < 0.1),
        "Q-note",
        data="addition_mod_113",
    ),
    Claim(
        "Figure on the part of the table, product on S5", "time to generalise on the smallest part over the largest",
        None, 0.0, "x", "Q-text", "s5_product", less_data, holds_if(less_data, "less data takes longer", above=1.0),
    ),
    _claim(
        TRIAL, "largest loss on pairs left out, over that of guessing, with weight decay", DECAY, loss_peak,
        lambda found: holds_if(found, "rises above guessing before it falls", above=1.0), "V", unit="x",
        data="addition_mod_59",
    ),
    _claim(
        f"{NANDA}, restricted loss", "updates to half of the pairs left out, over those to half the restricted loss",
        DECAY, lead, lambda found: holds_if(found, "the rule is there before the accuracy shows it", above=1.0),
        "Q-note",
        unit="x", data="addition_mod_113", interval=geometric_interval,
    ),
    Claim(
        f"{NANDA}, key frequencies", "frequencies with 90% of the first layer's squared norm, at the end", 5, 2.0,
        "frequencies", "Q-note", "addition_mod_113", lambda records: estimate(DECAY(records), last("key_frequencies")),
        every(DECAY, last("key_frequencies"), "at most ten: a sparse solution", lambda value: value <= 10),
    ),
    _claim(
        f"{PRIETO}: without weight decay, in float32", "training examples whose softmax has rounded to one, at the end",
        precise("float32"), last("collapsed_float32"),
        every(precise("float32"), last("collapsed_float32"), "at least 99% in every run", lambda value: value >= 0.99),
        "Q-auth",
    ),
    _claim(
        f"{PRIETO}: the same in float64", "training examples whose softmax has rounded to one, at the end",
        precise("float64"), last("collapsed_float64"),
        every(precise("float64"), last("collapsed_float64"), "at most 1% in every run", lambda value: value <= 0.01),
        "Q-auth",
    ),
    _claim(
        f"{PRIETO}: with weight decay, in float32", "training examples whose softmax has rounded to one, at the end",
        DECAY, last("collapsed_float32"),
        every(DECAY, last("collapsed_float32"), "at most 1% in every run", lambda value: value <= 0.01), "Q-auth",
    ),
)  # fmt: skip
