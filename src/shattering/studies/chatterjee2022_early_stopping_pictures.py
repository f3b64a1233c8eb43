"""Where a training with half of its labels random is best, as numbers of records and as pictures."""

from __future__ import annotations

from collections.abc import Sequence

from shattering.core.record import Record
from shattering.core.study import Axis, Estimate, Figure, Point, Records
from shattering.measures.label_noise import CORRUPT_ACCURACY, PRISTINE_ACCURACY, peak, time_to_accuracy
from shattering.measures.separation import value_at
from shattering.measures.time_to_fit import FitTime, time_ratio
from shattering.studies.chatterjee2020 import ended, estimated, mean_of
from shattering.studies.chatterjee2020_figures import ACCURACY, STEPS, mean_curve, trajectory
from shattering.studies.chatterjee2022_coherence_pictures import COHERENCE, LOGARITHMIC_STEPS, orthogonal_rule
from shattering.studies.chatterjee2022_records import M, end, log_curve, noisy, ratio_within
from shattering.studies.zhang2017_figures import chance_rule, models_of

LEVEL = 0.5
FITTED = 0.99


def corrupt_accuracy_at_best(record: Record) -> float | None:
    """Accuracy on the corrupt examples' given labels where test accuracy is best."""
    best = peak(record)
    return best.corrupt_accuracy if best else None


def gain(record: Record) -> float | None:
    """Best less last test accuracy."""
    best = peak(record)
    return best.test_accuracy - best.final_test_accuracy if best else None


def coherence_at_best(record: Record) -> float | None:
    """m-coherence where test accuracy is best."""
    best = peak(record)
    return value_at(record, M, best.step) if best else None


def memorisation_ratio(runs: Sequence[Record]) -> Estimate | None:
    """Steps until the corrupt examples are fitted over steps to the best test accuracy; the interval knows how coarsely
    was looked, and runs that never fit them count with the steps they made, a lower bound."""
    late, early, used = [], [], []
    for record in ended(runs):
        best, fitted = peak(record), time_to_accuracy(record, FITTED, CORRUPT_ACCURACY)
        if best and fitted and best.step and fitted.steps:
            before = [step for step in record.trajectory("test_accuracy")[0] if step < best.step]
            early.append(FitTime(best.step, False, best.step - max(before, default=0)))
            late.append(fitted)
            used.append(record)
    return estimated(time_ratio(late, early), used, runs) if used else None


CURVES = {
    "test_accuracy": "test examples",
    PRISTINE_ACCURACY: "pristine training examples",
    CORRUPT_ACCURACY: "corrupt training examples, the label given",
    "restored_train_accuracy": "corrupt training examples, their original label",
}


def accuracy_points(records: Records) -> list[Point]:
    """Four accuracies against steps."""
    points = []
    for model in models_of(ended(records)):
        for name, series in CURVES.items():
            runs = ended(noisy(records, model, LEVEL))
            points += mean_curve(runs, trajectory(name), series, panel=model, share=True)
    return points


def coherence_points(records: Records) -> list[Point]:
    """m-coherence of all examples against steps, and of the two groups each among themselves."""
    names = {M: "all", f"pristine_{M}": "pristine among themselves", f"corrupt_{M}": "corrupt among themselves"}
    points = []
    for model in models_of(ended(records)):
        for name, series in names.items():
            points += log_curve(noisy(records, model, LEVEL), name, series, model)
    return points


def memory_points(records: Records) -> list[Point]:
    """Test accuracy against the share of corrupt labels that are memorised, snapshot by snapshot, means over seeds."""
    points = []
    for model in models_of(ended(records)):
        runs = ended(noisy(records, model, LEVEL))
        memorised = mean_curve(runs, trajectory(CORRUPT_ACCURACY), "")
        tested = {point.x: point for point in mean_curve(runs, trajectory("test_accuracy"), "", share=True)}
        points += [
            Point(point.y, test.y, model, test.low, test.high)
            for point in memorised
            if (test := tested.get(point.x)) is not None
        ]
    return points


def told(records: Records, gained: bool = False) -> list[str]:
    """For each model, where test accuracy is best and what has been memorised by then."""
    parts = []
    for model in models_of(ended(records)):
        runs = noisy(records, model, LEVEL)
        found = [best for record in ended(runs) if (best := peak(record)) is not None]
        corrupt, won = mean_of(runs, corrupt_accuracy_at_best), mean_of(runs, gain)
        if found and corrupt and won:
            steps = sorted(best.step for best in found)
            between = f"at step {steps[0]:,}" if steps[0] == steps[-1] else f"at steps {steps[0]:,} to {steps[-1]:,}"
            text = f"{model} is best {between}, where it gives {corrupt.value:.1%} of the corrupt examples their label"
            parts.append(f"{text} and is {won.value:.1%} better than at the end" if gained else text)
    return parts


def accuracy_reading(records: Records) -> str:
    """Where test accuracy is best."""
    return f"On unseen examples {'; '.join(told(records)) or 'no run has been tested'}."


def memory_reading(records: Records) -> str:
    """What early stopping gains."""
    return f"On unseen examples {'; '.join(told(records, gained=True)) or 'no run has been tested'}."


def coherence_reading(records: Records) -> str:
    """Coherence at the best point beside the end."""
    parts = []
    for model in models_of(ended(records)):
        found = ratio_within(noisy(records, model, LEVEL), coherence_at_best, end)
        if found:
            parts.append(f"{found.value:.3g} times that at the end for {model}")
    return f"m-coherence where test accuracy is best is {', '.join(parts) or 'not known'}."


FIGURES = (
    Figure(
        "accuracy",
        "Accuracy on four kinds of examples",
        STEPS,
        ACCURACY,
        accuracy_points,
        accuracy_reading,
        chance_rule,
    ),
    Figure(
        name="coherence",
        title="m-coherence while training, half of the labels random",
        x=LOGARITHMIC_STEPS,
        y=COHERENCE,
        points=coherence_points,
        reading=coherence_reading,
        rules=orthogonal_rule,
    ),
    Figure(
        name="memorised",
        title="Test accuracy against the share of corrupt labels memorised",
        x=Axis("accuracy on the corrupt examples' given labels", percent=True),
        y=Axis("test accuracy", percent=True),
        points=memory_points,
        reading=memory_reading,
    ),
)
