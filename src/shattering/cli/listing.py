"""``shattering list``: what there is to choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from shattering.cli.options import COMMON, Common
from shattering.cli.output import emit, emit_json

Kind = Literal["studies", "models", "simulations", "measures", "corruptions", "transforms", "datasets", "checks"]

Entry = dict[str, Any]


def list_registered(kind: Kind | None = None, /, *, common: Common = COMMON) -> None:
    """List studies, models, simulations, measures, corruptions, transforms of weights, data sets or checks of an audit.

    Parameters
    ----------
    kind
        What to list; without it, the studies and how to go on.
    """
    entries = LISTERS[kind or "studies"]()
    if common.json:
        emit_json({kind or "studies": entries})
        return
    lines = [_told(entry) for entry in entries] or [f"There are no {kind or 'studies'}."]
    if kind is None:
        others = "|".join(other for other in LISTERS if other != "studies")
        lines.append("\nRun one:    shattering run STUDY    (any unique beginning of its name)")
        lines.append(f"List more:  shattering list {others}")
    emit("\n".join(lines))


def _told(entry: Entry) -> str:
    """The name, and indented below it whatever else is known."""
    lines = [entry["name"]]
    for key, value in entry.items():
        if key == "name" or not value:
            continue
        text = ", ".join(value) if isinstance(value, list) else str(value).replace("``", "")
        label = {"fields": "fields: ", "datasets": "data sets: ", "test_set": "test set: "}.get(key, "")
        lines.append(f"    {label}{text}")
    return "\n".join(lines)


def _studies() -> list[Entry]:
    from shattering.core.study import studies

    return [
        {
            "name": name,
            "paper": study.paper.cite,
            "title": study.paper.title,
            "question": study.question,
            "datasets": list(study.datasets),
        }
        for name, study in studies
    ]


def _models() -> list[Entry]:
    from shattering.learners.registry import learners
    from shattering.models.registry import models

    networks = [
        {"name": name, "summary": entry.summary, "paper": entry.paper, "fields": _names(entry.fields)}
        for name, entry in models
    ]
    at_once = [
        {
            "name": name,
            "summary": f"{entry.summary} (fitted at once)",
            "paper": entry.paper,
            "fields": _names(entry.fields),
        }
        for name, entry in learners
    ]
    return sorted(networks + at_once, key=lambda entry: str(entry["name"]))


def _simulations() -> list[Entry]:
    from shattering.simulations.registry import simulations

    return [
        {"name": name, "summary": entry.summary, "paper": entry.paper, "fields": _names(entry.fields)}
        for name, entry in simulations
    ]


def _measures() -> list[Entry]:
    from shattering.measures.registry import measures

    return [{"name": name, "summary": entry.summary, "paper": entry.paper} for name, entry in measures]


def _corruptions() -> list[Entry]:
    from shattering.corruptions.registry import corruptions

    return [
        {
            "name": name,
            "summary": entry.summary,
            "paper": entry.paper,
            "test_set": entry.test_set,
            "fields": _names(entry.fields),
        }
        for name, entry in corruptions
    ]


def _transforms() -> list[Entry]:
    from shattering.transforms.registry import transforms

    return [
        {"name": name, "summary": entry.summary, "paper": entry.paper, "fields": _names(entry.fields)}
        for name, entry in transforms
    ]


def _datasets() -> list[Entry]:
    from shattering.data.dataset import datasets

    return [{"name": name, "summary": entry.summary, "where": entry.where} for name, entry in datasets]


def _checks() -> list[Entry]:
    from shattering.checks.registry import checks

    ranked = sorted(checks, key=lambda pair: pair[1].rank)
    return [{"name": name, "summary": check.question, "paper": check.paper} for name, check in ranked]


def _names(fields: tuple[Any, ...]) -> list[str]:
    return [entry.name for entry in fields]


LISTERS: dict[Kind, Callable[[], list[Entry]]] = {
    "studies": _studies,
    "models": _models,
    "simulations": _simulations,
    "measures": _measures,
    "corruptions": _corruptions,
    "transforms": _transforms,
    "datasets": _datasets,
    "checks": _checks,
}
