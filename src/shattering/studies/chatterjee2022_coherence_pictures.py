"""The pictures of coherence while networks train, as points computed from records."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shattering.core.record import Record
from shattering.core.statistics import geometric_interval
from shattering.core.study import Axis, Estimate, Figure, Point, Records, label_level
from shattering.studies.chatterjee2020 import ended
from shattering.studies.chatterjee2020_figures import ACCURACY, STEPS, mean_curve, trajectory
from shattering.studies.chatterjee2022_records import (
    EARLY,
    M,
    at_equal_loss,
    at_loss,
    convolutional_excess,
    early,
    end,
    geometric_of,
    level_name,
    log_curve,
    noisy,
    peak_from,
    pristine_excess,
    ratio_between,
)
from shattering.studies.zhang2017_figures import chance_rule, models_of

LOGARITHMIC_STEPS = Axis("optimizer steps (initialisation stands at one half)", scale="log")
COHERENCE = Axis("m-coherence (examples)", scale="log")
LOSS_POINTS = 24
EXTREMES = (0.0, 1.0)


def _groups(records: Records) -> list[tuple[str, float, list[Record]]]:
    """Model, level and runs, real labels first."""
    chosen = ended(records)
    levels = sorted({level for record in chosen if (level := label_level(record.spec)) is not None})
    found = [(model, level, noisy(chosen, model, level)) for model in models_of(chosen) for level in levels]
    return [group for group in found if group[2]]


def orthogonal_rule(records: Records) -> dict[str, float]:
    """The height of orthogonal gradients."""
    return {"orthogonal gradients": 1.0}


def coherence_points(records: Records) -> list[Point]:
    """m-coherence against steps, per level and model."""
    return [p for model, level, runs in _groups(records) for p in log_curve(runs, M, level_name(level), model)]


def layer_points(records: Records) -> list[Point]:
    """m-coherence of each layer, on real and on random labels."""
    points = []
    for model, level, runs in _groups(records):
        if level in EXTREMES:
            for name in dict.fromkeys(name for run in runs for name in run.last if name.startswith(f"{M}/")):
                points += log_curve(runs, name, name.partition("/")[2], f"{model}, {level_name(level)}")
    return points


def loss_points(records: Records) -> list[Point]:
    """m-coherence where the training loss passes a height, for heights that every run of a group passes."""
    points = []
    for model, level, runs in _groups(records):
        lowest = max(min(run.trajectory("train_loss")[1]) for run in runs)
        highest = min(run.trajectory("train_loss")[1][0] for run in runs)
        if not 0 < lowest < highest:
            continue
        for place in range(LOSS_POINTS):
            height = highest * (lowest / highest) ** ((place + 0.5) / LOSS_POINTS)
            values = [value for run in runs if (value := at_loss(run, M, height))]
            if len(values) == len(runs):
                mean, low, high = geometric_interval(values)
                points.append(Point(height, mean, level_name(level), low, high, panel=model))
    return points


def accuracy_points(records: Records) -> list[Point]:
    """Training accuracy, on the labels trained on, and test accuracy, on clean ones."""
    points = []
    for model, level, runs in _groups(records):
        for name, kind in (("train_accuracy", "train"), ("test_accuracy", "test")):
            points += mean_curve(runs, trajectory(name), level_name(level), panel=model, kind=kind, share=True)
    return points


def group_points(records: Records) -> list[Point]:
    """α of pristine and of corrupt examples, each among themselves, where half of the labels are random."""
    points = []
    for model, level, runs in _groups(records):
        if level == 0.5:
            for group in ("pristine", "corrupt"):
                points += log_curve(runs, f"{group}_alpha", f"{group} examples", model)
    return points


# Readings


def _times(estimate: Estimate | None) -> str:
    """``12 (8.1 to 17)``: a ratio with its interval."""
    if estimate is None:
        return "unknown"
    ends = "" if estimate.low is None else f" ({estimate.low:.2g} to {estimate.high:.2g})"
    return f"{estimate.value:.2g}{ends}"


def told(records: Records, about: Callable[[str], str | None], nothing: str) -> str:
    """One sentence over all models; ``nothing`` where there is nothing to tell of any."""
    parts = [f"{model}: {text}" for model in models_of(ended(records)) if (text := about(model)) is not None]
    return "; ".join(parts) + "." if parts else nothing


def _one(runs: Sequence[Record], number: Callable[[Record], float | None]) -> float | None:
    estimate = geometric_of(runs, number)
    return estimate.value if estimate else None


def coherence_reading(records: Records) -> str:
    """Early level, later peak and end, on real and on random labels."""

    def about(model: str) -> str | None:
        parts = []
        for level in EXTREMES:
            runs = noisy(records, model, level)
            first, last = _one(runs, early), _one(runs, end)
            top = _one(runs, lambda record: peak_from(record, M, EARLY[1]))
            if first and last:
                later = f", {top:.3g} at its later peak" if top else ""
                parts.append(f"{first:.3g} over steps {EARLY[0]} to {EARLY[1]}{later}, {last:.3g} at the end")
        return f"{parts[0]} on real labels, and {parts[1]} on random ones" if len(parts) == 2 else None

    return told(records, about, f"No run reaches beyond step {EARLY[0]} on both real and random labels.")


def layer_reading(records: Records) -> str:
    """Which layers lie higher."""

    def about(model: str) -> str | None:
        found = [geometric_of(noisy(records, model, level), convolutional_excess) for level in EXTREMES]
        if None in found:
            return None
        return (
            f"convolutional layers have {_times(found[0])} times the m-coherence of fully connected ones on real "
            f"labels, {_times(found[1])} times on random ones"
        )

    return told(records, about, "There is no network with both convolutional and fully connected layers.")


def loss_reading(records: Records) -> str:
    """Real beside random labels at equal loss."""

    def about(model: str) -> str | None:
        ratio = ratio_between(noisy(records, model, 0.0), noisy(records, model, 1.0), at_equal_loss)
        return f"at equal training loss, real labels have {_times(ratio)} times the m-coherence" if ratio else None

    return told(records, about, "The runs on real and on random labels do not pass the same losses.")


def accuracy_reading(records: Records) -> str:
    """Where training and test accuracy end."""

    def about(model: str) -> str | None:
        parts = []
        for level in EXTREMES:
            runs = ended(noisy(records, model, level))
            if runs:
                train, test = (
                    sum(float(run.last[name]) for run in runs) / len(runs)
                    for name in ("train_accuracy", "test_accuracy")
                )
                parts.append(f"{level_name(level)} end at {train:.1%} training and {test:.1%} test accuracy")
        return ", ".join(parts) or None

    return told(records, about, "No run on real or random labels has ended.")


def group_reading(records: Records) -> str:
    """Pristine beside corrupt examples early."""

    def about(model: str) -> str | None:
        ratio = geometric_of(noisy(records, model, 0.5), pristine_excess)
        first, last = EARLY
        text = f"over steps {first} to {last}, α of pristine examples is {_times(ratio)} times that of corrupt ones"
        return text if ratio else None

    return told(records, about, "No run with half of its labels random has ended.")


FIGURES = (
    Figure(
        name="coherence",
        title="m-coherence while training, by the share of random labels",
        x=LOGARITHMIC_STEPS,
        y=COHERENCE,
        points=coherence_points,
        reading=coherence_reading,
        rules=orthogonal_rule,
    ),
    Figure(
        name="equal-loss",
        title="m-coherence against training loss: training goes from right to left",
        x=Axis("training loss (nats)", scale="log"),
        y=COHERENCE,
        points=loss_points,
        reading=loss_reading,
        rules=orthogonal_rule,
    ),
    Figure(
        name="layers",
        title="m-coherence of each layer",
        x=LOGARITHMIC_STEPS,
        y=COHERENCE,
        points=layer_points,
        reading=layer_reading,
        rules=orthogonal_rule,
    ),
    Figure(
        name="groups",
        title="α among pristine and among corrupt examples, half of the labels random",
        x=LOGARITHMIC_STEPS,
        y=Axis("α", scale="log"),
        points=group_points,
        reading=group_reading,
    ),
    Figure(
        name="accuracy",
        title="Training and test accuracy, by the share of random labels",
        x=STEPS,
        y=ACCURACY,
        points=accuracy_points,
        reading=accuracy_reading,
        rules=chance_rule,
    ),
)
