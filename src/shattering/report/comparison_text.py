"""The comparison of papers with stores as text: a table per study, a line per run, and what the verdicts mean."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from shattering.report.comparison import MIXED, NUMBERS
from shattering.report.terminal import TONES, line_width, printed
from shattering.report.words import VERDICTS, interval, number, published

if TYPE_CHECKING:
    from rich.text import Text

HEADS = ("paper", "run", "ours", "95% interval", "verdict")
RIGHT = (True, False, True, True, False)
"""Which of the columns are aligned on the right."""

NARROW = 20
"""Where fewer columns are left for the quantity, it stands on a line of its own."""

Cells = tuple[str, ...]


def render_comparison(comparison: dict[str, Any]) -> str:
    """The comparison as text: per paper its studies, per study its runs and its claims; totals and meanings follow."""
    from rich.text import Text

    if not comparison["studies"]:
        return "\n".join([*comparison["left_aside"], "There is nothing to compare.", ""])
    width = line_width()
    page = Text("")
    for paper in comparison["papers"]:
        _wrapped(page, f"{paper['paper']}: {paper['title']}", width, style="bold")
        page.append("\n")
        for study in comparison["studies"]:
            if study["study"] in paper["studies"]:
                _study(page, comparison, study, width)
    for sentence in comparison["left_aside"]:
        page.append(f"{sentence}\n")
    if len(comparison["studies"]) > 1:
        for paper in comparison["papers"]:
            number_of = len(paper["studies"])
            among = f"{paper['paper']}, {number_of} {'study' if number_of == 1 else 'studies'}"
            _wrapped(page, f"{among}: {_counts(paper)}", width, style="bold")
        page.append("\n")
    _meanings(page, comparison, width)
    return printed(page, wrap=False)


def _study(page: Text, comparison: dict[str, Any], study: dict[str, Any], width: int) -> None:
    summaries = comparison["summaries"]
    _wrapped(page, f"{study['study']}: {study['question']}", width, style="bold cyan")
    for place in study["summaries"]:
        summary = summaries[place]
        _wrapped(page, f"({place + 1}) {summary['setting']}: {summary['counts']}", width, indent=2, hang=4)
        page.append(f"      store {summary['store']}\n", style="dim")
    if not study["summaries"]:
        page.append(f"  not run; begin with: shattering run {study['study']}\n")
    _wrapped(page, _counts(study), width, indent=2)
    page.append("\n")
    claims = _in_order([claim for claim in comparison["claims"] if claim["study"] == study["study"]])
    effects = _effects(claims)
    rows = [(claim, _cells(claim, study["summaries"], effects)) for claim in claims]
    _table(page, rows, width)
    if effects:
        page.append("\n  Effects judged:\n")
    for statement, letter in effects.items():
        _wrapped(page, f"({letter}) {statement}", width, indent=2, hang=4)
    page.append("\n")


def _table(page: Text, rows: Sequence[tuple[dict[str, Any], list[Cells]]], width: int) -> None:
    """A heading per source, a line per quantity and run; a blank line between parts of the paper."""
    if not rows:
        return
    lines = [HEADS, *(cells for _, several in rows for cells in several)]
    widths = [max(len(cells[column]) for cells in lines) for column in range(len(HEADS))]
    room = width - sum(widths) - 2 * len(widths) - 2
    longest = max(len(claim["quantity"]) for claim, _ in rows)
    stacked = room < min(NARROW, longest)
    label = 3 if stacked else min(room, max(longest, len("claim") - 2))
    head = "" if stacked else "claim"
    page.append(f"{head:<{label + 2}}" + _line(HEADS, widths) + "\n", style="bold")
    rule = label + 2 + sum(widths) + 2 * len(widths)
    page.append("─" * rule + "\n", style="dim")
    source = ""
    for claim, several in rows:
        if claim["source"] != source:
            if source and _part(claim["source"]) != _part(source):
                page.append("\n")
            source = claim["source"]
            _wrapped(page, source, width, hang=2)
        _claim(page, claim["quantity"], several, label, widths, width if stacked else 0)


def _in_order(claims: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The claims with those of one table or figure together, and within it those of one source, else as they come."""
    parts = list(dict.fromkeys(_part(claim["source"]) for claim in claims))
    sources = list(dict.fromkeys(claim["source"] for claim in claims))
    return sorted(claims, key=lambda claim: (parts.index(_part(claim["source"])), sources.index(claim["source"])))


def _part(source: str) -> str:
    """The table, figure or section: what stands before the first colon or comma."""
    return re.split("[:,]", source)[0]


def _claim(page: Text, quantity: str, several: list[Cells], label: int, widths: list[int], own_line: int) -> None:
    """A quantity with its lines; on a line of its own where ``own_line``, the columns for that, is not 0."""
    if own_line:
        _wrapped(page, quantity, own_line, indent=2)
    left = [] if own_line else textwrap.wrap(quantity, label)
    for text, cells in zip_longest(left, several):
        page.append(f"  {text or '':<{label}}")
        if cells is not None:
            verdict = cells[-1]
            page.append(_line(cells, widths).rstrip().removesuffix(verdict))
            page.append(verdict, style=TONES.get(verdict.partition(" (")[0], "yellow"))
        page.append("\n")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(
        "  " + (cell.rjust(width) if right else cell.ljust(width))
        for cell, width, right in zip(cells, widths, RIGHT, strict=True)
    )


def _cells(claim: dict[str, Any], places: Sequence[int], effects: dict[str, str]) -> list[Cells]:
    """The paper's number, and per run ours with its interval and verdict; a single line where none bears on it."""
    unit = claim["unit"]
    found = [(place, claim["results"][place]) for place in places]
    theirs = published(claim["published"], unit)
    if any(result["verdict"] in NUMBERS for _, result in found):
        theirs += f" ±{round(100 * claim['tolerance'], 4) if unit == '1' else claim['tolerance']:g}"
    if all(result["verdict"] == "not run" for _, result in found):
        return [(theirs, "–", "–", "", "not run")]
    lines: list[Cells] = []
    for place, result in found:
        letter = effects.get(claim["effect"]) if result["verdict"].startswith("effect") else None
        lines.append(
            (
                "" if lines else theirs,
                f"({place + 1})",
                number(result["ours"], unit),
                interval(result["low"], result["high"], unit),
                result["verdict"] + (f" ({letter})" if letter else ""),
            )
        )
    return lines


def _effects(claims: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Every effect that was judged, with a letter to refer to it by."""
    judged = dict.fromkeys(
        claim["effect"]
        for claim in claims
        for result in claim["results"]
        if claim["effect"] and result is not None and result["verdict"].startswith("effect")
    )
    return {statement: _letter(place) for place, statement in enumerate(judged)}


def _letter(place: int) -> str:
    """a, b, …, z, aa, ab, …"""
    head, tail = divmod(place, 26)
    return (_letter(head - 1) if head else "") + "abcdefghijklmnopqrstuvwxyz"[tail]


def _counts(group: dict[str, Any]) -> str:
    """``of 58 claims: 21 effect reproduced, 33 not run``."""
    told = ", ".join(f"{count} {word}" for word, count in group["verdicts"].items())
    return f"of {group['claims']} claim{'' if group['claims'] == 1 else 's'}: {told}" if told else "no claims"


def _meanings(page: Text, comparison: dict[str, Any], width: int) -> None:
    found = {result["verdict"] for claim in comparison["claims"] for result in claim["results"] if result is not None}
    found |= {claim["verdict"] for claim in comparison["claims"]}
    for word, (_, meaning) in VERDICTS.items():
        if word in found:
            _wrapped(page, f"{word}: {meaning}", width, hang=2)
    if MIXED in found:
        _wrapped(page, f"{MIXED}: runs equally close to the paper's disagree; each is told above", width, hang=2)
    if any(word.startswith("effect") for word in found):
        _wrapped(page, "(a), (b) …: which effect, told below the table", width, hang=2)
    if any(len(study["summaries"]) > 1 for study in comparison["studies"]):
        told = "A claim with several runs is counted once, by those closest to the paper's: its scale, then its data."
        _wrapped(page, told, width)


def _wrapped(page: Text, text: str, width: int, *, indent: int = 0, hang: int = 0, style: str = "") -> None:
    lines = textwrap.wrap(text, width, initial_indent=" " * indent, subsequent_indent=" " * (indent + hang))
    page.append("".join(f"{line}\n" for line in lines), style=style)
