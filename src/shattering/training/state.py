"""A training at rest: everything needed to go on to the bit, as one safetensors payload."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class Progress:
    """Counters of a training that is under way.

    Args:
        step: updates made.
        seen: examples seen since the epoch began.
        loss_sum: their summed loss, nats.
        correct: how many of them were classified right as they were trained on.
        looked_at: the last step after which snapshots and the fit criterion were seen to; -1 at the beginning.
        fitted: whether the fit criterion has been met.
    """

    step: int = 0
    seen: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    looked_at: int = -1
    fitted: bool = False

    @property
    def running_accuracy(self) -> float:
        """Accuracy over the epoch so far, each batch before its update."""
        return self.correct / self.seen if self.seen else 0.0


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Weights, buffers, optimizer state, counters, and what was measured so far.

    Args:
        tensors: flat names (``model/…``, ``initial/…``, ``optimizer/<index>/<key>``) to tensors.
        progress: the loop's counters.
        rows: the snapshots' numbers so far.
        extra: JSON-able facts of the caller.
    """

    tensors: dict[str, torch.Tensor]
    progress: Progress
    rows: list[dict[str, Any]] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """One safetensors file; floats of the counters are written exactly, in hexadecimal."""
        from safetensors.torch import save

        facts = {
            "progress": {**vars(self.progress), "loss_sum": self.progress.loss_sum.hex()},
            "rows": [{name: _packed(value) for name, value in row.items()} for row in self.rows],
            "extra": self.extra,
        }
        # safetensors refuses tensors that share memory, which tied weights do; a copy each restores them all.
        tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in self.tensors.items()}
        return save(tensors, metadata={"shattering": json.dumps(facts)})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Checkpoint:
        """Reads what `to_bytes` wrote; nothing in it is executed. Raises `ValueError` for anything else."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        length = int.from_bytes(payload[:8], "little")
        try:
            facts = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["shattering"])
            progress = facts["progress"]
            progress["loss_sum"] = float.fromhex(progress["loss_sum"])
            rows = [{name: _unpacked(value) for name, value in row.items()} for row in facts["rows"]]
            return cls(load(payload), Progress(**progress), rows, facts["extra"])
        except (ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
            raise ValueError(f"{len(payload):,} bytes are not a checkpoint of this version ({error})") from None


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimizer's state as flat tensors; what is no tensor (a step count) becomes one."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer/{index}/{key}": value if isinstance(value, torch.Tensor) else torch.tensor(value)
        for index, entries in state.items()
        for key, value in entries.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """Puts back what `optimizer_tensors` took."""
    parameters = [parameter.detach() for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer/"):
            _, index, key = name.split("/", 2)
            parameter = parameters[int(index)]
            if tensor.shape == parameter.shape:
                # Fused kernels walk parameter and state side by side in memory, so both need the same strides.
                tensor = torch.empty_like(parameter, dtype=tensor.dtype).copy_(tensor)
            state.setdefault(int(index), {})[key] = tensor
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)


def _packed(value: float | int) -> float | int | str:
    return value.hex() if isinstance(value, float) else value


def _unpacked(value: float | int | str) -> float | int:
    return float.fromhex(value) if isinstance(value, str) else value
