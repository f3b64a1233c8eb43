"""The axes of a sweep: which values a field takes, written out, evenly spaced, or drawn at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np

from shattering.core.config import Node
from shattering.core.errors import SpecError, nearest
from shattering.core.streams import Stream, uniform_classes

MOST_RUNS = 5_000_000
"""A sweep of more is refused whatever is confirmed: its names alone would fill the memory."""

DIGITS = 6
"""Significant digits of spaced and drawn numbers: readable, and no last bit of a mathematical library is left in."""

SPACED = ("range", "spaced", "log_spaced", "log_integers")
DRAWN = ("uniform", "log_uniform", "integers", "log_integers", "choice")

Kind = Literal["grid", "zip", "sample", "seeds"]
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Axis:
    """Fields that vary together, and the values they take: one factor of a product.

    Args:
        kind: how it was asked for.
        paths: dotted fields.
        rows: one value per field each; at least one row.
        logarithmic: whether the values are spaced or drawn in the logarithm.
    """

    kind: Kind
    paths: tuple[str, ...]
    rows: tuple[Row, ...]
    logarithmic: bool = False


def axis_values(path: str, place: str, node: Node, check: Callable[[str, str, str], Any]) -> tuple[list[Any], bool]:
    """The values of an axis of a grid or a zip, and whether they are spaced in the logarithm.

    Args:
        path: the field.
        place: where it was written.
        node: a list, one value, or one of ``range: [begin, end]`` or ``[begin, end, step]`` (without the end),
            ``spaced: [low, high, count]``, ``log_spaced: [low, high, count]``, ``log_integers: [low, high, count]``.
        check: converts a written value: (field, text, place).

    Raises:
        SpecError: there is no value, or one that cannot be.
    """
    if isinstance(node, str):
        return [check(path, node, place)], False
    if isinstance(node, list):
        if not node:
            refuse("sweep-empty", place, f"{path} has no values, so there would be no run; write at least one")
        return [check(path, text, place) for text in node], False
    word, inner_place, given = _one_of(path, place, node, SPACED)
    numbers = _numbers(path, word, inner_place, given, (2, 3) if word == "range" else (3,))
    if word == "range":
        begin, end, step = (*_whole(path, inner_place, numbers), 1)[:3]
        if step == 0:
            refuse("sweep-wrong-value", inner_place, f"{path} has the step 0; give another")
        _require_some(path, inner_place, max(0, -((begin - end) // step)))
        return list(range(begin, end, step)), False
    low, high, count = numbers
    number = _whole(path, inner_place, [count])[0]
    _require_some(path, inner_place, number)
    logarithmic = word.startswith("log")
    _require_order(path, inner_place, low, high, logarithmic)
    fractions = [each / (number - 1) for each in range(number)] if number > 1 else [0.0]
    spaced = [_between(low, high, fraction, logarithmic) for fraction in fractions]
    if word == "log_integers":
        spaced = list(dict.fromkeys(round(value) for value in spaced))
    return spaced, logarithmic


def drawn_values(
    path: str, place: str, node: Node, count: int, seed: int, check: Callable[[str, str, str], Any]
) -> tuple[list[Any], bool]:
    """``count`` values drawn from the stream ``sweep PATH`` of ``seed``, and whether in the logarithm.

    Args:
        node: one of ``uniform: [low, high]``, ``log_uniform: [low, high]``, ``integers: [low, high]`` and
            ``log_integers: [low, high]`` (both ends included), ``choice: [values]``.

    Draw ``i`` takes the first two words of index ``i``: ``u = (w0 · 2²¹ + (w1 >> 11)) / 2⁵³``, of ``integers`` and
    ``choice`` the class ``(w0 · k) >> 32``.
    """
    if not isinstance(node, dict):
        told = f"{path} must say how it is drawn, such as {path}: {{log_uniform: [1e-3, 1]}}"
        refuse("sweep-wrong-value", place, told)
    word, inner_place, given = _one_of(path, place, node, DRAWN)
    words = Stream(seed, f"sweep {path}").words(np.arange(count))
    if word == "choice":
        choices = [given] if isinstance(given, str) else given
        if not isinstance(choices, list) or not choices:
            refuse("sweep-empty", inner_place, f"{path} has nothing to choose from; write choice: [A, B]")
        values = [check(path, text, inner_place) for text in choices]
        return [values[pick] for pick in uniform_classes(words[:, 0], len(values))], False
    low, high = _numbers(path, word, inner_place, given, (2,))
    logarithmic = word.startswith("log")
    _require_order(path, inner_place, low, high, logarithmic)
    if word == "integers":
        first, last = _whole(path, inner_place, [low, high])
        if last - first >= 2**32:
            refuse("sweep-wrong-value", inner_place, f"{path} has over 2**32 integers to draw from; narrow it")
        return [first + int(pick) for pick in uniform_classes(words[:, 0], last - first + 1)], False
    integral = words[:, 0].astype(np.uint64) << np.uint64(21) | words[:, 1].astype(np.uint64) >> np.uint64(11)
    fractions = (integral.astype(np.float64) / 2.0**53).tolist()
    if word == "log_integers":
        first, last = _whole(path, inner_place, [low, high])
        return [min(last, int(_between(first, last + 1, fraction, True))) for fraction in fractions], True
    return [_between(low, high, fraction, logarithmic) for fraction in fractions], logarithmic


def number_of(text: str) -> int | float | None:
    """The finite number that a text stands for, whole where it is written so; none where it is no number."""
    try:
        return int(text, 10) if "_" not in text else None
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def refuse(identifier: str, place: str, told: str) -> NoReturn:
    """Raises `SpecError`; the message begins with the place, where there is one."""
    raise SpecError(identifier, f"{place}: {told}{'' if told.endswith(('.', '?')) else '.'}".removeprefix(": "))


def is_axis(node: Node) -> bool:
    """Whether a mapping says how values are spaced or drawn, rather than having fields of its own."""
    return isinstance(node, dict) and len(node) == 1 and next(iter(node)) in {*SPACED, *DRAWN}


def _one_of(path: str, place: str, node: dict[str, Any], known: Sequence[str]) -> tuple[str, str, Node]:
    if len(node) != 1:
        told = f"{path} must have exactly one of {', '.join(known)}, and has {len(node)} keys"
        refuse("sweep-wrong-value", place, told)
    word, (inner_place, given) = next(iter(node.items()))
    if word not in known:
        refuse("sweep-unknown-key", inner_place, f"{path} knows no {word!r}; {nearest(word, list(known))}")
    return word, inner_place, given


def _numbers(path: str, word: str, place: str, given: Node, wanted: tuple[int, ...]) -> list[float]:
    if not isinstance(given, list) or len(given) not in wanted:
        counts = " or ".join(map(str, wanted))
        refuse("sweep-wrong-value", place, f"{path}: {word} takes a list of {counts} numbers")
    found = []
    for text in given:
        value = number_of(text)
        if value is None:
            refuse("sweep-wrong-value", place, f"{path}: {word} has {text!r}, which is not a finite number; mend it")
        found.append(value)
    return found


def _whole(path: str, place: str, numbers: Sequence[float]) -> list[int]:
    for value in numbers:
        if value != int(value):
            refuse("sweep-wrong-value", place, f"{path} has {value!r} where a whole number is wanted; mend it")
    return [int(value) for value in numbers]


def _require_some(path: str, place: str, count: int) -> None:
    if count < 1:
        refuse("sweep-empty", place, f"{path} has no values, so there would be no run; widen it")
    if count > MOST_RUNS:
        told = f"{path} has {count:,} values, and a sweep has at most {MOST_RUNS:,} runs; take fewer"
        refuse("sweep-too-large", place, told)


def _require_order(path: str, place: str, low: float, high: float, logarithmic: bool) -> None:
    if high < low:
        refuse("sweep-wrong-value", place, f"{path} goes from {low:g} to {high:g}; write the smaller number first")
    if logarithmic and low <= 0:
        refuse("sweep-wrong-value", place, f"{path} has no logarithm at {low:g}; begin above 0")


def _between(low: float, high: float, fraction: float, logarithmic: bool) -> float:
    if fraction in (0.0, 1.0):  # the ends as they were written
        return float(low if fraction == 0.0 else high)
    value = low * (high / low) ** fraction if logarithmic else low + (high - low) * fraction
    return float(f"{value:.{DIGITS}g}")
