"""Losses on a few test examples one by one, to compare two trainings point by point."""

from __future__ import annotations

from shattering.measures.registry import Probe, measure

MOST = 64


@measure(units={"held_out_loss/*": "nats"}, paper="Bousquet & Elisseeff (2002)")
def held_out_losses(probe: Probe) -> dict[str, float]:
    """The loss on each of the first 64 test examples: ``held_out_loss/0`` and so on, by their place in the test set.

    All runs that ask for as many test examples of a data set are tested on the same ones, whatever their seed, so equal
    names are equal points: `replacement_effects` compares two trainings there. A smaller test set gives fewer numbers.
    """
    losses, _ = probe.test
    return {f"held_out_loss/{place}": float(value) for place, value in enumerate(losses[:MOST].double())}
