"""Hyper-parameters: every field a run used, those common to all runs told once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from shattering.core.plan import Plan
from shattering.core.spec import RunSpec
from shattering.report.words import seeds_text
from shattering.simulations.registry import DRAWN, is_simulation

NONE_MEANS = {
    "data.train_size": "all",
    "data.test_size": "all",
    "data.crop": "none (whole image)",
    "training.decay_steps": "one epoch",
    "measures.gradient_examples": "all",
}
UNUSED = "not used"
_APART = ("version", "seed", "stream_seeds", "data.fingerprint", "model.source", "model.name", "corruption.name")


@dataclass(frozen=True)
class Settings:
    """The settings of a plan.

    Args:
        common: (field, value) pairs that hold for every run.
        heads: the fields that vary, in order.
        rows: per distinct model, corruption and settings: the values of ``heads``, then seeds, then number of runs.
    """

    common: tuple[tuple[str, str], ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def settings(plan: Plan) -> Settings:
    """Every field of the plan's specs; runs that differ by their seeds alone share a row."""
    groups: dict[str, list[RunSpec]] = {}
    for spec in plan.specs:
        groups.setdefault(json.dumps(_used(spec), sort_keys=True), []).append(spec)
    used = {key: _used(specs[0]) for key, specs in groups.items()}
    fields = list(dict.fromkeys(name for values in used.values() for name in values))
    varying = [
        name for name in fields if name in ("model", "corruption") or len({v.get(name) for v in used.values()}) > 1
    ]
    common = tuple((name, next(iter(used.values()))[name]) for name in fields if name not in varying)
    rows = tuple(
        (*(used[key].get(name, _absent(name)) for name in varying), _seeds(specs), str(len(specs)))
        for key, specs in groups.items()
    )
    return Settings(common, (*varying, "seeds", "runs"), rows)


def model_text(spec: RunSpec) -> str:
    """The model's name with those of its fields that are not at their default."""
    return with_fields(spec.model.name, spec.model.fields)


def corruption_text(spec: RunSpec) -> str:
    """The corruption's name with its fields."""
    return with_fields(spec.corruption.name, spec.corruption.fields)


def selection_text(spec: RunSpec) -> str:
    """Which examples of another run were trained on; the whole set or subset where none were selected."""
    chosen = spec.selection
    return "none" if chosen is None else chosen_text(chosen.part, chosen.column, chosen.fraction, chosen.held_out)


def start_text(spec: RunSpec) -> str:
    """Which weights of which run a run began with, back to the first; none where its own were drawn."""
    start = spec.start
    if start is None:
        return "none"
    when = "the end" if start.step is None else f"step {start.step}"
    before = "" if start.parent.start is None else f", which began with: {start_text(start.parent)}"
    return f"{with_fields(start.transform, start.fields)} from {when} of {start.parent.digest[:8]}{before}"


def chosen_text(part: str, column: str, fraction: float, held_out: float) -> str:
    """Which examples of a parent run a selection takes."""
    which = "a random" if part == "random" else f"the {part}"
    ranked = "" if part == "random" else f" by {column}"
    return f"{which} {fraction:.0%}{ranked} of a parent run's examples, {held_out:.0%} of it held out"


def with_fields(name: str, fields: dict[str, Any]) -> str:
    """``name (field=value, …)``; the name alone where there are no fields."""
    return f"{name} ({', '.join(f'{key}={value}' for key, value in fields.items())})" if fields else name


def _used(spec: RunSpec) -> dict[str, str]:
    """Every field that tells runs apart, seeds aside, as text; one that has no effect says so."""
    values: dict[str, str] = {"model": model_text(spec), "corruption": corruption_text(spec)}
    values["selection"] = selection_text(spec)
    if spec.start is not None:
        values["start"] = _round_text(spec)
    for group, part in spec.model_dump(mode="json", exclude={"selection", "start"}).items():
        if not isinstance(part, dict) or group == "stream_seeds":
            continue
        for name, value in part.items():
            path = f"{group}.{name}"
            if path not in _APART and name != "fields":
                values[path] = _text(path, value)
    if is_simulation(spec.model.name):
        return {path: value for path, value in values.items() if not _idle(path, spec)}
    training = spec.training
    if training.optimizer != "sgd":
        values["training.momentum"] = UNUSED
    if training.schedule == "constant":
        values["training.decay"] = values["training.decay_steps"] = UNUSED
    if training.gradient != "winsorized":
        values["training.winsorize"] = UNUSED
    return values


def _idle(path: str, spec: RunSpec) -> bool:
    """Whether a simulation has no use for a field: the plan trains nothing for it, and some of them read no data."""
    group = path.partition(".")[0]
    return (
        group in ("training", "measures")
        or path in ("model.batch", "model.returns")
        or (group == "data" and spec.data.name == DRAWN.name)
    )


def _absent(name: str) -> str:
    """What is printed where a run has not got a field that others have."""
    return UNUSED if name.partition(".")[0] in ("data", "training", "measures") else "none"


def _round_text(spec: RunSpec) -> str:
    """How a run began, told without the names of runs, so that runs that differ by their seeds alone are alike."""
    start, rounds = spec.start, 1
    assert start is not None
    parent = start.parent
    while parent.start is not None:
        parent, rounds = parent.start.parent, rounds + 1
    when = "the end" if start.step is None else f"step {start.step}"
    return f"{with_fields(start.transform, start.fields)} from {when} of another run, {rounds} after the first"


def _text(path: str, value: Any) -> str:
    if value is None:
        return NONE_MEANS.get(path, "none")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"


def _seeds(specs: list[RunSpec]) -> str:
    text = seeds_text([spec.seed for spec in specs])
    own = {purpose for spec in specs for purpose in spec.stream_seeds}
    for purpose in sorted(own):
        text += f"; {purpose}: {seeds_text([spec.seed_of(purpose) for spec in specs])}"
    return text
