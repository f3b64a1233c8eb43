"""The way of a learner's run, from its spec to a record in a store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from shattering.core.errors import SpecError, Stopped, StoreError
from shattering.core.record import Status
from shattering.core.spec import AT_ONCE, DataSpec, MeasureSpec, ModelSpec, RunSpec
from shattering.core.study import Paper, Request, Study, studies
from shattering.execution.control import Control
from shattering.execution.fit import fit
from shattering.execution.plan import plan_study, resolved
from shattering.execution.study import estimate_cost, run_plan
from shattering.learners.desk import Desk
from shattering.learners.registry import Fitted, LearnerEntry, Material, learners
from shattering.models.registry import models
from tiny_runs import digits

SPEC = RunSpec(
    data=DataSpec(name="digits", train_size=64, test_size=32),
    model=ModelSpec(name="majority_class"),
    training=AT_ONCE,
    measures=MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0),
)


CASES = ((True, True, Status.DONE), (False, True, Status.NOT_FITTED), (True, False, Status.DIVERGED))


class Folder:
    """Pieces that live as long as the test."""

    def __init__(self) -> None:
        self.pieces: dict[str, bytes] = {}

    def keep(self, name: str, payload: bytes) -> None:
        self.pieces[name] = payload

    def kept(self, name: str) -> bytes | None:
        return self.pieces.get(name)


@pytest.fixture
def registered(monkeypatch) -> Iterator[Any]:
    """Registers a learner for one test."""
    names = set(learners.names())

    def register(name: str, learn: Any, **facts: Any) -> None:
        told = {"summary": "s", "paper": "p", "fields": (), "units": {}, "growth": 1.0, "memory": None} | facts
        learners.add(name, LearnerEntry(name=name, learn=learn, **told))

    yield register
    for name in set(learners.names()) - names:
        del learners._entries[name]


def test_no_learner_has_the_name_of_a_network() -> None:
    assert set(learners.names()) & set(models.names()) == set()


def test_a_fit_gives_one_row_with_the_accuracy_and_the_facts() -> None:
    record, _ = fit(SPEC, digits())

    labels = record.examples["label"]
    frequency = np.bincount(labels).max() / len(labels)
    assert record.status is Status.NOT_FITTED
    assert record.last["majority"] == record.last["train_accuracy"] == frequency
    assert record.summary["majority"] == frequency
    assert record.units["majority"] == "1"
    assert len(record.rows) == 1
    frequencies = np.bincount(labels, minlength=10) / 64
    mean_loss = 0.5 * np.mean([np.sum((frequencies - np.eye(10)[label]) ** 2) for label in labels])
    assert record.last["train_loss"] == pytest.approx(mean_loss, rel=1e-12)


def test_a_fit_that_is_not_exact_counts_as_not_fitted_and_one_that_is_not_finite_as_diverged(registered) -> None:
    def perfect(material: Material, *, exact: bool, finite: bool) -> Fitted:
        known = {row.tobytes(): label for row, label in zip(material.rows, material.labels, strict=True)}

        def scores(inputs: Any) -> Any:
            wanted = [known.get(row.tobytes(), 0) for row in inputs.reshape(len(inputs), -1)]
            return np.eye(10)[wanted] * (1.0 if finite else np.nan)

        return Fitted(scores, {"residual": 0.0 if exact else 1.0}, {}, exact=exact)

    for exact, finite, status in CASES:
        name = f"perfect_{exact}_{finite}"
        registered(name, lambda material, e=exact, f=finite: perfect(material, exact=e, finite=f))
        record, _ = fit(SPEC.model_copy(update={"model": ModelSpec(name=name)}), digits())
        assert record.status == status


def test_a_run_that_was_stopped_finds_its_pieces_again(registered) -> None:
    computed = []

    def slow(material: Material) -> Fitted:
        parts = []
        for part in range(4):
            found = material.desk.kept(f"part-{part}")
            if found is None:
                computed.append(part)
                found = np.full(3, part)
                material.desk.keep(f"part-{part}", found)
            parts.append(found)
            material.desk.told(part + 1, 4)
        return Fitted(lambda inputs: np.zeros((len(inputs), 10)), {}, {"parts": np.stack(parts)})

    registered("slow", slow)
    spec = SPEC.model_copy(update={"model": ModelSpec(name="slow")})
    folder = Folder()
    with pytest.raises(Stopped):
        fit(spec, digits(), Control(should_stop=lambda: len(computed) >= 2, pieces=folder))
    record, fitted = fit(spec, digits(), Control(pieces=folder))

    assert computed == [0, 1, 2, 3]
    assert fitted.weights["parts"].tolist() == [[part] * 3 for part in range(4)]
    assert record.weights_sha256 == fit(spec, digits())[0].weights_sha256


def test_a_library_call_can_be_waited_for_and_a_stop_is_heard_after_it() -> None:
    asked = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(Stopped), Desk(stop=stop).waiting():
        pass
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("changes", "identifier"),
    [
        ({"measures": MeasureSpec()}, "learner-measures"),
        ({"training": AT_ONCE.model_copy(update={"max_steps": 10})}, "learner-training"),
        ({"model": ModelSpec(name="majority_class", fields={"depth": 3})}, "spec-unknown-key"),
        ({"model": ModelSpec(name="majority_klass")}, "unknown-model"),
    ],
)
def test_what_a_learner_cannot_do_is_told_before_anything_begins(changes, identifier) -> None:
    with pytest.raises(SpecError) as caught:
        resolved(SPEC.model_copy(update=changes), Request("smoke", digits().facts))

    assert caught.value.identifier == identifier


@pytest.fixture
def study_of() -> Iterator[Any]:
    """Makes a study of given specs, for one test."""

    def make(*specs: RunSpec) -> str:
        paper = Paper("Nobody", 2000, "Nothing", "nowhere", "https://example.org")
        study = Study(
            name="tiny-learners",
            paper=paper,
            question="Is it fitted?",
            datasets=("digits",),
            specs=lambda request: list(specs),
            claims=(),
            figures=(),
            answer=lambda records: "Nothing.",
            differences=lambda request: (),
            choices=(),
        )
        studies.add(study.name, study)
        return study.name

    yield make
    studies._entries.pop("tiny-learners", None)


def test_learners_go_the_way_of_every_run(tmp_path, study_of) -> None:
    planned = plan_study(study_of(SPEC, SPEC.model_copy(update={"seed": 1})), data="digits", scale="smoke")

    cost = estimate_cost(planned, list(planned.plan.specs), jobs=1)
    first = run_plan(planned, out=tmp_path / "store", jobs=1, keep_weights=True, quiet=True)
    again = run_plan(planned, out=tmp_path / "store", jobs=1, quiet=True)

    assert cost.steps == 2
    assert (first.computed, again.computed) == (2, 0)
    records = first.store.records(planned.plan.digests)
    assert {record.status for record in records} == {Status.NOT_FITTED}
    assert {record.spec.seed for record in records} == {0, 1}


def test_memory_that_is_not_there_is_foreseen(registered, study_of, monkeypatch) -> None:
    registered("hungry", learners.get("majority_class").learn, memory=lambda n, *_: 8.0 * n * n)
    monkeypatch.setenv("SHATTERING_MEMORY_BYTES", str(15_000_000))
    big = SPEC.model_copy(update={"model": ModelSpec(name="hungry"), "data": DataSpec(name="digits")})
    small = big.model_copy(update={"data": SPEC.data})

    with pytest.raises(StoreError, match=r"needs about .* are available; give it fewer") as caught:
        plan_study(study_of(big), data="digits", scale="smoke")

    assert caught.value.identifier == "run-memory"
    studies._entries.pop("tiny-learners")
    assert plan_study(study_of(small), data="digits", scale="smoke").plan.specs
