"""Engines without their clusters: what is refused, how jobs are put together, what becomes of lost ones, same bits."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shattering.core.errors import ShatteringError, SpecError, StoreError
from shattering.core.record import results_digest
from shattering.execution import engines
from shattering.execution.engines import remote
from shattering.execution.engines.chunks import MOST, MOVES, Ledger, chunk_size, in_flight_limit
from shattering.execution.engines.ray import RayEngine, require_ray
from shattering.execution.engines.slurm import settings_of
from shattering.execution.local import run_jobs
from shattering.execution.messages import Job, Message
from shattering.execution.plan import plan_study
from shattering.execution.run import execute
from shattering.execution.study import run_plan
from shattering.store.store import Store
from tiny_runs import digits, register_study, tiny_spec


def job(key: str) -> Job:
    return Job("run", key, tiny_spec().to_json(), "digits", None, digits().fingerprint)


def fake_ray(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    module = types.ModuleType("ray")
    module.__version__ = version  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", module)


@pytest.mark.parametrize(
    ("asked", "identifier", "told"),
    [
        ({"name": "rya"}, "engine-unknown", "did you mean 'ray'"),
        ({"name": "local", "address": "auto"}, "address-without-ray", "--engine ray"),
        ({"name": "ray", "slurm": ("partition=cpu",)}, "slurm-without-slurm", "partition=cpu"),
        ({"name": "slurm", "slurm": ("partition",)}, "slurm-malformed", "KEY=VALUE"),
        ({"name": "slurm", "slurm": ("timeout_min=soon",)}, "slurm-wrong-value", "timeout_min wants a number"),
        ({"name": "slurm", "slurm": ("runs_per_task=0",)}, "slurm-wrong-value", "at least 1"),
        ({"name": "slurm", "slurm": ("qos=a", "qos=b")}, "slurm-duplicate", "a second time"),
    ],
)
def test_choices_that_cannot_be_are_refused(asked: dict[str, object], identifier: str, told: str) -> None:
    with pytest.raises(SpecError) as error:
        engines.check_choice(**asked)  # type: ignore[arg-type]
    assert error.value.identifier == identifier and told in error.value.message


@pytest.mark.parametrize("name", ["ray", "submitit"])
def test_an_engine_that_is_not_installed_says_how_to_install_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    engine = {"ray": "ray", "submitit": "slurm"}[name]
    with pytest.raises(StoreError) as error:
        engines.check_choice(engine)
    assert error.value.identifier == f"{name}-missing"
    assert f"pip install -c constraints.txt 'shattering[{engine}]'" in error.value.message


def test_an_old_ray_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("2.53.1", "1.99"):
        fake_ray(monkeypatch, version)
        with pytest.raises(StoreError, match=f"{version} is installed") as error:
            engines.check_choice("ray")
        assert error.value.identifier == "ray-too-old"
    for version in ("2.54.0", "3.0.0rc1"):
        fake_ray(monkeypatch, version)
        engines.check_choice("ray")


def test_an_address_with_a_password_is_refused_without_repeating_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_ray(monkeypatch, "2.60.0")
    for address in ("auto", "ray://head.example:10001", "10.0.0.1:6379"):
        require_ray(address)
    with pytest.raises(SpecError) as error:
        require_ray("ray://me:hunter2@head:10001")
    assert "hunter2" not in error.value.message and "head:10001" in error.value.message


def test_settings_of_slurm_have_their_types() -> None:
    settings = settings_of(["partition=cpu", "timeout-min=90", "mem_gb=1.5", "cluster=local", "runs_per_task=3"])
    assert settings == {
        "partition": "cpu",
        "timeout_min": 90,
        "mem_gb": 1.5,
        "cluster": "local",
        "runs_per_task": 3,
    }


def test_short_jobs_make_large_chunks_and_long_ones_go_alone() -> None:
    assert chunk_size(float("inf"), 0.0) == 1  # nothing is known yet
    assert chunk_size(100.0, 1000.0) == 1
    assert chunk_size(0.05, 0.0) == 10  # half a second at first
    assert chunk_size(0.05, 100.0) == 200  # ten seconds, a tenth of what has passed
    assert chunk_size(1.0, 1e6) == 20
    assert chunk_size(0.0, 1e6) == MOST
    sizes = [chunk_size(0.1, elapsed) for elapsed in range(0, 400, 10)]
    assert sizes == sorted(sizes)


def test_a_chunk_holds_what_there_is() -> None:
    ledger = Ledger()
    waiting = [job(str(number)) for number in range(5)]
    assert [each.key for each in ledger.next_chunk(lambda: waiting.pop(0), 0.0)] == ["0"]
    ledger.timed(0.1)
    take: Callable[[], Job | None] = lambda: waiting.pop(0) if waiting else None  # noqa: E731
    assert [each.key for each in ledger.next_chunk(take, 0.0, room=2)] == ["1", "2"]
    assert [each.key for each in ledger.next_chunk(take, 0.0)] == ["3", "4"]
    assert ledger.next_chunk(take, 0.0) == []


def test_only_a_job_that_was_alone_is_blamed_for_the_loss_of_its_worker() -> None:
    ledger = Ledger(tries=2)
    a, b = job("a"), job("b")
    lose = {"cause": "was lost", "advice": "look", "identifier": "run-crashed"}
    assert ledger.worker_lost([a, b], alone=False, **lose) == []
    assert [ledger.next_chunk(lambda: None, 0.0) for _ in range(3)] == [[a], [b], []]
    assert ledger.worker_lost([a], alone=True, **lose) == []
    [broke] = ledger.worker_lost([a], alone=True, **lose)
    assert (broke.key, broke.identifier, broke.exit_code) == ("a", "run-crashed", 5)
    assert "was lost, 2 times; look." in broke.message
    for _ in range(MOVES - 2):
        assert ledger.worker_lost([b], alone=False, **lose) == []
    assert [broke.key for broke in ledger.worker_lost([b], alone=False, **lose)] == ["b"]
    [hung] = Ledger(tries=1).hung([a], alone=True)
    assert (hung.identifier, hung.exit_code) == ("run-hung", 4)


def test_the_limit_of_jobs_at_a_time_leaves_files_to_others() -> None:
    import resource

    assert 64 <= in_flight_limit() < resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_the_warning_names_both_times() -> None:
    assert engines.too_small("local", 0.1) is None
    assert engines.too_small("ray", 1e4) is None
    told = engines.too_small("ray", 3.0)
    assert told is not None and "15 s" in told and "3 s" in told and "--engine local" in told


def test_a_plan_too_small_for_its_engine_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from shattering.execution import study as execution

    asked: list[int] = []

    def estimate(planned: object, specs: list[object], jobs: int | None) -> object:
        asked.append(len(specs))
        return types.SimpleNamespace(seconds=2.0)

    monkeypatch.setattr(execution, "estimate_cost", estimate)
    register_study(monkeypatch, lambda request: [tiny_spec(), tiny_spec(seed=1)], expected_steps=lambda spec: 10)
    planned = plan_study("tiny-study")
    assert engines.warning("local", planned, tmp_path / "none") is None
    assert "about 2 s" in str(engines.warning("slurm", planned, tmp_path / "none"))
    run_plan(planned, out=tmp_path / "store", quiet=True, engine=InProcess())
    assert engines.warning("ray", planned, tmp_path / "store") is None  # nothing is left
    assert asked == [2]
    monkeypatch.setattr(engines, "CERTAIN_STEPS", 19)
    assert engines.warning("ray", planned, tmp_path / "none") is None  # certainly long, and nothing is timed
    assert asked == [2]


class InProcess:
    """An engine that sends chunks through what remote workers do, in this process."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.shared: list[bool] = []

    def __call__(
        self,
        take: Callable[[], Job | None],
        unfinished: Callable[[], bool],
        *,
        workers: int,
        should_stop: Callable[[], bool] = lambda: False,
        tries: int = 3,
    ) -> Iterator[Message]:
        ledger = Ledger(tries)
        elapsed = 0.0
        while chunk := ledger.next_chunk(take, elapsed):
            self.sizes.append(len(chunk))
            said: list[Message] = []
            with remote.marked(chunk[0].store) as mark:
                origin = remote.Origin.here(mark)
                self.shared.append(origin.shares_store())
                sent = [remote.absolute(each) for each in chunk]
                remote.do_jobs(sent, origin, digits(), alive=lambda: None, stopped=should_stop, tell=said.append)
            yield from said
            ledger.timed(0.1)
            elapsed += 10.0


def test_every_engine_gives_the_same_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHATTERING_STEPPER", "plain")
    specs = [tiny_spec(seed=seed) for seed in range(5)] + [tiny_spec(training__learning_rate=1e30)]
    register_study(monkeypatch, lambda request: specs)
    planned = plan_study("tiny-study")
    wanted = results_digest(execute(spec, digits())[0] for spec in planned.plan.specs)
    engine = InProcess()
    monkeypatch.chdir(tmp_path)
    outcome = run_plan(planned, out=Path("store"), quiet=True, engine=engine)
    assert results_digest(outcome.store.records(planned.plan.digests)) == wanted
    assert engine.sizes == [1, 5] and all(engine.shared)
    assert [path.name for path in (tmp_path / "store" / "tmp").iterdir()] == []  # the mark is gone


def test_a_worker_that_does_not_see_the_store_keeps_no_checkpoints(tmp_path: Path) -> None:
    Store.open(tmp_path, write=True)
    with remote.marked(tmp_path) as mark:
        assert mark is not None and remote.Origin.here(mark).shares_store()
        assert not remote.Origin.here((mark[0], b"another")).shares_store()
        assert not remote.Origin.here((mark[0] + "x", mark[1])).shares_store()
        Store.open(tmp_path, write=True)  # cleans up what dead writers left
        assert remote.Origin.here(mark).shares_store()
    assert not remote.Origin.here(mark).shares_store()
    assert not remote.Origin.here().shares_store()


def test_of_the_environment_only_what_workers_need_leaves_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "canary")
    monkeypatch.setenv("SHATTERING_SECRET", "canary")
    monkeypatch.setenv("SHATTERING_DATA", "data")
    origin = remote.Origin.here()
    assert origin.settings["SHATTERING_DATA"] == "data" and set(origin.settings) <= set(remote.PASSED_ON)
    assert "canary" not in repr(origin)


def test_a_worker_of_another_version_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    origin = remote.Origin.here()
    monkeypatch.setattr(remote, "VERSION", "99.0")
    assert "a worker has shattering 99.0" in str(remote.settle(origin, 1))
    said: list[Message] = []
    stranger = job("0" * 32)
    remote.do_jobs([stranger], origin, digits(), alive=lambda: None, stopped=lambda: False, tell=said.append)
    assert [word.identifier for word in said] == ["engine-version-differs"]  # type: ignore[union-attr]


def test_paths_mean_the_same_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.npz").touch()
    (tmp_path / "digits").mkdir()  # a folder of that name is not what the name means
    sent = remote.absolute(Job("run", "k", "{}", "mine.npz", Path("folder"), "f", store=Path("runs")))
    assert sent.data == str(tmp_path / "mine.npz")
    assert (sent.data_dir, sent.store) == (tmp_path / "folder", tmp_path / "runs")
    assert remote.absolute(Job("run", "k", "{}", "digits", None, "f")).data == "digits"


def test_the_choice_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    register_study(monkeypatch, lambda request: [tiny_spec()])
    planned = plan_study("tiny-study")
    assert engines.choose_engine("local", planned) is run_jobs
    fake_ray(monkeypatch, "2.60.0")
    chosen = engines.choose_engine("ray", planned, address="auto", jobs=3)
    assert isinstance(chosen, RayEngine) and (chosen.address, chosen.jobs) == ("auto", 3)
    assert chosen.splits is planned.splits
    with pytest.raises(ShatteringError):
        engines.choose_engine("dask", planned)


def test_nothing_is_started_where_nothing_is_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert list(RayEngine()(lambda: None, lambda: False, workers=2)) == []
