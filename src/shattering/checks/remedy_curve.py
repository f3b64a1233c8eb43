"""The learning curve of a subject: what the error does as examples are added, and what doubling them would bring."""

from __future__ import annotations

import numpy as np

from shattering.checks.registry import Evidence, Subject
from shattering.checks.remedy_arms import base_run, examples, sizes, smaller_run
from shattering.checks.trainings import percent, points, told_counts, unknown
from shattering.core.curves import ended
from shattering.core.finding import Chart, Finding
from shattering.core.record import Record
from shattering.core.study import Axis, Point
from shattering.core.words import plural
from shattering.measures.learning_curve import FEWEST_SIZES, LearningCurve, learning_curve

CHECK, NAME = "remedies", "more_data_gain"

METHOD = (
    "Test error against the number of training examples, e(n) = a·n^-b + c by least squares (Hestness et al. 2017), "
    "carried on to twice the examples; interval by a bootstrap over seeds and test examples, widened for few seeds"
)

LITTLE = 0.005
"""A gain in accuracy whose whole interval lies below is called little."""


def more_data(subject: Subject, evidence: Evidence, base: dict[int, Record]) -> tuple[LearningCurve | None, Finding]:
    """The curve, none where it cannot be drawn, and what it says of twice the data."""
    whole, seeds = examples(subject), range(1, evidence.effort + 1)
    smaller = {size: [smaller_run(subject, size, seed) for seed in seeds] for size in sizes(subject)}
    found = {
        size: {record.spec.seed: record for record in ended(evidence.of(specs)) if "prediction" in record.tested}
        for size, specs in smaller.items()
    }
    found[whole] = base
    specs = [spec for group in smaller.values() for spec in group] + [base_run(subject, seed) for seed in seeds]
    records = evidence.of(specs)
    cost = evidence.cost(records)
    common = sorted(set.intersection(*(set(group) for group in found.values())))
    counts = told_counts(specs, records, sum(len(group) for group in found.values()))
    method = f"{METHOD}. {counts}."
    if len(found) < FEWEST_SIZES:
        why = f"What more data would bring cannot be told: {plural(whole, 'example')} are too few to take parts of."
        return None, unknown(CHECK, NAME, why, method, 0, cost)
    wrong = [
        np.stack([found[size][seed].tested["prediction"] != found[size][seed].tested["label"] for seed in common])
        for size in found
        if common
    ]
    curve = learning_curve(list(found), wrong) if common else None
    if curve is None:
        why = (
            f"What more data would bring cannot be told: {plural(len(common), 'seed')} ended at all sizes, and three "
            f"are needed ({counts})."
        )
        return None, unknown(CHECK, NAME, why, method, len(common), cost)
    value, low, high = curve.gain
    interval = f"95% interval {points(low)} to {points(high)}"
    error = curve.errors[-1]
    if error == 0.0:
        statement = "More data cannot be seen to help: no test example is wrong as it is."
    elif low > 0:
        statement = f"Twice the data would bring about {points(value)} points of test accuracy ({interval})."
    elif high <= LITTLE:
        statement = f"Twice the data would bring little: {points(value)} points of test accuracy ({interval})."
    else:
        statement = f"What twice the data would bring is uncertain: {points(value)} points ({interval})."
    finding = Finding(
        check=CHECK,
        name=NAME,
        statement=statement,
        value=value,
        unit="1",
        low=low,
        high=high,
        n=len(common),
        method=method,
        caveats=(
            f"It takes the law seen from {min(found):,} to {whole:,} examples to go on to {2 * whole:,}; the interval "
            "does not know whether it does.",
            f"The exponent is {curve.exponent[0]:.2f} ({curve.exponent[1]:.2f} to {curve.exponent[2]:.2f}), the floor "
            f"{percent(curve.law.c)}.",
        ),
        level="note",
        cost=cost,
    )
    return curve, finding


def curve_chart(curve: LearningCurve) -> Chart:
    """Measured errors, the law through them, and where it goes with twice the data."""
    marks = [Point(float(size), error, "measured") for size, error in zip(curve.sizes, curve.errors, strict=True)]
    first, last = curve.sizes[0], curve.sizes[-1]
    for place in np.geomspace(first, curve.factor * last, 25):
        marks.append(Point(float(place), curve.law.at(float(place)), "power law"))
    _, low, high = curve.gain
    aim, end = curve.law.at(curve.factor * last), curve.law.at(last)
    marks.append(Point(float(last), end, "twice the data", end, end))
    marks.append(Point(curve.factor * last, aim, "twice the data", max(0.0, min(aim, end - high)), max(aim, end - low)))
    return Chart(
        name="learning_curve",
        title="Test error against the number of training examples",
        x=Axis("training examples", scale="log"),
        y=Axis("test error", percent=True),
        points=tuple(marks),
        reading=f"Each doubling takes about {1 - 2 ** -curve.exponent[0]:.0%} of the error above the floor away.",
    )
