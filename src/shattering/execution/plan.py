"""From a request to resolved specs: the data are looked at, names and fields checked, identities filled in."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from shattering.core.errors import DataError, ModelError, ShatteringError, SpecError, StoreError, nearest
from shattering.core.plan import Plan
from shattering.core.registry import check_fields
from shattering.core.spec import AT_ONCE, CorruptionSpec, ModelSpec, RunSpec, TrainingSpec, override
from shattering.core.study import SCALES, DataFacts, Request, Scale, Study, find_study
from shattering.data.dataset import Splits
from shattering.data.memory import amount, available_bytes
from shattering.execution.estimate import shape_key, shape_of
from shattering.execution.local import run_jobs
from shattering.execution.messages import Answered, Broke, Job

EMBEDDED = "digits"
"""The data set that comes with the program, taken where none is named."""


@dataclass(frozen=True, eq=False)
class Planned:
    """A plan with what it was made from.

    Args:
        study: the study.
        plan: its resolved specs.
        splits: the data.
        data: what was given as data, for workers to load.
        data_dir: where to look for it.
    """

    study: Study
    plan: Plan
    splits: Splits
    data: str
    data_dir: Path | None

    def expected_cost(self, spec: RunSpec) -> float:
        """About how costly a run is beside others of the plan, by the study's experience."""
        return float(self.study.expected_steps(spec) * self.study.weight(spec))

    def job(self, kind: str, spec: RunSpec, **extra: Any) -> Job:
        """A job for a worker."""
        facts = self.plan.request.data
        keys = {"run": lambda: spec.digest, "time": lambda: shape_of(spec), "calibrate": lambda: shape_key(spec, facts)}
        key = keys[kind]() if kind in keys else spec.model.name
        fingerprint = facts.fingerprint
        return Job(kind, key, spec.to_json(), self.data, self.data_dir, fingerprint, **extra)


def plan_study(
    name: str,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    scale: Scale = "small",
    seeds: int | None = None,
    models: tuple[str, ...] = (),
    overrides: dict[str, Any] | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    command: str = "",
) -> Planned:
    """Plans a study; nothing is written and nothing trained.

    Args:
        name: a study, or the beginning of its name.
        data: registered data set, or a path; none: digits, or the study's first where it is not meant for digits.
        data_dir: where to look for it first.
        scale: how much to run.
        seeds: number of seeds; none: the study's own.
        models: registered models or ``MODULE:FACTORY``, in place of the study's own.
        overrides: dotted spec fields, set on every run.
        device: ``cpu`` or ``cuda``.
        command: what to type to continue, kept with the plan.

    Raises:
        SpecError, DataError, ModelError, StoreError: what is wrong with the request, the data, the user's model, or the
            machine.
    """
    study = find_study(name)
    if scale not in SCALES:
        raise SpecError("scale-unknown", f"There is no scale {scale!r}; choose one of: {', '.join(SCALES)}.")
    if seeds is not None and (isinstance(seeds, bool) or seeds < 1):
        raise SpecError("seeds-too-few", f"--seeds {seeds} plans no run; give at least 1 (3 or more for intervals).")
    require_device(device)
    from shattering.data.load import load_data

    if data is None:
        data = EMBEDDED if EMBEDDED in study.datasets else study.datasets[0]
    require_own_data(study, data)
    overrides = dict(overrides or {})
    require_knowledge(models, overrides)
    streamed = study.streamed or overrides.get("data.image_size") not in (None, "none", "null")
    splits = load_data(data, data_dir, streamed=streamed)
    request = Request(scale, splits.facts, seeds, models, device)
    known: dict[str, RunSpec] = {}
    specs = [resolved(spec, request, overrides, known) for spec in study.specs(request)]
    unique = {run.digest: run for spec in specs for run in (*spec.parents, spec)}
    if not unique:
        raise SpecError("plan-empty", f"{study.name} plans no run for this request; widen --models or --scale.")
    planned = Planned(
        study, Plan(study.name, request, tuple(unique.values()), overrides, command), splits, data, data_dir
    )
    require_feasible(splits, list(unique.values()))
    return with_sources(planned)


def require_own_data(study: Study, data: str) -> None:
    """Raises `SpecError` where a study that draws all its examples is asked to look at others, which it would not."""
    from shattering.simulations.registry import DRAWN

    if study.datasets == (DRAWN.name,) and data != DRAWN.name:
        raise SpecError(
            "study-own-data", f"{study.name} draws its own examples and would not look at {data}; leave --data out."
        )


def require_feasible(splits: Splits, specs: list[RunSpec]) -> None:
    """Raises `DataError`, `SpecError` or `StoreError` where the data or the memory do not suffice for a run."""
    from shattering.execution.selection import require_examples
    from shattering.training.streaming import require_streamable

    for spec in {f"{spec.data} {spec.training.batch_size} {spec.selection}": spec for spec in specs}.values():
        require_examples(splits, spec)
    for spec in specs:
        _require_memory(spec, splits.facts)
        require_streamable(splits.train, spec)


def require_knowledge(models: tuple[str, ...], overrides: dict[str, Any]) -> None:
    """Raises `SpecError` for unknown names and fields, before any data are read."""
    if overrides:
        override(RunSpec(), overrides)
    for model in models:
        if ":" not in model:
            _require_model(model)


def _require_model(name: str) -> None:
    """A name that no network, learner or simulation has raises `SpecError` with the nearest that can be trained."""
    from shattering.learners.registry import learners
    from shattering.models.registry import models
    from shattering.simulations.registry import simulations

    trained = sorted({*models.names(), *learners.names()})
    if name not in trained and name not in simulations.names():
        raise SpecError("unknown-model", f"There is no model {name!r}; {nearest(name, trained)}")


def resolved(
    spec: RunSpec,
    request: Request,
    overrides: Mapping[str, Any] = MappingProxyType({}),
    known: dict[str, RunSpec] | None = None,
) -> RunSpec:
    """``spec`` with everything filled in that its identity needs, its names and fields checked, parents too.

    ``overrides`` are dotted fields that the user set, on the run and on its parents; ``known`` are parents that were
    resolved before, by what they were called then, and takes those that are now.
    """
    from shattering.learners.registry import is_learner
    from shattering.measures.registry import measures
    from shattering.simulations.registry import is_simulation

    if overrides:
        spec = override(spec, dict(overrides))
    if spec.selection is not None:
        parent = resolved(spec.selection.parent, request, overrides)
        spec = spec.model_copy(update={"selection": spec.selection.model_copy(update={"parent": parent})})
    if spec.start is not None:
        spec = _start_resolved(spec, request, overrides, {} if known is None else known)
    if spec.compute.device == "cuda" and request.device == "cpu":
        require_device("cuda")
    if spec.compute.dtype == "bfloat16" and spec.compute.device == "cpu":
        raise SpecError(
            "spec-bfloat16-cpu", "compute.dtype=bfloat16 needs a GPU; use --device cuda, or float32 on the CPU."
        )
    if spec.training.gradient != "mean":
        from shattering.training.update import refuse_ranks_in_half_precision

        refuse_ranks_in_half_precision(spec)
    corruption = resolved_corruption(spec.corruption)
    if is_learner(spec.model.name):
        _require_learnable(spec)
    if is_simulation(spec.model.name):
        _require_simulable(spec)
    model = resolved_model(spec.model)
    for measure in spec.measures.names:
        if measures.get(measure).gradient_passes > 0 and spec.compute.dtype == "bfloat16":
            raise SpecError(
                "spec-bfloat16-gradients",
                f"The measure {measure!r} needs gradients of single examples, which bfloat16 cannot resolve; set "
                "compute.dtype=float32, or leave the measure out.",
            )
    return spec.model_copy(
        update={
            "data": spec.data.model_copy(update={"name": request.data.name, "fingerprint": request.data.fingerprint}),
            "corruption": corruption,
            "model": model,
            "training": resolved_training(spec.training),
        }
    )


def resolved_training(training: TrainingSpec) -> TrainingSpec:
    """The training with the hash of the file that a user's loss is in; the file is not run."""
    if ":" not in training.loss:
        return training
    from shattering.models.named import file_fingerprint

    return training.model_copy(update={"loss_source": file_fingerprint(training.loss)})


def _start_resolved(
    spec: RunSpec, request: Request, overrides: Mapping[str, Any], known: dict[str, RunSpec]
) -> RunSpec:
    """``spec`` with its start resolved: the parent, unless it is ``known``, and the transform with its fields."""
    from shattering.execution.start import require_startable
    from shattering.transforms.registry import transform_fields, transforms

    start = spec.start
    assert start is not None
    entry = transforms.get(start.transform)
    name = start.parent.digest
    parent = known[name] if name in known else resolved(start.parent, request, overrides, known)
    known[name] = parent
    fields = transform_fields(entry, start.fields)
    spec = spec.model_copy(update={"model": resolved_model(spec.model)})
    spec = spec.model_copy(update={"start": start.model_copy(update={"parent": parent, "fields": fields})})
    require_startable(spec)
    return spec


def resolved_corruption(corruption: CorruptionSpec) -> CorruptionSpec:
    """The corruption with its name and fields checked, those at their default left out."""
    from shattering.corruptions.registry import corruptions, require_fraction

    entry = corruptions.get(corruption.name)
    fields = check_fields("corruption", entry.name, entry.fields, corruption.fields)
    if entry.name == "label_file":
        from shattering.corruptions.label_file import read_label_file

        fields["sha256"] = hashlib.sha256(read_label_file(fields["path"])).hexdigest()
    if "p" in fields:
        require_fraction("p", fields["p"])
    return corruption.model_copy(update={"fields": fields})


def resolved_model(model: ModelSpec) -> ModelSpec:
    """The model with its name and fields checked, those at their default left out; a user's own as it is."""
    from shattering.learners.registry import is_learner, learner_fields, learners
    from shattering.models.registry import models, resolved_fields
    from shattering.simulations.registry import is_simulation, simulation_fields, simulations

    if is_learner(model.name):
        return model.model_copy(update={"fields": learner_fields(learners.get(model.name), model.fields)})
    if is_simulation(model.name):
        return model.model_copy(update={"fields": simulation_fields(simulations.get(model.name), model.fields)})
    if ":" in model.name:
        return model
    _require_model(model.name)
    return model.model_copy(update={"fields": resolved_fields(models.get(model.name), model.fields)})


def _require_learnable(spec: RunSpec) -> None:
    """A learner has no updates, no weights in the sense of a network, and no gradients to measure."""
    name = spec.model.name
    if spec.measures.names != ("accuracy",):
        other = next((measure for measure in spec.measures.names if measure != "accuracy"), "none")
        raise SpecError(
            "learner-measures",
            f"{name!r} is fitted at once, and the measure {other!r} looks at a network; set measures.names=accuracy, "
            "or choose a network from `shattering list models`.",
        )
    training = spec.training
    if training.model_copy(update={"fit_accuracy": AT_ONCE.fit_accuracy}) != AT_ONCE:
        raise SpecError(
            "learner-training",
            f"{name!r} is fitted at once, and this study plans {training.max_steps} updates of a network; choose a "
            "network from `shattering list models`, or a study of learners such as zhang2017-other-models.",
        )


def _require_simulable(spec: RunSpec) -> None:
    """A simulation is not trained, and has no network to measure."""
    if spec.measures.names or spec.training != AT_ONCE:
        raise SpecError(
            "simulation-training",
            f"{spec.model.name!r} is a simulation, which is neither trained nor measured; leave training.* and "
            "measures.* as its study has them, and set its own fields with --set model.fields.NAME=VALUE.",
        )


def learner_bytes(spec: RunSpec, facts: DataFacts) -> float:
    """The learner's own estimate of its peak, in bytes, without its inputs; 0 for networks and for what is small."""
    from shattering.learners.registry import is_learner, learners

    memory = learners.get(spec.model.name).memory if is_learner(spec.model.name) else None
    if memory is None or spec.compute.device != "cpu":
        return 0.0
    train, test = spec.sizes(facts.train_size, facts.test_size)
    features = math.prod(facts.input_shape)
    return memory(train, test, features, facts.num_classes, spec.model.fields)


def _require_memory(spec: RunSpec, facts: DataFacts) -> None:
    """Raises `StoreError` where a learner would need more memory than there is, before anything has begun."""
    needed, available = learner_bytes(spec, facts), available_bytes()
    if available is not None and needed > available:
        train = spec.sizes(facts.train_size, facts.test_size)[0]
        raise StoreError(
            "run-memory",
            f"{spec.model.name!r} on {train:,} training examples needs about {amount(needed)} of memory and "
            f"{amount(available)} are available; give it fewer with --set data.train_size=N, or more memory.",
        )


@lru_cache
def require_device(device: str) -> None:
    """Raises `StoreError` where the device is not there."""
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        raise StoreError("device-absent", "There is no CUDA device that this PyTorch can use; run with --device cpu.")


def with_sources(planned: Planned) -> Planned:
    """Looks at the user's models and losses in a worker, where they can do no harm, and fills in what it tells."""
    specs = planned.plan.specs
    users = {spec.model.name: spec for spec in specs if ":" in spec.model.name + spec.training.loss}
    if not users:
        return planned
    answers = ask(planned, "check", list(users.values()))
    specs = tuple(_with_source(spec, answers) for spec in specs)
    plan = Plan(planned.plan.study, planned.plan.request, specs, planned.plan.overrides, planned.plan.command)
    return Planned(planned.study, plan, planned.splits, planned.data, planned.data_dir)


def _with_source(spec: RunSpec, answers: Mapping[str, Mapping[str, Any]]) -> RunSpec:
    from shattering.execution.preflight import settled

    changes: dict[str, Any] = {}
    if spec.model.name in answers:
        changes["model"] = settled(spec.model, answers[spec.model.name])
    if spec.selection is not None:
        parent = _with_source(spec.selection.parent, answers)
        changes["selection"] = spec.selection.model_copy(update={"parent": parent})
    return spec.model_copy(update=changes)


def ask(planned: Planned, kind: str, specs: list[RunSpec], **extra: Any) -> dict[str, Any]:
    """Has one worker answer a question about each spec, in turn; by the jobs' keys. ``extra`` goes into each job.

    Raises:
        ShatteringError: the first job that broke, as the kind of error it was.
    """
    waiting = [planned.job(kind, spec, **extra) for spec in reversed(specs)]
    answers: dict[str, Any] = {}
    messages = run_jobs(lambda: waiting.pop() if waiting else None, lambda: bool(waiting), workers=1, tries=1)
    with closing(messages):
        for message in messages:
            if isinstance(message, Answered):
                answers[message.key] = message.facts
            if isinstance(message, Broke):
                raise error_of(message)
    return answers


def error_of(broke: Broke) -> ShatteringError:
    """The error that a worker met, as an exception of the driver."""
    kinds: dict[int, type[ShatteringError]] = {
        kind.exit_code: kind for kind in (SpecError, DataError, ModelError, StoreError)
    }
    return kinds.get(broke.exit_code, ShatteringError)(broke.identifier, broke.message)


def processors() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
