"""What test error does as networks grow: where they fit their training set, and the peak that may stand there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shattering.core.record import Record

EPSILON = 0.1
"""Training error up to which examples count as fitted in the effective model complexity; Nakkiran et al.'s (2019)."""


def width_of(record: Record) -> float:
    """The model's field ``width``; the standard one where it is left out."""
    return float(record.spec.model.fields.get("width", 512 if record.spec.model.name == "mlp_1x512" else 64))


def final_error(record: Record) -> float:
    """Test error at the end."""
    return 1 - float(record.last["test_accuracy"])


def least_error(record: Record) -> float:
    """The smallest test error on the way: early stopping by an oracle that looks at the test set."""
    return min(1 - accuracy for accuracy in record.trajectory("test_accuracy")[1])


def threshold(runs: Sequence[Record]) -> float | None:
    """The smallest width with a training error below 1%; none where there is none."""
    return min((width_of(record) for record in runs if record.last["train_accuracy"] > 0.99), default=None)


def _by_width(runs: Sequence[Record], error: Callable[[Record], float]) -> list[tuple[float, float]]:
    return sorted((width_of(record), error(record)) for record in runs)


def largest_climb(
    runs: Sequence[Record], error: Callable[[Record], float] = final_error
) -> tuple[float, float, float] | None:
    """The largest rise of an error from one width to a larger one.

    Args:
        runs: one of each width.
        error: of a run.

    Returns:
        The rise, at least 0 and 0 where the error only falls; the width it ends at, the peak; the error there. None
        where there are fewer than two widths.
    """
    points = _by_width(runs, error)
    climbs = [(max(b - a, 0.0), width, b) for i, (_, a) in enumerate(points) for width, b in points[i + 1 :]]
    return max(climbs, default=None)


def rise(runs: Sequence[Record], error: Callable[[Record], float] = final_error) -> float | None:
    """The height of `largest_climb`."""
    climb = largest_climb(runs, error)
    return None if climb is None else climb[0]


def fall(runs: Sequence[Record]) -> float | None:
    """From the peak of test error to the largest width; 0 where the peak is there."""
    climb, points = largest_climb(runs), _by_width(runs, final_error)
    return None if climb is None else climb[2] - points[-1][1]


def place_of_peak(runs: Sequence[Record]) -> float | None:
    """The peak's width over the smallest that fits the training set."""
    climb, first = largest_climb(runs), threshold(runs)
    return None if climb is None or first is None else climb[1] / first


def complexity(runs: Sequence[Record], width: float) -> float | None:
    """Effective model complexity of a width, as far as the sizes at hand resolve it.

    The largest training set of which the network gets all but 10% right (Nakkiran et al. 2019, Definition of effective
    model complexity), among those of ``runs``; 0 where it is none of them, none where the width was not run.
    """
    own = [record for record in runs if width_of(record) == width]
    sizes = [record.spec.data.train_size or 0 for record in own if record.last["train_accuracy"] >= 1 - EPSILON]
    return float(max(sizes, default=0)) if own else None
