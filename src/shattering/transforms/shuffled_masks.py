"""The other control of the lottery ticket: as many connections in each layer, anywhere."""

from __future__ import annotations

import torch

from shattering.transforms.registry import Begin, Origin, transform


@transform(paper="Frankle & Carbin (2019), random sparse networks")
def shuffled_masks(origin: Origin) -> Begin:
    """Freshly drawn weights under the parent's masks, each permuted within its layer.

    The permutation is that of the stream ``masks`` at the layer's place among those that can be pruned.
    """
    stream = origin.stream("masks")
    masks = {}
    for place, name in enumerate(origin.prunable):
        if name in origin.masks:
            mask = origin.masks[name]
            order = torch.from_numpy(stream.permutation(mask.numel(), place))
            masks[name] = mask.flatten()[order].reshape(mask.shape)
    return Begin(origin.fresh, masks)
