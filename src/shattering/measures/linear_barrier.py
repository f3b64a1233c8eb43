"""Whether two trained networks lie in one valley: the error on the straight line between their weights."""

from __future__ import annotations

import torch

from shattering.measures.registry import Probe, measure

POINTS = 11
"""Places on the line, ends included; the paper takes 30."""

UNITS = {"train_barrier": "1", "test_barrier": "1", "weight_distance": "1"}


@measure(units=UNITS, paper="Frankle, Dziugaite, Roy & Carbin (2020), Section 2", at_end=True)
def linear_barrier(probe: Probe) -> dict[str, float]:
    """Error barrier between the final weights w₁ of this run and those, w₂, of the run that it started from.

    max over α of error(α w₁ + (1 - α) w₂) - (error(w₁) + error(w₂)) / 2, with α from 0 to 1 in steps of 0.1, error the
    fraction of examples that are misclassified in evaluation mode.

    Returns:
        ``train_barrier`` and ``test_barrier``: from half the difference of the ends, where the largest error is at one
        of them, to 1; ``weight_distance``, ‖w₁ - w₂‖. Nothing for a run that started from none.
    """
    if probe.parent_final is None:
        return {}
    own = {name: value.detach().clone() for name, value in probe.model.state_dict().items()}
    other = {name: value.to(own[name].device) for name, value in probe.parent_final.items()}
    labels = {"train": probe.labels, "test": probe.test_labels}
    errors: dict[str, list[float]] = {"train": [], "test": []}
    try:
        for place in range(POINTS):
            share = place / (POINTS - 1)
            probe.model.load_state_dict({name: _between(other[name], value, share) for name, value in own.items()})
            for split in ("train", "test"):
                predicted = probe.outputs_on("train" if split == "train" else "test").argmax(dim=1)
                errors[split].append(float((predicted != labels[split]).double().mean()))
    finally:
        probe.model.load_state_dict(own)
    distance = sum(float((own[name].double() - other[name].double()).square().sum()) for name in probe.initial)
    numbers = {f"{split}_barrier": max(found) - (found[0] + found[-1]) / 2 for split, found in errors.items()}
    return {**numbers, "weight_distance": distance**0.5}


def _between(zero: torch.Tensor, one: torch.Tensor, share: float) -> torch.Tensor:
    """A point of the line; what is no real number, such as a count of batches, is taken from the nearer end."""
    if not zero.is_floating_point():
        return one if share >= 0.5 else zero
    return zero if share == 0 else one if share == 1 else torch.lerp(zero, one, share)
