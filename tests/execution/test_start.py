"""Runs that start from the weights of other runs."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from test_engines import InProcess

from shattering.core.errors import SpecError, Stopped, StoreError
from shattering.core.record import Record, Status, results_digest
from shattering.core.spec import RunSpec, SelectionSpec, StartSpec
from shattering.execution.control import Control
from shattering.execution.plan import plan_study
from shattering.execution.run import execute
from shattering.execution.study import run_plan
from shattering.store import format as form
from shattering.store.flat import flat_spec
from shattering.store.store import Store
from shattering.store.table import runs_table
from shattering.training.estate import Estate
from tiny_runs import Memory, digits, facts, fork_driver, fork_workers, register_study, stop_at_step, tiny_spec

ADAM = {"training__optimizer": "adam", "training__learning_rate": 0.01}


def started(parent: RunSpec, transform: str = "magnitude_pruning", step: int | None = 0, **fields: object) -> RunSpec:
    start = StartSpec(parent=parent, step=step, transform=transform, fields=fields)
    measures = parent.measures.model_copy(update={"names": ("accuracy", "weights", "linear_barrier")})
    return parent.model_copy(update={"start": start, "measures": measures})


def family(**changes: object) -> list[RunSpec]:
    """A dense run, two rounds of pruning, a control of the second, and one that starts in the middle of the first."""
    dense = tiny_spec(**{**ADAM, **changes})
    one = started(dense, fraction=0.5)
    two = started(one, fraction=0.5)
    again = started(two, "reinitialised").model_copy(update={"stream_seeds": {"initialisation": 9}})
    return [dense, one, two, again, started(dense, "unchanged", 5)]


def alone(specs: list[RunSpec]) -> dict[str, tuple[Record, Estate]]:
    """The runs one after the other, in this process, without a store."""
    found: dict[str, tuple[Record, Estate]] = {}
    for spec in specs:
        left: list[Estate] = []
        parent = None if spec.start is None else found[spec.start.parent.digest][1]
        control = Control(start=parent, leaves=frozenset({0, 5}), left=left.append)
        record, _ = execute(spec, digits(), control)
        found[spec.digest] = record, Estate.from_bytes(left[0].to_bytes())
    return found


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SHATTERING_STEPPER", "plain")
    register_study(monkeypatch, lambda request: family()[::-1])
    fork_workers(monkeypatch)
    return plan_study("tiny-study")


def test_a_plan_runs_parents_first_and_ends_like_one_run_after_the_other(planned, tmp_path: Path) -> None:
    specs = list(planned.plan.specs)
    assert len(specs) == 5
    wanted = alone(sorted(specs, key=lambda spec: len(spec.parents)))

    outcome = run_plan(planned, out=tmp_path / "store", jobs=2, quiet=True)

    records = {record.digest: record for record in outcome.store.records(planned.plan.digests)}
    assert results_digest(records.values()) == results_digest(record for record, _ in wanted.values())
    assert outcome.store.check() == []
    dense, one, two, again, late = _in_order(records)
    assert "remaining_fraction" not in dense.summary and late.summary["remaining_fraction"] == 1.0
    assert two.summary["remaining_weights"] == again.summary["remaining_weights"] < one.summary["remaining_weights"]
    assert two.last["weight_distance"] > 0 and "test_barrier" not in dense.last
    assert two.provenance["stepper"] == "plain"
    started_from = runs_table(outcome.store).column("start.parent").to_pylist()
    assert sorted(filter(None, started_from)) == sorted(s.start.parent.digest for s in specs if s.start)


def _in_order(records: dict[str, Record]) -> list[Record]:
    def key(record: Record) -> tuple[int, str]:
        start = record.spec.start
        return len(record.spec.parents), "" if start is None else start.transform

    dense, one, late, two, again = sorted(records.values(), key=key)
    return [dense, one, two, again, late]


def test_it_begins_where_the_parent_was_under_the_masks_and_these_stay() -> None:
    specs = family()
    found = alone(specs)
    (_, dense), (first, one), (_, two), (_, again), (_, late) = found.values()

    masks = one.masks
    assert all(torch.equal(one.steps[0][name], dense.steps[0][name] * mask) for name, mask in masks.items())
    assert all(bool((one.final[name][~mask] == 0).all()) for name, mask in masks.items())
    assert all(bool((two.masks[name] <= mask).all()) for name, mask in masks.items())
    assert all(bool((two.final[name][~mask] == 0).all()) for name, mask in two.masks.items())
    assert all(torch.equal(two.steps[0][name], dense.steps[0][name] * mask) for name, mask in two.masks.items())
    assert all(torch.equal(again.masks[name], mask) for name, mask in two.masks.items())
    assert not any(torch.equal(again.steps[0][name], two.steps[0][name]) for name in masks)
    assert all(torch.equal(late.steps[0][name], value) for name, value in dense.steps[5].items())
    assert first.rows[0]["distance_from_initialisation"] == 0.0
    short = specs[0].model_copy(update={"training": specs[0].training.model_copy(update={"max_steps": 5})})
    assert all(torch.equal(value, late.steps[0][name]) for name, value in alone([short])[short.digest][1].final.items())


def test_stopped_and_resumed_it_ends_the_same_and_leaves_the_same() -> None:
    specs = family()[:2]
    found = alone(specs)
    parent, (wanted, estate) = found[specs[0].digest][1], found[specs[1].digest]
    stop = stop_at_step(8)
    with pytest.raises(Stopped):
        execute(
            specs[1],
            digits(),
            Control(
                stop.should_stop, stop.beat, checkpoints=(memory := Memory()), start=parent, leaves=frozenset({0, 5})
            ),
        )
    left: list[Estate] = []
    control = Control(checkpoints=memory, start=parent, leaves=frozenset({0, 5}), left=left.append)
    assert facts(execute(specs[1], digits(), control)[0]) == facts(wanted)
    assert left[0].to_bytes() == estate.to_bytes()


def test_killed_between_parent_and_child_it_goes_on_to_the_same_end(
    planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHATTERING_CHECKPOINT_SECONDS", "0")
    whole = run_plan(planned, out=tmp_path / "whole", jobs=1, quiet=True)
    out = tmp_path / "killed"
    driver = fork_driver(lambda: run_plan(planned, out=out, jobs=1, quiet=True).computed)
    patience = time.monotonic() + 60
    while not list((out / "runs").glob("*/DONE")):
        assert driver.alive() and time.monotonic() < patience
        time.sleep(0.001)
    os.killpg(driver.pid, signal.SIGKILL)
    while driver.alive():
        time.sleep(0.01)

    again = run_plan(planned, out=out, jobs=1, quiet=True)

    digests = planned.plan.digests
    assert results_digest(again.store.records(digests)) == results_digest(whole.store.records(digests))
    assert again.store.check() == []


@pytest.mark.parametrize("harm", ["removed", "damaged"])
def test_a_parent_without_sound_weights_is_repeated_for_a_child_that_needs_it(
    planned, tmp_path: Path, harm: str
) -> None:
    outcome = run_plan(planned, out=tmp_path, jobs=1, quiet=True)
    wanted = results_digest(outcome.store.records(planned.plan.digests))
    last = next(spec for spec in planned.plan.specs if spec.start and spec.start.transform == "reinitialised")
    shutil.rmtree(tmp_path / "runs" / last.digest)
    if harm == "removed":
        shutil.rmtree(tmp_path / "estates")
    else:
        for path in (tmp_path / "estates").glob("*/*"):
            path.write_bytes(path.read_bytes()[:-1])
        assert len(Store.open(tmp_path, write=True).check()) == 3

    again = run_plan(planned, out=tmp_path, jobs=1, quiet=True)

    assert results_digest(again.store.records(planned.plan.digests)) == wanted
    assert again.computed == 1 and again.store.check() == []
    assert len(list((tmp_path / "estates").iterdir())) == 3
    assert run_plan(planned, out=tmp_path, jobs=1, quiet=True).computed == 0


def test_weights_other_than_the_records_are_never_handed_on(planned, tmp_path: Path) -> None:
    outcome = run_plan(planned, out=tmp_path, jobs=1, quiet=True)
    dense = next(spec for spec in planned.plan.specs if spec.start is None)
    record, estates = outcome.store.get(dense.digest), outcome.store.estates
    assert record is not None and estates.steps(dense.digest, record.weights_sha256) == {0, 5}
    assert estates.get(dense.digest, "0" * 64) is None and estates.steps(dense.digest, None) == frozenset()
    late = next(spec for spec in planned.plan.specs if spec.start and spec.start.step == 5)
    shutil.rmtree(tmp_path / "runs" / late.digest)
    shutil.rmtree(tmp_path / "estates" / dense.digest)
    shutil.rmtree(tmp_path / "runs" / dense.digest)
    store = Store.open(tmp_path, write=True)
    lease = store.lease(dense.digest)
    assert lease is not None and store.put(
        Record(dense, Status.NOT_FITTED, record.rows, weights_sha256="1" * 64), lease
    )
    lease.release()

    with pytest.raises(StoreError, match="ended with others than its record tells of"):
        run_plan(planned, out=tmp_path, jobs=1, quiet=True)


def test_other_engines_hand_weights_over_too(planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_plan(planned, out=tmp_path / "local", jobs=1, quiet=True)
    digests = planned.plan.digests
    monkeypatch.chdir(tmp_path)
    for _ in range(5):  # this engine ends where nothing can be handed out at the moment
        other = run_plan(planned, out=Path("other"), quiet=True, engine=InProcess())
    assert results_digest(other.store.records(digests)) == results_digest(whole.store.records(digests))


def test_a_run_whose_parent_diverged_or_ended_too_soon_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wild = tiny_spec(training__learning_rate=1e30)
    quick = tiny_spec(training__fit_accuracy=0.01)  # met at the end of the first epoch, after 3 updates
    register_study(monkeypatch, lambda request: [started(wild), started(quick, "unchanged", 9)])
    fork_workers(monkeypatch)
    outcome = run_plan(plan_study("tiny-study"), out=tmp_path, jobs=1, quiet=True)
    told = [outcome.store.failure(digest) for digest in outcome.plan.digests]
    errors = [record.error["identifier"] for record in told if record is not None and record.error]
    assert sorted(errors) == ["start-parent-absent", "start-step-unreached"]


@pytest.mark.parametrize(
    ("spec", "identifier"),
    [
        (started(tiny_spec(), "pruned"), "unknown-transform"),
        (started(tiny_spec(), share=0.5), "spec-unknown-key"),
        (started(tiny_spec(), step=15), "start-step-unreached"),
        (started(tiny_spec()).model_copy(update={"model": RunSpec().model}), "start-other-network"),
        (started(tiny_spec(compute__processes=2)), "start-several-processes"),
    ],
)
def test_a_start_that_cannot_be_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, spec: RunSpec, identifier: str
) -> None:
    register_study(monkeypatch, lambda request: [spec])
    with pytest.raises(SpecError) as caught:
        plan_study("tiny-study")
    assert caught.value.identifier == identifier


def test_specs_of_chains_are_short_on_the_disk_and_the_same_when_read() -> None:
    spec = family()[3]
    text = spec.to_json()
    assert RunSpec.from_json(text) == spec and RunSpec.from_json(text).digest == spec.digest
    lean = form.lean_spec(text.encode())
    assert form.is_spec_of(spec.digest, lean)
    assert flat_spec(lean)["start.parent"] == family()[2].digest
    assert [run.digest for run in spec.parents] == [run.digest for run in family()[:3]]
    chosen = spec.model_copy(update={"selection": SelectionSpec(parent=tiny_spec())})
    assert [run.digest for run in chosen.direct_parents] == [tiny_spec().digest, family()[2].digest]
