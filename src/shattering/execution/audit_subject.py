"""From a user's model and data to the training that an audit varies."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from shattering.checks.registry import Check, Subject, checks
from shattering.core.errors import SpecError
from shattering.core.plan import Plan
from shattering.core.spec import DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec, override
from shattering.core.study import Paper, Request, bare_study
from shattering.execution.estimate import Speed
from shattering.execution.plan import Planned, ask, require_device, resolved

AUDIT = Paper(
    "Shattering", 2026, "Audit of a network and its data", "this software", "https://arxiv.org/abs/1611.03530"
)
"""What a plan of no paper's study names; the link is that of the question it asks."""

MINUTES = 10.0
BATCH = 64
EPOCHS = 300
"""A training that has not fitted its data by then is not trained on."""

PILOT_SHARE = 0.15
"""Of the budget, at most so much goes to finding out how the model is trained, over all learning rates."""

RATES = (1e-3, 3e-4, 1e-2)
"""Adam's learning rates, tried in this order until one fits the data."""

FIXED = ("seed", "data.train_size", "data.tested_on", "corruption.name", "selection", "start", "measures")
"""Fields that the checks themselves vary; they cannot be set."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """An audit about to begin; nothing has been trained.

    Args:
        planned: the base training with the data.
        held_out: whether the test split was held out of the training data here.
        checks: what is asked, in order of rank.
        minutes: the budget.
        jobs: processes.
        rates: learning rates to try, in order.
        speed: of a step, from a few timed ones.
        notes: what was found about the model and the data on the way.
        trained: what was seen of the trained weights that were given; empty where none were.
        batch_normalisations: layers of the network that normalise by the statistics of a batch.
        began: when the request was made, on the monotonic clock; the budget counts from then.
    """

    planned: Planned
    held_out: bool
    checks: tuple[Check, ...]
    minutes: float
    jobs: int
    rates: tuple[float, ...]
    speed: Speed
    notes: tuple[str, ...] = ()
    trained: Mapping[str, Any] = field(default_factory=dict)
    batch_normalisations: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def base(self) -> RunSpec:
        """The training that checks vary, before its budget of steps is known."""
        return self.planned.plan.specs[0]

    def subject(self, base: RunSpec | None = None) -> Subject:
        """What is audited, with a training to vary."""
        return Subject(
            base or self.base,
            self.planned.splits,
            self.held_out,
            trained=self.trained,
            batch_normalisations=self.batch_normalisations,
        )


def prepare_audit(
    model: str,
    *,
    data: Any,
    test: Any = None,
    label: str | None = None,
    data_dir: Path | None = None,
    weights: Path | None = None,
    minutes: float = MINUTES,
    names: tuple[str, ...] = (),
    overrides: Mapping[str, Any] | None = None,
    out: Path = Path("audit"),
    device: Literal["cpu", "cuda"] = "cpu",
    jobs: int | None = None,
    command: str = "",
) -> Prepared:
    """Looks at the request, the data and the network; the model is built and tried in a worker.

    Args:
        model: registered network, or ``MODULE:FACTORY``.
        data: registered data set, a path, or what `shattering.data.subject.gather` takes.
        test: test data, where they lie apart; none: the data's own test split, or a part held out.
        label: column of a table that holds the labels; none: the usual names are looked for.
        data_dir: where to look for a registered data set first.
        weights: file of trained weights of the model; none: only trainings from scratch are looked at.
        minutes: the budget, more than 0.
        names: of checks; empty: all.
        overrides: dotted spec fields of every training.
        out: folder of the audit.
        device: ``cpu`` or ``cuda``.
        jobs: processes; none: one per core on the CPU, one on a GPU.
        command: what to type to continue.

    Raises:
        SpecError, DataError, ModelError, StoreError: what is wrong with the request, the data, the network, or the
            machine.
    """
    from shattering.data.subject import gather
    from shattering.execution.preflight import settled
    from shattering.execution.selection import require_examples
    from shattering.execution.study import default_jobs, require_run_memory
    from shattering.store.marker import find_or_make

    began = time.monotonic()
    overrides = dict(overrides or {})
    asked = _asked(names, weights is not None)
    _check_request(model, minutes, jobs, overrides)
    require_device(device)
    find_or_make(out, write=True)  # the data may be written into it, and only a store may be written to later
    gathered = gather(data, test, folder=out, data_dir=data_dir, label=label)
    splits = gathered.splits
    request = Request("small", splits.facts, None, (), device)
    base = _base(model, request, overrides, gathered.model_fields)
    require_examples(splits, base)
    kept = {**overrides, "checks": sorted(check.name for check in asked), "minutes": minutes}
    study = bare_study(f"audit-{_plain(model)}", AUDIT, f"What does {model} learn of {splits.train.name}?")
    planned = Planned(
        study, Plan(study.name, request, (base,), kept, command), splits, gathered.data, gathered.data_dir
    )
    require_run_memory(planned)
    notes = list(gathered.notes)
    seen = ask(planned, "audit", [base], weights=weights)[model]
    if seen["checked"] is not None:
        base = base.model_copy(update={"model": settled(base.model, seen["checked"])})
        notes += seen["checked"]["notes"]
    planned = replace(planned, plan=replace(planned.plan, specs=(base,)))
    rates: tuple[float, ...] = (base.training.learning_rate,)
    if "training.learning_rate" not in overrides and base.training.optimizer == "adam":
        rates = RATES
    return Prepared(
        planned=planned,
        held_out=gathered.held_out,
        checks=asked,
        minutes=minutes,
        jobs=jobs or default_jobs(planned),
        rates=rates,
        speed=seen["speed"],
        notes=tuple(notes),
        trained=seen["trained"],
        batch_normalisations=seen["batch_normalisations"],
        began=began,
    )


def names_of(checks: str | Iterable[str]) -> tuple[str, ...]:
    """The names of checks in a list, or in a text with commas between them, or in both."""
    texts = [checks] if isinstance(checks, str) else checks
    return tuple(name.strip() for text in texts for name in text.split(","))


def _asked(names: tuple[str, ...], weights: bool) -> tuple[Check, ...]:
    """The checks of these names, or all; the one of trained weights only where there are some, or it is named."""
    chosen = {name: checks.get(name) for name in names} if names else dict(checks)
    if not names and not weights:
        chosen.pop("trained", None)
    return tuple(sorted(chosen.values(), key=lambda check: check.rank))


def _check_request(model: str, minutes: float, jobs: int | None, overrides: Mapping[str, Any]) -> None:
    from shattering.learners.registry import is_learner
    from shattering.models.named import require_no_file
    from shattering.models.registry import models

    if is_learner(model):
        raise SpecError(
            "audit-learner",
            f"{model!r} is fitted at once, and an audit watches a network learn; name a network or MODULE:FACTORY.",
        )
    if ":" not in model:
        require_no_file(model)
        models.get(model)
    if not 0 < minutes < 100_000:
        raise SpecError("audit-budget", f"--budget {minutes:g}m leaves no time to train; give more than 0.")
    if jobs is not None and jobs < 1:
        raise SpecError("jobs-too-few", f"--jobs {jobs} leaves nobody to train; give at least 1.")
    for name in overrides:
        if name.startswith(FIXED) or name.startswith(("stream_seeds", "model.name")):
            raise SpecError(
                "audit-field", f"--set {name} cannot be set here: the checks themselves choose it; leave it out."
            )
    if overrides:
        override(RunSpec(), dict(overrides))


def _base(model: str, request: Request, overrides: Mapping[str, Any], model_fields: Mapping[str, Any]) -> RunSpec:
    """Adam at a constant rate, no regulariser, the data as they are: what a user's training is taken to be."""
    facts = request.data
    spec = RunSpec(
        data=DataSpec(name=facts.name, whiten=False),
        model=ModelSpec(name=model, **model_fields),
        training=TrainingSpec(
            optimizer="adam", learning_rate=RATES[0], batch_size=min(BATCH, max(2, facts.train_size // 8))
        ),
        compute={"device": request.device},  # type: ignore[arg-type]
        measures=MeasureSpec(names=("accuracy", "tested_predictions"), points_per_decade=0, every_epochs=1),
    )
    return resolved(spec, replace(request, device="cpu"), overrides)


def _plain(model: str) -> str:
    """The model's name as part of a folder's."""
    return "".join(letter if letter.isalnum() else "-" for letter in model).strip("-")
