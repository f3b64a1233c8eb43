"""Runs that are trained on a part of what another run was trained on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shattering.core.errors import DataError, SpecError
from shattering.core.record import Record, Status, results_digest
from shattering.core.spec import RunSpec, SelectionSpec
from shattering.execution.plan import plan_study
from shattering.execution.run import execute
from shattering.execution.selection import choose_examples
from shattering.execution.study import run_plan
from tiny_runs import digits, fork_workers, register_study, tiny_spec

COUNT = 64


def parent_spec(**changes: object) -> RunSpec:
    return tiny_spec(measures__names=("accuracy", "learning_step"), **changes)


def child_spec(parent: RunSpec, part: str = "lowest", **changes: object) -> RunSpec:
    spec = tiny_spec(**{"data__train_size": None, "data__test_size": None, "training__batch_size": 8, **changes})
    return spec.model_copy(update={"selection": SelectionSpec(parent=parent, part=part)})


def parent_record(values: np.ndarray) -> Record:
    index = np.sort(np.random.default_rng(3).choice(len(digits().train), len(values), replace=False))
    return Record(parent_spec(), Status.DONE, examples={"index": index, "learning_step": values})


def chosen(part: str, values: np.ndarray) -> tuple[Record, np.ndarray, np.ndarray]:
    parent = parent_record(values)
    both = choose_examples(digits(), child_spec(parent.spec, part), parent)
    return parent, both.train.source_indices, both.test.source_indices


def test_lowest_and_highest_part_the_parents_examples_and_never_learned_ranks_last() -> None:
    values = np.random.default_rng(0).permutation(COUNT)
    values[values < 20] = -1  # a third were never learned
    parent, easy, easy_test = chosen("lowest", values)
    _, hard, hard_test = chosen("highest", values)
    assert [len(part) for part in (easy, easy_test, hard, hard_test)] == [24, 8, 24, 8]
    together = np.concatenate([easy, easy_test, hard, hard_test])
    assert sorted(together) == sorted(parent.examples["index"])
    value_of = dict(zip(parent.examples["index"], values, strict=True))
    assert all(value_of[index] >= 20 for index in (*easy, *easy_test))
    last_of_easy = max(value_of[index] for index in (*easy, *easy_test))
    assert all(value_of[index] == -1 or value_of[index] > last_of_easy for index in (*hard, *hard_test))


def test_a_random_part_does_not_look_at_the_column() -> None:
    one = chosen("random", np.arange(COUNT))[1:]
    other = chosen("random", np.arange(COUNT)[::-1].copy())[1:]
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(
        np.sort(np.concatenate(one)), np.sort(np.concatenate(chosen("lowest", np.arange(COUNT))[1:]))
    )


def test_ties_are_broken_at_random_and_not_by_place() -> None:
    parent, easy, easy_test = chosen("lowest", np.zeros(COUNT, dtype=np.int64))
    first_half = parent.examples["index"][: COUNT // 2]
    assert 0 < np.isin(np.concatenate([easy, easy_test]), first_half).sum() < COUNT // 2


def test_a_sweep_runs_parents_first_and_ends_like_one_run_after_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    register_study(monkeypatch, lambda request: [child_spec(parent_spec(), part) for part in ("lowest", "highest")])
    fork_workers(monkeypatch)
    planned = plan_study("tiny-study")
    parent, *children = planned.plan.specs
    assert [child.selection.parent for child in children] == [parent, parent]
    outcome = run_plan(planned, out=tmp_path, jobs=2, quiet=True)
    assert outcome.computed == 3
    above, _ = execute(parent, digits())
    alone = [above, *(execute(child, digits(), parent=above)[0] for child in children)]
    assert results_digest(outcome.store.records(planned.plan.digests)) == results_digest(alone)
    easy, hard = (set(record.examples["index"]) for record in alone[1:])
    assert easy.isdisjoint(hard) and alone[1].summary["test_size"] == 8


def test_what_the_user_sets_reaches_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    register_study(monkeypatch, lambda request: [child_spec(parent_spec())])
    planned = plan_study("tiny-study", overrides={"training.learning_rate": "0.01"})
    assert [spec.training.learning_rate for spec in planned.plan.specs] == [0.01, 0.01]
    assert planned.plan.specs[1].selection.parent == planned.plan.specs[0]


def test_a_run_whose_parent_failed_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = parent_spec().model_copy(update={"model": type(RunSpec().model)(name="tiny_networks:absent")})
    register_study(monkeypatch, lambda request: [child_spec(broken)])
    monkeypatch.setattr("shattering.execution.plan.ask", lambda planned, kind, specs: {})
    fork_workers(monkeypatch)
    outcome = run_plan(plan_study("tiny-study"), out=tmp_path, jobs=1, quiet=True)
    errors = [outcome.store.failure(digest).error["identifier"] for digest in outcome.plan.digests]
    assert errors[1] == "run-parent-failed" and errors[0].startswith("model-")


def test_a_parent_that_diverged_or_did_not_measure_the_column_is_refused() -> None:
    parent = parent_record(np.arange(COUNT))
    spec = child_spec(parent.spec)
    diverged = Record(parent.spec, Status.DIVERGED)
    with pytest.raises(SpecError, match="diverged"):
        choose_examples(digits(), spec, diverged)
    bare = Record(parent.spec, Status.DONE, examples={"index": parent.examples["index"]})
    with pytest.raises(SpecError, match=r"no column 'learning_step'.*measures\.names"):
        choose_examples(digits(), spec, bare)


def test_a_part_too_small_for_a_batch_is_refused_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    register_study(monkeypatch, lambda request: [child_spec(parent_spec(), training__batch_size=40)])
    with pytest.raises(DataError, match=r"leaves 24 training and 8 test examples, and a batch is 40"):
        plan_study("tiny-study")
