"""The page of an audit: the answer first, then the evidence; it needs no network."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shattering.core import io
from shattering.core.finding import Answer, Chart, Column, Gallery, Shown, Table, bounded_percent
from shattering.core.study import Figure
from shattering.core.words import plural
from shattering.data.dataset import Dataset, Splits
from shattering.data.images import encode_png
from shattering.execution.audit import Audit
from shattering.report.audit import LEVELS
from shattering.report.audit_terminal import counts_text, training_text, value_cells
from shattering.report.charts import draw
from shattering.report.html import Picture, make_picture, render_page
from shattering.report.summary import REPORT_FILE
from shattering.report.words import duration, percent, spent

THUMBNAIL = 64
"""Side of an example's picture, pixels; larger ones are made smaller before they are put into the page."""

SHOWN_FEATURES = 12
"""Of an example that is no image, so many numbers are shown."""


def write_audit(audit: Audit, found: dict[str, Any]) -> Path:
    """Writes the page, its pictures as SVG and PNG, and ``summary.json``, the object of ``--json``.

    Args:
        audit: the audit; its store must be open for writing.
        found: from `audit_findings`.

    Returns:
        the path of the page.

    Raises:
        StoreError: it cannot be written.
    """
    folder = audit.store.report_dir(audit.plan)
    pictures: list[Picture] = []
    sections = [_section(answer, audit, folder, pictures) for answer in audit.answers]
    page = render_page(
        "audit.html",
        pictures,
        own_scripts=("audit.js",),
        found=found,
        budget=duration(found["budget_minutes"]),
        sections=sections,
        levels=[(tone, word, meaning) for tone, word, meaning in LEVELS.values()],
        training=training_text(found["training"]),
        counts=counts_text(found),
        facts=audit.prepared.planned.plan.request.data,
        classes=audit.subject.classes,
    )
    io.write_file(folder / "summary.json", (json.dumps(found, indent=1, allow_nan=False) + "\n").encode())
    io.write_file(folder / REPORT_FILE, page.encode())
    return folder / REPORT_FILE


def _section(answer: Answer, audit: Audit, folder: Path, pictures: list[Picture]) -> dict[str, Any]:
    splits, classes = audit.subject.splits, audit.subject.classes
    findings = []
    for finding in answer.findings:
        tone, word, _ = LEVELS[finding.level]
        value, ends = value_cells(
            {name: getattr(finding, name) for name in ("value", "low", "high", "unit", "p_value")}
        )
        trained, seconds = finding.cost.runs, finding.cost.seconds
        cost = f"{plural(trained, 'training')}, {spent(seconds)}" if trained else "no training"
        findings.append({"finding": finding, "tone": tone, "word": word, "value": value, "ends": ends, "cost": cost})
    exhibits: list[dict[str, Any]] = []
    for exhibit in answer.exhibits:
        match exhibit:
            case Table():
                exhibits.append({"kind": "table", "table": exhibit, "rows": _rows(exhibit, splits)})
            case Gallery():
                shown = [_shown(example, splits, classes) for example in exhibit.examples]
                exhibits.append({"kind": "gallery", "gallery": exhibit, "examples": shown})
            case Chart():
                drawn = draw(_figure(exhibit, answer.check), [])
                if drawn is not None:
                    pictures.append(make_picture(drawn, folder))
                    exhibits.append({"kind": "chart", "place": len(pictures)})
    return {"answer": answer, "findings": findings, "exhibits": exhibits}


def _figure(chart: Chart, check: str) -> Figure:
    return Figure(
        name=f"{check}-{chart.name}",
        title=chart.title,
        x=chart.x,
        y=chart.y,
        points=lambda records: list(chart.points),
        reading=lambda records: chart.reading,
        rules=lambda records: dict(chart.rules),
    )


def _rows(table: Table, splits: Splits) -> list[list[dict[str, Any]]]:
    """Cells with what they are sorted by; an example is shown as a small picture where it is one."""
    return [
        [_cell(value, column, splits) for value, column in zip(row, table.columns, strict=True)] for row in table.rows
    ]


def _cell(value: Any, column: Column, splits: Splits) -> dict[str, Any]:
    if value is None:
        return {"text": "–", "key": "", "image": ""}
    if column.kind in ("percent", "probability"):
        text = percent(float(value)) if column.kind == "percent" else bounded_percent(float(value))
        return {"text": text, "key": repr(float(value)), "image": ""}
    if column.kind == "number":
        number = float(value)
        text = f"{number:,.0f}" if number == int(number) else f"{number:.3g}"
        return {"text": text, "key": repr(number), "image": ""}
    if column.kind == "example":
        return {"text": f"{int(value)}", "key": str(int(value)), "image": _thumbnail(splits.train, int(value))}
    return {"text": str(value), "key": str(value), "image": ""}


def _shown(example: Shown, splits: Splits, classes: Sequence[str]) -> dict[str, Any]:
    split = splits.train if example.split == "train" else splits.test
    return {
        "caption": example.caption,
        "index": example.index,
        "split": example.split,
        "label": classes[example.label],
        "suggestion": "" if example.suggestion is None else classes[example.suggestion],
        "image": _thumbnail(split, example.index),
        "row": "" if split.is_image else _features(split, example.index),
        "related": [_related(other, index, splits, classes) for other, index in example.related],
    }


def _related(name: Literal["train", "test"], index: int, splits: Splits, classes: Sequence[str]) -> dict[str, Any]:
    split = splits.train if name == "train" else splits.test
    return {
        "split": name,
        "index": index,
        "label": classes[int(split.labels[index])],
        "image": _thumbnail(split, index),
        "row": "" if split.is_image else _features(split, index),
    }


def _thumbnail(split: Dataset, index: int) -> str:
    """The example as base64 of a PNG, at most `THUMBNAIL` pixels wide and high; empty where it is no image."""
    if not split.is_image:
        return ""
    pixels = split.inputs[index].astype(np.float64)
    scaled = pixels * (255.0 / split.divisor)
    if split.divisor == 1.0:  # floats of any range: stretched for display
        low, high = float(pixels.min()), float(pixels.max())
        scaled = (pixels - low) * (255.0 / (high - low)) if high > low else np.zeros_like(pixels)
    step = max(1, -(-max(scaled.shape[:2]) // THUMBNAIL))
    small = np.clip(np.rint(scaled[::step, ::step]), 0, 255).astype(np.uint8)
    if small.shape[2] not in (1, 3):
        small = small[:, :, :1]
    return base64.b64encode(encode_png(small)).decode()


def _features(split: Dataset, index: int) -> str:
    values = np.asarray(split.inputs[index]).reshape(-1)
    shown = ", ".join(f"{value:.3g}" for value in values[:SHOWN_FEATURES])
    return shown + (f", … ({len(values)} numbers)" if len(values) > SHOWN_FEATURES else "")
