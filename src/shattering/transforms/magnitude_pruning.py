"""A round of iterative magnitude pruning."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from shattering.core.spec import Number
from shattering.transforms.registry import Begin, Origin, require_share, transform


@transform(paper="Frankle & Carbin (2019), Section 2 and Appendix")
def magnitude_pruning(
    origin: Origin,
    *,
    fraction: Number = 0.2,
    output_fraction: Number = 0.1,
    scope: Literal["layer", "global"] = "layer",
) -> Begin:
    """Takes away the surviving weights that were smallest in size at the parent's end; the others start at the step.

    With the step 0 the others are *rewound* to what they were before the parent was trained; with a later one, to what
    they were then; with none they go on from the parent's end (fine-tuning). The parent's masks stay, so rounds add up:
    after k of them about (1 - fraction)ᵏ of the hidden layers' weights are left.

    Args:
        origin: parent and fresh weights.
        fraction: of the surviving weights of each hidden layer (``layer``), or of all of them together (``global``), in
            [0, 1).
        output_fraction: of those of the output layer, in [0, 1).
        scope: within which weights are compared.

    Returns:
        Weights at the step and masks. ``round(fraction · survivors)`` are taken away, ties in the order of their place,
        and one weight of each layer at least is left.

    Raises:
        SpecError: ``spec-fraction`` for a share outside [0, 1).
    """
    require_share("fraction", fraction)
    require_share("output_fraction", output_fraction)
    *hidden, output = origin.prunable
    masks = {name: origin.mask(name).clone() for name in origin.prunable}
    for group in [hidden] if scope == "global" else [[name] for name in hidden]:
        _prune(origin, masks, group, fraction)
    _prune(origin, masks, [output], output_fraction)
    return Begin(origin.weights, {**origin.masks, **masks})


def _prune(origin: Origin, masks: dict[str, Tensor], names: list[str], fraction: float) -> None:
    """Takes the smallest of a group's survivors out of its masks."""
    if not names:
        return
    kept = torch.cat([masks[name].flatten() for name in names])
    sizes = torch.cat([_sizes(origin.final[name], masks[name]) for name in names])
    order = torch.argsort(torch.where(kept, sizes, torch.inf), stable=True)
    survivors = int(kept.sum())
    kept[order[: min(round(fraction * survivors), survivors - len(names))]] = False
    for name, part in zip(names, torch.split(kept, [masks[name].numel() for name in names]), strict=True):
        masks[name] = part.reshape(masks[name].shape)


def _sizes(weights: Tensor, mask: Tensor) -> Tensor:
    """Sizes of weights; the largest survivor's is infinite, so that no layer is cut through."""
    sizes = weights.detach().double().abs().flatten()
    sizes[torch.argmax(torch.where(mask.flatten(), sizes, -1.0))] = torch.inf
    return sizes
