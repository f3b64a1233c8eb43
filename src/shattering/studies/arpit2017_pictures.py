"""Memorisation in pictures, and the answer."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.curves import curve, ended, last
from shattering.core.statistics import geometric_interval
from shattering.core.study import Axis, Figure, Point, Records, label_level
from shattering.measures.time_to_fit import fit_time
from shattering.studies.arpit2017_records import (
    EASY,
    GINI,
    INPUTS,
    NOISY,
    RANDOM_INPUTS,
    RANDOM_LABELS,
    REAL,
    Found,
    average,
    correlation,
    fitting,
    lost,
    order_of_events,
    paired,
    simulated_on,
    steeper,
    watched,
)


def _level_points(records: Records, name: str, kinds: dict[str, str]) -> list[Point]:
    runs = watched()(records)
    levels = sorted({level for record in runs if (level := label_level(record.spec)) is not None})
    return [
        point
        for level in levels
        for number, kind in kinds.items()
        for point in curve(watched(level)(records), "step", number, series=f"{level:.0%} noise", kind=kind, panel=name)
        if point.x > 0
    ]


def _curves(records: Records) -> list[Point]:
    accuracy = _level_points(records, "accuracy", {"train_accuracy": "training", "test_accuracy": "test"})
    critical = _level_points(
        records, "critical samples", {"critical_train_ratio": "training", "critical_sample_ratio": "test"}
    )
    return [*accuracy, *critical]


def _easiness(records: Records) -> list[Point]:
    return [
        point
        for name, told in INPUTS.items()
        for number, kind in (("right", "seen"), ("binomial", "all equally easy"))
        for point in curve(simulated_on(EASY, name)(records), "quantile", number, series=told, kind=kind)
    ]


def _sensitivity(records: Records) -> list[Point]:
    return [
        point for name, told in INPUTS.items() for point in curve(GINI(name)(records), "share", "held", series=told)
    ]


def _times(records: Records) -> list[Point]:
    return [
        Point(float(record.spec.data.train_size or 1), found.steps, told, censored=found.censored)
        for name, told in INPUTS.items()
        for record in ended(fitting(name)(records))
        if (found := fit_time(record)) is not None and found.steps
    ]


def _said(records: Records, found: Found, text: str) -> str:
    ours = found(records)
    return text.format(ours.value) if ours else ""


def _reading(*parts: tuple[Found, str]) -> Callable[[Records], str]:
    def reading(records: Records) -> str:
        told = " ".join(part for found, text in parts if (part := _said(records, found, text)))
        return told or "The runs that this needs have not ended."

    return reading


UPDATES = Axis("updates", "log")
FIGURES = (
    Figure("noise", "Accuracy and critical samples under label noise", UPDATES, Axis("fraction", percent=True), _curves,
           _reading((average(watched(NOISY), lost), "At 60% noise {:.1%} of test accuracy is lost after its best."),
                    (correlation, "The rank correlation of noise with critical samples is {:.2f}."))),
    Figure("easiness", "How often an example is right after one epoch", Axis("examples, hardest first", percent=True),
           Axis("frequency of being right", percent=True), _easiness,
           _reading((REAL, "The variance over examples is {:.1f} times the binomial on real data"),
                    (RANDOM_LABELS, "and {:.1f} times with random labels,"),
                    (RANDOM_INPUTS, "{:.1f} times on noise inputs."))),
    Figure("sensitivity", "Who holds the loss sensitivity", Axis("examples, least important first", percent=True),
           Axis("part of all sensitivity", percent=True), _sensitivity,
           _reading((average(GINI("true_labels"), last("gini")), "The Gini coefficient is {:.3f} on real data,"),
                    (average(GINI("random_labels"), last("gini")), "{:.3f} with random labels and"),
                    (average(GINI("gaussian"), last("gini")), "{:.3f} on noise inputs."))),
    Figure("times", "Time to fit every example", Axis("training examples", "log"), Axis("updates", "log"), _times,
           _reading((steeper("random_labels"), "On random labels the slope is {:+.2f} above that on real data,"),
                    (steeper("gaussian"), "on noise inputs {:+.2f}."))),
)  # fmt: skip


def answer(records: Records) -> str:
    """Whether noise was fitted like real data."""
    found = (
        (average(watched(NOISY), order_of_events, geometric_interval),
         "At 60% label noise the training accuracy is high {:.1f} times as late as the test accuracy is at its best."),
        (paired(watched(0.8), watched(0.0), last("critical_sample_ratio")),
         "At 80% noise {:.0%} more of the test examples have another class close by than at none."),
    )  # fmt: skip
    told = " ".join(part for estimate_of, text in found if (part := _said(records, estimate_of, text)))
    return told or "The runs that would answer have not ended. Run the same command again to go on."
