"""Grokking in pictures, and the answer."""

from __future__ import annotations

from shattering.core.curves import curve, ended, estimate, largest, last
from shattering.core.statistics import geometric_interval
from shattering.core.study import Axis, Figure, Point, Records
from shattering.measures.grokking import generalisation_bound
from shattering.measures.time_to_fit import fit_time
from shattering.studies.power2022_records import BARE, DECAY, decayed, lead, precise, swept


def _accuracy_points(records: Records) -> list[Point]:
    """Every run's own curve: an average over runs would hide how sudden it is."""
    return [
        Point(step, value, f"seed {record.spec.seed}", kind=kind, panel=panel)
        for panel, runs in (("with weight decay", DECAY), ("without", BARE))
        for record in ended(runs(records))
        for name, kind in (("train_accuracy", "training pairs"), ("test_accuracy", "pairs left out"))
        for step, value in zip(*record.trajectory(name), strict=True)
        if step > 0
    ]


def _time_points(records: Records) -> list[Point]:
    points = []
    for record in ended([*swept(records), *BARE(records)]):
        sizes = record.summary.get("train_size"), record.summary.get("test_size")
        share = float(sizes[0] or 0) / float((sizes[0] or 0) + (sizes[1] or 0) or 1)
        kind = "with weight decay" if decayed(record) else "without"
        fitted, (steps, never) = fit_time(record), generalisation_bound(record)
        if fitted is not None and fitted.steps:
            points.append(Point(share, fitted.steps, "memorised", kind=kind, censored=fitted.censored))
        if steps:
            points.append(Point(share, steps, "generalised", kind=kind, censored=never))
    return points


def _progress_points(records: Records) -> list[Point]:
    names = {"test_loss": "loss on pairs left out", "restricted_loss": "restricted", "excluded_loss": "excluded"}
    return [
        point
        for name, told in names.items()
        for point in curve(DECAY(records), "step", name, series=told, positive=True)
    ]


def _collapse_points(records: Records) -> list[Point]:
    kinds = {"without decay, float32": precise("float32"), "without decay, float64": precise("float64")}
    kinds["with decay, float32"] = DECAY
    return [
        point
        for told, runs in kinds.items()
        for point in curve(runs(records), "step", "train_loss", series=told, positive=True)
    ]


def _median(found: list[float]) -> str:
    ordered = sorted(found)
    if not ordered:
        return ""
    spread = f" ({ordered[0]:,.0f} to {ordered[-1]:,.0f})" if ordered[0] < ordered[-1] else ""
    return f", after {ordered[len(ordered) // 2]:,.0f}{spread}"


def _times(records: Records) -> str:
    runs = ended(DECAY(records))
    bounds = [generalisation_bound(record) for record in runs]
    fits = [found for record in runs if (found := fit_time(record)) is not None and not found.censored]
    reached = [float(steps) for steps, never in bounds if not never]
    return (
        f"With weight decay {len(fits)} of {len(runs)} runs memorised their pairs"
        f"{_median([float(found.steps) for found in fits])} updates, and {len(reached)} generalised{_median(reached)}"
    )


def answer(records: Records) -> str:
    """How long after memorising the networks generalised, and what became of those without weight decay."""
    if not ended(DECAY(records)):
        return "No run with weight decay has ended yet, so there is no answer. Run the same command again to go on."
    bare = [value for record in ended(BARE(records)) if (value := largest("test_accuracy")(record)) is not None]
    runs = f"{len(bare)} runs" if len(bare) > 1 else "one run"
    rest = f" Without it, {runs} got at most {max(bare):.1%} of the pairs left out right." if bare else ""
    return f"{_times(records)}.{rest}"


def _key_frequencies(records: Records) -> str:
    found = estimate(DECAY(records), last("key_frequencies"))
    rule = estimate(DECAY(records), lead, interval=geometric_interval)
    told = f"{found.value:.0f} frequencies carry 90% of the first layer's norm at the end." if found else ""
    if rule is None:
        return told or "No run has found the rule."
    return f"The restricted loss is half of guessing {rule.value:.1f} times as early as half of the answers. {told}"


def _collapse(records: Records) -> str:
    found = [estimate(precise(dtype)(records), last(f"collapsed_{dtype}")) for dtype in ("float32", "float64")]
    if not found[0] or not found[1]:
        return "Runs in both precisions are needed to tell."
    return (
        f"Without weight decay {found[0].value:.0%} of the training examples give float32 nothing more to learn from "
        f"at the end; float64 loses {found[1].value:.0%}."
    )


UPDATES = Axis("updates", "log")
FIGURES = (
    Figure("accuracy", "Accuracy on training pairs and on pairs left out", UPDATES, Axis("accuracy", percent=True),
           _accuracy_points, lambda records: f"{_times(records)}."),
    Figure("times", "Time to memorise and time to generalise", Axis("part of the table trained on", percent=True),
           Axis("updates to 99%", "log"), _time_points, lambda records: f"{_times(records)}."),
    Figure("progress", "Progress towards the rule, with weight decay", UPDATES, Axis("loss, nats", "log"),
           _progress_points, _key_frequencies),
    Figure("collapse", "Training loss, evaluated in float64", UPDATES, Axis("loss, nats", "log"), _collapse_points,
           _collapse, rules=lambda records: {"below: lost in float32": 2.0**-24}),
)  # fmt: skip
