"""The page of a pre-flight check; it needs no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shattering.core import io
from shattering.execution.capacity import Preflight
from shattering.report.capacity_charts import check_charts
from shattering.report.capacity_terminal import (
    ROWS,
    SOURCES,
    capacity_cells,
    check_text,
    ends_text,
    rounded,
    settings_text,
    size_cells,
)
from shattering.report.html import Picture, make_picture, render_page
from shattering.report.words import STATUSES, number, spent


def write_check(check: Preflight, found: dict[str, Any]) -> Path:
    """Writes the page, its pictures as SVG and PNG, and ``summary.json``, the object of ``--json``.

    Args:
        check: the check; its store must be open for writing.
        found: from `findings`.

    Returns:
        the path of the page.

    Raises:
        StoreError: it cannot be written.
    """
    folder = check.store.report_dir(check.plan)
    pictures = [make_picture(chart, folder) for chart in check_charts(check, found)]
    page = _page(check, found, pictures)
    io.write_file(folder / "summary.json", (json.dumps(found, indent=1, allow_nan=False) + "\n").encode())
    io.write_file(folder / "index.html", page.encode())
    return folder / "index.html"


def _page(check: Preflight, found: dict[str, Any], pictures: list[Picture]) -> str:
    computing = sum(float(record.provenance.get("seconds", 0.0)) for record in check.records)
    return render_page(
        "capacity.html",
        pictures,
        found=found,
        times=[_time(found[name], words, unit) for name, words, unit in ROWS],
        capacities=[(part["budget"], *capacity_cells(part)) for part in found["capacity"]],
        sizes=[size_cells(row) for row in found["sizes"]],
        checks=_checks(found),
        statuses=[(*STATUSES[status], count) for status, count in found["runs"].items() if count],
        settings_line=settings_text(found),
        failures=sorted({record.error["message"] for record in check.records if record.error}),
        unfinished=bool(found["runs"]["cancelled"] + found["runs"]["failed"]),
        spent=spent(computing),
        facts=check.plan.request.data,
        runs=[
            (
                record.digest,
                f"{record.spec.data.train_size or 0:,}",
                record.spec.corruption.name.replace("_", " "),
                record.spec.seed,
                f"{record.spec.training.learning_rate:g}",
                f"{record.spec.training.max_steps:,}",
                STATUSES[record.status.value][0],
                number(record.summary.get("steps_to_fit"), ""),
            )
            for record in check.records
        ],
    )


def _time(part: dict[str, Any] | None, words: str, unit: str) -> dict[str, str]:
    if part is None:
        return {"words": words, "value": "–", "interval": "–", "epochs": "–", "how": "not carried on", "check": "–"}
    least = "≥ " if part["source"] == "at least" else ""
    return {
        "words": words,
        "value": least + rounded(part["value"], unit),
        "interval": ends_text(part["low"], part["high"], unit),
        "epochs": number(part["epochs"], "") if "epochs" in part else "",
        "how": SOURCES[part["source"]],
        "check": check_text(part),
    }


def _checks(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """Every hold-out check: of what, from where, how far ahead, predicted, seen."""
    rows: list[tuple[str, ...]] = []
    for name, words, unit in ROWS:
        part = found[name]
        for held in part["holdout"] if part else ():
            rows.append(
                (
                    words,
                    f"{held['largest_used']:,}",
                    f"{held['examples']:,}",
                    f"{held['examples'] / held['largest_used']:.3g}×",
                    f"{rounded(held['predicted'], unit)} {ends_text(held['low'], held['high'], unit)}",
                    ("≥ " if held["bounds"] else "") + rounded(held["observed"], unit),
                    f"{held['factor']:.2f}×",
                    f"{held['inside']} of {held['runs']}",
                )
            )
    return rows
