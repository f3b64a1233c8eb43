"""What an audit answers with: findings, each with its interval, method, caveats and cost, and the evidence for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shattering.core.study import Axis, Point

Level = Literal["good", "note", "warning", "unknown"]
"""How a finding is to be read: nothing to do; worth knowing; worth acting on; it could not be told."""

Cell = float | int | str | bool | None


@dataclass(frozen=True)
class Cost:
    """What an answer took.

    Args:
        runs: trainings that it rests on.
        seconds: their time, added up over processes; runs that several checks share count for each.
    """

    runs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Finding:
    """One line of an audit.

    Args:
        check: the check that found it.
        name: stable identifier, such as ``label_noise_rate``.
        statement: the answer in one sentence, for somebody who reads nothing else.
        value: the number; none where it could not be told.
        unit: ``"1"`` for a fraction, ``"steps"`` …; empty for a plain number.
        low, high: ends of the 95% interval; none where there is none.
        n: how many things the number is about or rests on, as ``method`` says.
        method: how it was obtained, in one sentence, with its source.
        caveats: what limits it.
        level: how it is to be read.
        p_value: of a test, never 0; none where it is no test.
        cost: what it took.
    """

    check: str
    name: str
    statement: str
    value: float | None
    unit: str
    low: float | None
    high: float | None
    n: int
    method: str
    caveats: tuple[str, ...] = ()
    level: Level = "note"
    p_value: float | None = None
    cost: Cost = Cost()


def bounded_percent(probability: float) -> str:
    """An estimated probability in percent, between ``<0.1%`` and ``>99.9%``: no estimate is surer than that."""
    text = f"{probability:.1%}"
    return {"0.0%": "<0.1%", "100.0%": ">99.9%"}.get(text, text)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        title: with its unit.
        kind: how its cells are printed and sorted; a ``probability`` is an estimated one, printed by `bounded_percent`.
    """

    title: str
    kind: Literal["text", "number", "percent", "probability", "example"] = "text"


@dataclass(frozen=True)
class Table:
    """Rows that can be sorted and filtered.

    Args:
        name: file stem.
        title: what it lists.
        columns: what its cells are; a cell of kind ``example`` is the index of a training example.
        rows: cells in the columns' order.
        reading: one sentence that says what the table means.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    reading: str


@dataclass(frozen=True)
class Chart:
    """A picture: the marks of `shattering.core.study.Figure`, computed.

    Args:
        name: file stem.
        title: what it shows.
        x, y: the axes.
        points: the marks.
        reading: one sentence that says what the picture means.
        rules: horizontal reference lines, name to height.
    """

    name: str
    title: str
    x: Axis
    y: Axis
    points: tuple[Point, ...]
    reading: str
    rules: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Shown:
    """An example that the report shows, as an image or as a row.

    Args:
        split: where it stands.
        index: its place in the whole split.
        caption: what is to be said below it.
        label: its class.
        suggestion: the class that it looks like; none where that is its own or is not known.
        related: (split, index) of examples to be shown beside it, such as those that it helps.
    """

    split: Literal["train", "test"]
    index: int
    caption: str
    label: int
    suggestion: int | None = None
    related: tuple[tuple[Literal["train", "test"], int], ...] = ()


@dataclass(frozen=True)
class Gallery:
    """A grid of examples.

    Args:
        name: file stem.
        title: what they have in common.
        examples: the most telling first.
        reading: one sentence that says what to look for.
    """

    name: str
    title: str
    examples: tuple[Shown, ...]
    reading: str


Exhibit = Table | Chart | Gallery


@dataclass(frozen=True)
class Answer:
    """What a check found.

    Args:
        check: its name.
        question: what it asks.
        findings: the most important first; where nothing could be told, one of level ``unknown`` that says why.
        exhibits: the evidence.
    """

    check: str
    question: str
    findings: tuple[Finding, ...]
    exhibits: tuple[Exhibit, ...] = ()
