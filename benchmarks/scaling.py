"""How far one driver, one store and many workers go: what a run costs them, measured; a million runs, simulated.

The real driver (plan, leases, records, commits) carries out a plan with an engine whose workers answer at once, which
tells what one run costs it. A simulation of the scheduler, event by event, is then held to real sweeps on this machine
and taken where no sweep here can go: a million runs on a thousand cores. The figures of docs/scaling.md are its output.

    python benchmarks/scaling.py [--quick] [--runs N] [--out FILE]
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import os
import random
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import scaling_imagenet
from shattering.core.record import Record, Status
from shattering.core.spec import AT_ONCE, CorruptionSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Paper, Request, Study, studies
from shattering.execution.messages import Ended, Job, Message
from shattering.execution.plan import Planned, plan_study
from shattering.execution.provenance import peak_bytes, provenance
from shattering.execution.study import run_plan

RESULTS = Path(__file__).parent / "results" / "scaling.json"

START_SECONDS = 4.0
"""Of a local worker: a process is spawned, imports torch, and reads the data."""


@dataclass(frozen=True)
class Cluster:
    """What the simulation is told.

    Args:
        runs: to be trained.
        workers: processes that train.
        per_node: workers that fail together.
        run_seconds: of a run, on average.
        spread: standard deviation of the logarithm of a run's duration.
        start_seconds: of a worker, before it can begin its first run.
        take_seconds: of the driver, to hand out a run.
        commit_seconds: of the driver, to write a record and tick it off.
        queued: runs that wait at a worker at most, the one it does among them.
        failures_per_hour: of a node; its workers come back after ``start_seconds`` with nothing.
        drivers: that share the plan, each with its part of the workers.
    """

    runs: int
    workers: int
    run_seconds: float
    take_seconds: float
    commit_seconds: float
    per_node: int = 64
    spread: float = 0.3
    start_seconds: float = 8.0
    queued: int = 8
    failures_per_hour: float = 0.0
    drivers: int = 1


@dataclass(frozen=True)
class Course:
    """What came of it.

    Args:
        seconds: until the last record was committed.
        driver_busy: share of the time that the (busiest) driver worked.
        workers_busy: share of the time that workers trained what was committed.
        repeated: runs begun again after their node had failed.
        bottleneck: what the time went into.
    """

    seconds: float
    driver_busy: float
    workers_busy: float
    repeated: int
    bottleneck: str


def simulate(cluster: Cluster, seed: int = 0) -> Course:
    """One sweep, event by event: hand out, train, commit, and nodes that fail.

    The driver does one thing at a time, in the order in which it is asked. A worker trains while it has runs in its
    queue, and is sent another for each that has ended. Every run is committed exactly once.
    """
    parts = [
        replace(cluster, runs=runs, workers=workers, drivers=1)
        for runs, workers in zip(
            _shares(cluster.runs, cluster.drivers), _shares(cluster.workers, cluster.drivers), strict=True
        )
    ]
    courses = [_one_driver(part, seed + number) for number, part in enumerate(parts)]
    slowest = max(courses, key=lambda course: course.seconds)
    return replace(slowest, repeated=sum(course.repeated for course in courses))


def _shares(total: int, parts: int) -> list[int]:
    return [total // parts + (number < total % parts) for number in range(parts)]


def _one_driver(cluster: Cluster, seed: int) -> Course:
    chance = random.Random(seed)
    mean = math.log(cluster.run_seconds) - cluster.spread**2 / 2
    waiting, committed, repeated = cluster.runs, 0, 0
    free_at, busy, trained = 0.0, 0.0, 0.0
    queue = [0] * cluster.workers  # runs at the worker that have not begun
    training = [False] * cluster.workers
    life = [0] * cluster.workers  # how often the worker's node has failed
    events: list[tuple[float, int, str, int, int]] = []
    tick = 0

    def at(moment: float, kind: str, worker: int) -> None:
        nonlocal tick
        tick += 1
        heapq.heappush(events, (moment, tick, kind, worker, life[worker] if worker >= 0 else 0))

    def drives(now: float, seconds: float) -> float:
        nonlocal free_at, busy
        free_at = max(free_at, now) + seconds
        busy += seconds
        return free_at

    durations: dict[int, float] = {}

    def begin(now: float, worker: int) -> None:
        queue[worker] -= 1
        training[worker] = True
        durations[worker] = chance.lognormvariate(mean, cluster.spread)
        at(now + durations[worker], "trained", worker)

    for worker in range(cluster.workers):
        at(cluster.start_seconds, "ready", worker)
    nodes = range(0, cluster.workers, cluster.per_node)
    if cluster.failures_per_hour > 0:
        for node in nodes:
            at(chance.expovariate(cluster.failures_per_hour / 3600), "fails", -1 - node)
    now = 0.0
    while committed < cluster.runs:
        now, _, kind, worker, alive = heapq.heappop(events)
        if kind == "fails":
            node = -1 - worker
            for place in range(node, min(node + cluster.per_node, cluster.workers)):
                lost = queue[place] + training[place]
                waiting, repeated = waiting + lost, repeated + lost
                queue[place], training[place] = 0, False
                life[place] += 1
                at(now + cluster.start_seconds, "ready", place)
            at(now + chance.expovariate(cluster.failures_per_hour / 3600), "fails", worker)
            continue
        if kind == "committed":
            committed += 1
            continue
        if alive != life[worker]:
            if kind == "given":  # sent to a worker that has failed meanwhile: it is sent again
                repeated += 1
                at(drives(now, cluster.take_seconds) + cluster.start_seconds, "given", worker)
            continue
        if kind == "ready":
            for _ in range(min(cluster.queued, waiting)):
                waiting -= 1
                at(drives(now, cluster.take_seconds), "given", worker)
        elif kind == "given":
            queue[worker] += 1
            if not training[worker]:
                begin(now, worker)
        elif kind == "trained":
            training[worker] = False
            trained += durations[worker]
            # Its record is on its way to the driver, and safe there even if the node fails now.
            done = drives(now, cluster.commit_seconds)
            tick += 1
            heapq.heappush(events, (done, tick, "committed", worker, -1))
            if waiting:
                waiting -= 1
                at(drives(now, cluster.take_seconds), "given", worker)
            if queue[worker]:
                begin(now, worker)
    driver_busy, workers_busy = busy / now, trained / (now * cluster.workers)
    return Course(now, driver_busy, workers_busy, repeated, _bottleneck(cluster, now, driver_busy))


def _bottleneck(cluster: Cluster, seconds: float, driver_busy: float) -> str:
    if driver_busy > 0.9:
        return "the driver"
    if cluster.start_seconds > 0.4 * seconds:
        return "the start of the workers"
    if cluster.runs < 3 * cluster.workers:
        return "the longest runs"
    return "the trainings"


@contextmanager
def synthetic_plan(count: int) -> Iterator[Planned]:
    """A plan of small runs on digits, of a study that is known for the length of the block."""

    def specs(request: Request) -> list[RunSpec]:
        training = TrainingSpec(batch_size=64, max_steps=64, learning_rate=0.05, fit_accuracy=1.0)
        measures = MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0)
        model, labels = ModelSpec(name="mlp_1x512", fields={"width": 64}), CorruptionSpec(name="random_labels")
        return [
            RunSpec(model=model, corruption=labels, training=training, measures=measures, seed=seed)
            for seed in range(count)
        ]

    study = Study(
        name="synthetic",
        paper=Paper("The Shattering developers", 2026, "Scaling", "benchmarks", "https://example.org"),
        question="What does a run cost the driver?",
        datasets=("digits",),
        specs=specs,
        claims=(),
        figures=(),
        answer=lambda records: "",
        differences=lambda request: (),
        choices=(),
        expected_steps=lambda spec: spec.training.max_steps,
    )
    studies.names()
    studies._entries["synthetic"] = study
    try:
        yield plan_study("synthetic")
    finally:
        del studies._entries["synthetic"]


def answers_at_once(planned: Planned) -> Callable[..., Generator[Message, None, None]]:
    """An engine whose workers need no time: each run has a record the moment it is handed out."""
    facts = planned.plan.request.data
    import numpy as np

    examples = {
        "index": np.arange(facts.train_size),
        "label": np.arange(facts.train_size) % facts.num_classes,
        "original_label": np.arange(facts.train_size) % facts.num_classes,
        "changed": np.arange(facts.train_size) % 3 == 0,
        "prediction": np.arange(facts.train_size) % facts.num_classes,
    }

    def engine(
        take: Callable[[], Job | None], unfinished: Callable[[], bool], **_: Any
    ) -> Generator[Message, None, None]:
        waiting: deque[Job] = deque()
        while True:
            job = take()
            if job is not None:
                waiting.append(job)
            if waiting and (job is None or len(waiting) > 16):
                spec = RunSpec.from_json(waiting.popleft().spec)
                row = {"step": 64, "epoch": 2.8, "learning_rate": 0.05, "train_accuracy": 1.0, "test_accuracy": 0.1}
                summary = {"steps": 64, "steps_to_fit": 64, "train_size": facts.train_size}
                told = provenance(spec)
                yield Ended(spec.digest, Record(spec, Status.DONE, (row,), summary, {}, "0" * 64, examples, told))
            elif job is None and not waiting and not unfinished():
                return

    return engine


def measured_costs(count: int) -> dict[str, float]:
    """What one run costs the real driver, its plan and its store, and a second look at the finished store."""
    os.environ["SHATTERING_STEPPER"] = "plain"  # nobody trains here: there is nothing to measure
    with synthetic_plan(count) as planned, tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "runs"
        before = peak_bytes()
        began = time.perf_counter()
        outcome = run_plan(planned, out=out, quiet=True, engine=answers_at_once(planned))
        seconds = time.perf_counter() - began
        assert outcome.computed == count
        began = time.perf_counter()
        again = run_plan(planned, out=out, quiet=True, engine=answers_at_once(planned))
        resumed = time.perf_counter() - began
        assert again.computed == 0
        size = sum(path.stat().st_blocks * 512 for path in (out / "runs").rglob("*"))
    return {
        "runs": count,
        "driver_seconds_per_run": seconds / count,
        "resume_seconds_per_run": resumed / count,
        "disk_bytes_per_run": size / count,
        "memory_bytes": peak_bytes() - before,
    }


def measured_sweep(count: int, workers: int) -> dict[str, float]:
    """A real sweep with real workers: its time, and what its runs took."""
    with synthetic_plan(count) as planned, tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        outcome = run_plan(planned, out=Path(folder) / "runs", quiet=True, jobs=workers)
        seconds = time.perf_counter() - began
        records = outcome.store.records(planned.plan.digests)
        each = [float(record.provenance["seconds"]) for record in records]
    return {"runs": count, "workers": workers, "seconds": seconds, "run_seconds": sum(each) / len(each)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short form: fewer runs measured and simulated")
    parser.add_argument("--runs", type=int, default=None, help="runs of the largest simulated sweep; 10^6 by default")
    parser.add_argument("--out", type=Path, default=None, help=f"where to save; {RESULTS} by default, quick: nowhere")
    given = parser.parse_args()
    largest = given.runs or (20_000 if given.quick else 1_000_000)
    costs = measured_costs(100 if given.quick else 2000)
    cost = costs["driver_seconds_per_run"]
    print(f"driver, measured: {1e3 * cost:.2f} ms and {costs['disk_bytes_per_run'] / 1024:.0f} KiB a run")
    checks = []
    for count, workers in ((50, 2),) if given.quick else ((200, 1), (200, 2), (1000, 2)):
        seen = measured_sweep(count, workers)
        told = Cluster(
            count, workers, seen["run_seconds"], 0.3 * cost, 0.7 * cost, start_seconds=START_SECONDS, per_node=workers
        )
        predicted = simulate(told)
        checks.append({**seen, "simulated_seconds": predicted.seconds})
        print(
            f"{count:,} real runs of {1e3 * seen['run_seconds']:.0f} ms on {workers} workers: {seen['seconds']:.1f} s, "
            f"simulated {predicted.seconds:.1f} s ({predicted.seconds / seen['seconds']:.2f} of it)"
        )
    rows = []
    base = Cluster(largest, 1000, 10.0, 0.3 * cost, 0.7 * cost, failures_per_hour=0.02)
    print(
        f"\n{'runs':>10} {'workers':>8} {'each':>7} {'drivers':>8} {'hours':>8} {'driver':>7} {'trains':>7}  bottleneck"
    )
    for cluster in [
        *(replace(base, runs=runs, workers=2, failures_per_hour=0.0) for runs in (1000, largest // 100)),
        *(replace(base, workers=workers) for workers in (16, 100, 1000, 10_000)),
        *(replace(base, run_seconds=seconds) for seconds in (0.1, 1.0, 100.0)),
        *(replace(base, run_seconds=1.0, drivers=drivers) for drivers in (4, 16)),
    ]:
        began = time.perf_counter()
        course = simulate(cluster)
        rows.append({**asdict(cluster), **asdict(course), "simulation_seconds": time.perf_counter() - began})
        print(
            f"{cluster.runs:>10,} {cluster.workers:>8,} {cluster.run_seconds:>5g} s {cluster.drivers:>8} "
            f"{course.seconds / 3600:>8.2f} {course.driver_busy:>7.0%} {course.workers_busy:>7.0%}  "
            f"{course.bottleneck}",
            flush=True,
        )
    print("\nImageNet, 100 epochs, on paper (pace, cores and network are assumed: see scaling_imagenet.Assumed)")
    imagenet = scaling_imagenet.measured(given.quick)
    hours = scaling_imagenet.modelled(imagenet)
    for row in hours:
        print(f"{row['network']:>13} on {row['gpus']:>3} GPUs: {row['hours']:>6.2f} h, bottleneck: {row['bottleneck']}")
    target = given.out or (None if given.quick else RESULTS)
    if target is not None:
        host = provenance(RunSpec(training=AT_ONCE))
        told = {"costs": costs, "checks": checks, "simulated": rows, "imagenet": imagenet | {"modelled": hours}}
        told["host"] = host
        target.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"\nsaved: {target}")


if __name__ == "__main__":
    sys.exit(main())
