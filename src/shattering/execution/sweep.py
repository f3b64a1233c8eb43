"""From a sweep's file to runs: every value is checked once, and a run's name follows from what it is made of."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from shattering.core.axes import MOST_RUNS, Axis, number_of
from shattering.core.errors import SpecError
from shattering.core.lattice import DEFAULT, Block, Lattice, Part, text_of
from shattering.core.plan import Plan
from shattering.core.spec import RunSpec, override, parse_spec
from shattering.core.study import Paper, Request, Study, bare_study, find_study
from shattering.core.sweep import FITTED, Sweep
from shattering.execution.adaptive import Decider, most_runs
from shattering.execution.driver import Engine
from shattering.execution.local import run_jobs
from shattering.execution.plan import (
    EMBEDDED,
    Planned,
    require_device,
    require_feasible,
    require_knowledge,
    require_own_data,
    resolved,
    resolved_corruption,
    resolved_model,
    resolved_training,
    with_sources,
)
from shattering.execution.study import Outcome, run_missing
from shattering.simulations.registry import is_simulation, simulated
from shattering.store.store import Store

CONFIRM_ABOVE = 10_000
"""Runs; a sweep of more must be confirmed, or its file must say ``runs_at_most``."""

JOINT = ("model.name", "measures.names", "compute.dtype", "training.gradient")
"""Fields that are checked against each other."""

FEASIBLE = ("data", "training.batch_size")
"""Fields that are checked against the data."""

MOST_CHECKED = 2000
"""Combinations of such fields that are looked at; where there are more, each of their values was still checked."""

Choice = tuple[int, ...]


def plan_sweep(
    sweep: Sweep,
    *,
    data_dir: Path | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    yes: bool = False,
    command: str = "",
) -> Planned:
    """Plans a sweep; nothing is written and nothing trained.

    Args:
        sweep: from `read_sweep` or `parse_sweep`.
        data_dir: where to look for named data first.
        device: ``cpu`` or ``cuda``.
        yes: whether more than 10,000 runs, or more than the file's ``runs_at_most``, are meant.
        command: what to type to continue.

    Raises:
        SpecError, DataError, ModelError, StoreError: what is wrong with the request, the data, the user's model, or the
            machine.
    """
    from shattering.data.load import load_data

    require_device(device)
    study = None if sweep.study is None else find_study(sweep.study)
    axes = _factors(sweep, study)
    _require_size(sweep, axes, 1, yes)  # before anything is read
    require_knowledge(sweep.models, {})
    data = sweep.data or (EMBEDDED if study is None or EMBEDDED in study.datasets else study.datasets[0])
    if study is not None:
        require_own_data(study, data)
    size = sweep.base.get("data.image_size")
    streamed = (study is not None and study.streamed) or size not in (None, "none", "null")
    splits = load_data(data, data_dir, streamed=streamed)
    own_seeds = study is not None and not any("seed" in axis.paths for axis in axes)
    request = Request(sweep.scale, splits.facts, sweep.seeds if own_seeds else 1, sweep.models, device)
    bases = _bases(sweep, study, request)
    _require_size(sweep, axes, len(bases), yes)
    if any(base.start is not None for base in bases):
        raise SpecError(
            "sweep-start",
            f"The study {sweep.study} starts runs from the weights of others, which a sweep cannot vary; use "
            f"`shattering run {sweep.study}` with --set, --seeds and --models.",
        )
    selecting = any(base.selection is not None for base in bases)
    if selecting and sweep.decides:
        raise SpecError(
            "sweep-selection",
            f"The study {sweep.study} selects examples by other runs, so seeds and thresholds cannot be decided as it "
            "goes; write a number of seeds and a grid.",
        )
    tree = {"name": sweep.name, **sweep.tree}
    plan = Plan(f"sweep-{sweep.name}", replace(request, seeds=None), (), {}, command, tree)
    planned = Planned(study or _study(sweep), plan, splits, data, data_dir)
    named = _representatives(bases, axes, request, ("model.name",))
    users = {spec.model.name: spec for spec in named if ":" in spec.model.name}
    checked = with_sources(replace(planned, plan=replace(plan, specs=tuple(users.values()))))
    found = {"source", "returns"}
    sources = {spec.model.name: spec.model.model_dump(include=found) for spec in checked.plan.specs}
    joint = (*JOINT, "training", "measures") if _has_learner(bases, axes) else JOINT
    list(_representatives(bases, axes, request, joint))
    require_feasible(splits, list(_representatives(bases, axes, request, FEASIBLE)))
    specs: Sequence[RunSpec]
    if selecting:
        specs = tuple(_one_by_one(bases, axes, request, sources).values())
    else:
        specs = Lattice([_block(base, axes, request, sources) for base in bases])
    _require_measures(sweep, specs)
    return replace(planned, plan=replace(plan, specs=specs))


def run_sweep(
    planned: Planned,
    sweep: Sweep,
    *,
    out: Path = Path("runs"),
    jobs: int | None = None,
    keep_weights: bool = False,
    quiet: bool = False,
    engine: Engine = run_jobs,
) -> Outcome:
    """Runs whatever of a sweep has no outcome yet, and what follows from the outcomes, until nothing does.

    The decisions are a function of the records alone, so the same call goes on where an earlier one stopped.

    Raises:
        StoreError: the store cannot be opened or written; what was committed before stays.
        DataError: the data are gone or have changed since they were planned with.
    """
    from shattering.execution.signals import stop_on_signals

    began = time.monotonic()
    plan = planned.plan
    with stop_on_signals() as stop:
        store = Store.open(Path(out), write=True)
        store.save_plan(plan)
        if not sweep.decides:
            computed = run_missing(
                planned, store, stop, jobs=jobs, keep_weights=keep_weights, quiet=quiet, engine=engine
            )
            return Outcome(plan, store, time.monotonic() - began, computed, stop.by)
        decider = Decider(plan, sweep)
        begun: set[str] = set()

        def go_on() -> list[RunSpec]:
            """Runs asked for that have not ended, each once a call of this function's owner."""
            if stop:
                return []
            decided = decider.decide(store)
            # A failed run counts as ended here; the next call tries it again.
            fresh = {digest: spec for digest, spec in decided.runs.items() if digest not in begun}
            wanted = store.missing(fresh)
            decider.forget(wanted)
            begun.update(fresh)
            return [fresh[digest] for digest in wanted]

        computed = 0
        specs = go_on()
        if specs:
            now = replace(planned, plan=replace(plan, specs=tuple(specs)))
            computed = run_missing(
                now, store, stop, jobs=jobs, keep_weights=keep_weights, quiet=quiet, more=go_on, engine=engine
            )
    return Outcome(plan, store, time.monotonic() - began, computed, stop.by)


def _factors(sweep: Sweep, study: Study | None) -> tuple[Axis, ...]:
    """The axes with what is decided on and the seeds behind them."""
    axes = list(sweep.axes)
    seeds = sweep.seeds
    if sweep.threshold is not None:
        threshold = sweep.threshold
        ends = [int(end) if threshold.whole else end for end in (threshold.low, threshold.high)]
        axes.append(Axis("grid", (threshold.field,), tuple((end,) for end in ends)))
        seeds = threshold.seeds
    if sweep.more_seeds is not None:
        seeds = sweep.more_seeds.at_least
    swept = {path for axis in axes for path in axis.paths}
    if seeds is not None and (study is None or sweep.decides):
        axes.append(Axis("seeds", ("seed",), tuple((seed,) for seed in range(seeds))))
    elif study is None and "seed" not in {*swept, *sweep.base}:
        axes.append(Axis("seeds", ("seed",), ((0,),)))
    return tuple(axes)


def _require_size(sweep: Sweep, axes: tuple[Axis, ...], bases: int, yes: bool) -> None:
    runs = bases
    for axis in axes:
        runs *= len(axis.rows)
    runs = most_runs(sweep, runs)
    limit = CONFIRM_ABOVE if sweep.runs_at_most is None else sweep.runs_at_most
    if runs > MOST_RUNS:
        raise SpecError(
            "sweep-too-large", f"The sweep has {runs:,} runs, and one has at most {MOST_RUNS:,}; take fewer values."
        )
    if runs > limit and not yes:
        raise SpecError(
            "sweep-unconfirmed",
            f"The sweep has up to {runs:,} runs, and the limit is {limit:,}; take fewer values, write runs_at_most: "
            f"{runs} in the file, or confirm with --yes.",
        )


def _bases(sweep: Sweep, study: Study | None, request: Request) -> list[RunSpec]:
    """The specs that the axes are applied to, with ``base`` set."""
    if study is None:
        name = str(sweep.base.get("model.name"))
        start = simulated(name, 0) if is_simulation(name) else RunSpec()
        return [override(start, {"compute.device": request.device, "data.name": request.data.name, **sweep.base})]
    found = {}
    for spec in study.specs(request):
        base = override(spec, _without_selection(sweep.base)) if sweep.base else spec
        if any(path.startswith("selection.") for path in sweep.base):
            base = override(base, {path: value for path, value in sweep.base.items() if path.startswith("selection.")})
        found[base.digest] = base
    if not found:
        raise SpecError("plan-empty", f"{study.name} plans no run for this request; widen models or scale.")
    return list(found.values())


def _without_selection(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {path: value for path, value in changes.items() if not path.startswith("selection.")}


def _patch(axes: tuple[Axis, ...], choice: Choice) -> dict[str, Any]:
    """The fields that a combination sets."""
    return {
        path: value
        for axis, row in zip(axes, choice, strict=True)
        for path, value in zip(axis.paths, axis.rows[row], strict=True)
    }


def _choices(axes: tuple[Axis, ...], fields: Sequence[str]) -> Iterator[Choice]:
    """All combinations of the axes that vary one of ``fields`` (dotted, or beginnings), the others at their first."""

    def concerned(axis: Axis) -> bool:
        return any(path == name or path.startswith(f"{name}.") for path in axis.paths for name in fields)

    return itertools.product(*(range(len(axis.rows)) if concerned(axis) else range(1) for axis in axes))


def _representatives(
    bases: Sequence[RunSpec], axes: tuple[Axis, ...], request: Request, fields: Sequence[str]
) -> Iterator[RunSpec]:
    """Resolved runs with all combinations of some fields, each in full detail checked."""
    for base in bases:
        for choice in itertools.islice(_choices(axes, fields), MOST_CHECKED):
            yield _resolved(base, _patch(axes, choice), request)


def _resolved(base: RunSpec, changes: Mapping[str, Any], request: Request) -> RunSpec:
    """One run the long way; a selection's own fields are the run's, all others its parents' too."""
    spec = override(base, _typed(base, changes))
    if spec.selection is None:
        return resolved(spec, request)
    common = _without_selection(changes)
    parent = spec.selection.parent
    parents = resolved(parent, request, _typed(parent, common)) if common else resolved(parent, request)
    alone = resolved(spec.model_copy(update={"selection": None}), request)
    return alone.model_copy(update={"selection": spec.selection.model_copy(update={"parent": parents})})


def _one_by_one(
    bases: Sequence[RunSpec], axes: tuple[Axis, ...], request: Request, sources: Mapping[str, Mapping[str, Any]]
) -> dict[str, RunSpec]:
    """Runs that have parents, with them."""
    found: dict[str, RunSpec] = {}
    for base in bases:
        for choice in itertools.product(*(range(len(axis.rows)) for axis in axes)):
            spec = _sourced(_resolved(base, _patch(axes, choice), request), sources)
            found |= {run.digest: run for run in (*spec.parents, spec)}
    return found


def _sourced(spec: RunSpec, sources: Mapping[str, Mapping[str, Any]]) -> RunSpec:
    changes: dict[str, Any] = {}
    if spec.model.name in sources:
        changes["model"] = spec.model.model_copy(update=sources[spec.model.name])
    if spec.selection is not None:
        parent = _sourced(spec.selection.parent, sources)
        changes["selection"] = spec.selection.model_copy(update={"parent": parent})
    return spec.model_copy(update=changes)


def _block(base: RunSpec, axes: tuple[Axis, ...], request: Request, sources: Mapping[str, Mapping[str, Any]]) -> Block:
    """All combinations of the axes on one base, part by part."""
    parts = []
    for name, content in base.model_dump().items():
        touching = tuple(
            number for number, axis in enumerate(axes) if any(path.partition(".")[0] == name for path in axis.paths)
        )
        texts: dict[str, int] = {}
        pick = []
        for rows in itertools.product(*(range(len(axes[number].rows)) for number in touching)):
            changes = {
                path.partition(".")[2]: value
                for number, row in zip(touching, rows, strict=True)
                for path, value in zip(axes[number].paths, axes[number].rows[row], strict=True)
                if path.partition(".")[0] == name
            }
            text = _part_text(name, content, changes, request, sources)
            pick.append(texts.setdefault(text, len(texts)))
        if list(texts) != [DEFAULT]:
            plain = pick == list(range(len(texts)))
            parts.append(Part(name, touching, tuple(texts), None if plain else tuple(pick)))
    return Block(tuple(len(axis.rows) for axis in axes), tuple(parts))


def _part_text(
    name: str, content: Any, changes: Mapping[str, Any], request: Request, sources: Mapping[str, Mapping[str, Any]]
) -> str:
    """One part of a spec with changes within it, checked and resolved, as the digest has it."""
    if name == "seed" and isinstance(seed := changes.get(""), int):  # quick, as there may be very many
        return text_of(seed) if seed else DEFAULT
    for path, value in changes.items():
        content = _replaced(content, path, value, f"{name}.{path}")
    part = _parsed(name, content)
    if name == "corruption":
        part = resolved_corruption(part)
    if name == "model":
        if ":" in part.name:
            part = part.model_copy(update={"fields": {key: typed(value) for key, value in part.fields.items()}})
        part = resolved_model(part)
        if part.name in sources:
            part = part.model_copy(update=sources[part.name])
    if name == "training":
        part = resolved_training(part)
    if name == "data":
        part = part.model_copy(update={"name": request.data.name, "fingerprint": request.data.fingerprint})
    tree = part.model_dump(mode="json", exclude_defaults=True) if isinstance(part, BaseModel) else part
    default = {} if isinstance(part, BaseModel) else getattr(RunSpec(), name)
    return DEFAULT if tree == default else text_of(tree)


def _parsed(name: str, content: Any) -> Any:
    kind = RunSpec.model_fields[name].annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        with suppress(ValidationError):  # told below, with the whole name of the field
            return kind.model_validate(content)
    return getattr(parse_spec({name: content}), name)


def _replaced(content: Any, path: str, value: Any, whole: str) -> Any:
    """``content`` with an inner field replaced, as `override` does it; the original is left as it is."""
    if not path:
        return value
    first, _, rest = path.partition(".")
    inner = content.get(first) if isinstance(content, dict) else None
    if not rest and value in ("none", "null"):
        value = _none_or_word(whole, value)
    return {**content, first: _replaced(inner if inner is not None else {}, rest, value, whole)}


def _none_or_word(path: str, value: str) -> Any:
    """None where the field may be none; elsewhere, as in ``training.augmentation``, the word."""
    node: Any = override(RunSpec(), {path: value})
    for name in path.split("."):
        node = node.get(name) if isinstance(node, dict) else getattr(node, name)
    return None if node is None else value


def _typed(base: RunSpec, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a user's own model as numbers and truths, where they look like them: nothing else converts them."""
    if ":" not in str(changes.get("model.name", base.model.name)):
        return dict(changes)
    return {path: typed(value) if path.startswith("model.fields.") else value for path, value in changes.items()}


def typed(value: Any) -> Any:
    """A written value as the number or truth it looks like."""
    if not isinstance(value, str):
        return value
    number = number_of(value)
    return {"true": True, "false": False, "none": None}.get(value, value) if number is None else number


def _has_learner(bases: Sequence[RunSpec], axes: tuple[Axis, ...]) -> bool:
    from shattering.learners.registry import is_learner

    swept = {
        str(row[axis.paths.index("model.name")]) for axis in axes if "model.name" in axis.paths for row in axis.rows
    }
    return any(is_learner(name) for name in {*swept, *(base.model.name for base in bases)} if ":" not in name)


RUN_NUMBERS = ("steps_to_fit", "epochs_to_fit", "steps", FITTED)
"""Numbers of a run as a whole that rules may look at, beside what is measured."""


def _require_measures(sweep: Sweep, specs: Sequence[RunSpec]) -> None:
    """Raises `SpecError` where a rule looks at a number that the runs do not measure."""
    from shattering.core.errors import nearest
    from shattering.measures.registry import measures

    names = [rule.measure for rule in (sweep.more_seeds, sweep.threshold and sweep.threshold.met) if rule]
    for name in names:
        known = {unit for measure in specs[0].measures.names for unit in measures.get(measure).units}
        known |= set(RUN_NUMBERS)
        if name not in known:
            raise SpecError(
                "sweep-unknown-measure", f"The runs do not measure {name!r}; {nearest(name, sorted(known))}"
            )


def _study(sweep: Sweep) -> Study:
    """What the planner and the driver want to know of a sweep without a study."""
    return bare_study(f"sweep-{sweep.name}", Paper("", 0, "", "", ""), f"What do the runs of {sweep.name} show?")
