"""The weights themselves, where they are few."""

from __future__ import annotations

from shattering.measures.registry import Probe, measure

MOST = 8


@measure(
    units={f"weight_{number}": "1" for number in range(1, MOST + 1)},
    paper="Chatterjee & Zielinski (2022), the illustrative example",
)
def weight_values(probe: Probe) -> dict[str, float]:
    """The first eight numbers among the parameters, in the network's order.

    ``weight_1`` is the first entry of the first parameter, and so on through each parameter row by row; a network with
    fewer numbers has fewer. Meant for models of a handful of weights, whose solution can be checked by hand.
    """
    values: list[float] = []
    for parameter in probe.model.parameters():
        values += parameter.detach().flatten()[: MOST - len(values)].tolist()
    return {f"weight_{number}": float(value) for number, value in enumerate(values, 1)}
