"""Figure 1 of Zhang et al. (2017) as claims: fitted at all, how fast, in which order, with what test error."""

from __future__ import annotations

from shattering.core.record import Record
from shattering.core.study import Claim, Effect, Estimate, Records, label_level
from shattering.measures.time_to_fit import FitTime, fit_time, slowdown, time_ratio
from shattering.measures.trend import rising_trend
from shattering.studies.zhang2017 import accuracy_of, at_chance, fits
from shattering.studies.zhang2017_figures import plain


def runs_of(model: str, records: Records, corruption: str | None = None) -> list[Record]:
    """The runs of a model that Figure 1 is about, optionally under one corruption."""
    chosen = [record for record in plain(records) if record.spec.model.name == model]
    return [record for record in chosen if corruption is None or record.spec.corruption.name == corruption]


def slowdown_claim(model: str) -> Claim:
    """Figure 1b: how many times as long random labels take."""

    def estimate(records: Records) -> Estimate | None:
        found = slowdown(runs_of(model, records, "random_labels"), runs_of(model, records, "true_labels"))
        if found is None:
            return None
        note = f"{len(found.pairs)} pairs of runs" + (f"; {found.censored} not fitted" if found.censored else "")
        runs = tuple(digest for pair in found.pairs for digest in pair)
        return Estimate(found.value, found.low, found.high, runs, len(runs), note)

    def grows(records: Records) -> bool | None:
        return _rises(model, records, time=True)

    return Claim(
        source="Figure 1b, Section 2.1: " + model,
        quantity="slowdown at p = 1",
        published=None,
        tolerance=0.0,
        unit="x",
        provenance="Q-text",
        data="cifar10",
        estimate=estimate,
        effect=Effect("time to fit grows with p (rank correlation, permutation p ≤ 0.05)", grows),
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


def error_claim(model: str) -> Claim:
    """Figure 1c: test error where all labels are random."""

    def estimate(records: Records) -> Estimate | None:
        found = accuracy_of(runs_of(model, records, "random_labels"), "test_accuracy")
        if found is None:
            return None
        low, high = (None if end is None else 1 - end for end in (found.high, found.low))
        return Estimate(1 - found.value, low, high, found.runs, found.considered, found.note)

    def holds(records: Records) -> bool | None:
        rising, chancy = _rises(model, records, time=False), at_chance(runs_of(model, records, "random_labels"))
        if rising is False or chancy is False:
            return False
        return None if rising is None or chancy is None else True

    return Claim(
        source="Figure 1c, Section 2.1: " + model,
        quantity="test error at p = 1",
        published=0.9,
        tolerance=0.01,
        unit="1",
        provenance="Q-text",
        data="cifar10",
        estimate=estimate,
        effect=Effect("test error grows with p and ends at guessing", holds),
    )


def order_claim(model: str, corruption: str) -> Claim:
    """Figure 1a, Section 2.1: noise images start to be fitted, and are fitted, before random labels."""

    def pairs(records: Records) -> list[tuple[Record, Record]]:
        random = {run.spec.seed: run for run in runs_of(model, records, "random_labels")}
        return [(run, random[run.spec.seed]) for run in runs_of(model, records, corruption) if run.spec.seed in random]

    def times(records: Records) -> tuple[list[FitTime], list[FitTime], tuple[str, ...]]:
        ours, theirs, runs = [], [], []
        for run, other in pairs(records):
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
        return Estimate(value, low, high, runs, 2 * len(pairs(records)), f"{len(ours)} pairs of runs")

    def before(records: Records) -> bool | None:
        found = estimate(records)
        if found is None or found.low is None or found.high is None:
            return None
        return True if found.high < 1 else False if found.low > 1 else None

    name = corruption.replace("_", " ")
    return Claim(
        source=f"Figure 1a, Section 2.1: {model}",
        quantity=f"time to fit {name} / random labels",
        published=None,
        tolerance=0.0,
        unit="x",
        provenance="Q-text",
        data="cifar10",
        estimate=estimate,
        effect=Effect(f"{name} are fitted before random labels (interval below 1)", before),
    )


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
