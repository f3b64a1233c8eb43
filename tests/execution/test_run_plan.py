"""Plans carried out by real worker processes: shared, resumed, spoilt by their networks, by changed data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.core.record import Status, results_digest
from shattering.execution.outcome import arrays_of, weights_sha256
from shattering.execution.plan import plan_study
from shattering.execution.run import execute
from shattering.execution.study import Outcome, run_plan
from shattering.store.store import Store
from tiny_runs import digits, facts, fork_driver, fork_workers, register_study, tiny_spec

TESTS = Path(__file__).parents[1]


def mixed(request):
    """A sweep whose runs end in every way that a training can end."""
    return [
        tiny_spec(model__fields__dropout=0.3),
        tiny_spec(corruption__name="random_labels", training__optimizer="adam"),
        tiny_spec(model__fields__width=64, training__fit_accuracy=0.6, training__max_steps=60),
        tiny_spec(training__learning_rate=1e30),
    ]


def statuses(outcome: Outcome) -> list[str]:
    return [record.status.value for record in outcome.store.records(outcome.plan.digests)]


def test_one_or_two_workers_give_the_same_bits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    register_study(monkeypatch, mixed)
    planned = plan_study("tiny-study")
    wanted = [execute(spec, digits()) for spec in planned.plan.specs]
    outcomes = [
        run_plan(planned, out=tmp_path / str(jobs), jobs=jobs, keep_weights=jobs == 2, quiet=True) for jobs in (1, 2)
    ]
    for outcome in outcomes:
        records = outcome.store.records(outcome.plan.digests)
        assert outcome.computed == 4 and outcome.interrupted_by is None
        assert results_digest(records) == results_digest(record for record, _ in wanted)
        assert statuses(outcome) == ["not_fitted", "not_fitted", "done", "diverged"]
        for (record, _), stored in zip(wanted, records, strict=True):
            assert facts(outcome.store.get(stored.digest, examples=True)) == facts(record)
        assert outcome.store.plans() == [planned.plan]
        assert len(outcome.store.gallery(planned.plan)) == 2
        assert outcome.store.check() == []
        assert list((outcome.store.root / "checkpoints").iterdir()) == []
    again = run_plan(planned, out=tmp_path / "2", quiet=True)
    assert again.computed == 0 and results_digest(again.store.records(planned.plan.digests)) == results_digest(
        record for record, _ in wanted
    )

    import torch
    from safetensors.torch import load

    for (record, model), spec in zip(wanted, planned.plan.specs, strict=True):
        assert outcomes[0].store.weights(spec.digest) is None
        kept = load(outcomes[1].store.weights(spec.digest))
        if record.status is not Status.DIVERGED:
            model.load_state_dict(kept)
            assert weights_sha256(arrays_of(model)) == record.weights_sha256
        assert all(isinstance(value, torch.Tensor) for value in kept.values())


MODELS = ("segfaults", "leaves", "hangs", "raises", "exits", "killed")
CAUSES = {
    "segfaults": ("run-crashed", "killed by signal 11, 3 times"),
    "leaves": ("run-crashed", "left with code 7, 3 times"),
    "hangs": ("run-hung", "no sign of life for 2 s, 3 times"),
    "raises": ("model-raised", "ArithmeticError: no more steps at tiny_networks.py:"),
    "exits": ("model-raised", "SystemExit: enough at tiny_networks.py:"),
    "killed": ("run-crashed", "killed by signal 9, 3 times; use fewer --jobs"),
}


def test_networks_that_fail_spoil_only_their_own_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Six ways to fail at the sixth step, beside a sound run; the next call tries the failures again."""

    def specs(request):
        user = [tiny_spec(model__name=name, model__fields={}, training__max_steps=9) for name in request.models]
        return [*user, tiny_spec()]

    monkeypatch.syspath_prepend(str(TESTS))  # workers look in the path they inherit
    monkeypatch.setenv("SHATTERING_HANG_SECONDS", "2")
    # Workers are forked, so that none of the sixteen has to import torch again.
    fork_workers(monkeypatch)
    register_study(monkeypatch, specs)
    planned = plan_study("tiny-study", models=tuple(f"tiny_networks:{name}" for name in MODELS))
    assert all(spec.model.source for spec in planned.plan.specs[:-1])
    outcome = run_plan(planned, out=tmp_path / "store", jobs=2, quiet=True)
    records = dict(zip([*MODELS, ""], outcome.store.records(planned.plan.digests), strict=True))
    assert outcome.computed == 1 and records[""].status is Status.NOT_FITTED
    for name, (identifier, cause) in CAUSES.items():
        failed = records[name]
        assert failed.status is Status.FAILED
        assert failed.error["identifier"] == identifier and cause in failed.error["message"], failed.error
    assert sorted(outcome.store.missing(planned.plan.digests)) == sorted(planned.plan.digests[:-1])
    again = run_plan(planned, out=tmp_path / "store", jobs=2, quiet=True)
    assert again.computed == 0
    assert statuses(again) == ["failed"] * 6 + ["not_fitted"]


def test_failures_are_tried_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What made a run fail is mended outside of it; the same command then finishes the sweep."""
    fork_workers(monkeypatch)
    network = (
        "import os\nfrom torch import nn\n\n"
        "class Net(nn.Sequential):\n"
        "    def forward(self, x):\n"
        f"        if self.training and len(x) > 8 and os.path.exists({str(tmp_path / 'broken')!r}):\n"
        "            raise RuntimeError('the file is there')\n"
        "        return super().forward(x)\n\n"
        "def build(num_classes):\n    return Net(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    (tmp_path / "mendable_network.py").write_text(network)
    (tmp_path / "broken").touch()
    monkeypatch.chdir(tmp_path)
    register_study(monkeypatch, lambda request: [tiny_spec(model__name=request.models[0], model__fields={})])
    planned = plan_study("tiny-study", models=("mendable_network:build",))
    outcome = run_plan(planned, out=tmp_path / "store", quiet=True)
    assert statuses(outcome) == ["failed"] and outcome.computed == 0
    assert "the file is there" in outcome.store.failure(planned.plan.digests[0]).error["message"]
    (tmp_path / "broken").unlink()
    outcome = run_plan(planned, out=tmp_path / "store", quiet=True)
    assert statuses(outcome) == ["not_fitted"] and outcome.computed == 1
    assert outcome.store.failure(planned.plan.digests[0]) is None


def save_data(path: Path, shift: int) -> None:
    train, test = digits().train, digits().test
    labels = (train.labels + shift) % 10
    np.savez(path, x_train=train.inputs, y_train=labels, x_test=test.inputs, y_test=test.labels)


def test_data_that_change_after_the_plan_stop_the_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fork_workers(monkeypatch)
    register_study(monkeypatch, mixed)
    data = tmp_path / "mine.npz"
    save_data(data, 0)
    planned = plan_study("tiny-study", data=str(data))
    save_data(data, 1)
    with pytest.raises(DataError) as error:
        run_plan(planned, out=tmp_path / "store", quiet=True)
    assert error.value.identifier == "data-changed"
    assert planned.plan.request.data.fingerprint[:12] in error.value.message
    store = Store.open(tmp_path / "store", write=False)
    assert store.records(planned.plan.digests) == []
    data.unlink()
    with pytest.raises(DataError):
        run_plan(planned, out=tmp_path / "store", quiet=True)
    save_data(data, 0)
    outcome = run_plan(planned, out=tmp_path / "store", quiet=True)
    assert outcome.computed == 4
    changed = plan_study("tiny-study", data=str(data))
    save_data(data, 1)
    other = plan_study("tiny-study", data=str(data))
    assert changed.plan.digests == planned.plan.digests
    assert not set(other.plan.digests) & set(planned.plan.digests)


def test_two_drivers_share_one_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each run is committed once, and both see them all."""
    fork_workers(monkeypatch)
    register_study(monkeypatch, lambda request: [tiny_spec(seed=seed, training__max_steps=60) for seed in range(10)])
    planned = plan_study("tiny-study")
    wanted = results_digest(execute(spec, digits())[0] for spec in planned.plan.specs)

    def share() -> list[object]:
        outcome = run_plan(planned, out=tmp_path / "store", jobs=1, quiet=True)
        records = outcome.store.records(planned.plan.digests)
        return [outcome.computed, len(records), results_digest(records)]

    told = [driver.end() for driver in [fork_driver(share), fork_driver(share)]]
    assert sum(computed for computed, _, _ in told) == 10
    assert [part[1:] for part in told] == [[10, wanted], [10, wanted]]
    assert len(list((tmp_path / "store" / "runs").iterdir())) == 10
