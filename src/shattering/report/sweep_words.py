"""A sweep's fields, numbers and findings in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shattering.core.sweep import FITTED
from shattering.execution.adaptive import Bracket, threshold_interval
from shattering.report.sweep import FITTING, Cell, Groups, Results, by_height, cells, is_number
from shattering.report.words import interval, number

LABELS = {
    "data.train_size": "training examples",
    "data.test_size": "test examples",
    "training.max_steps": "budget of updates",
    "training.batch_size": "batch size",
    "corruption.name": "corruption",
    "model.name": "model",
    "corruption.fields.p": "corruption level p",
}
"""Fields whose last word alone would not tell."""

NUMBERS = {
    FITTED: "share that fitted",
    FITTING: "updates to fit",
    "epochs_to_fit": "epochs to fit",
    "train_accuracy": "training accuracy",
    "test_accuracy": "test accuracy",
    "generalization_gap": "generalisation gap",
}

FRACTIONS = ("_accuracy", "_share", "_fraction", "_gap")


def label(path: str) -> str:
    """A field as a heading: ``training.learning_rate`` is ``learning rate``, ``model.fields.width`` ``model width``."""
    if path in LABELS:
        return LABELS[path]
    group, *_, last = path.split(".")
    return f"{group} {last}".replace("_", " ") if ".fields." in path else last.replace("_", " ")


def value_text(value: Any) -> str:
    """A field's value to read."""
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def place_text(place: Mapping[str, Any]) -> str:
    """``learning rate 0.1, batch size 32``; of a combination without fields ``all runs``."""
    return ", ".join(f"{label(path)} {value_text(value)}" for path, value in place.items()) or "all runs"


def number_label(name: str) -> str:
    """A measured name to read."""
    return NUMBERS.get(name, name.replace("_", " "))


def is_fraction(name: str) -> bool:
    """Whether a number is told in percent."""
    return name == FITTED or name.endswith(FRACTIONS)


def number_text(name: str, value: float | None) -> str:
    """A value of a measured number to read."""
    return number(value, "1" if is_fraction(name) else "")


def cell_text(cell: Cell, name: str) -> tuple[str, str]:
    """Value and interval of a cell's number: ``("93.1%", "[91.0%, 95.2%]")``; of a censored time ``("> 500", "")``."""
    value, low, high, _ = cell.numbers[name]
    if name in cell.bounds:
        shown = f"> {cell.bounds[name]:,.0f}" if value is None else number_text(name, value)
        return shown, "median; some did not fit"
    return number_text(name, value), interval(low, high, "1" if is_fraction(name) else "")


def counts_of(cell: Cell) -> str:
    """``17 of 20; 3 diverged``: runs that fitted, of how many, and what became of the others."""
    words = {"not_fitted": "did not fit", "diverged": "diverged", "failed": "failed", "cancelled": "not run"}
    others = [f"{cell.ended[status]:,} {word}" for status, word in words.items() if cell.ended[status]]
    return "; ".join([f"{cell.ended['done']:,} of {cell.runs:,}", *others])


def main_number(results: Results) -> str | None:
    """The number that the answer is about."""
    rule = results.sweep.more_seeds
    names = [*([rule.measure] if rule else []), "test_accuracy", "train_accuracy", *results.names]
    return next((name for name in names if name in results.names), None)


def answer(results: Results, groups: Groups) -> str:
    """What the sweep shows, in a few sentences; ``groups`` are its combinations."""
    if results.brackets:
        return threshold_answer(results)
    name = main_number(results)
    order = [] if name is None else by_height(results, name, groups)
    if name is None or not order:
        return "No run has ended yet, so there is nothing to tell."
    high, low = cells(results, [groups[order[0]], groups[order[-1]]])
    if len(order) == 1:
        shown, between = cell_text(high, name)
        return f"{number_label(name).capitalize()} is {shown} {between}".rstrip() + f" over {high.runs:,} runs."
    told = (
        f"{number_label(name).capitalize()} is highest, {_shown(high, name)}, at {place_text(high.place)}, and lowest, "
        f"{_shown(low, name)}, at {place_text(low.place)}."
    )
    top, bottom = low.numbers[name][2], high.numbers[name][1]
    if top is not None and bottom is not None and top >= bottom:
        told += " Their intervals overlap, so the order may be chance."
    if len(order) > 2:
        told += (
            f" These are the extremes of {len(order):,} combinations, so the highest tends to be too high and the "
            "lowest too low."
        )
    return told


def threshold_answer(results: Results) -> str:
    """Where the thresholds lie."""
    threshold = results.sweep.threshold
    assert threshold is not None
    lines = []
    for place, brackets in results.brackets[:6]:
        shown, between, how = bracket_text(results, brackets)
        at = f" at {place_text(place)}" if place else ""
        lines.append(f"{shown} {between}".strip() + f"{at} ({how})")
    more = len(results.brackets) - len(lines)
    rest = f"; {more} more below" if more > 0 else ""
    what = f"The {label(threshold.field)} at which ‘{threshold.met.text}’ begins or ceases to hold"
    return f"{what}: {'; '.join(lines)}{rest}."


def bracket_text(results: Results, brackets: tuple[Bracket, ...]) -> tuple[str, str, str]:
    """Mean threshold, its interval, and what became of the seeds."""
    threshold = results.sweep.threshold
    assert threshold is not None
    outcomes = [bracket.outcome for bracket in brackets]
    found = outcomes.count("found")
    others = [f"{outcomes.count(kind)} {kind}" for kind in dict.fromkeys(outcomes) if kind != "found"]
    how = "; ".join([f"{found} of {len(brackets)} seeds", *others])
    estimate = threshold_interval(brackets, threshold) if found == len(brackets) else None
    if estimate is None:
        return "–", "", how
    value, low, high = estimate
    digits = "{:,.0f}" if threshold.whole else "{:.4g}"
    between = f"[{digits.format(low)}, {digits.format(high)}]" if low is not None and high is not None else ""
    return digits.format(value), between, how


def ended_text(counts: Mapping[str, int]) -> str:
    """``17 of 20 runs fitted; 3 diverged``."""
    words = {"not_fitted": "did not fit", "diverged": "diverged", "failed": "failed", "cancelled": "not run"}
    others = ", ".join(f"{counts[status]:,} {word}" for status, word in words.items() if counts[status])
    text = f"{counts['done']:,} of {sum(counts.values()):,} runs fitted"
    return f"{text}; {others}" if others else text


def stopping_note(results: Results) -> str:
    """What must be said beside the intervals where seeds were added by looking at them."""
    rule = results.sweep.more_seeds
    if rule is None:
        return ""
    width = f"{100 * rule.half_width:g} points" if is_fraction(rule.measure) else f"{rule.half_width:g}"
    return (
        f"Seeds were added, {rule.at_least} to {rule.at_most} a combination, until the interval of the "
        f"{number_label(rule.measure)} reached at most {width} to either side. Stopping by looking at the data makes "
        "such intervals too narrow: in simulations they hold the truth 91% of the time for combinations that begin "
        "with 3 seeds, 92% with 5 and 94% with 10 or more, instead of 95%."
    )


def axis_numbers(results: Results) -> list[str]:
    """The fields that can be an axis of a picture: those with numbers alone, two or more."""
    return [
        path
        for path, values in results.runs.fields.items()
        if len(set(map(str, values))) > 1 and all(is_number(value) for value in values)
    ]


def _shown(cell: Cell, name: str) -> str:
    shown, between = cell_text(cell, name)
    return f"{shown} {between}".strip()
