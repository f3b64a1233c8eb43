"""The pre-flight check carried out: how easily does this network fit random labels, at this data set's size?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from shattering.core.errors import SpecError
from shattering.core.plan import Plan
from shattering.core.record import Record, Status
from shattering.core.spec import DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Request, Study, bare_study
from shattering.execution.capacity_design import Ended, Question, Round, next_round
from shattering.execution.capacity_records import FIRST_BUDGET, PILOT_SEED, RANDOM
from shattering.execution.plan import Planned, ask, resolved
from shattering.store.store import Store
from shattering.studies.zhang2017 import PAPER_RATES, ZHANG_2017, crop_side

RATES: dict[str, tuple[float, ...]] = {
    "sgd": (0.1, 0.03, 0.01, 0.003),
    "adam": (3e-3, 1e-3, 3e-4),
    "adamw": (3e-3, 1e-3, 3e-4),
}
"""Learning rates tried where none is given and none was published for the network on these data."""

BATCH, TEST_EXAMPLES = 128, 100

MINUTES, SEEDS, MOST_SEEDS = 3.0, 3, 50

QUICK = 0.5
"""Share of the first budget in which a network that is quick to fit the smallest subset does so."""

FIXED = (
    "seed",
    "data.train_size",
    "corruption.name",
    "training.max_steps",
    "training.stop_when_fitted",
    "selection",
    "start",
)
"""Fields that the check itself varies; they cannot be set."""


@dataclass(frozen=True, eq=False)
class Preflight:
    """A pre-flight check that has ended, or was interrupted.

    Args:
        question: what was asked.
        plan: every run that was planned, for the report's folder and settings; it is not kept in the store.
        rounds: the records, by round.
        end: why there was no further round; none where it was interrupted.
        store: where the records are.
        seconds: wall-clock time of this call.
        computed: runs that ended during this call.
        interrupted_by: the signal that stopped it; none where it was not.
    """

    question: Question
    plan: Plan
    rounds: tuple[tuple[Record, ...], ...]
    end: Ended | None
    store: Store
    seconds: float
    computed: int
    interrupted_by: int | None

    @property
    def records(self) -> list[Record]:
        """All runs that have ended."""
        return [record for done in self.rounds for record in done]

    @property
    def counts(self) -> dict[str, int]:
        """Number of planned runs by status; the sum is the plan."""
        found = Counter(record.status for record in self.records)
        found[Status.CANCELLED] += len(self.plan.specs) - len(self.records)
        return {status.value: found[status] for status in Status}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A question with the data it is about; nothing has been trained or written."""

    question: Question
    planned: Planned
    facts: dict[str, Any]


def prepare_check(
    model: str,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    minutes: float = MINUTES,
    budgets: Sequence[int] = (),
    seeds: int = SEEDS,
    overrides: Mapping[str, Any] | None = None,
    device: Literal["cpu", "cuda"] = "cpu",
    jobs: int | None = None,
    command: str = "",
) -> Prepared:
    """Looks at the request, the data and the network.

    Args:
        model: registered network, or ``MODULE:FACTORY``.
        data: registered data set, or a path; none: digits.
        data_dir: where to look for it first.
        minutes: time that the runs may take, more than 0.
        budgets: updates within which to find the capacity, each at least 1; empty: chosen by the time.
        seeds: runs of each kind, 1 to 50.
        overrides: dotted spec fields; size, labels, budget and seed are the check's own.
        device: ``cpu`` or ``cuda``.
        jobs: processes; none: one per core on the CPU, one on a GPU.
        command: what to type to continue.

    Raises:
        SpecError, DataError, ModelError, StoreError: what is wrong with the request, the data, the network, or the
            machine.
    """
    from shattering.data.load import load_data
    from shattering.execution.selection import require_examples
    from shattering.execution.study import default_jobs, require_run_memory

    overrides = dict(overrides or {})
    _check_request(model, minutes, budgets, seeds, overrides)
    data = data or "digits"
    splits = load_data(data, data_dir)
    request = Request("small", splits.facts, None if seeds == SEEDS else seeds, (), device)
    base = _base(model, request, overrides)
    require_examples(splits, base)
    kept = {**overrides, **_asked(minutes, budgets)}
    study = _study(model)
    planned = Planned(study, Plan(study.name, request, (base,), kept, command), splits, data, data_dir)
    require_run_memory(planned)
    facts: dict[str, Any] = {}
    if ":" in model + base.training.loss:
        from shattering.execution.preflight import settled

        facts = ask(planned, "check", [base])[model]
        base = base.model_copy(update={"model": settled(base.model, facts)})
    target = len(splits.train)
    rates = RATES[base.training.optimizer]
    published = PAPER_RATES.get(model) if base.data.name.startswith("cifar") else None
    if "training.learning_rate" in overrides:
        rates = (base.training.learning_rate,)
    elif published is not None and base.training.optimizer == "sgd":
        rates = (published,)
    question = Question(base, target, rates, seeds, minutes, jobs or default_jobs(planned), tuple(sorted(set(budgets))))
    return Prepared(question, replace(planned, plan=replace(planned.plan, specs=())), facts)


def run_check(prepared: Prepared, *, out: Path = Path("runs"), quiet: bool = False) -> Preflight:
    """Trains round after round into the store, until the question is answered or the time is spent.

    The same call goes on where an earlier one stopped; runs that are in the store are not repeated.

    Raises:
        SpecError: ``shatter-too-little-time`` where the time does not suffice for the first runs.
        StoreError: the store cannot be opened or written.
    """
    from shattering.execution.signals import stop_on_signals
    from shattering.execution.study import run_missing

    began = time.monotonic()
    question, planned = prepared.question, prepared.planned
    rounds: list[tuple[Record, ...]] = []
    asked: list[Round] = []
    end: Ended | None = None
    computed = 0
    with stop_on_signals() as stop:
        store = Store.open(Path(out), write=True)

        def go_on() -> tuple[RunSpec, ...]:
            """The runs of the next round that has one to train; empty at the end."""
            nonlocal end
            while not stop:
                if asked:
                    rounds.append(tuple(store.records(spec.digest for spec in asked[-1].specs)))
                following = next_round(question, rounds)
                if isinstance(following, Ended):
                    end = following
                    break
                asked.append(following)
                if store.missing([spec.digest for spec in following.specs]):
                    return following.specs
            return ()

        specs = go_on()
        if specs and not rounds:
            require_time(prepared)
        if specs:
            plan = replace(planned.plan, specs=specs)
            computed = run_missing(
                replace(planned, plan=plan), store, stop, jobs=question.jobs, quiet=quiet, more=go_on
            )
        if stop and asked and len(rounds) < len(asked):
            rounds.append(tuple(store.records(spec.digest for spec in asked[-1].specs)))
    specs = tuple(spec for done in asked for spec in done.specs)
    plan = replace(planned.plan, specs=tuple({spec.digest: spec for spec in specs}.values()))
    interrupted = stop.by if end is None else None
    return Preflight(question, plan, tuple(rounds), end, store, time.monotonic() - began, computed, interrupted)


def require_time(prepared: Prepared) -> float:
    """Times a few steps, and raises `SpecError` where the time asked for cannot hold the first runs.

    Returns:
        seconds of an update.
    """
    question = prepared.question
    spec = question.run(question.smallest, RANDOM, question.rates[0], FIRST_BUDGET, PILOT_SEED)
    speed = ask(prepared.planned, "time", [spec])
    (known,) = speed.values()
    step = float(known.fixed_seconds + known.example_seconds * question.smallest)
    share = max(1.0, len(question.rates) / question.jobs)
    least = QUICK * FIRST_BUDGET * step * share
    # The first fit, then three sizes of it for both kinds of labels: no answer without them.
    sizes = 7 * 2 * question.seeds * 0.5 * FIRST_BUDGET * step / question.jobs
    if least > 60 * question.minutes:
        raise SpecError(
            "shatter-too-little-time",
            f"An update of {question.base.model.name} takes {step:.2g} s here, so not even {question.smallest:,} "
            f"random labels are fitted within {question.minutes:g} min; give --minutes "
            f"{_minutes(FIRST_BUDGET * step * share + sizes)} or more.",
        )
    return step


def _minutes(seconds: float) -> str:
    return f"{max(0.5, round(seconds / 30 + 0.5) / 2):g}"


def _check_request(
    model: str, minutes: float, budgets: Sequence[int], seeds: int, overrides: Mapping[str, Any]
) -> None:
    from shattering.core.spec import override
    from shattering.learners.registry import is_learner
    from shattering.models.registry import models

    if is_learner(model):
        raise SpecError(
            "shatter-learner",
            f"{model!r} is fitted at once, not by updates that could be counted; see `shattering run "
            "zhang2017-other-models`, or name a network.",
        )
    if ":" not in model:
        models.get(model)
    if not 0 < minutes < 100_000:
        raise SpecError("shatter-minutes", f"--minutes {minutes:g} leaves no time to train; give more than 0.")
    if any(isinstance(budget, bool) or budget < 1 for budget in budgets):
        raise SpecError("shatter-budget", f"--budget {min(budgets)} allows no update; give at least 1.")
    if isinstance(seeds, bool) or not 1 <= seeds <= MOST_SEEDS:
        raise SpecError("seeds-out-of-range", f"--seeds {seeds} is not possible; give 1 to {MOST_SEEDS}.")
    for name in overrides:
        if name.startswith(FIXED) or name.startswith(("measures", "stream_seeds", "model.name")):
            raise SpecError(
                "shatter-field", f"--set {name} cannot be set here: the check itself chooses it; leave it out."
            )
    if overrides:
        override(RunSpec(), dict(overrides))


def _base(model: str, request: Request, overrides: Mapping[str, Any]) -> RunSpec:
    """What all runs share: SGD with momentum at a constant rate, no regulariser, as few looks as possible."""
    facts = request.data
    spec = RunSpec(
        data=DataSpec(
            name=facts.name,
            test_size=min(TEST_EXAMPLES, facts.test_size),
            crop=None if ":" in model else crop_side(request),
        ),
        model=ModelSpec(name=model),
        training=TrainingSpec(batch_size=min(BATCH, max(2, facts.train_size // 8))),
        compute={"device": request.device},  # type: ignore[arg-type]
        measures=MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0),
    )
    # A request for the CPU has the planner look whether the device that the spec names is there.
    return resolved(spec, replace(request, device="cpu"), overrides)


def _asked(minutes: float, budgets: Sequence[int]) -> dict[str, Any]:
    asked: dict[str, Any] = {} if minutes == MINUTES else {"minutes": minutes}
    return asked | ({"budgets": sorted(budgets)} if budgets else {})


def _study(model: str) -> Study:
    """What the planner and the driver want to know: the runs follow from one another, so no study can list them."""
    return bare_study(f"shatter-{model}", ZHANG_2017, f"How easily does {model} fit random labels?")
