"""How far the gradients of single examples agree: over the network, over a layer, over pristine or corrupt examples."""

from __future__ import annotations

import math

from shattering.measures.registry import GroupedSums, Probe, measure

NETWORK = "network"
"""Stands for the layer whose parameters belong to the network itself rather than to a module inside it."""


@measure(
    units={
        "m_coherence": "examples",
        "alpha": "1",
        "pristine_m_coherence": "examples",
        "pristine_alpha": "1",
        "corrupt_m_coherence": "examples",
        "corrupt_alpha": "1",
        "coherence_floor": "examples",
        "gradient_norm": "1",
        "m_coherence/*": "examples",
    },
    paper="Chatterjee & Zielinski (2022), the definition of α; (2020), m-coherence",
    gradient_passes=1.0,
)
def coherence(probe: Probe) -> dict[str, float]:
    """Alignment of the gradients gᵢ of single examples: α = ‖Σgᵢ‖² / (m Σ‖gᵢ‖²), and m-coherence = m·α.

    ``m_coherence`` and ``alpha`` are of all m sampled training examples with the labels trained on, ``pristine_…`` of
    those that the corruption left as they were, ``corrupt_…`` of those it changed, and ``m_coherence/LAYER`` of all of
    them over the parameters of one layer. An m-coherence is 1 where gradients are orthogonal, m where they are equal,
    below 1 where they cancel, and 0 where their mean is zero; it grows with the number of examples, so the two groups'
    compare through α. ``coherence_floor`` is the m-coherence that rounding alone leaves of gradients that cancel
    exactly: values below ten times that tell nothing. ``gradient_norm`` is ‖ḡ‖, ḡ = Σgᵢ/m.

    A number whose group is empty, whose gradients are all exactly zero, or which is not finite is left out.

    The gradient of an example is that of its loss alone, in *evaluation* mode: dropout is off and batch norm takes its
    running statistics, so that an example's gradient exists and depends on no other example. It is hence not the
    gradient that a network with batch norm or dropout is trained with; the two kinds are never mixed.

    The cost is about that of one forward and backward pass over the sample, shared with ``contributions``.
    """
    return coherence_numbers(probe.sums)


def coherence_numbers(sums: GroupedSums) -> dict[str, float]:
    """The numbers of `coherence` from sums over gradients."""
    whole = sums.all.alignment()
    numbers = {
        "m_coherence": whole.m_coherence,
        "alpha": whole.alpha,
        "coherence_floor": whole.floor * whole.examples,
        "gradient_norm": whole.mean_gradient_norm,
    }
    for group, part in (("pristine", sums.pristine), ("corrupt", sums.corrupt)):
        if part is not None:
            aligned = part.alignment()
            numbers |= {f"{group}_m_coherence": aligned.m_coherence, f"{group}_alpha": aligned.alpha}
    for layer, parameters in sums.all.layers.items():
        numbers[f"m_coherence/{layer or NETWORK}"] = sums.all.alignment(parameters).m_coherence
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
