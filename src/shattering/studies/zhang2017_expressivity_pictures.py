"""The pictures of zhang2017-expressivity: error, condition and accuracy against n, width against depth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from shattering.core.record import Record, Status
from shattering.core.statistics import accuracy_interval, mean_interval
from shattering.core.study import Axis, Figure, Point, Records
from shattering.studies.zhang2017 import chance
from shattering.studies.zhang2017_figures import CONDITIONS, chance_rule

DEPTHS = (2, 3, 5, 10)
MISSED = 0.5
"""An output so far from a class's number is nearer to another class."""

LEAST = 2.0**-53
"""Where an error that is zero is drawn."""

Number = Callable[[Record], float | None]


def ended(records: Records) -> list[Record]:
    """Runs that came to their end."""
    return [record for record in records if record.rows and record.status in (Status.DONE, Status.NOT_FITTED)]


def two_layers(records: Records, labels: str, *, place: float | None = None) -> list[Record]:
    """Runs of the two-layer network on such labels, thresholds where they are by default or at ``place``."""
    return [
        record
        for record in records
        if record.spec.model.name == "two_layer_memoriser"
        and record.spec.corruption.name == labels
        and record.spec.model.fields.get("place") == place
    ]


def deep(records: Records, depth: int) -> list[Record]:
    """Runs of the network of a depth."""
    return [
        record
        for record in records
        if record.spec.model.name == "deep_memoriser" and record.spec.model.fields.get("depth", 3) == depth
    ]


def largest_size(records: Records) -> int:
    """The largest n among runs that ended; 0 without any."""
    return max((size(record) for record in ended(records)), default=0)


def size(record: Record) -> int:
    """n, copies included."""
    return int(record.summary.get("train_size") or 0)


def fact(name: str) -> Number:
    """A number of the construction."""
    return lambda record: record.last.get(name)


def width_share(record: Record) -> float | None:
    """Width in multiples of n/k."""
    if "width" not in record.last:
        return None
    return record.last["width"] * record.last["depth"] / record.last["hidden_units"]


def connections_share(record: Record) -> float | None:
    """Weights of the graph in multiples of n + d."""
    if "connections" not in record.last:
        return None
    return record.last["connections"] / (record.last["hidden_units"] + record.last["features"])


def first_missed(records: Records) -> tuple[int, float, float] | None:
    """The smallest n at which float32 misses a class, with the largest weight and condition there; none if nowhere."""
    found = [
        (size(record), record.last["largest_weight"], record.last["condition"])
        for record in ended(two_layers(records, "random_labels"))
        if record.last.get("missed_float32", 0) > 0
    ]
    if not found:
        return None
    least = min(n for n, _, _ in found)
    there = [(weight, condition) for n, weight, condition in found if n == least]
    return least, max(weight for weight, _ in there), max(condition for _, condition in there)


def geometric(runs: Sequence[Record], number: Number, series: str) -> list[Point]:
    """Geometric mean over seeds of a positive number at each n, with Student's interval on its logarithm."""
    points = []
    for n in sorted({size(record) for record in ended(runs)}):
        values = [number(record) for record in ended(runs) if size(record) == n]
        logs = [math.log(max(value, LEAST)) for value in values if value is not None]
        if logs:
            mean, low, high = mean_interval(logs)
            low, high = (None if end is None else math.exp(min(max(end, -600.0), 600.0)) for end in (low, high))
            points.append(Point(n, math.exp(mean), series, low, high))
    return points


def error_points(records: Records) -> list[Point]:
    """The largest interpolation error against n, by precision and by where the thresholds lie."""
    runs = two_layers(records, "random_labels")
    half = two_layers(records, "random_labels", place=0.5)
    return [
        *geometric(runs, fact("largest_error"), "float64"),
        *geometric(half, fact("largest_error"), "float64, thresholds half-way"),
        *geometric(runs, fact("largest_error_float32"), "float32"),
        *geometric(half, fact("largest_error_float32"), "float32, thresholds half-way"),
    ]


def condition_points(records: Records) -> list[Point]:
    """Condition number, largest weight and the reciprocal of the smallest eigenvalue against n."""
    runs = two_layers(records, "random_labels")
    return [
        *geometric(runs, fact("condition"), "condition number"),
        *geometric(runs, fact("largest_weight"), "largest weight"),
        *geometric(runs, _reciprocal, "1 / smallest eigenvalue"),
    ]


def _reciprocal(record: Record) -> float | None:
    value = record.last.get("smallest_eigenvalue")
    return 1 / value if value else None


def fractions(runs: Iterable[Record], name: str, series: str, examples: str, kind: str = "") -> list[Point]:
    """Mean over seeds of a fraction of examples at each n, with its interval."""
    by_size: dict[int, list[Record]] = {}
    for record in runs:
        if name in record.last:
            by_size.setdefault(size(record), []).append(record)
    points = []
    for n, found in sorted(by_size.items()):
        count = int(found[0].summary[examples] or 1)
        values = [min(1.0, max(0.0, float(record.last[name]))) for record in found]
        mean, low, high = accuracy_interval(values, count)
        points.append(Point(n, mean, series, low, high, kind))
    return points


def accuracy_points(records: Records) -> list[Point]:
    """Training and test accuracy against n, on random and on true labels."""
    return [
        point
        for labels in ("true_labels", "random_labels")
        for kind in ("train", "test")
        for point in fractions(
            ended(two_layers(records, labels)), f"{kind}_accuracy", CONDITIONS[labels], f"{kind}_size", kind
        )
    ]


def missed_points(records: Records) -> list[Point]:
    """The share of training examples whose class is missed in float32, against n."""
    runs = ended(two_layers(records, "random_labels"))
    half = ended(two_layers(records, "random_labels", place=0.5))
    return [
        *fractions(runs, "missed_float32", "thresholds next to a point", "train_size"),
        *fractions(half, "missed_float32", "thresholds half-way", "train_size"),
    ]


def depth_points(records: Records) -> list[Point]:
    """Width and weights of the graph against depth, in the corollary's units."""
    points = []
    series: dict[str, Number] = {"width / (n/k)": width_share, "weights / (n+d)": connections_share}
    for name, number in series.items():
        for depth in DEPTHS:
            values = [value for record in ended(deep(records, depth)) if (value := number(record)) is not None]
            if values:
                mean, low, high = mean_interval(values)
                points.append(Point(depth, mean, name, low, high))
    return points


# Readings


def _last(points: Sequence[Point], series: str) -> Point | None:
    return max((point for point in points if point.series == series), key=lambda point: point.x, default=None)


def error_reading(records: Records) -> str:
    """Errors of both precisions at the largest n."""
    points = error_points(records)
    wide, narrow = _last(points, "float64"), _last(points, "float32")
    half = _last(points, "float64, thresholds half-way")
    if wide is None or narrow is None:
        return "No two-layer network has been constructed for random labels."
    beside = f" ({half.y:.1g} with thresholds half-way)" if half else ""
    return (
        f"At n = {wide.x:,.0f} the output is off by {wide.y:.1g} in float64{beside} and by {narrow.y:.1g} in float32."
    )


def condition_reading(records: Records) -> str:
    """How condition and weights grow."""
    points = condition_points(records)
    condition, weight = _last(points, "condition number"), _last(points, "largest weight")
    if condition is None or weight is None:
        return "No two-layer network has been constructed for random labels."
    text = f"At n = {condition.x:,.0f} the condition number is {condition.y:.1g} and the largest weight {weight.y:.1g}"
    first = min((point for point in points if point.series == "condition number"), key=lambda point: point.x)
    if first.x == condition.x or first.y <= 0:
        return f"{text}."
    power = math.log(condition.y / first.y) / math.log(condition.x / first.x)
    return f"{text}; the condition number grows about as n to the power {power:.1f}."


def accuracy_reading(records: Records) -> str:
    """Test accuracies at the largest n."""
    points = [point for point in accuracy_points(records) if point.kind == "test"]
    random, true = _last(points, CONDITIONS["random_labels"]), _last(points, CONDITIONS["true_labels"])
    parts = [f"{point.y:.1%} with {point.series} (n = {point.x:,.0f})" for point in (true, random) if point is not None]
    return f"Test accuracy is {' and '.join(parts)}; guessing gives {chance(records):.0%}."


def missed_reading(records: Records) -> str:
    """From which n on float32 fails."""
    missed = first_missed(records)
    if missed is None:
        return "Float32 misses no class at these sizes."
    at, weight, _ = missed
    return f"Float32 misses classes from n = {at:,} on, where the largest weight is {weight:.1g}."


def depth_reading(records: Records) -> str:
    """The largest shares."""
    points = depth_points(records)
    widths = [point.y for point in points if point.series.startswith("width")]
    weights = [point.y for point in points if point.series.startswith("weights")]
    if not widths or not weights:
        return "No deep network has been constructed."
    return f"Widths are at most {max(widths):.2f} n/k, and weights at most {max(weights):.2f} (n + d)."


SIZE = Axis("training examples, n", scale="log")

FIGURES = (
    Figure(
        name="error",
        title="How far the network's output is from the label, at worst",
        x=SIZE,
        y=Axis("largest error, in classes", scale="log"),
        points=error_points,
        reading=error_reading,
        rules=lambda records: {"a class is missed": MISSED},
    ),
    Figure(
        name="condition",
        title="Conditioning of the triangular system",
        x=SIZE,
        y=Axis("value", scale="log"),
        points=condition_points,
        reading=condition_reading,
    ),
    Figure(
        name="missed",
        title="Classes missed in float32",
        x=SIZE,
        y=Axis("training examples missed", percent=True),
        points=missed_points,
        reading=missed_reading,
    ),
    Figure(
        name="accuracy",
        title="Accuracy of networks that were never trained",
        x=SIZE,
        y=Axis("accuracy", percent=True),
        points=accuracy_points,
        reading=accuracy_reading,
        rules=chance_rule,
    ),
    Figure(
        name="depth",
        title="Width and weights of deeper networks",
        x=Axis("depth, k"),
        y=Axis("multiple of the corollary's order"),
        points=depth_points,
        reading=depth_reading,
    ),
)
