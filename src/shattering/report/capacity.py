"""What a pre-flight check found, as one JSON-able object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from shattering.core.capacity import (
    BEND,
    BEND_OF_RATIO,
    Curve,
    HeldOut,
    Seen,
    bracket,
    checked_curve,
    ratio_points,
    size_within,
)
from shattering.core.record import Record, Status
from shattering.core.statistics import mean_interval
from shattering.execution.capacity import Preflight
from shattering.execution.capacity_design import Question, budgets_of, chosen_rate
from shattering.execution.capacity_records import (
    BISECTION_SEED,
    RANDOM,
    REAL,
    of_sizes,
    outcomes,
    paired,
    pilots,
    points,
    seen,
    size_of,
    time_curve,
)
from shattering.report.capacity_words import answer, notes
from shattering.report.evidence import counts_text


def findings(check: Preflight) -> dict[str, Any]:
    """Everything a pre-flight check found.

    Returns:
        ``study`` (``shatter``), ``model``, ``data``, ``n`` (training examples that the answer is for), ``answer``,
        ``real``, ``random`` and ``ratio`` (none, or ``value`` with ``low``, ``high``, ``source``, ``holdout``, and
        ``exponent`` and ``epochs`` of times), ``capacity`` (per budget: ``budget``, ``examples``, ``low``, ``high``,
        ``source``, ``whole``, ``seeds``), ``sizes`` (what was seen, per size), ``settings``, ``runs`` (by status),
        ``counts``, ``censored``, ``diverged``, ``ended``, ``minutes_needed``, ``notes``, ``store``, ``report``,
        ``command`` and ``seconds``. ``source`` is ``measured``, ``extrapolated`` or ``at least``.
    """
    question, records = check.question, check.records
    times = {labels: points(records, labels) for labels in (REAL, RANDOM)}
    ratio = ratio_points(*paired(records))
    real, random = (_at_target(times[labels], question.target, BEND, question) for labels in (REAL, RANDOM))
    found: dict[str, Any] = {
        "study": "shatter",
        "model": question.base.model.name,
        "data": question.base.data.name,
        "n": question.target,
        "real": real,
        "random": random,
        "ratio": _at_target(ratio, question.target, BEND_OF_RATIO, None),
        "capacity": [_capacity(question, records, budget) for budget in budgets_of(question, records)],
        "sizes": _sizes(records),
        "settings": _settings(question, records),
        "runs": check.counts,
        "counts": counts_text(check.counts),
        "censored": sum(record.status is Status.NOT_FITTED for record in of_sizes(records)),
        "diverged": sum(record.status is Status.DIVERGED for record in records),
        "ended": check.end.reason if check.end else "interrupted",
        "minutes_needed": _minutes(check),
        "store": str(check.store.root),
        "report": str(check.store.report_dir(check.plan) / "index.html"),
        "command": check.plan.command,
        "seconds": check.seconds,
    }
    found["answer"] = answer(found)
    found["notes"] = notes(found)
    return found


def _at_target(times: Sequence[Seen], target: int, bend: float, question: Question | None) -> dict[str, Any] | None:
    """A quantity for the whole data: measured where it was trained on, else carried on by the curve."""
    curve, checks = checked_curve(times, bend=bend, rising=question is not None)
    largest = max((time.examples for time in times), default=0)
    last = [time for time in times if time.examples == largest]
    bounds = sum(time.bound != "exact" for time in last)
    part: dict[str, Any]
    if 2 * bounds > len(last):
        # Whether they would ever fit is not known, so there is nothing to carry on.
        if question is None:
            return None
        part = {"value": min(time.value for time in last), "low": None, "high": None, "source": "at least"}
    elif largest == target:
        middle, low, high = mean_interval([math.log(time.value) for time in last])
        ends = (None, None) if bounds or low is None or high is None else (math.exp(low), math.exp(high))
        part = {"value": math.exp(middle), "low": ends[0], "high": ends[1], "source": "measured"}
    elif curve is not None:
        predicted = curve.predict(target)
        part = {"value": predicted.value, "low": predicted.low, "high": predicted.high, "source": "extrapolated"}
    else:
        return None
    part |= {
        "runs": len(times),
        "censored": sum(time.bound != "exact" for time in times),
        "holdout": [_held_out(held) for held in checks],
        "widening": curve.widening if curve is not None and part["source"] == "extrapolated" else 1.0,
        "scatter": curve.scatter if curve is not None else None,
        "exponent": curve.exponent(largest) if curve is not None and part["source"] != "at least" else None,
    }
    if question is not None:
        from shattering.training.schedule import steps_per_epoch

        part["epochs"] = part["value"] / steps_per_epoch(target, question.base.training.batch_size)
    return part


def _held_out(held: HeldOut) -> dict[str, Any]:
    return {
        "examples": held.examples,
        "largest_used": held.largest_used,
        "sizes_used": held.sizes_used,
        "predicted": held.predicted.value,
        "low": held.predicted.low,
        "high": held.predicted.high,
        "observed": held.observed,
        "factor": held.factor,
        "inside": held.inside,
        "runs": held.runs,
        "bounds": held.bounds,
    }


def _capacity(question: Question, records: Sequence[Record], budget: int) -> dict[str, Any]:
    """The largest number of examples shattered within a budget: between the brackets' ends, or off the curve."""
    seeds = range(BISECTION_SEED, BISECTION_SEED + question.seeds)
    found = [bracket(seed, outcomes(records, seed, budget)) for seed in seeds if outcomes(records, seed, budget)]
    curve = time_curve(records, RANDOM)[0]
    brackets = [{"seed": one.seed, "fits": one.fits, "fails": one.fails} for one in found]
    shared: dict[str, Any] = {"budget": budget, "seeds": brackets}
    if found:
        whole = all(one.fits == question.target for one in found)
        lows = [one.fits or 0 for one in found]
        highs = [one.fails or question.target for one in found]
        middles = [math.sqrt(max(low, 1) * high) for low, high in zip(lows, highs, strict=True)]
        middle = question.target if whole else math.exp(math.fsum(map(math.log, middles)) / len(middles))
        ends = {"examples": round(middle), "low": min(lows), "high": max(highs)}
        return {**shared, **ends, "source": "bisection", "whole": whole}
    if curve is None:
        return {**shared, "examples": None, "low": None, "high": None, "source": "unknown", "whole": False}
    middle, low, high = size_within(curve, budget, question.smallest, question.target)
    ends = {"examples": round(middle), "low": round(low), "high": round(high)}
    return {**shared, **ends, "source": "extrapolated", "whole": low >= question.target}


def _sizes(records: Sequence[Record]) -> list[dict[str, Any]]:
    """What was seen at each size."""
    rows = []
    for size in sorted({size_of(record) for record in of_sizes(records)}):
        row: dict[str, Any] = {"examples": size}
        for name, labels in (("real", REAL), ("random", RANDOM)):
            runs = [record for record in of_sizes(records, labels) if size_of(record) == size]
            times = [time for time in map(seen, runs) if time is not None]
            logs = [math.log(time.value) for time in times]
            row[name] = {
                "steps": math.exp(math.fsum(logs) / len(logs)) if logs else None,
                "each": [{"steps": time.value, "censored": time.bound != "exact"} for time in times],
                "runs": len(runs),
                "fitted": sum(record.status is Status.DONE for record in runs),
                "diverged": sum(record.status is Status.DIVERGED for record in runs),
            }
        rows.append(row)
    return rows


def _settings(question: Question, records: Sequence[Record]) -> dict[str, Any]:
    training = question.base.training
    return {
        "optimizer": training.optimizer,
        "momentum": training.momentum,
        "learning_rate": chosen_rate(question, records),
        "rates_tried": list(question.rates),
        "batch_size": training.batch_size,
        "fit_accuracy": training.fit_accuracy,
        "weight_decay": training.weight_decay,
        "augmentation": training.augmentation,
        "seeds": question.seeds,
        "minutes": question.minutes,
        "smallest": question.smallest,
        "longest": max((record.spec.training.max_steps for record in pilots(records)), default=0),
    }


def curve_of(check: Preflight, labels: str) -> tuple[Curve | None, int]:
    """The curve through the times of one kind of labels, and how far to draw it, for the charts.

    Where the largest size was not fitted the curve is drawn through the others, and ends there.
    """
    times = points(check.records, labels)
    largest = max((time.examples for time in times), default=0)
    last = [time for time in times if time.examples == largest]
    if 2 * sum(time.bound != "exact" for time in last) <= len(last):
        return time_curve(check.records, labels)[0], check.question.target
    below = [time for time in times if time.examples < largest]
    return checked_curve(below, rising=True)[0], largest


def _minutes(check: Preflight) -> float | None:
    """Minutes that would hold the next round, in halves; none where nothing is missing."""
    if check.end is None or check.end.seconds is None:
        return None
    return math.ceil(check.end.seconds / 30 + 0.2) / 2
