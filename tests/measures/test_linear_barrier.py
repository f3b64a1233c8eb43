"""The error on the line between two networks, beside networks interpolated by hand."""

from __future__ import annotations

import copy

import pytest
import torch

from shattering.core.spec import StartSpec
from shattering.execution.control import Control
from shattering.execution.run import execute
from shattering.training.estate import Estate
from tiny_runs import digits, tiny_spec


@pytest.mark.parametrize("transform", ["unchanged", "reinitialised"])
def test_the_barrier_is_that_of_networks_interpolated_by_hand(transform: str) -> None:
    left: list[Estate] = []
    dense = tiny_spec(training__learning_rate=0.02)
    _, parent = execute(dense, digits(), Control(leaves=frozenset({0}), left=left.append))
    start = StartSpec(parent=dense, step=0, transform=transform)
    measures = dense.measures.model_copy(update={"names": ("linear_barrier", "tested_outputs", "accuracy")})
    seeds = {"initialisation": 5, "order": 5}
    spec = dense.model_copy(update={"start": start, "measures": measures, "stream_seeds": seeds})
    record, child = execute(spec, digits(), Control(start=left[0]))

    assert [name for name in record.rows[0] if "barrier" in name] == []
    from shattering.execution.run import corrupted
    from shattering.training.examples import prepare

    test = prepare(corrupted(digits(), spec).test, spec)
    errors = []
    for place in range(11):
        mixed = copy.deepcopy(child).eval()
        with torch.no_grad():
            for mine, own, other in zip(mixed.parameters(), child.parameters(), parent.parameters(), strict=True):
                mine.copy_(torch.lerp(other, own, place / 10))
            wrong = mixed(test.inputs[:]).argmax(1) != test.labels
        errors.append(float(wrong.double().mean()))
    assert record.last["test_barrier"] == pytest.approx(max(errors) - (errors[0] + errors[-1]) / 2)
    assert errors[-1] == pytest.approx(1 - record.last["test_accuracy"])
    gaps = [
        (own - other).detach().double().square().sum()
        for own, other in zip(child.parameters(), parent.parameters(), strict=True)
    ]
    assert record.last["weight_distance"] == pytest.approx(float(sum(gaps)) ** 0.5)
