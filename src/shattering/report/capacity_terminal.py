"""What a pre-flight check found, as text."""

from __future__ import annotations

from typing import Any

from shattering.report.terminal import new_table, printed
from shattering.report.words import number

SOURCES = {
    "measured": "measured",
    "extrapolated": "carried on from subsets",
    "at least": "did not fit; at least this many",
    "bisection": "found by bisection",
    "unknown": "unknown",
}
"""How a number came about, in words."""

ROWS = (("real", "real labels", "updates"), ("random", "random labels", "updates"), ("ratio", "random ÷ real", "x"))
"""Name in the findings, name for people, unit."""


def render_check(found: dict[str, Any]) -> str:
    """The answer, the times for the whole data, capacities, what was seen, and where the report lies."""
    from rich.text import Text

    parts: list[Any] = [Text(f"{found['answer']}\n")]
    if found["random"] or found["real"]:
        parts += [_times(found), Text("")]
    if found["capacity"]:
        parts += [_capacities(found), Text("")]
    if found["sizes"]:
        parts += [_sizes(found), Text("")]
    lines = [f"- {note}" for note in found["notes"]] + [settings_text(found), found["counts"]]
    parts.append(Text("\n".join(lines)))
    copied = [f"report: {found['report']}"]
    if found["runs"]["cancelled"] + found["runs"]["failed"] and found["command"]:
        copied.insert(0, f"continue with: {found['command']}")
    return "\n".join([printed(*parts).rstrip("\n"), *copied, ""])


def settings_text(found: dict[str, Any]) -> str:
    """How the runs were trained, in one line."""
    settings = found["settings"]
    rate = settings["learning_rate"]
    optimizer = settings["optimizer"].upper() if settings["optimizer"] == "sgd" else settings["optimizer"].capitalize()
    told = f"{optimizer}, " + ("no learning rate found" if rate is None else f"learning rate {rate:g} throughout")
    return (
        f"{told}, batches of {settings['batch_size']}; a subset is fitted, or shattered, at "
        f"{100 * settings['fit_accuracy']:g}% training accuracy; {settings['seeds']} seeds."
    )


def ends_text(low: float | None, high: float | None, unit: str) -> str:
    """``[9,100, 14,000]``, a dash where there is no interval."""
    if low is None or high is None:
        return "–"
    return f"[{rounded(low, unit)}, {rounded(high, unit)}]"


def rounded(value: float, unit: str) -> str:
    """A time or a ratio with as many digits as it deserves."""
    if unit == "x":
        return f"{value:.2g}×" if value < 100 else f"{value:,.0f}×"
    return f"{value:.3g}" if value < 100 else f"{float(f'{value:.3g}'):,.0f}"


def check_text(part: dict[str, Any]) -> str:
    """The hold-out check in short: ``4,096 from 2,048: 590 predicted, 560 seen``."""
    if not part["holdout"]:
        return "–"
    held = part["holdout"][0]
    least = "≥ " if held["bounds"] else ""
    return (
        f"n = {held['examples']:,}: {rounded(held['predicted'], 'updates')} predicted, "
        f"{least}{rounded(held['observed'], 'updates')} seen ({held['factor']:.2f}×)"
    )


def _times(found: dict[str, Any]) -> Any:
    table = new_table()
    table.add_column(f"to fit all {found['n']:,}", no_wrap=True)
    table.add_column("updates", justify="right", no_wrap=True)
    table.add_column("95% interval", justify="right", no_wrap=True)
    table.add_column("held-out check", ratio=1)
    for name, words, unit in ROWS:
        part = found[name]
        if part is None:
            table.add_row(words, "–", "–", "not carried on")
            continue
        least = "≥ " if part["source"] == "at least" else ""
        table.add_row(
            words,
            least + rounded(part["value"], unit),
            ends_text(part["low"], part["high"], unit),
            SOURCES[part["source"]] if part["source"] != "extrapolated" else check_text(part),
        )
    return table


def _capacities(found: dict[str, Any]) -> Any:
    table = new_table()
    table.add_column("within", no_wrap=True)
    table.add_column("random labels shattered", justify="right", no_wrap=True)
    table.add_column("between", justify="right", no_wrap=True)
    table.add_column("how", ratio=1)
    for part in found["capacity"]:
        table.add_row(f"{part['budget']:,} updates", *capacity_cells(part))
    return table


def capacity_cells(part: dict[str, Any]) -> tuple[str, str, str]:
    """Number of examples, the ends it lies between, and how that is known."""
    if part["examples"] is None:
        return "–", "–", SOURCES["unknown"]
    how = SOURCES[part["source"]]
    if part["source"] == "bisection":
        how += f", {len(part['seeds'])} seed{'' if len(part['seeds']) == 1 else 's'}"
    whole = "the whole data: " if part["whole"] else "about "
    return f"{whole}{part['examples']:,}", f"[{part['low']:,}, {part['high']:,})", how


def _sizes(found: dict[str, Any]) -> Any:
    table = new_table()
    for head in ("trained on", "real labels", "random labels", "ratio", "fitted"):
        table.add_column(head, justify="right", ratio=1)
    for row in found["sizes"]:
        table.add_row(*size_cells(row))
    return table


def size_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A size, its mean times, their ratio, and how many of its runs fitted."""
    real, random = row["real"], row["random"]
    times = [time_text(kind) for kind in (real, random)]
    both = real["steps"] and random["steps"]
    fitted, runs = real["fitted"] + random["fitted"], real["runs"] + random["runs"]
    ratio = number(random["steps"] / real["steps"], "x") if both else "–"
    return f"{row['examples']:,}", *times, ratio, f"{fitted} of {runs}"


def time_text(kind: dict[str, Any]) -> str:
    """The geometric mean of times, ``≥`` where some are only lower bounds."""
    if kind["steps"] is None:
        return "–"
    least = "≥ " if any(each["censored"] for each in kind["each"]) else ""
    return f"{least}{rounded(kind['steps'], 'updates')}"
