"""The fields of a probe that measures without gradients never ask for."""

from __future__ import annotations

from typing import Any

import torch


def _never(*_: Any) -> Any:
    raise AssertionError("this measure needs no gradients")


NO_GRADIENTS: dict[str, Any] = {
    "gradient_rows": torch.empty(0, dtype=torch.int64),
    "inputs_of": _never,
    "losses": _never,
    "sums_over": _never,
    "seed_of": _never,
}
