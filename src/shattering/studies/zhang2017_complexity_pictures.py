"""The pictures of the complexity study, each with the sentence that says what it shows for the records at hand."""

from __future__ import annotations

from shattering.core.statistics import Interval, mean_interval
from shattering.core.study import Axis, Figure, Point, Records, label_level
from shattering.studies.zhang2017_complexity_records import (
    NORMS,
    correlation_interval,
    effect_ratio,
    effects,
    gap_correlation,
    loss_gap,
    models_of,
    most_followed,
    norm_ratio,
    norm_runs,
    separates,
    sign_runs,
    stability_runs,
)
from shattering.studies.zhang2017_figures import LEVEL

CONDITIONS = {"true_labels": 0.0, "random_labels": 1.0}


def spread(found: Interval) -> str:
    """``1.3 [1.1, 1.5]``, or without an interval."""
    value, low, high = found
    return f"{value:.2g}" if low is None or high is None else f"{value:.2g} [{low:.2g}, {high:.2g}]"


def rademacher_points(records: Records) -> list[Point]:
    """Mean correlation with random signs against the number of examples, per model."""
    points = []
    for model in models_of(records):
        for size, runs in sign_runs(records, model).items():
            found = correlation_interval(runs)
            if found is not None:
                points.append(Point(size, found[0], model, found[1], found[2]))
    return points


def _rademacher_reading(records: Records) -> str:
    texts = []
    for model in models_of(records):
        points = [point for point in rademacher_points(records) if point.series == model]
        if not points:
            continue
        size = most_followed(records, model)
        shattered = f"every draw was followed to the last up to n = {size:,}" if size else "no size was followed whole"
        texts.append(f"{model} {points[-1].y:.2f} at n = {points[-1].x:,.0f} ({shattered})")
    return f"Mean of σ·sign h(x) over the sample after training on random signs: {'; '.join(texts)}."


def norm_points(records: Records) -> list[Point]:
    """Norms relative to those with true labels against the level of label noise, per model."""
    points = []
    for model in models_of(norm_runs(records)):
        levels = sorted({label_level(record.spec) or 0.0 for record in norm_runs(records, model)})
        for name, series in NORMS.items():
            for level in levels:
                found = norm_ratio(records, model, name, level)
                if found is not None:
                    low, high = (None, None) if level == 0 else (found[1], found[2])
                    points.append(Point(level, found[0], series, low, high, panel=model))
    return points


def separation_text(records: Records) -> str:
    """Which norms differ between random and true labels, by the interval of their ratio."""
    texts = []
    for model in models_of(norm_runs(records)):
        ratios = {series: norm_ratio(records, model, name, 1.0) for name, series in NORMS.items()}
        apart = [f"{series} {spread(ratio)}" for series, ratio in ratios.items() if ratio and separates(ratio)]
        alike = [f"{series} {spread(ratio)}" for series, ratio in ratios.items() if ratio and separates(ratio) is False]
        unknown = [series for series, ratio in ratios.items() if ratio and separates(ratio) is None]
        parts = [
            f"{what} {', '.join(names)}"
            for what, names in (("separated by", apart), ("not by", alike), ("too few runs to tell for", unknown))
            if names
        ]
        if parts:
            texts.append(f"{model}: {', '.join(parts)}")
    return "; ".join(texts)


def separation_counts(records: Records) -> list[str]:
    """How many of the norms differ between random and true labels, for each model with an interval."""
    texts = []
    for model in models_of(norm_runs(records)):
        ratios = [norm_ratio(records, model, name, 1.0) for name in NORMS]
        verdicts = [separates(ratio) for ratio in ratios if ratio is not None]
        if verdicts and None not in verdicts:
            texts.append(f"{sum(map(bool, verdicts))} of {len(verdicts)} norms of {model} differ between the two")
    return texts


def _norm_reading(records: Records) -> str:
    found = separation_text(records)
    return f"Random over true labels, {found}." if found else "No seed has both true and random labels yet."


def gap_points(records: Records) -> list[Point]:
    """Every run's generalisation gap against its spectral complexity over the margin."""
    return [
        Point(float(record.last[name]), float(record.last["generalization_gap"]), record.spec.model.name)
        for record in norm_runs(records)
        for name in ("normalised_spectral_complexity",)
        if float(record.last.get(name, 0.0)) > 0
    ]


def _gap_reading(records: Records) -> str:
    texts = []
    for model in models_of(norm_runs(records)):
        taus = {series: gap_correlation(records, model, name) for name, series in NORMS.items()}
        known = [f"{series} {spread(tau)}" for series, tau in taus.items() if tau is not None]
        if known:
            texts.append(f"{model}: {', '.join(known)}")
    least = min(point.x for point in gap_points(records))
    said = "at or above 1, where no gap can be" if least >= 1 else "below 1"
    bound = f"The leading term of the bound is {least:.2g} at the least, {said}"
    return f"{bound}; Kendall's τ of norm and gap over the levels of label noise, {'; '.join(texts) or 'is not known'}."


def stability_points(records: Records) -> list[Point]:
    """How far losses move when one example is replaced, and the loss gap, for true and random labels."""
    points = []
    for model in models_of(stability_runs(records)):
        for corruption, level in CONDITIONS.items():
            found = effects(records, model, corruption)
            if not found:
                continue
            numbers = {
                "largest change of a loss": [effect.largest for _, effect in found.values()],
                "mean change of a loss": [effect.mean for _, effect in found.values()],
                "test loss less training loss": [loss_gap(base) for base, _ in found.values()],
            }
            for series, values in numbers.items():
                value, low, high = mean_interval(values)
                low = None if low is None else max(low, min(0.0, *values))
                points.append(Point(level, value, series, low, high, panel=model))
    return points


def _stability_reading(records: Records) -> str:
    texts = []
    for model in models_of(stability_runs(records)):
        ratio = effect_ratio(records, model)
        pair = [effects(records, model, corruption) for corruption in CONDITIONS]
        if ratio is None or not all(pair):
            continue
        means = [mean_interval([effect.mean for _, effect in found.values()])[0] for found in pair]
        verdict = {True: "which separates them", False: "which does not separate them", None: "from too few runs"}
        texts.append(
            f"{means[0]:.2g} nats with true and {means[1]:.2g} with random labels for {model}, a ratio of "
            f"{spread(ratio)}, {verdict[separates(ratio)]}"
        )
    if not texts:
        return "No loss moved, or no pair of runs has ended for both kinds of labels."
    return f"Replacing one example moves a test point's loss on average by {'; '.join(texts)}."


FIGURES = (
    Figure(
        name="rademacher",
        title="How well networks follow random signs: empirical Rademacher complexity, from below",
        x=Axis("training examples, n", scale="log"),
        y=Axis("mean of σ·sign h(x)"),
        points=rademacher_points,
        reading=_rademacher_reading,
        rules=lambda records: {"every sign followed": 1.0, "a function fixed beforehand": 0.0},
    ),
    Figure(
        name="norms",
        title="Norms of the trained weights, relative to those with true labels",
        x=LEVEL,
        y=Axis("norm / norm with true labels", scale="log"),
        points=norm_points,
        reading=_norm_reading,
        rules=lambda records: {"true labels": 1.0},
    ),
    Figure(
        name="norm-and-gap",
        title="Spectral complexity over the margin, and the generalisation gap",
        x=Axis("spectral complexity · ‖X‖ / (margin · n)", scale="log"),
        y=Axis("training less test accuracy", percent=True),
        points=gap_points,
        reading=_gap_reading,
    ),
    Figure(
        name="stability",
        title="Effect of replacing one training example, for this sample and its labels",
        x=LEVEL,
        y=Axis("nats"),
        points=stability_points,
        reading=_stability_reading,
    ),
)
