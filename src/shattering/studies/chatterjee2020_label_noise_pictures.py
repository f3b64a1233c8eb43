"""The pictures of training under label noise, each with the sentence that says what it shows for these records."""

from __future__ import annotations

from collections.abc import Callable

from shattering.core.record import Record
from shattering.core.study import Axis, Figure, Point, Records, label_level
from shattering.measures.contributions import cumulative
from shattering.measures.label_noise import (
    group_times,
    peak,
    proper_accuracy,
    time_to_accuracy,
)
from shattering.measures.step_share import with_step_shares
from shattering.measures.time_to_fit import FitTime
from shattering.studies.chatterjee2020 import classes, ended, mean_of, overfit, steps_to
from shattering.studies.chatterjee2020_figures import (
    ACCURACY,
    NOISE,
    STEPS,
    accuracy_curves,
    against,
    level_name,
    levels_of,
    mean_curve,
    trajectory,
)
from shattering.studies.chatterjee2020_label_noise_claims import HALF, early, excess, late, share

TARGETS = (0.3, 0.5, 0.7, 0.9)
"""Training accuracies whose time is shown."""


def _by_level(records: Records) -> dict[float, list[Record]]:
    return {level: [run for run in ended(records) if label_level(run.spec) == level] for level in levels_of(records)}


def _mixed(records: Records) -> dict[float, list[Record]]:
    return {level: runs for level, runs in _by_level(records).items() if 0 < level < 1}


def step_points(records: Records) -> list[Point]:
    """f_p and f_c of an average mini-batch, with the expectation of f_p where the tags are permuted."""
    names = {
        "step_pristine_share": ("pristine", "measured"),
        "step_corrupt_share": ("corrupt", "measured"),
        "pristine_fraction": ("pristine, tags permuted", "null"),
    }
    points = []
    for level, runs in _by_level(records).items():
        full = [with_step_shares(run) for run in runs]
        for name, (series, kind) in names.items():
            points += mean_curve(full, trajectory(name), series, panel=level_name(level), kind=kind)
    return points


def whole_points(records: Records) -> list[Point]:
    """f_p and f_c of the gradient of all examples, with the range of f_p in null worlds."""
    points = []
    for level, runs in _by_level(records).items():
        panel = level_name(level)
        low, high = (
            mean_curve(runs, trajectory(name), "", panel=panel) for name in ("null_share_low", "null_share_high")
        )
        if low:
            points += mean_curve(runs, trajectory("pristine_share"), "pristine", panel=panel, kind="measured")
            points += mean_curve(runs, trajectory("corrupt_share"), "corrupt", panel=panel, kind="measured")
        series = "pristine, tags permuted (95% of worlds)"
        points += [
            Point(below.x, (below.y + above.y) / 2, series, below.y, above.y, "null", panel)
            for below, above in zip(low, high, strict=True)
        ]
    return points


def _share_reading(gradient: str) -> Callable[[Records], str]:
    def reading(records: Records) -> str:
        told = []
        for level, runs in _by_level(records).items():
            first, beyond, after = (
                mean_of(runs, number)
                for number in (
                    lambda run: early(run, share(gradient)),
                    lambda run: early(run, excess(gradient)),
                    lambda run: late(run, share(gradient, "corrupt")),
                )
            )
            if first is None or beyond is None:
                continue
            text = f"{level:.0%} noise {first.value:.2f} ({beyond.value:+.2f} beside permuted tags)"
            told.append(text + (f", and later that of corrupt ones {after.value:.2f}" if after else ""))
        if not told:
            return "No run has fitted half of its pristine examples, so there is no early share to tell."
        return f"Share of pristine examples until half of them are fitted: at {'; at '.join(told)}."

    return reading


def cumulative_points(records: Records) -> list[Point]:
    """i_p and i_c: cumulative contribution of an average example to its own steps."""
    points = []
    for level, runs in _by_level(records).items():
        full = [with_step_shares(run) for run in runs]
        for group in ("pristine", "corrupt"):
            name = f"step_{group}_contribution"
            points += mean_curve(full, lambda run, name=name: cumulative(run, name), group, panel=level_name(level))  # type: ignore[misc]
    return points


def _cumulative_reading(records: Records) -> str:
    told = []
    for level, runs in _by_level(records).items():
        ratios = []
        for run in map(with_step_shares, runs):
            ours, theirs = (cumulative(run, f"step_{group}_contribution")[1] for group in ("pristine", "corrupt"))
            if ours and theirs and theirs[-1] > 0:
                ratios.append(ours[-1] / theirs[-1])
        if ratios:
            told.append(f"{sum(ratios) / len(ratios):.2f} at {level:.0%} noise")
    if not told:
        return "No run has both pristine and corrupt examples."
    return (
        "Over the whole training an average pristine example contributes, as a multiple of an average corrupt one, "
        f"{', '.join(told)}; permuted tags make it 1."
    )


def accuracy_points(records: Records) -> list[Point]:
    """Pristine and corrupt examples, as labelled, and unseen ones, beside the proper accuracy."""
    mixed = _mixed(records).items()
    return [point for level, runs in mixed for point in accuracy_curves(runs, level, level_name(level))]


def _accuracy_reading(records: Records) -> str:
    told = []
    for level, runs in _mixed(records).items():
        found = [best for run in runs if (best := peak(run)) is not None]
        if found:
            train, test, end = (
                sum(values) / len(found)
                for values in (
                    [best.train_accuracy for best in found],
                    [best.test_accuracy for best in found],
                    [best.final_test_accuracy for best in found],
                )
            )
            told.append(
                f"{level:.0%} noise test accuracy is best at {test:.0%} and ends at {end:.0%}; where it is best, "
                f"training accuracy is {train:.0%} (proper: {proper_accuracy(level, classes(runs)):.0%})"
            )
    return f"At {'. At '.join(told)}." if told else "No run has been tested."


def order_points(records: Records) -> list[Point]:
    """Steps to given training accuracies against the noise."""
    points = []
    for target in TARGETS:
        # A run that never got there would pass for one that did at its last step.
        runs = [run for run in ended(records) if (at := time_to_accuracy(run, target)) and not at.censored and at.steps]
        points += against(runs, lambda run: label_level(run.spec), steps_to(target), lambda run, at=target: f"{at:.0%}")  # type: ignore[misc]
    return points


def _order_reading(records: Records) -> str:
    told = []
    for target in TARGETS:
        heights = [point for point in order_points(records) if point.series == f"{target:.0%}"]
        if len(heights) > 1:
            told.append(f"from {heights[0].y:,.0f} to {heights[-1].y:,.0f} for {target:.0%}")
    missed = sum(1 for run in ended(records) if (at := time_to_accuracy(run, TARGETS[-1])) and at.censored)
    end = f" {missed} runs never reach {TARGETS[-1]:.0%} and are left out there." if missed else ""
    if not told:
        return f"Too few levels of noise reach any of the accuracies to compare them.{end}"
    return f"Steps to a training accuracy, from the lowest level of noise shown to the highest: {', '.join(told)}.{end}"


def overfit_points(records: Records) -> list[Point]:
    """Adjusted overfit at the end of training against the noise."""
    return against(ended(records), lambda run: label_level(run.spec), overfit, lambda run: run.spec.model.name)


def _overfit_reading(records: Records) -> str:
    heights = ", ".join(f"{point.y:.0%} at {point.x:.0%}" for point in overfit_points(records))
    return (
        f"Training accuracy at the end beyond that of a network that memorises nothing, by level of noise: {heights}."
    )


def half_points(records: Records) -> list[Point]:
    """Steps until half of each group is fitted, against the noise: each group beside the pace it has alone."""

    def time(run: Record, group: str) -> float | None:
        found: FitTime | None = getattr(group_times(run, HALF), group)
        return float(found.steps) if found and found.steps and not found.censored else None

    points = []
    for group in ("pristine", "corrupt"):
        number = lambda run, group=group: time(run, group)  # noqa: E731
        points += against(ended(records), lambda run: label_level(run.spec), number, lambda run, group=group: group)  # type: ignore[misc]
    return points


def _half_reading(records: Records) -> str:
    told = []
    for group in ("pristine", "corrupt"):
        line = [point for point in half_points(records) if point.series == group]
        if line:
            told.append(f"{group}: " + ", ".join(f"{point.y:,.0f} at {point.x:.0%}" for point in line))
    return f"Steps until half of a group is fitted, by level of noise; {'; '.join(told)}."


FIGURES = (
    Figure(
        name="shares",
        title="Share of pristine and corrupt examples in the gradient of a mini-batch",
        x=STEPS,
        y=Axis("share of the first-order decrease of the loss"),
        points=step_points,
        reading=_share_reading("step_"),
        rules=lambda records: {"one half": HALF},
    ),
    Figure(
        name="whole-gradient",
        title="Share of pristine and corrupt examples in the whole gradient, beside permuted tags",
        x=STEPS,
        y=Axis("share of the first-order decrease of the loss"),
        points=whole_points,
        reading=_share_reading(""),
        rules=lambda records: {"one half": HALF},
    ),
    Figure(
        name="cumulative",
        title="Cumulative contribution of an average example to the steps it takes part in",
        x=STEPS,
        y=Axis("summed first-order decrease per example"),
        points=cumulative_points,
        reading=_cumulative_reading,
    ),
    Figure(
        name="accuracy",
        title="Pristine and corrupt examples apart, beside the proper accuracy",
        x=STEPS,
        y=ACCURACY,
        points=accuracy_points,
        reading=_accuracy_reading,
    ),
    Figure(
        name="pace",
        title="Steps to a given training accuracy",
        x=NOISE,
        y=Axis("optimizer steps", scale="log"),
        points=order_points,
        reading=_order_reading,
    ),
    Figure(
        name="half-fitted",
        title="Steps until half of the pristine, and of the corrupt, examples are fitted",
        x=NOISE,
        y=Axis("optimizer steps", scale="log"),
        points=half_points,
        reading=_half_reading,
    ),
    Figure(
        name="overfit",
        title="Adjusted overfit at the end of training",
        x=NOISE,
        y=Axis("training accuracy beyond what unseen examples explain", percent=True),
        points=overfit_points,
        reading=_overfit_reading,
    ),
)
