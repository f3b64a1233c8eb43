"""What a sweep is: which runs, over which fields, and what is decided on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from shattering.core.axes import Axis
from shattering.core.study import Scale

FITTED = "fitted"
"""The event that a run met its fit criterion; as a number, the share of runs that did."""


@dataclass(frozen=True)
class Condition:
    """What must hold of a run: that it fitted, or that one of its numbers is large or small enough.

    Args:
        measure: `FITTED`, or a number of the record (``test_accuracy``, ``steps_to_fit``).
        sense: how it is compared; empty for `FITTED`.
        value: with what.
    """

    measure: str
    sense: Literal["", ">=", "<=", ">", "<"] = ""
    value: float = 0.0

    def holds(self, number: float) -> bool:
        """Whether a measured number meets it."""
        match self.sense:
            case ">=":
                return number >= self.value
            case "<=":
                return number <= self.value
            case ">":
                return number > self.value
            case _:
                return number < self.value

    @property
    def text(self) -> str:
        """As it is written."""
        return f"{self.measure} {self.sense} {self.value:g}" if self.sense else self.measure


@dataclass(frozen=True)
class MoreSeeds:
    """Seeds are added to a combination until the interval of a number is narrow enough.

    Args:
        at_least: seeds to begin with, 3 or more.
        at_most: seeds to end with.
        measure: the number, or `FITTED` for the share of runs that fitted.
        half_width: the interval may reach so far to either side, in the number's unit.
    """

    at_least: int
    at_most: int
    measure: str
    half_width: float


@dataclass(frozen=True)
class Threshold:
    """The value of a field at which a condition begins or ceases to hold, found by bisection for each seed.

    Args:
        field: dotted name of a field that takes numbers.
        low, high: where it is looked for.
        met: the condition; it must hold at one of the ends and not at the other.
        seeds: how many, each bisected on its own.
        within: the ends of a bracket are at most this fraction of the lower one apart.
        whole: whether the field takes whole numbers only.
    """

    field: str
    low: float
    high: float
    met: Condition
    seeds: int
    within: float
    whole: bool


@dataclass(frozen=True)
class Sweep:
    """A sweep as declared; nothing of it has been resolved.

    Args:
        name: of its report.
        study: whose runs are the bases; none: the one spec that ``base`` describes.
        scale, models, data: as for ``run``.
        base: fields set on every run.
        axes: what is combined, the last one fastest; seeds are not among them.
        seeds: number of seeds; none: the study's own, or one.
        more_seeds: the rule by which seeds are added.
        threshold: what is bisected.
        runs_at_most: runs that need no confirmation; none: the command's own limit.
        tree: what was written, as a JSON-able mapping that `parse_sweep` reads.
    """

    name: str
    study: str | None = None
    scale: Scale = "small"
    models: tuple[str, ...] = ()
    data: str | None = None
    base: dict[str, Any] = field(default_factory=dict)
    axes: tuple[Axis, ...] = ()
    seeds: int | None = None
    more_seeds: MoreSeeds | None = None
    threshold: Threshold | None = None
    runs_at_most: int | None = None
    tree: dict[str, Any] = field(default_factory=dict)

    @property
    def combinations(self) -> int:
        """Combinations of the axes, repetitions included, seeds and bases not."""
        product = 1
        for axis in self.axes:
            product *= len(axis.rows)
        return product

    @property
    def decides(self) -> bool:
        """Whether later runs follow from earlier ones."""
        return self.more_seeds is not None or self.threshold is not None
