"""Dropout with one mask that all examples share, so that each has a gradient of its own."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from shattering.core.errors import ModelError
from shattering.gradients.rules.attention import multi_head_attention

_ALPHA = -1.7580993408473766
"""What a dropped SELU unit becomes: −λα."""

_ENTRIES = (F.dropout, torch.dropout)
_CHANNELS = (F.dropout1d, F.dropout2d, F.dropout3d, torch.feature_dropout)
_SELF_NORMALISING = (F.alpha_dropout, F.feature_alpha_dropout)
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


class FixedDropout(TorchFunctionMode):
    """While entered, every call of a dropout function in a forward has its own mask, the same in every forward.

    Args:
        seed: of the masks, which further depend on the number of the call and the shape of an example.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed
        self._call = 0
        self._masks: dict[tuple[int, tuple[int, ...], float], Tensor] = {}

    def restart(self) -> None:
        """A new forward begins."""
        self._call = 0

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if function in _ENTRIES or function in _CHANNELS or function in _SELF_NORMALISING:
            return self._dropped(function, *args, **kwargs)
        if function is F.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        if function is F.multi_head_attention_forward:
            # Its own dropout merges examples and heads; this one does not, and is the one that is measured.
            output = multi_head_attention(self, *args, **kwargs)
            if output is not NotImplemented:
                return output
        if getattr(function, "__name__", "") in _RECURRENT and self._recurrent(args):
            raise ModelError(
                "gradients-recurrent-dropout",
                "The model has a recurrent layer with dropout, whose mask cannot be fixed; "
                'measure with dropout="off", or set that layer\'s dropout to 0.',
            )
        return function(*args, **kwargs)

    @staticmethod
    def _recurrent(args: tuple[Any, ...]) -> bool:
        """Whether dropout is on among the arguments (…, dropout, train, bidirectional, …) of a recurrent layer."""
        rates = [x for x in args if isinstance(x, float)]
        place = next((i for i, x in enumerate(args) if isinstance(x, float)), None)
        return place is not None and rates[0] > 0 and bool(args[place + 1])

    def _mask(self, shape: tuple[int, ...], p: float, like: Tensor) -> Tensor:
        key = (self._call, shape, p)
        if key not in self._masks:
            generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self._call) % 2**63)
            with torch._C.DisableTorchFunctionSubclass():
                self._masks[key] = torch.rand(shape, generator=generator) >= p
        self._call += 1
        return self._masks[key].to(like.device)

    def _dropped(
        self,
        function: Any,
        input: Tensor,
        p: float = 0.5,
        training: bool | None = None,
        inplace: bool = False,
        **_: Any,
    ) -> Tensor:
        if training is None:
            training = function is F.dropout
        if "train" in _:
            training = _["train"]
        if not training or p == 0:
            return input
        shape = list(input.shape)
        whole_channels = function in _CHANNELS or function is F.feature_alpha_dropout
        keep = self._mask((1, shape[1], *[1] * (len(shape) - 2)) if whole_channels else (1, *shape[1:]), p, input)
        if function in _SELF_NORMALISING:
            scale = 1 / math.sqrt((1 - p) * (1 + p * _ALPHA**2))
            return torch.where(keep, input, _ALPHA) * scale - scale * _ALPHA * p
        factor = 0.0 if p == 1 else 1 / (1 - p)
        return input * (keep * factor).to(input.dtype)

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        **kwargs: Any,
    ) -> Tensor:
        if dropout_p == 0:
            return F.scaled_dot_product_attention(query, key, value, attn_mask, 0.0, is_causal, scale=scale, **kwargs)
        scores = query @ key.transpose(-2, -1) * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            scores = scores.masked_fill(~seen, -math.inf)
        if attn_mask is not None:
            masked = attn_mask.dtype == torch.bool
            scores = scores.masked_fill(~attn_mask, -math.inf) if masked else scores + attn_mask
        return self._dropped(F.dropout, scores.softmax(-1), dropout_p, True) @ value
