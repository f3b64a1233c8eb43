"""A stopped training goes on to the bit (weights, optimizer, buffers, data position, dropout, rows)."""

from __future__ import annotations

import pytest
import torch

from shattering.core.errors import Stopped
from shattering.core.spec import RunSpec
from shattering.execution.control import Control
from shattering.execution.run import execute
from shattering.store.store import Store
from shattering.training.state import Checkpoint, Progress, optimizer_tensors, restore_optimizer
from tiny_runs import Memory, digits, facts, network_spec, stop_at_call, stop_at_step, stopped_and_resumed, tiny_spec

DROPOUT = {"model__fields__dropout": 0.3, "training__momentum": 0.9, "corruption__name": "random_labels"}
BRIEF = {"training__max_steps": 8}
AUGMENTED = {"training__augmentation": "full", "data__crop": 6}

SPECS = {
    "sgd with momentum": tiny_spec(**DROPOUT),
    "sgd without": tiny_spec(**DROPOUT | BRIEF | {"training__momentum": 0.0, "training__weight_decay": 0.01}),
    "adam": tiny_spec(**DROPOUT, training__optimizer="adam", training__learning_rate=0.01),
    "adamw, augmented": tiny_spec(**DROPOUT, **AUGMENTED, training__optimizer="adamw", training__learning_rate=0.01),
    "augmented, decaying": tiny_spec(**DROPOUT, **AUGMENTED, **BRIEF, training__schedule="exponential"),
    "float64": tiny_spec(**DROPOUT, **BRIEF, compute__dtype="float64"),
    "convolutions, batch norm, tied": network_spec("convolutional", training__max_steps=10),
    "noise in evaluation": network_spec("noisy", **BRIEF),
    "fits, trains on": tiny_spec(
        model__fields__width=64, training__fit_accuracy=0.5, training__stop_when_fitted=False, training__max_steps=26
    ),
    "gradients and columns": tiny_spec(
        **BRIEF, corruption__name="random_labels", measures__names=("coherence", "learning_step", "accuracy")
    ),
    "fits, stops": tiny_spec(model__fields__width=64, training__fit_accuracy=0.5, training__max_steps=40),
}


@pytest.mark.parametrize("name", SPECS)
def test_stop_wherever_the_run_asks(name: str) -> None:
    """Before every update and in every evaluation, one after the other."""
    whole = facts(execute(SPECS[name], digits())[0])
    number = 1
    while (resumed := stopped_and_resumed(SPECS[name], stop_at_call(number))) is not None:
        assert facts(resumed) == whole, f"{name}: stopped at call {number}"
        number += 1
    assert number > 12


@pytest.mark.parametrize("step", range(1, 13))
def test_stop_at_each_step(step: int) -> None:
    spec = SPECS["sgd with momentum"]
    control = stop_at_step(step)
    resumed = stopped_and_resumed(spec, control)
    assert resumed is not None and facts(resumed) == facts(execute(spec, digits())[0])
    assert [kept for kept, _ in control.checkpoints.kept] == [step]
    assert [row["step"] for row in resumed.rows] == sorted({row["step"] for row in resumed.rows})


def test_stopped_after_every_step() -> None:
    """Each resumption makes one update and is stopped again."""
    spec, memory = SPECS["adamw, augmented"], Memory()
    for step in range(1, spec.training.max_steps):
        control = stop_at_step(step)
        with pytest.raises(Stopped):
            execute(spec, digits(), Control(control.should_stop, control.beat, checkpoints=memory))
    resumed = execute(spec, digits(), Control(checkpoints=memory))[0]
    assert facts(resumed) == facts(execute(spec, digits())[0])


def test_killed_with_periodic_checkpoints() -> None:
    """No farewell: the run is cut off between two of the checkpoints it saves as it goes."""

    class Killed(BaseException):
        pass

    def kill(step: int) -> None:
        if step == 9:
            raise Killed

    spec, memory = SPECS["convolutions, batch norm, tied"], Memory()
    with pytest.raises(Killed):
        execute(spec, digits(), Control(beat=kill, checkpoints=memory, checkpoint_seconds=0.0))
    assert memory.kept[-1][0] == 8
    assert facts(execute(spec, digits(), Control(checkpoints=memory))[0]) == facts(execute(spec, digits())[0])


def test_damaged_newest_checkpoint_falls_back(tmp_path) -> None:
    spec = SPECS["adam"]
    store = Store.open(tmp_path / "store", write=True)
    checkpoints = store.checkpoints(spec.digest)
    for step in (4, 9):
        control = stop_at_step(step)
        with pytest.raises(Stopped):
            execute(spec, digits(), Control(control.should_stop, control.beat, checkpoints=checkpoints))
    newest = max((tmp_path / "store" / "checkpoints" / spec.digest).iterdir())
    assert newest.name.startswith("step-00000009")
    newest.write_bytes(newest.read_bytes()[:-1])
    begun: list[int] = []
    resumed = execute(spec, digits(), Control(beat=begun.append, checkpoints=checkpoints))[0]
    assert begun[0] == 4
    assert facts(resumed) == facts(execute(spec, digits())[0])
    assert len(store.problems) == 1


@pytest.mark.parametrize("payload", [b"", b"\x00" * 40, b"\x02\x00\x00\x00\x00\x00\x00\x00{}", b"not a checkpoint"])
def test_unreadable_checkpoint_is_passed_over(payload: bytes) -> None:
    with pytest.raises(ValueError):
        Checkpoint.from_bytes(payload)
    spec, control = SPECS["sgd with momentum"], stop_at_step(5)
    with pytest.raises(Stopped):
        execute(spec, digits(), control)
    control.checkpoints.save(6, payload)
    begun: list[int] = []
    resumed = execute(spec, digits(), Control(beat=begun.append, checkpoints=control.checkpoints))[0]
    assert begun[0] == 5
    assert facts(resumed) == facts(execute(spec, digits())[0])


def test_checkpoint_keeps_numbers_to_the_bit() -> None:
    rows = [{"step": 3, "loss": 0.1 + 0.2, "other": float("nan")}]
    progress = Progress(step=7, seen=3, loss_sum=1 / 3, correct=2, looked_at=6, fitted=True)
    again = Checkpoint.from_bytes(
        Checkpoint({"model/a": torch.tensor([1e-45])}, progress, rows, {"facts": [None, 1.5, 2.0]}).to_bytes()
    )
    assert again.progress == progress and again.extra == {"facts": [None, 1.5, 2.0]}
    assert again.rows[0]["loss"] == 0.1 + 0.2 and again.rows[0]["other"] != again.rows[0]["other"]
    assert isinstance(again.rows[0]["step"], int)
    assert again.tensors["model/a"].item() == torch.tensor(1e-45).item()


def test_optimizer_state_takes_the_layout_of_its_parameter() -> None:
    parameter = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, fused=True)
    parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    saved = {name: value.clone().contiguous() for name, value in optimizer_tensors(optimizer).items()}
    restore_optimizer(optimizer, saved)
    restored = optimizer.state[parameter]["momentum_buffer"]
    assert restored.stride() == parameter.stride()
    assert torch.equal(restored, saved["optimizer/0/momentum_buffer"])


def test_resumption_tells_the_time_of_all_its_parts() -> None:
    spec: RunSpec = SPECS["sgd without"]
    control = stop_at_step(6)
    with pytest.raises(Stopped):
        execute(spec, digits(), control)
    step, payload = control.checkpoints.kept[-1]
    checkpoint = Checkpoint.from_bytes(payload)
    checkpoint.extra["facts"][2] = 1000.0
    control.checkpoints.save(step, checkpoint.to_bytes())
    resumed = execute(spec, digits(), Control(checkpoints=control.checkpoints))[0]
    assert 1000 < resumed.provenance["seconds"] < 1100
