"""Figure 1 of Zhang et al. (2017) as claims: fitted at all, how fast, in which order, with what test error."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.record import Record
from shattering.core.study import Claim, Effect, Estimate, Records, label_level
from shattering.measures.time_to_fit import FitTime, fit_time, slowdown, time_ratio
from shattering.measures.trend import rising_trend
from shattering.studies.zhang2017 import above_chance, accuracy_of, at_chance, fits
from shattering.studies.zhang2017_figures import plain


def runs_of(model: str, records: Records, corruption: str | None = None) -> list[Record]:
    """The runs of a model that Figure 1 is about, optionally under one corruption."""
    chosen = [record for record in plain(records) if record.spec.model.name == model]
    return [record for record in chosen if corruption is None or record.spec.corruption.name == corruption]


SHOWN = {"1a": ("inception",), "1b": ("inception", "alexnet", "mlp_1x512"), "1c": ("inception", "alexnet", "mlp_1x512")}
"""The networks of each panel of Figure 1."""


LARGEST_SLOWDOWN = 4
"""Where the axis of Figure 1b ends."""


def in_figure(panel: str, model: str) -> str:
    """The place in the paper; of a network that the panel does not show, the text that speaks of networks at large."""
    shown = f"Figure {panel}, Section 2.1" if model in SHOWN[panel] else f"Section 2.1, as in Figure {panel}"
    return f"{shown}: {model}"


def slowdown_of(model: str, records: Records) -> Estimate | None:
    """How many times as long random labels take as true ones; a lower bound where its note tells of unfitted runs."""
    found = slowdown(runs_of(model, records, "random_labels"), runs_of(model, records, "true_labels"))
    if found is None:
        return None
    note = f"{len(found.pairs)} pairs of runs" + (f"; {found.censored} not fitted" if found.censored else "")
    runs = tuple(digest for pair in found.pairs for digest in pair)
    return Estimate(found.value, found.low, found.high, runs, len(runs), note)


def slowdown_claim(model: str) -> Claim:
    """Figure 1b: random labels take longer, and the longer the more of them there are."""
    return Claim(
        source=in_figure("1b", model),
        quantity="slowdown at p = 1",
        published=None,
        tolerance=0.0,
        unit="x",
        provenance="Q-text",
        data="cifar10",
        estimate=lambda records: slowdown_of(model, records),
        effect=Effect(
            "time to fit grows with p (rank correlation, permutation p ≤ 0.05)",
            lambda records: _rises(model, records, time=True),
        ),
    )


def bounded_claim(model: str) -> Claim:
    """Figure 1b: random labels take longer by a small factor only, on an axis that ends at 4."""

    def holds(records: Records) -> bool | None:
        found = slowdown(runs_of(model, records, "random_labels"), runs_of(model, records, "true_labels"))
        if found is None or found.low is None or found.high is None:
            return None
        if found.low > LARGEST_SLOWDOWN:
            return False
        return True if found.high <= LARGEST_SLOWDOWN and not found.censored else None

    return Claim(
        source=in_figure("1b", model),
        quantity="slowdown at p = 1, within the axis",
        published=None,
        tolerance=0.0,
        unit="x",
        provenance="Q-note",
        data="cifar10",
        estimate=lambda records: slowdown_of(model, records),
        effect=Effect(f"random labels take at most {LARGEST_SLOWDOWN} times as long as true ones (interval)", holds),
    )


def _rises(model: str, records: Records, *, time: bool) -> bool | None:
    """Whether time to fit (or test error) rises with the level: significantly yes, clearly not, or cannot tell."""
    levels, values = [], []
    for record in runs_of(model, records):
        level, taken = label_level(record.spec), fit_time(record)
        if level is not None and taken is not None:
            levels.append(level)
            values.append(float(taken.steps) if time else 1 - float(record.last["test_accuracy"]))
    if len(set(levels)) < 3 or len(set(values)) < 2:
        return None
    correlation, test = rising_trend(levels, values)
    return True if correlation > 0 and test.p <= 0.05 else False if correlation <= 0 else None


def _error_of(model: str, corruption: str, records: Records) -> Estimate | None:
    found = accuracy_of(runs_of(model, records, corruption), "test_accuracy")
    if found is None:
        return None
    low, high = (None if end is None else 1 - end for end in (found.high, found.low))
    return Estimate(1 - found.value, low, high, found.runs, found.considered, found.note)


def error_claim(model: str) -> Claim:
    """Figure 1c, its right end: test error where all labels are random."""

    def holds(records: Records) -> bool | None:
        rising, chancy = _rises(model, records, time=False), at_chance(runs_of(model, records, "random_labels"))
        if rising is False or chancy is False:
            return False
        return None if rising is None or chancy is None else True

    return Claim(
        source=in_figure("1c", model),
        quantity="test error at p = 1",
        published=0.9,
        tolerance=0.01,
        unit="1",
        provenance="Q-text",
        data="cifar10",
        estimate=lambda records: _error_of(model, "random_labels", records),
        effect=Effect("test error grows with p and ends at guessing", holds),
    )


def left_end_claim(model: str, published: float, tolerance: float) -> Claim:
    """Figure 1c, its left end: test error on true labels, which is 1 less the accuracy in Table 1."""
    return Claim(
        source=in_figure("1c", model),
        quantity="test error at p = 0",
        published=published,
        tolerance=tolerance,
        unit="1",
        provenance="D",
        data="cifar10",
        estimate=lambda records: _error_of(model, "true_labels", records),
        effect=above_chance(lambda records: runs_of(model, records, "true_labels")),
    )


def pairs_of(model: str, records: Records, corruption: str, reference: str) -> list[tuple[Record, Record]]:
    """The runs of a model under two corruptions that have the same seed."""
    others = {run.spec.seed: run for run in runs_of(model, records, reference)}
    return [(run, others[run.spec.seed]) for run in runs_of(model, records, corruption) if run.spec.seed in others]


def order_claim(model: str, corruption: str, reference: str = "random_labels") -> Claim:
    """Figure 1a, Section 2.1: ``corruption`` is fitted before ``reference``.

    There, for the Inception, true labels come first, noise images before random labels, and random labels last.
    """

    def times(records: Records) -> tuple[list[FitTime], list[FitTime], tuple[str, ...]]:
        ours, theirs, runs = [], [], []
        for run, other in pairs_of(model, records, corruption, reference):
            first, second = fit_time(run), fit_time(other)
            if first and second and not first.censored and not second.censored and second.steps and first.steps:
                ours.append(first)
                theirs.append(second)
                runs += [run.digest, other.digest]
        return ours, theirs, tuple(runs)

    def estimate(records: Records) -> Estimate | None:
        ours, theirs, runs = times(records)
        if not ours:
            return None
        value, low, high = time_ratio(ours, theirs)
        considered = 2 * len(pairs_of(model, records, corruption, reference))
        return Estimate(value, low, high, runs, considered, f"{len(ours)} pairs of runs")

    name, other = corruption.replace("_", " "), reference.replace("_", " ")
    return Claim(
        source=in_figure("1a", model),
        quantity=f"time to fit {name} / {other}",
        published=None,
        tolerance=0.0,
        unit="x",
        provenance="Q-text",
        data="cifar10",
        estimate=estimate,
        effect=Effect(f"{name} are fitted before {other} (interval below 1)", below(estimate, 1.0)),
    )


def below(estimate: Callable[[Records], Estimate | None], bound: float) -> Callable[[Records], bool | None]:
    """Whether the whole interval of ``estimate`` lies below ``bound``; no where it lies above, else it cannot tell."""

    def holds(records: Records) -> bool | None:
        found = estimate(records)
        if found is None or found.low is None or found.high is None:
            return None
        return True if found.high < bound else False if found.low > bound else None

    return holds


def conditions_claim(corruption: str) -> Claim:
    """Section 2: the same network fits every randomisation perfectly."""

    def runs(records: Records) -> list[Record]:
        return [record for record in plain(records) if record.spec.corruption.name == corruption]

    return Claim(
        source="Figure 1a, Section 2",
        quantity="training accuracy, " + corruption.replace("_", " "),
        published=1.0,
        tolerance=0.005,
        unit="1",
        provenance="Q-text",
        data="cifar10",
        estimate=lambda records: accuracy_of(runs(records), "train_accuracy"),
        effect=fits(runs),
    )
