"""Which way the updates of each shape are made: measured once, kept with the store, and told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shattering.cli.dry_run import describe, describe_text
from shattering.core.errors import SpecError
from shattering.core.record import results_digest
from shattering.execution import calibration
from shattering.execution.calibration import fastest, remember, remembered, updates_per_second, worth_calibrating
from shattering.execution.estimate import shape_key
from shattering.execution.messages import Job
from shattering.execution.plan import Planned, plan_study
from shattering.execution.study import run_plan
from shattering.execution.ways import Ways
from shattering.store.store import Store
from tiny_runs import digits, fork_workers, register_study, tiny_spec


@pytest.fixture
def choosing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No way is forced, an empty cache, and the smallest plans are worth a calibration."""
    monkeypatch.delenv("SHATTERING_STEPPER")
    monkeypatch.setenv("SHATTERING_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(calibration, "WORTH_STEPS", 1)


def _planned(monkeypatch: pytest.MonkeyPatch, seeds: int = 2) -> Planned:
    register_study(monkeypatch, lambda request: [tiny_spec(seed=seed) for seed in range(seeds)])
    return plan_study("tiny-study", scale="smoke")


def _store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs", write=True)


@pytest.mark.parametrize(
    ("speeds", "way"),
    [
        ({"plain": 100.0}, "plain"),
        ({"plain": 100.0, "compiled": 109.0}, "plain"),
        ({"plain": 100.0, "compiled": 111.0}, "compiled"),
        ({"plain": 100.0, "compiled": 150.0, "by_hand": 151.0}, "by_hand"),
        ({"plain": 100.0, "compiled": 1.0}, "plain"),
    ],
)
def test_another_way_has_to_be_clearly_faster(speeds: dict[str, float], way: str) -> None:
    assert fastest(speeds) == way


def test_shapes_are_calibrated_that_are_trained_for_long() -> None:
    facts = digits().facts
    small = [tiny_spec(seed=seed) for seed in range(10)]
    other = tiny_spec(training__batch_size=32)
    steps = {spec.digest: calibration.WORTH_STEPS // 10 for spec in small} | {other.digest: calibration.WORTH_STEPS - 1}
    found = worth_calibrating([*small, other], lambda spec: steps[spec.digest], facts)
    assert found == {shape_key(small[0], facts): small[0]}
    assert not worth_calibrating(small[1:], lambda spec: steps[spec.digest], facts)


def test_what_was_measured_is_remembered_on_this_machine_only(monkeypatch: pytest.MonkeyPatch, choosing: None) -> None:
    assert remembered("abc") is None
    remember("abc", {"plain": 100.0, "compiled": 2000.5})
    assert remembered("abc") == {"plain": 100.0, "compiled": 2000.5}
    monkeypatch.setattr(calibration, "processor", lambda: "another")
    assert remembered("abc") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"machine": 1}'])
def test_a_damaged_memory_is_none(content: bytes, choosing: None) -> None:
    remember("abc", {"plain": 100.0})
    calibration._place("abc").write_bytes(content)
    assert remembered("abc") is None


def test_every_way_that_a_run_can_go_is_measured(choosing: None) -> None:
    speeds = updates_per_second(tiny_spec(model__name="small_convnet", model__fields={"channels": 2}), digits())
    assert speeds["plain"] > 0 and "compiled" not in speeds
    assert all(speed > 0 for speed in speeds.values())


def test_what_is_forced_goes_for_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, choosing: None) -> None:
    monkeypatch.setenv("SHATTERING_STEPPER", "by_hand")
    planned = _planned(monkeypatch)
    ways = Ways(planned, _store(tmp_path))
    assert ways.of(planned.plan.specs[0]) == "by_hand" and ways.job() is None and not ways.choices()
    monkeypatch.setenv("SHATTERING_STEPPER", "fast")
    with pytest.raises(SpecError, match="plain"):
        Ways(planned)


def test_a_store_keeps_to_its_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, choosing: None) -> None:
    planned, store = _planned(monkeypatch), _store(tmp_path)
    spec = planned.plan.specs[0]
    ways = Ways(planned, store)
    assert ways.of(spec) is None
    job = ways.job()
    assert job is not None and job.kind == "calibrate" and ways.job() is None
    ways.measured(job.key, {"plain": 100.0, "compiled": 3000.0})
    assert ways.of(spec) == "compiled"
    assert ways.step_seconds(spec) == pytest.approx(1 / 3000)
    assert Ways(planned).of(spec) == "compiled", "the machine remembers it"
    remember(job.key, {"plain": 100.0})
    assert Ways(planned).of(spec) == "plain"
    again = Ways(planned, store)
    assert again.of(spec) == "compiled" and again.job() is None, "the store does not change its mind"
    (choice,) = again.choices()
    assert (choice.way, choice.runs, choice.updates_per_second["compiled"]) == ("compiled", 2, 3000.0)


def test_where_nobody_can_measure_runs_go_the_plain_way(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, choosing: None
) -> None:
    planned = _planned(monkeypatch)
    assert Ways(planned, _store(tmp_path), measure=False).of(planned.plan.specs[0]) == "plain"
    ways = Ways(planned, _store(tmp_path))
    job = ways.job()
    assert job is not None
    ways.gave_up(job.key)
    assert ways.of(planned.plan.specs[0]) == "plain"


def test_a_dry_run_tells_the_way_and_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, choosing: None
) -> None:
    planned = _planned(monkeypatch)
    found = {"plain": 1000.0, "compiled": 50000.0}

    def measure(planned: Planned, kind: str, specs: list[object]) -> dict[str, object]:
        return {shape_key(tiny_spec(), planned.plan.request.data): found} if kind == "calibrate" else _time(planned)

    def _time(planned: Planned) -> dict[str, object]:
        from shattering.execution.estimate import shape_of, time_step

        return {shape_of(spec): time_step(spec, planned.splits) for spec in planned.plan.specs[:1]}

    monkeypatch.setattr("shattering.execution.ways.ask", measure)
    monkeypatch.setattr("shattering.execution.study.ask", measure)
    told = describe(planned, tmp_path / "runs", 1)
    assert [entry["way"] for entry in told["ways"]] == ["compiled"]
    assert "compiled, 50,000 updates/s in a process (plain 1,000)" in describe_text(told)


def test_all_ways_and_numbers_of_workers_give_the_same_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, choosing: None
) -> None:
    fork_workers(monkeypatch)
    planned = _planned(monkeypatch, seeds=12)
    digests = {}
    for name, jobs in (("one", 1), ("two", 2)):
        outcome = run_plan(planned, out=tmp_path / name, jobs=jobs, quiet=True)
        records = outcome.store.records(planned.plan.digests)
        assert len(records) == 12 and len({record.provenance["stepper"] for record in records}) == 1
        digests[name] = results_digest(records)
    assert digests["one"] == digests["two"]


def test_a_run_that_cannot_go_the_way_says_so(execute_tiny: Callable[[str], dict[str, object]]) -> None:
    told = execute_tiny("compiled")
    assert told["stepper"] == "plain" and "augmented" in str(told["not compiled"])


@pytest.fixture
def execute_tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, object]]:
    from shattering.execution.control import Control
    from shattering.execution.run import execute

    monkeypatch.delenv("SHATTERING_STEPPER")

    def run(way: str) -> dict[str, object]:
        record, _ = execute(tiny_spec(training__augmentation="crop", data__crop=6), digits(), Control(way=way))
        return record.provenance

    return run


def test_short_jobs_wait_at_a_worker_and_long_ones_do_not() -> None:
    from multiprocessing import Pipe
    from types import SimpleNamespace

    from shattering.execution.local import QUEUED, QUEUED_SECONDS, _Worker

    ours, _theirs = Pipe()
    worker = _Worker(None, ours, SimpleNamespace(value=0))
    assert worker.room == 1, "nothing is known of its jobs yet"
    job = Job("run", "a", "{}", "digits", None, "")
    worker.give(job)
    assert worker.room == 0
    worker.job_seconds = QUEUED_SECONDS / 4
    assert worker.room == 3
    worker.job_seconds = 1e-6
    assert worker.room == QUEUED - 1
    worker.ended()
    assert not worker.jobs
