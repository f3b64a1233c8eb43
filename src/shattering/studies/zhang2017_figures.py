"""The pictures that the studies of Zhang et al. (2017) share, as points computed from records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from shattering.core.record import Record, Status
from shattering.core.statistics import accuracy_interval, geometric_interval, mean_interval
from shattering.core.study import Axis, Figure, Point, Records, label_level
from shattering.measures.separation import value_at
from shattering.measures.time_to_fit import slowdown
from shattering.studies.zhang2017 import chance

MOST_STEPS = 60
"""Points of a curve."""

CONDITIONS = {
    "true_labels": "true labels",
    "partially_corrupted_labels": "half of the labels random",
    "random_labels": "random labels",
    "shuffled_pixels": "shuffled pixels",
    "random_pixels": "random pixels",
    "gaussian": "Gaussian",
}
"""Names of the conditions as the paper writes them; the partial one is shown at p = 0.5 only."""


def condition(record: Record) -> str | None:
    """The curve a record belongs to; none for levels other than 0, one half and 1."""
    if record.spec.corruption.name == "partially_corrupted_labels" and label_level(record.spec) != 0.5:
        return None
    return CONDITIONS.get(record.spec.corruption.name)


def plain(records: Records) -> list[Record]:
    """Runs with a trajectory and no explicit regulariser, the only ones that the paper's Figure 1 shows."""
    return [
        record
        for record in records
        if record.rows
        and record.status in (Status.DONE, Status.NOT_FITTED)
        and record.spec.training.weight_decay == 0
        and record.spec.training.augmentation == "none"
        and record.spec.model.fields.get("batch_norm", True)
    ]


def models_of(records: Records) -> list[str]:
    """The models, in the order of first appearance."""
    return list(dict.fromkeys(record.spec.model.name for record in records))


def curve(runs: Sequence[Record], name: str, series: str, panel: str, kind: str) -> list[Point]:
    """Mean over seeds of a number against steps, with its interval.

    Runs end at different steps, so their last snapshots do not coincide: between two snapshots of a run its value is
    interpolated (linearly in the logarithm of the step), and a run that has ended keeps its last value.
    """
    steps = _logarithmic({int(row["step"]) for record in runs for row in record.rows if name in row})
    if len(steps) > MOST_STEPS:
        steps = sorted({steps[round(i * (len(steps) - 1) / (MOST_STEPS - 1))] for i in range(MOST_STEPS)})
    points = []
    for step in steps:
        values = [value for record in runs if (value := _between(record, name, step)) is not None]
        if values:
            mean, low, high = mean_interval(values)
            if name.endswith("accuracy"):
                low, high = (None if end is None else min(1.0, max(0.0, end)) for end in (low, high))
            elif low is not None:
                low = max(0.0, low)
            points.append(Point(step, mean, series, low, high, kind, panel))
    return points


def _between(record: Record, name: str, step: int) -> float | None:
    """The value of ``name`` at a positive step, interpolated between snapshots; none before the first."""
    steps, values = record.trajectory(name)
    known = [(math.log(at), value) for at, value in zip(steps, values, strict=True) if at > 0]
    if not known or math.log(step) < known[0][0]:
        return None
    return float(np.interp(math.log(step), [at for at, _ in known], [value for _, value in known]))


def _logarithmic(steps: set[int]) -> list[int]:
    """The steps that a logarithmic axis can show: initialisation, step 0, is left out."""
    return sorted(step for step in steps if step > 0)


def curves(records: Records, names: dict[str, str]) -> list[Point]:
    """Curves of every condition and model; ``names`` maps measured names to kinds of line."""
    points = []
    chosen = plain(records)
    for model in models_of(chosen):
        for label in CONDITIONS.values():
            runs = [record for record in chosen if record.spec.model.name == model and condition(record) == label]
            for name, kind in names.items():
                points += curve(runs, name, label, model, kind)
    return points


def _by_level(records: Records) -> dict[str, dict[float, list[Record]]]:
    table: dict[str, dict[float, list[Record]]] = {}
    for record in plain(records):
        level = label_level(record.spec)
        if level is not None:
            table.setdefault(record.spec.model.name, {}).setdefault(level, []).append(record)
    return table


def slowdown_points(records: Records) -> list[Point]:
    """Relative time to fit against the corruption level, per model."""
    points = []
    for model, levels in _by_level(records).items():
        for level, runs in sorted(levels.items()):
            found = slowdown(runs, levels.get(0.0, []))
            if found is not None:
                same = level == 0.0  # a run beside itself: 1 by definition, without an interval
                low, high = (None, None) if same else (found.low, found.high)
                points.append(Point(level, found.value, model, low, high, censored=found.censored > 0))
    return points


def test_error_points(records: Records) -> list[Point]:
    """Test error at the end against the corruption level, per model, by two kinds of test labels.

    On corrupted test labels it is derived: ``1 - [(1 - p)(1 - error) + p/k]`` if the corruption is independent of the
    image.
    """
    points = []
    guess = chance(records)
    for model, levels in _by_level(records).items():
        for level, runs in sorted(levels.items()):
            examples = int(runs[0].summary["test_size"] or 1)
            value, low, high = accuracy_interval([float(run.last["test_accuracy"]) for run in runs], examples)
            below, above = (None if end is None else 1 - end for end in (high, low))
            points.append(Point(level, 1 - value, model, below, above, kind="clean test labels"))
            derived = 1 - ((1 - level) * value + level * guess)
            points.append(Point(level, derived, model, kind="corrupted test labels (derived)"))
    return points


def split_points(records: Records) -> list[Point]:
    """Accuracy on clean and on corrupted examples apart, while half of the labels are random."""
    points = []
    chosen = [record for record in plain(records) if label_level(record.spec) == 0.5]
    names = {
        "unchanged_train_accuracy": "clean examples, their label",
        "changed_train_accuracy": "corrupted examples, the wrong label given",
        "restored_train_accuracy": "corrupted examples, their original label",
    }
    for model in models_of(chosen):
        runs = [record for record in chosen if record.spec.model.name == model]
        for name, series in names.items():
            points += curve(runs, name, series, model, "train")
    return points


def separation_points(records: Records) -> list[Point]:
    """Training loss on random labels over that on true labels, paired by seed, against steps: geometric means."""
    points = []
    for model, levels in _by_level(records).items():
        clean = {run.spec.seed: run for run in levels.get(0.0, [])}
        pairs = [(clean[run.spec.seed], run) for run in levels.get(1.0, []) if run.spec.seed in clean]
        steps = _logarithmic({int(row["step"]) for real, _ in pairs for row in real.rows})
        for step in steps:
            ratios = []
            for real, random in pairs:
                ours, theirs = value_at(random, "train_loss", step), value_at(real, "train_loss", step)
                if ours and theirs:
                    ratios.append(ours / theirs)
            if ratios:
                mean, low, high = geometric_interval(ratios)
                points.append(Point(step, mean, model, low, high))
    return points


STEPS = Axis("optimizer steps", scale="log")
LEVEL = Axis("probability that a label is redrawn at random, p")
ACCURACY = Axis("accuracy", percent=True)


def chance_rule(records: Records) -> dict[str, float]:
    """The height of guessing, as an accuracy."""
    return {"chance": chance(records)} if chance(records) else {}


def chance_error_rule(records: Records) -> dict[str, float]:
    """The height of guessing, as an error."""
    return {"chance": 1 - chance(records)} if chance(records) else {}


def accuracy_figure(reading: Callable[[Records], str]) -> Figure:
    """Training and test accuracy of every condition."""
    return Figure(
        name="accuracy",
        title="Accuracy while training, per condition",
        x=STEPS,
        y=ACCURACY,
        points=lambda records: curves(records, {"train_accuracy": "train", "test_accuracy": "test"}),
        reading=reading,
        rules=chance_rule,
    )
