"""What a run leaves to the runs that start from it, as one safetensors payload."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

_FINAL, _MASK = "final", "mask"


@dataclass(frozen=True, eq=False)
class Estate:
    """Weights and masks of a run that has ended.

    Args:
        steps: parameters and buffers at the steps that were asked for and reached, 0 (as it began) among them.
        final: the same at the end.
        masks: of the weights that were masked throughout, bool; empty where none was.
        last: number of updates made.
    """

    steps: Mapping[int, Mapping[str, Tensor]]
    final: Mapping[str, Tensor]
    masks: Mapping[str, Tensor]
    last: int

    def to_bytes(self) -> bytes:
        """One safetensors file."""
        from safetensors.torch import save

        tensors = {f"{_FINAL}/{name}": value for name, value in self.final.items()}
        tensors |= {f"{_MASK}/{name}": value for name, value in self.masks.items()}
        for step, weights in self.steps.items():
            tensors |= {f"{step}/{name}": value for name, value in weights.items()}
        # safetensors refuses tensors that share memory, which tied weights do.
        whole = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
        return save(whole, metadata={"shattering": json.dumps({"last": self.last})})

    @classmethod
    def from_bytes(cls, payload: bytes) -> Estate:
        """Reads what `to_bytes` wrote; nothing in it is executed."""
        from safetensors.torch import load

        length = int.from_bytes(payload[:8], "little")
        last = json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["shattering"])["last"]
        parts: dict[str, dict[str, Tensor]] = {}
        for key, tensor in load(payload).items():
            part, _, name = key.partition("/")
            parts.setdefault(part, {})[name] = tensor
        final, masks = parts.pop(_FINAL, {}), parts.pop(_MASK, {})
        return cls({int(step): weights for step, weights in parts.items()}, final, masks, last)
