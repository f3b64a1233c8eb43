"""What the records of memorisation say: claims, pictures and the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from shattering.core.curves import counted, curve, ended, estimate, holds_if, last
from shattering.core.record import Record
from shattering.core.statistics import Interval, mean_interval, ratio_interval
from shattering.core.study import Axis, Claim, Effect, Estimate, Figure, Point, Provenance, Records, label_level
from shattering.measures.time_to_fit import fit_time

INPUTS = {"true_labels": "real data", "random_labels": "random labels", "gaussian": "noise inputs"}
"""Corruptions compared, as they are called in pictures."""

HIGH = 0.9
"""Training accuracy that counts as high."""

NOISY = 0.6
"""The level of label noise at which the order of events is judged."""

Number = Callable[[Record], float | None]
Runs = Callable[[Records], list[Record]]
Found = Callable[[Records], Estimate | None]


def watched(level: float | None = None) -> Runs:
    """Networks under label noise whose critical samples were counted."""

    def runs(records: Records) -> list[Record]:
        found = [record for record in records if "critical_samples" in record.spec.measures.names]
        return found if level is None else [record for record in found if label_level(record.spec) == level]

    return runs


def simulated_on(name: str, corruption: str, **fields: object) -> Runs:
    """Runs of a simulation on one kind of data; ``fields`` not given in a run are false."""

    def runs(records: Records) -> list[Record]:
        return [
            record
            for record in records
            if record.spec.model.name == name
            and record.spec.corruption.name == corruption
            and all(record.spec.model.fields.get(field, False) == value for field, value in fields.items())
        ]

    return runs


def _networks(records: Records) -> list[Record]:
    return [record for record in records if record.spec.model.name == "mlp"]


def fitting(corruption: str) -> Runs:
    """Networks that were trained until they fitted."""

    def runs(records: Records) -> list[Record]:
        return [r for r in _networks(records) if _stops(r) and r.spec.corruption.name == corruption]

    return runs


def dropped(corruption: str, rate: float) -> Runs:
    """Networks of the dropout experiment."""

    def runs(records: Records) -> list[Record]:
        plain = [r for r in _networks(records) if not _stops(r) and r.spec.measures.every_epochs == 0]
        found = [r for r in plain if r.spec.corruption.name == corruption]
        return [record for record in found if float(record.spec.model.fields.get("dropout", 0.0)) == rate]

    return runs


def _stops(record: Record) -> bool:
    return record.spec.training.stop_when_fitted


def _width(record: Record) -> int:
    return int(record.spec.model.fields.get("width", 0))


def geometric(values: Sequence[float]) -> Interval:
    """The geometric mean with its interval."""
    return ratio_interval(values, [1.0] * len(values))


def best(record: Record) -> dict[str, float | int] | None:
    """The snapshot with the highest test accuracy, the first of several; none without one."""
    rows = [row for row in record.rows if "test_accuracy" in row and row["step"] > 0]
    return max(rows, key=lambda row: row["test_accuracy"]) if rows else None


def order_of_events(record: Record) -> float | None:
    """Updates until the training accuracy is high, over those until the test accuracy is at its best."""
    peak = best(record)
    high = next((row["step"] for row in record.rows if row.get("train_accuracy", 0.0) >= HIGH), None)
    return None if peak is None or not high else high / peak["step"]


def lost(record: Record) -> float | None:
    """The best test accuracy less the last."""
    peak = best(record)
    return None if peak is None else float(peak["test_accuracy"] - record.last["test_accuracy"])


def climb(record: Record) -> float | None:
    """How far the critical sample ratio rises after the test accuracy was at its best."""
    peak = best(record)
    if peak is None or "critical_sample_ratio" not in peak:
        return None
    return float(record.last["critical_sample_ratio"] - peak["critical_sample_ratio"])


def _by_seed(runs: Records, number: Number) -> dict[int, tuple[Record, float]]:
    found = ((record, number(record)) for record in ended(runs))
    return {record.spec.seed: (record, value) for record, value in found if value is not None}


def paired(first: Runs, second: Runs, number: Number, *, ratio: bool = False) -> Found:
    """A number of one kind of run less that of another, or their ratio, in pairs of one seed."""

    def found(records: Records) -> Estimate | None:
        a, b = (_by_seed(runs(records), number) for runs in (first, second))
        seeds = [seed for seed in a if seed in b]
        values = [(a[seed][1], b[seed][1]) for seed in seeds if not ratio or min(a[seed][1], b[seed][1]) > 0]
        if not values:
            return None
        interval = ratio_interval(*zip(*values, strict=True)) if ratio else mean_interval([x - y for x, y in values])
        digests = tuple(side[seed][0].digest for seed in seeds for side in (a, b))
        considered = [*first(records), *second(records)]
        return Estimate(*interval, digests, len(considered), counted(considered, 2 * len(values)))

    return found


def correlation(records: Records) -> Estimate | None:
    """Spearman's correlation over levels of noise with the final critical sample ratio, within each seed."""
    groups: dict[int, list[tuple[float, float, Record]]] = {}
    for record in ended(watched()(records)):
        value, level = last("critical_sample_ratio")(record), label_level(record.spec)
        if value is not None and level is not None:
            groups.setdefault(record.spec.seed, []).append((level, value, record))
    found = [_spearman([row[:2] for row in rows]) for rows in groups.values() if len(rows) > 2]
    if not found:
        return None
    digests = tuple(row[2].digest for rows in groups.values() for row in rows if len(rows) > 2)
    return Estimate(*mean_interval(found), digests, len(watched()(records)))


def _spearman(pairs: Sequence[tuple[float, float]]) -> float:
    ranks = [[_rank(value, column) for value in column] for column in zip(*pairs, strict=True)]
    middle = (len(pairs) - 1) / 2
    covariance = sum((a - middle) * (b - middle) for a, b in zip(*ranks, strict=True))
    spread = math.prod(sum((rank - middle) ** 2 for rank in column) for column in ranks)
    return covariance / math.sqrt(spread) if spread else 0.0


def _rank(value: float, column: Sequence[float]) -> float:
    return sum(other < value for other in column) + (sum(other == value for other in column) - 1) / 2


def slope(runs: Records) -> float | None:
    """Of log updates to fit on log examples, by least squares; none below two sizes."""
    points = [
        (math.log(record.spec.data.train_size or 1), math.log(found.steps))
        for record in ended(runs)
        if (found := fit_time(record)) is not None and not found.censored and found.steps
    ]
    if len({x for x, _ in points}) < 2:
        return None
    middle = sum(x for x, _ in points) / len(points)
    return sum((x - middle) * y for x, y in points) / sum((x - middle) ** 2 for x, _ in points)


def steeper(noise: str) -> Found:
    """The slope of the time to fit noise less that to fit real data, within each seed."""

    def found(records: Records) -> Estimate | None:
        values, used = [], []
        kinds = fitting(noise)(records), fitting("true_labels")(records)
        for seed in sorted({record.spec.seed for kind in kinds for record in kind}):
            own = [[record for record in kind if record.spec.seed == seed] for kind in kinds]
            slopes = [slope(runs) for runs in own]
            if slopes[0] is not None and slopes[1] is not None:
                values.append(slopes[0] - slopes[1])
                used += [record.digest for runs in own for record in runs]
        considered = sum(map(len, kinds))
        return Estimate(*mean_interval(values), tuple(used), considered) if values else None

    return found


def gain(level: float) -> Number:
    """What the widest network gains over the narrowest is told by `capacity`; this is one network's best accuracy."""

    def number(record: Record) -> float | None:
        peak = best(record)
        return None if peak is None or label_level(record.spec) != level else float(peak["test_accuracy"])

    return number


def of_width(which: Callable[[Sequence[int]], int], level: float) -> Runs:
    """Networks under label noise of the narrowest or widest kind."""

    def runs(records: Records) -> list[Record]:
        found = [r for r in _networks(records) if not _stops(r) and r.spec.measures.every_epochs > 0]
        found = [record for record in found if label_level(record.spec) == level]
        chosen = which([_width(record) for record in found]) if found else 0
        return [record for record in found if _width(record) == chosen]

    return runs


def capacity(records: Records) -> Estimate | None:
    """What the widest network gains over the narrowest in best test accuracy, at 80% noise less at none; by seed."""
    sides = {}
    for level in (0.8, 0.0):
        wide, narrow = (_by_seed(of_width(which, level)(records), gain(level)) for which in (max, min))
        sides[level] = {s: (wide[s][1] - narrow[s][1], (wide[s][0], narrow[s][0])) for s in wide if s in narrow}
        if any(a[0].digest == a[1].digest for _, a in sides[level].values()):
            return None
    seeds = [seed for seed in sides[0.8] if seed in sides[0.0]]
    if not seeds:
        return None
    used = tuple(record.digest for seed in seeds for level in sides for record in sides[level][seed][1])
    return Estimate(*mean_interval([sides[0.8][s][0] - sides[0.0][s][0] for s in seeds]), used, len(used))


def _of(runs: Runs, number: Number, interval: Callable[[Sequence[float]], Interval] = mean_interval) -> Found:
    return lambda records: estimate(runs(records), number, interval=interval)


def _below(found: Found, statement: str, bound: float) -> Effect:
    def holds(records: Records) -> bool | None:
        ours = found(records)
        if ours is None or ours.low is None or ours.high is None:
            return None
        return True if ours.high < bound else False if ours.low >= bound else None

    return Effect(statement, holds)


def _claim(source: str, quantity: str, found: Found, effect: Effect, unit: str = "1") -> Claim:
    provenance: Provenance = "Q-text"
    return Claim(source, quantity, None, 0.0, unit, provenance, "mnist", found, effect)


def _above(source: str, quantity: str, found: Found, statement: str, bound: float, unit: str = "1") -> Claim:
    return _claim(source, quantity, found, holds_if(found, statement, above=bound), unit)


EASY, GINI = "first_epoch_easiness", partial(simulated_on, "loss_sensitivity", own_class=False)
PEAK = "Label noise"
CRITICAL = "Critical sample ratio"
DIFFICULT = "Easy examples, first epoch"
SENSITIVE = "Loss sensitivity"
TIMES = "Time to convergence"
DROPOUT = "Regularisers, dropout"

REAL, RANDOM_INPUTS, RANDOM_LABELS = (
    _of(simulated_on(EASY, name), last("excess_variance")) for name in ("true_labels", "gaussian", "random_labels")
)

CLAIMS = (
    _above(PEAK, f"time to {HIGH:.0%} training accuracy over time to the best test accuracy, 60% noise",
           _of(watched(NOISY), order_of_events, geometric), "the best comes first", 1.0, "x"),
    _above(PEAK, "best test accuracy less the last, 60% noise", _of(watched(NOISY), lost),
           "what was learned is lost", 0.0),
    _claim(f"{PEAK}: control", "best test accuracy less the last, true labels", _of(watched(0.0), lost),
           _below(_of(watched(0.0), lost), "less than two points are lost", 0.02)),
    _above(CRITICAL, "rank correlation with the level of noise", correlation, "the interval above 0.8", 0.8, ""),
    _above(CRITICAL, "critical samples at 80% noise less at none", paired(
        watched(0.8), watched(0.0), last("critical_sample_ratio")), "noise has more of them", 0.0),
    _above(CRITICAL, "rise after the best test accuracy, 60% noise", _of(watched(NOISY), climb), "it climbs on", 0.0),
    _above(DIFFICULT, "variance over examples, as a multiple of the binomial, real data", REAL,
           "at least three", 3.0, "x"),
    _claim(f"{DIFFICULT}: control", "variance over examples, as a multiple of the binomial, noise inputs",
           RANDOM_INPUTS, _below(RANDOM_INPUTS, "at most 1.5", 1.5), "x"),
    _above(DIFFICULT, "that multiple for real data less for random labels", paired(
        simulated_on(EASY, "true_labels"), simulated_on(EASY, "random_labels"), last("excess_variance")),
        "random labels lie in between", 0.0, "x"),
    _above(DIFFICULT, "that multiple for random labels less for noise inputs", paired(
        simulated_on(EASY, "random_labels"), simulated_on(EASY, "gaussian"), last("excess_variance")),
        "random labels lie in between", 0.0, "x"),
    _above(SENSITIVE, "Gini coefficient on real data less on noise inputs", paired(
        GINI("true_labels"), GINI("gaussian"), last("gini")), "few real examples matter most", 0.0, ""),
    _above(SENSITIVE, "Gini coefficient on real data less with random labels", paired(
        GINI("true_labels"), GINI("random_labels"), last("gini")), "few real examples matter most", 0.0, ""),
    *(
        _above(TIMES, f"slope of log time to fit on log examples, {INPUTS[name]} less real data", steeper(name),
               "time grows faster on noise", 0.0, "")
        for name in ("random_labels", "gaussian")
    ),
    _above("Capacity", "what 256 units gain over 16 in best test accuracy, at 80% noise less at none",
           capacity, "noise needs more capacity", 0.0),
    _above(DROPOUT, "training accuracy on random labels without dropout less with", paired(
        dropped("random_labels", 0.0), dropped("random_labels", 0.5), last("train_accuracy")),
        "at least 20 points of memorising are gone", 0.2),
    _above(f"{DROPOUT}: control", "test accuracy after true labels, with dropout less without", paired(
        dropped("true_labels", 0.5), dropped("true_labels", 0.0), last("test_accuracy")),
        "at most two points of learning are gone", -0.02),
)  # fmt: skip


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
           _reading((_of(watched(NOISY), lost), "At 60% noise {:.1%} of test accuracy is lost after its best."),
                    (correlation, "The rank correlation of noise with critical samples is {:.2f}."))),
    Figure("easiness", "How often an example is right after one epoch", Axis("examples, hardest first", percent=True),
           Axis("frequency of being right", percent=True), _easiness,
           _reading((REAL, "The variance over examples is {:.1f} times the binomial on real data"),
                    (RANDOM_LABELS, "and {:.1f} times with random labels,"),
                    (RANDOM_INPUTS, "{:.1f} times on noise inputs."))),
    Figure("sensitivity", "Who holds the loss sensitivity", Axis("examples, least important first", percent=True),
           Axis("part of all sensitivity", percent=True), _sensitivity,
           _reading((_of(GINI("true_labels"), last("gini")), "The Gini coefficient is {:.3f} on real data,"),
                    (_of(GINI("random_labels"), last("gini")), "{:.3f} with random labels and"),
                    (_of(GINI("gaussian"), last("gini")), "{:.3f} on noise inputs."))),
    Figure("times", "Time to fit every example", Axis("training examples", "log"), Axis("updates", "log"), _times,
           _reading((steeper("random_labels"), "On random labels the slope is {:+.2f} above that on real data,"),
                    (steeper("gaussian"), "on noise inputs {:+.2f}."))),
)  # fmt: skip


def answer(records: Records) -> str:
    """Whether noise was fitted like real data."""
    found = (
        (_of(watched(NOISY), order_of_events, geometric),
         "At 60% label noise the training accuracy is high {:.1f} times as late as the test accuracy is at its best."),
        (paired(watched(0.8), watched(0.0), last("critical_sample_ratio")),
         "At 80% noise {:.0%} more of the test examples have another class close by than at none."),
    )  # fmt: skip
    told = " ".join(part for estimate_of, text in found if (part := _said(records, estimate_of, text)))
    return told or "The runs that would answer have not ended. Run the same command again to go on."
