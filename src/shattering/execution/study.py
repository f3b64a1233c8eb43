"""A plan carried out: leases, workers, commits, and what is left when somebody stops it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shattering.core.errors import SpecError, StoreError
from shattering.core.plan import Plan
from shattering.core.spec import RunSpec
from shattering.data.memory import available_bytes
from shattering.execution.driver import CarryOut, Driver, Engine
from shattering.execution.estimate import Estimate, predict, shape_of
from shattering.execution.gallery import make_gallery
from shattering.execution.local import run_jobs
from shattering.execution.plan import Planned, ask, learner_bytes, processors
from shattering.execution.progress import Display
from shattering.execution.signals import StopRequest, stop_on_signals
from shattering.execution.start import with_debtors
from shattering.execution.ways import Ways
from shattering.store.store import Store


@dataclass(frozen=True, eq=False)
class Outcome:
    """A plan that has been carried out, or interrupted.

    Args:
        plan: what was planned.
        store: where its records are.
        seconds: wall-clock time of this call.
        computed: runs that ended during this call; the others were there before.
        interrupted_by: the signal that stopped it; none where it was not.
    """

    plan: Plan
    store: Store
    seconds: float
    computed: int
    interrupted_by: int | None


def run_plan(
    planned: Planned,
    *,
    out: Path = Path("runs"),
    jobs: int | None = None,
    keep_weights: bool = False,
    quiet: bool = False,
    carry_out: CarryOut | None = None,
    engine: Engine = run_jobs,
) -> Outcome:
    """Runs whatever of a plan has no outcome yet, and commits each run as it ends.

    Several processes may carry out one plan in one store: each run is leased, so they share the work. Failed runs are
    tried again. An interrupt saves checkpoints; the same call continues from them.

    Args:
        planned: from `plan_study`.
        out: the store's folder.
        jobs: processes at most; none: one per core on the CPU, one on a GPU.
        keep_weights: whether to keep the final weights of the runs computed now.
        quiet: no progress on standard error.
        carry_out: does one run here and now, one after the other; none: the engine does them.
        engine: where runs are done.

    Raises:
        SpecError: the plan is for several processes that train together, and nobody has started them.
        StoreError: the store cannot be opened or written; what was committed before stays.
        DataError: the data are gone or have changed since they were planned with.
    """
    began = time.monotonic()
    plan = planned.plan
    if carry_out is None:
        _require_alone(planned)
    with stop_on_signals() as stop:
        store = Store.open(Path(out), write=True)
        store.save_plan(plan)
        if not store.gallery(plan):
            store.save_gallery(plan, make_gallery(planned))
        computed = run_missing(
            planned,
            store,
            stop,
            jobs=jobs,
            keep_weights=keep_weights,
            quiet=quiet,
            carry_out=carry_out,
            engine=engine,
        )
    return Outcome(plan, store, time.monotonic() - began, computed, stop.by)


def run_missing(
    planned: Planned,
    store: Store,
    stop: StopRequest,
    *,
    jobs: int | None = None,
    keep_weights: bool = False,
    quiet: bool = False,
    more: Callable[[], Sequence[RunSpec]] | None = None,
    carry_out: CarryOut | None = None,
    engine: Engine = run_jobs,
    before: int = 0,
) -> int:
    """Runs what has no outcome yet in an open store, as `run_plan` does; returns how many runs ended now.

    ``more`` is asked for further runs whenever all have ended, until it has none; the same workers take them.
    ``before`` runs ended earlier that belong to the same work, and are told as such.
    """
    plan = planned.plan
    missing = with_debtors(plan.specs, plan.digests, store.missing(plan.digests), store)
    with Display(plan, missing, planned.expected_cost, quiet=quiet, before=before) as display:
        if not missing:
            return 0
        driver = Driver(planned, store, missing, keep_weights, display, stop, more, measure=carry_out is None)
        if carry_out is not None:
            return driver.run_here(carry_out)
        workers = jobs or default_jobs(planned)
        return driver.run(min(workers, len(missing)) if more is None else workers, engine)


def default_jobs(planned: Planned) -> int:
    """A process for every core that a run has a thread for, fewer where memory is short; one where a GPU works."""
    if planned.plan.request.device == "cuda":
        return 1
    threads = max((spec.compute.threads for spec in planned.plan.specs), default=1)
    cores = max(1, processors() // threads)
    available = available_bytes()
    fitting = cores if available is None else int(available * 0.8 / run_bytes(planned))
    return max(1, min(cores, fitting))


def run_bytes(planned: Planned) -> float:
    """Rough memory of one worker: the program, the raw data, and the examples of a run in float32 twice over."""
    request = planned.plan.request.data
    values = 0 if request.streamed else 1
    for size in request.input_shape:
        values *= size
    sizes = [spec.sizes(request.train_size, request.test_size) for spec in planned.plan.specs]
    largest = max(train for train, _ in sizes) + max(test for _, test in sizes)
    raw = planned.splits.train.inputs.nbytes + planned.splits.test.inputs.nbytes
    learning = max((learner_bytes(spec, request) for spec in planned.plan.specs), default=0.0)
    return 500e6 + raw + 8.0 * largest * values + learning


def require_run_memory(planned: Planned) -> None:
    """Raises `StoreError` (``run-memory``) where one run on all examples would need more memory than there is."""
    available, needed = available_bytes(), run_bytes(planned)
    if available is not None and needed > available:
        raise StoreError(
            "run-memory",
            f"One run on all {len(planned.splits.train):,} examples needs about {needed / 2**30:.1f} GiB of memory and "
            f"{available / 2**30:.1f} GiB are available; use a smaller data set or a machine with more.",
        )


def estimate_cost(
    planned: Planned, specs: list[RunSpec], jobs: int | None = None, store: Store | None = None
) -> Estimate:
    """Predicts steps and time of ``specs`` by timing a few steps of each kind of network in a worker.

    ``store`` is where the runs would go: it may have chosen already which way they make their updates.
    """
    jobs = jobs or default_jobs(planned)
    kinds = {shape_of(spec): spec for spec in specs}
    speeds = ask(planned, "time", list(kinds.values()))
    facts = planned.plan.request.data
    ways = Ways(planned, store)
    ways.measure_now()
    sizes = facts.train_size, facts.test_size
    cost = predict(specs, speeds, planned.study.expected_steps, sizes, jobs, ways.step_seconds)
    # A learner is timed on few examples, and what it takes of memory grows faster than they do.
    learning = max((learner_bytes(spec, facts) for spec in specs), default=0.0)
    peak = max(cost.peak_bytes, int(learning * jobs))
    return replace(cost, peak_bytes=peak, choices=tuple(ways.choices()))


def _require_alone(planned: Planned) -> None:
    processes = max((spec.compute.processes for spec in planned.plan.specs), default=1)
    if processes > 1:
        raise SpecError(
            "processes-not-launched",
            f"The plan is for compute.processes={processes}, which torchrun has to start: type `torchrun --standalone "
            f"--nproc-per-node {processes} -m shattering run {planned.plan.study} …`, or leave the field out.",
        )
