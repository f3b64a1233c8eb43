"""Multi-head attention, whose weights are linear layers inside one function of torch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from shattering.gradients.rules.registry import rule


@rule(F.multi_head_attention_forward)
def multi_head_attention(
    mode: TorchFunctionMode,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> Any:
    """The same function, with examples first throughout, from functions that have rules."""
    if query.dim() != 3 or static_k is not None or static_v is not None:
        return NotImplemented
    with mode:
        q, k, v = query.transpose(0, 1), key.transpose(0, 1), value.transpose(0, 1)
        biases: Any = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
        if use_separate_proj_weight:
            q = F.linear(q, q_proj_weight, biases[0])  # type: ignore[arg-type]
            k = F.linear(k, k_proj_weight, biases[1])  # type: ignore[arg-type]
            v = F.linear(v, v_proj_weight, biases[2])  # type: ignore[arg-type]
        elif query is key and key is value:
            q, k, v = F.linear(q, in_proj_weight, in_proj_bias).chunk(3, dim=-1)  # type: ignore[arg-type]
        else:
            weights = in_proj_weight.chunk(3)  # type: ignore[union-attr]
            q, k, v = (F.linear(x, w, b) for x, w, b in zip((q, k, v), weights, biases, strict=True))
        extra = int(bias_k is not None) + int(add_zero_attn)
        if bias_k is not None and bias_v is not None:
            k = torch.cat([k, bias_k.expand(len(k), -1, -1)], dim=1)
            v = torch.cat([v, bias_v.expand(len(v), -1, -1)], dim=1)
        if add_zero_attn:
            k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
        q, k, v = (
            x.reshape(*x.shape[:2], num_heads, -1).transpose(1, 2) for x in (q, k, v)
        )  # [n, heads, positions, width]
        mask = _mask(q, attn_mask, key_padding_mask)
        if mask is not None:
            mask = F.pad(mask, (0, extra))
        dropout = dropout_p if training else 0.0
        if need_weights:
            scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
            weights = (scores if mask is None else scores + mask).softmax(-1)
            mixed = F.dropout(weights, dropout, training=dropout > 0) @ v
            shown = weights.mean(1) if average_attn_weights else weights
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, mask, dropout)
            shown = None
        output = F.linear(mixed.transpose(1, 2).flatten(2), out_proj_weight, out_proj_bias)
        return output.transpose(0, 1), shown


def _mask(q: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None) -> Tensor | None:
    """What is added to the scores, to be broadcast to ``[n, heads, positions, positions]``."""
    masks = []
    if attn_mask is not None:
        mask = _added(attn_mask, q)
        masks.append(mask if mask.dim() == 2 else mask.view(len(q), -1, *mask.shape[1:]))
    if key_padding_mask is not None:
        masks.append(_added(key_padding_mask, q)[:, None, None, :])
    return sum(masks[1:], masks[0]) if masks else None


def _added(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -math.inf)
