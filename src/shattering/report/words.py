"""Numbers, verdicts and statuses as they are printed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shattering.core.plan import Plan

VERDICTS: dict[str, tuple[str, str]] = {
    "reproduced": ("good", "our 95% interval lies inside the band around the paper's number"),
    "not reproduced": ("bad", "our 95% interval lies outside the band around the paper's number"),
    "inconclusive": ("open", "our interval crosses the edge of the band, or there are too few runs for an interval"),
    "not run": ("none", "no run here bears on the number"),
    "effect reproduced": ("good", "the direction, order or ratio holds here; the number itself is not compared"),
    "effect not reproduced": ("bad", "the direction, order or ratio does not hold here"),
    "effect inconclusive": ("open", "the runs cannot tell, or the claim has no effect to judge at this scale"),
}
"""Verdict to its tone (a class of the style sheet) and its meaning."""

STATUSES: dict[str, tuple[str, str]] = {
    "done": ("fitted", "reached the fit criterion"),
    "not_fitted": ("did not fit", "spent its budget of steps; the time to fit is known to be longer"),
    "diverged": ("diverged", "met a loss that is not finite; its last finite values are kept"),
    "failed": ("failed", "stopped by an error; the next run tries again"),
    "cancelled": ("not run", "planned, but interrupted or not begun"),
}
"""Status to its word and its meaning."""


def number(value: float | None, unit: str) -> str:
    """A number with its unit: ``97.3%``, ``2.65×``, ``1,200 steps``; a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if unit == "1":
        return percent(value)
    if unit == "x":
        return f"{value:.3g}×"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text} {unit}" if unit else text


def percent(value: float) -> str:
    """A fraction in percent, one decimal, or as many as it takes not to round to 0 or 100; at most four."""
    for decimals in (1, 2, 3, 4):
        text = f"{100 * value:.{decimals}f}"
        if float(text) not in (0.0, 100.0) or value in (0.0, 1.0):
            break
    return f"{text}%"


def published(value: float | None, unit: str) -> str:
    """The paper's number with the decimals it has there."""
    if value is None:
        return "stated"
    return f"{round(100 * value, 4):g}%" if unit == "1" else number(value, unit)


def half_width(value: float, unit: str) -> str:
    """How far a band reaches to either side; of fractions in percentage points: ``0.5 points``."""
    return f"{round(100 * value, 4):g} points" if unit == "1" else number(value, unit)


def interval(low: float | None, high: float | None, unit: str) -> str:
    """``[96.1%, 98.4%]``; ``exact`` where both ends are one number; nothing where there is none."""
    if low is None or high is None:
        return ""
    shown = unit if unit in ("1", "x") else ""  # the number beside it has the unit
    return "exact" if low == high else f"[{number(low, shown)}, {number(high, shown)}]"


def ours_head(plan: Plan, claim_data: Sequence[str]) -> str:
    """Head of our column, saying where it departs from the paper: ``ours (digits stand-in, small scale)``."""
    remarks = []
    name = plan.request.data.name
    if name not in claim_data:
        remarks.append(f"{name} stand-in")
    if plan.request.scale != "paper":
        remarks.append(f"{plan.request.scale} scale")
    if plan.overrides:
        remarks.append("own settings")
    return f"ours ({', '.join(remarks)})" if remarks else "ours"


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds with runs of neighbours joined: ``0–4, 7``."""
    groups: list[list[int]] = []
    for seed in sorted(set(seeds)):
        if groups and seed == groups[-1][1] + 1:
            groups[-1][1] = seed
        else:
            groups.append([seed, seed])
    return ", ".join(str(low) if low == high else f"{low}–{high}" for low, high in groups)


def duration(minutes: float) -> str:
    """A time that somebody set, as it was typed: ``10 s``, ``90 s``, ``10 min``, ``2 h``."""
    seconds = round(60 * minutes, 3)
    if seconds % 60:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 7200 or seconds % 3600 else f"{seconds / 3600:g} h"


def spent(seconds: float) -> str:
    """A duration: ``8.1 s``, ``3.5 min``, ``2.0 h``."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
