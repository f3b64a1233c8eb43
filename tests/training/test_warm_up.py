"""Warm-up, the second beta and the two weight decays: against written-out updates, on every way of a CPU."""

from __future__ import annotations

import pytest
import torch

from shattering.core.spec import RunSpec, TrainingSpec
from shattering.data.load import load_data
from shattering.execution.run import execute
from shattering.training.schedule import learning_rate
from tiny_runs import tiny_spec


def test_the_rate_grows_in_equal_parts() -> None:
    training = TrainingSpec(learning_rate=0.4, warmup_steps=4)

    assert [learning_rate(training, step, 10) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    decayed = TrainingSpec(learning_rate=0.4, warmup_steps=4, schedule="exponential", decay=0.5, decay_steps=2)
    assert [learning_rate(decayed, step, 10) for step in range(6)] == pytest.approx([0.1, 0.2, 0.15, 0.2, 0.1, 0.1])


def test_defaults_leave_every_digest_alone() -> None:
    told = RunSpec(training=TrainingSpec(beta2=0.999, warmup_steps=0))

    assert told.digest == RunSpec().digest
    assert RunSpec(training=TrainingSpec(beta2=0.98)).digest != told.digest


def weights_of(spec: RunSpec, way: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    monkeypatch.setenv("SHATTERING_STEPPER", way)
    record, model = execute(spec, load_data("digits"))
    assert record.provenance["stepper"] == way
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def spec_of(optimizer: str) -> RunSpec:
    return tiny_spec(
        training__optimizer=optimizer,
        training__learning_rate=0.01,
        training__weight_decay=0.5,
        training__beta2=0.9,
        training__warmup_steps=3,
        training__max_steps=6,
        training__stop_when_fitted=False,
        compute__dtype="float64",
    )


@pytest.mark.parametrize("way", ["by_hand", pytest.param("compiled", marks=pytest.mark.slow)])
@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_every_way_makes_the_same_updates(optimizer: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(optimizer)
    plain, other = (weights_of(spec, name, monkeypatch) for name in ("plain", way))

    for name, value in other.items():
        torch.testing.assert_close(value, plain[name], rtol=1e-9, atol=1e-12)


def test_decay_is_decoupled_in_adamw_and_a_penalty_in_adam() -> None:
    from shattering.training.update import build_optimizer

    for optimizer, decoupled in (("adam", False), ("adamw", True)):
        layer = torch.nn.Linear(1, 1, bias=False).double()
        torch.nn.init.constant_(layer.weight, 2.0)
        steps = build_optimizer(layer, spec_of(optimizer))
        layer.weight.grad = torch.full_like(layer.weight, 3.0)
        steps.step()
        # A first step of Adam is the rate along the sign of what it is given.
        expected = 2.0 * (1 - 0.01 * 0.5) - 0.01 if decoupled else 2.0 - 0.01
        assert layer.weight.item() == pytest.approx(expected, abs=1e-9)
        assert steps.param_groups[0]["betas"] == (0.9, 0.9)
