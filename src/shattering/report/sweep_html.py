"""The page of a sweep and its summary; the page needs no network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shattering.core import io
from shattering.core.plan import Plan
from shattering.report.html import make_picture, render_page
from shattering.report.summary import REPORT_FILE
from shattering.report.sweep import Cell, Groups, Results, by_height, cells, combinations, gather_sweep, is_number
from shattering.report.sweep_charts import sweep_charts
from shattering.report.sweep_words import (
    answer,
    bracket_text,
    cell_text,
    counts_of,
    ended_text,
    label,
    main_number,
    number_label,
    stopping_note,
    value_text,
)
from shattering.report.words import STATUSES, seeds_text, spent
from shattering.store.store import Store

MOST_ROWS = 120
"""Of a table; a sweep of more combinations is told of field by field."""

MOST_LISTED = 2000
"""Combinations in the summary, the rest are in the store."""

EXTREMES = 10
CLASSES = 10


@dataclass(frozen=True)
class Table:
    """A table of a sweep's numbers.

    Args:
        title: what its rows are.
        heads: of the fields.
        numbers: of the measured numbers.
        rows: (values of the fields, counts, value and interval of each number) triples.
    """

    title: str
    heads: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[tuple[tuple[str, ...], str, tuple[tuple[str, str], ...]], ...]


def write_sweep(store: Store, plan: Plan, *, seconds: float = 0.0) -> Path:
    """Writes the report of a sweep; the same store gives the same page, byte for byte.

    Beside the page lie ``figures/NAME.svg`` and ``.png``, and ``summary.json``, the object of ``--json``.

    Args:
        store: where the records are; it must be open for writing.
        plan: the sweep's; it may be unfinished.
        seconds: wall time of the command, for ``summary.json`` alone.

    Returns:
        the path of the page.

    Raises:
        StoreError: it cannot be written.
    """
    results = gather_sweep(store, plan)
    folder = store.report_dir(plan)
    summary = summary_of(results, store, seconds)
    pictures = [make_picture(chart, folder) for chart in sweep_charts(results)]
    counts = results.runs.counts
    page = render_page(
        "sweep.html",
        pictures,
        plan=plan,
        sweep=results.sweep,
        summary=summary,
        tables=sweep_tables(results),
        thresholds=threshold_rows(results),
        threshold=results.sweep.threshold,
        threshold_label=label(results.sweep.threshold.field) if results.sweep.threshold else "",
        note=stopping_note(results),
        axes=axis_rows(results),
        common=common_rows(results),
        statuses=[(*STATUSES[status], f"{count:,}") for status, count in counts.items() if count],
        unfinished=bool(counts["cancelled"] + counts["failed"]),
        facts=plan.request.data,
        spent=spent(results.runs.seconds),
        declared=json.dumps(results.sweep.tree, indent=2, ensure_ascii=False),
    )
    io.write_file(folder / "summary.json", (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode())
    io.write_file(folder / REPORT_FILE, page.encode())
    return folder / REPORT_FILE


def summarise_sweep(store: Store, plan: Plan, *, seconds: float = 0.0) -> dict[str, Any]:
    """What became of a sweep, JSON-able.

    Returns:
        ``study`` (``sweep-NAME``), ``sweep`` (name), ``scale``, ``data``, ``store``, ``report`` (path of the page),
        ``runs`` (count by status, summing to the runs asked for), ``counts`` (the same in words), ``answer``,
        ``claims`` (empty), ``fields`` (those that vary), ``numbers``, ``combinations`` (how many), ``cells`` (of at
        most 2,000 combinations, those with the highest main number where there are more: ``place``, ``runs``,
        ``numbers`` with ``value``, ``low``, ``high``, ``runs``),
        ``thresholds`` (``place``, ``value``, ``low``, ``high``, ``seeds`` with ``seed``, ``below``, ``above``,
        ``outcome``), ``note``, ``command``, ``seconds``.
    """
    return summary_of(gather_sweep(store, plan), store, seconds)


def summary_of(results: Results, store: Store, seconds: float) -> dict[str, Any]:
    """`summarise_sweep` for what has already been gathered."""
    plan = results.plan
    groups = combinations(results.runs, results.axes)
    name = main_number(results)
    listed: Groups = groups
    if len(groups) > MOST_LISTED and name is not None:
        listed = [groups[place] for place in by_height(results, name, groups)[:MOST_LISTED]]
    found = cells(results, listed[:MOST_LISTED])
    counts = results.runs.counts
    return {
        "study": plan.study,
        "sweep": results.sweep.name,
        "scale": plan.request.scale,
        "data": plan.request.data.name,
        "store": str(store.root),
        "report": str(store.report_dir(plan) / REPORT_FILE),
        "runs": counts,
        "counts": ended_text(counts),
        "answer": answer(results, groups),
        "claims": [],
        "fields": list(results.axes),
        "numbers": list(results.names),
        "combinations": len(groups),
        "cells": [_cell_tree(cell) for cell in found],
        "thresholds": [_threshold_tree(results, place, brackets) for place, brackets in results.brackets],
        "note": stopping_note(results),
        "command": plan.command,
        "seconds": seconds,
    }


def sweep_tables(results: Results) -> list[Table]:
    """One table of all combinations; where there are too many, the extremes, and one table for each field."""
    groups = combinations(results.runs, results.axes)
    if len(groups) <= MOST_ROWS:
        return [_table(results, "Every combination", results.axes, cells(results, groups))]
    tables = []
    name = main_number(results)
    if name is not None:
        order = by_height(results, name, groups)[:EXTREMES]
        title = f"The {len(order)} combinations with the highest {number_label(name)}, of {len(groups):,}"
        tables.append(_table(results, title, results.axes, cells(results, [groups[place] for place in order])))
    for path in results.axes:
        title = f"By {label(path)}, over all values of the other fields"
        tables.append(_table(results, title, (path,), cells(results, _classes(results, path))))
    return tables


def threshold_rows(results: Results) -> list[dict[str, Any]]:
    """The thresholds of every combination, each seed's bracket beside them."""
    rows = []
    for place, brackets in results.brackets:
        value, between, how = bracket_text(results, brackets)
        digits = "{:,.0f}" if results.sweep.threshold and results.sweep.threshold.whole else "{:.4g}"
        each = [
            f"seed {bracket.seed}: "
            + (
                f"{digits.format(bracket.below)} to {digits.format(bracket.above)}"
                if bracket.below is not None and bracket.above is not None
                else bracket.outcome
            )
            for bracket in brackets
        ]
        rows.append(
            {
                "place": [value_text(v) for v in place.values()],
                "heads": [label(path) for path in place],
                "value": value,
                "between": between,
                "how": how,
                "each": each,
            }
        )
    return rows


def axis_rows(results: Results) -> list[tuple[str, str, str]]:
    """What was varied: field, its dotted name, and its values."""
    rows = []
    for path in results.axes:
        distinct = [place[path] for place, _ in combinations(results.runs, [path])]
        shown = [value_text(value) for value in distinct]
        if len(shown) > 12:
            told = (
                f"{shown[0]} to {shown[-1]}, {len(shown):,} values"
                if all(map(is_number, distinct))
                else (f"{', '.join(shown[:8])}, … ({len(shown):,} values)")
            )
        else:
            told = ", ".join(shown)
        rows.append((label(path), path, told))
    seeds = sorted(set(results.runs.seeds))
    rows.append(("seed", "seed", seeds_text(seeds) if len(seeds) <= 10_000 else f"{seeds[0]} to {seeds[-1]}"))
    return rows


def common_rows(results: Results) -> list[tuple[str, str]]:
    """The fields that all runs share."""
    apart = {"selection", "start", "stream_seeds", "version", "seed"}
    tree = results.plan.specs[0].model_dump(mode="json", exclude=apart)
    rows = []
    for group, part in tree.items():
        for name, value in part.items():
            path = f"{group}.{name}"
            if path in results.axes or path in ("data.fingerprint", "model.source"):
                continue
            if name == "fields":
                rows += [
                    (f"{path}.{key}", value_text(inner))
                    for key, inner in value.items()
                    if f"{path}.{key}" not in results.axes
                ]
            else:
                text = ", ".join(value) if isinstance(value, list) else "none" if value is None else value_text(value)
                rows.append((path, text))
    return rows


def _classes(results: Results, path: str) -> list[tuple[dict[str, Any], Any]]:
    """The runs by one field; where it has very many numbers, by classes of about equal size."""
    groups = combinations(results.runs, [path])
    values = [place[path] for place, _ in groups]
    if len(groups) <= 3 * CLASSES or not all(map(is_number, values)):
        return list(groups[:MOST_ROWS])
    merged = []
    for chosen in np.array_split(np.arange(len(groups)), CLASSES):
        rows = np.concatenate([groups[place][1] for place in chosen])
        merged.append(({path: f"{value_text(values[chosen[0]])} to {value_text(values[chosen[-1]])}"}, rows))
    return merged


def _table(results: Results, title: str, paths: tuple[str, ...], found: list[Cell]) -> Table:
    rows = tuple(
        (
            tuple(value_text(cell.place[path]) for path in paths),
            counts_of(cell),
            tuple(cell_text(cell, name) for name in results.names),
        )
        for cell in found
    )
    return Table(title, tuple(map(label, paths)), tuple(map(number_label, results.names)), rows)


def _cell_tree(cell: Cell) -> dict[str, Any]:
    numbers: dict[str, dict[str, Any]] = {}
    for name, (value, low, high, count) in cell.numbers.items():
        numbers[name] = {"value": value, "low": low, "high": high, "runs": count}
        if name in cell.bounds:
            numbers[name]["longest"] = cell.bounds[name]
    return {
        "place": dict(cell.place),
        "runs": {"asked": cell.runs, **cell.ended},
        "numbers": numbers,
    }


def _threshold_tree(results: Results, place: dict[str, Any], brackets: Any) -> dict[str, Any]:
    from shattering.execution.adaptive import threshold_interval

    threshold = results.sweep.threshold
    assert threshold is not None
    estimate = threshold_interval(brackets, threshold)
    value, low, high = estimate if estimate is not None else (None, None, None)
    seeds = [
        {"seed": b.seed, "below": b.below, "above": b.above, "outcome": b.outcome, "probes": len(b.probes)}
        for b in brackets
    ]
    _, _, how = bracket_text(results, brackets)
    return {
        "how": how,
        "place": place,
        "field": threshold.field,
        "value": value,
        "low": low,
        "high": high,
        "seeds": seeds,
    }
