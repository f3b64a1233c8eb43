"""How large the weights are, and how far they have moved."""

from __future__ import annotations

from shattering.measures.registry import Probe, measure


@measure(units={"weight_norm": "1", "distance_from_initialisation": "1"}, paper="Zhang et al. (2017), Section 5")
def weights(probe: Probe) -> dict[str, float]:
    """Euclidean norm of all parameters, ‖w‖, and their distance from initialisation, ‖w - w₀‖.

    Both sum in float64 over every parameter, biases and normalisation included; buffers do not count. They are zero
    for a network of zeros, and for one that has not moved.
    """
    norm = distance = 0.0
    for name, parameter in probe.model.named_parameters():
        values = parameter.detach().double()
        norm += float(values.square().sum())
        distance += float((values - probe.initial[name].double()).square().sum())
    return {"weight_norm": norm**0.5, "distance_from_initialisation": distance**0.5}
