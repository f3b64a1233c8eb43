"""The pictures of the randomization tests, each with the sentence that says what it shows for the records at hand."""

from __future__ import annotations

from shattering.core.record import Status
from shattering.core.study import Axis, Figure, Records, label_level
from shattering.measures.separation import separation_step
from shattering.studies.zhang2017 import accuracy_of, chance, span
from shattering.studies.zhang2017_figure1 import runs_of
from shattering.studies.zhang2017_figures import (
    ACCURACY,
    LEVEL,
    STEPS,
    accuracy_figure,
    chance_error_rule,
    curves,
    plain,
    separation_points,
    slowdown_points,
    split_points,
    test_error_points,
)


def _curve_reading(records: Records) -> str:
    ended = plain(records)
    noise = [record for record in ended if record.spec.corruption.name != "true_labels"]
    fitted = sum(record.status is Status.DONE for record in noise)
    return (
        f"{fitted} of {len(noise)} runs on corrupted data drove the training loss down until 99% of their examples "
        "were fitted; where a curve ends tells how long that took."
    )


def _accuracy_reading(records: Records) -> str:
    tested = {}
    for name in ("true_labels", "shuffled_pixels", "random_labels"):
        runs = [record for record in plain(records) if record.spec.corruption.name == name]
        found = accuracy_of(runs, "test_accuracy")
        if found is not None:
            tested[name.replace("_", " ")] = found.value
    fitted = [record for record in plain(records) if record.status is Status.DONE]
    parts = [f"{value:.0%} with {name}" for name, value in tested.items()]
    said = f"; final test accuracy is {', '.join(parts)}, on average" if parts else ""
    return f"{len(fitted)} of {len(plain(records))} runs end at a training accuracy of 99% or more{said}."


def _slowdown_reading(records: Records) -> str:
    worst = max(slowdown_points(records), key=lambda point: point.y)
    bound = "at least " if any(point.censored for point in slowdown_points(records)) else ""
    return (
        f"The largest slowdown is {bound}{worst.y:.1f} ({worst.series} at p = {worst.x:g}): the whole price, in steps, "
        "of fitting noise in place of true labels."
    )


def _error_reading(records: Records) -> str:
    points = [point for point in test_error_points(records) if point.kind == "clean test labels"]
    spans = []
    for level in sorted({point.x for point in points}):
        heights = [point.y for point in points if point.x == level]
        spans.append(f"{span(heights)} at p = {level:g}")
    return f"Test error by level of corruption, over the models: {', '.join(spans)}; the training set is the same size."


def _split_reading(records: Records) -> str:
    texts = []
    for model in dict.fromkeys(record.spec.model.name for record in plain(records)):
        leads = []
        for run in runs_of(model, records, "partially_corrupted_labels"):
            if label_level(run.spec) != 0.5:
                continue
            for row in run.rows[:-1]:  # at the last one everything is fitted, which says nothing about order
                if row.get("unchanged_train_accuracy", 0.0) >= 0.5:
                    leads.append(float(row.get("changed_train_accuracy", 0.0)))
                    break
        if leads:
            texts.append(f"{sum(leads) / len(leads):.0%} for {model}")
    if not texts:
        return "No run has come far enough to tell clean from corrupted examples."
    return (
        "When half of the clean examples are first fitted, the fraction of corrupted examples fitted to their wrong "
        f"label is {', '.join(texts)}: below one half, the signal came first."
    )


def _separation_reading(records: Records) -> str:
    texts = []
    for model in dict.fromkeys(record.spec.model.name for record in plain(records)):
        clean = {run.spec.seed: run for run in runs_of(model, records, "true_labels")}
        steps = [
            separation_step(clean[run.spec.seed], run)
            for run in runs_of(model, records, "random_labels")
            if run.spec.seed in clean
        ]
        known = sorted(step for step in steps if step is not None)
        if known:
            texts.append(f"{model} by step {known[len(known) // 2]} ({len(known)} of {len(steps)} pairs)")
    if not texts:
        return "Within these runs the loss on random labels never stays twice that on true labels."
    return (
        f"From here on the loss on random labels stays at least twice that on true ones: {'; '.join(texts)}, medians."
    )


FIGURES = (
    Figure(
        name="loss",
        title="Training loss per condition (after Figure 1a)",
        x=STEPS,
        y=Axis("mean training loss, nats"),
        points=lambda records: curves(records, {"train_loss": "train"}),
        reading=_curve_reading,
    ),
    accuracy_figure(_accuracy_reading),
    Figure(
        name="slowdown",
        title="Time to fit against label corruption (after Figure 1b)",
        x=LEVEL,
        y=Axis("time to fit, relative to true labels", scale="linear"),
        points=slowdown_points,
        reading=_slowdown_reading,
        rules=lambda records: {"true labels": 1.0},
    ),
    Figure(
        name="test-error",
        title="Test error against label corruption (after Figure 1c)",
        x=LEVEL,
        y=Axis("test error", percent=True),
        points=test_error_points,
        reading=_error_reading,
        rules=chance_error_rule,
    ),
    Figure(
        name="clean-and-corrupted",
        title="Clean and corrupted examples apart, half of the labels random",
        x=STEPS,
        y=ACCURACY,
        points=split_points,
        reading=_split_reading,
        rules=lambda records: {"chance": chance(records)},
    ),
    Figure(
        name="separation",
        title="How early real and random labels separate",
        x=STEPS,
        y=Axis("training loss on random / on true labels", scale="log"),
        points=separation_points,
        reading=_separation_reading,
        rules=lambda records: {"separated": 2.0},
    ),
)
