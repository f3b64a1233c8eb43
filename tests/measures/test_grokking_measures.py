"""Progress measures on networks whose rule is known, and times from rows made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from no_gradients import NO_GRADIENTS
from torch import nn

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.data.binary_operations import one_hot_pairs
from shattering.measures.grokking import at_fit, delay, generalisation_bound, time_to_generalise
from shattering.measures.modular_addition import modular_addition
from shattering.measures.registry import Probe
from shattering.measures.softmax_collapse import softmax_collapse
from shattering.theory.gini import gini

P = 7


class Rule(nn.Module):
    """Gives ``height`` to a + b modulo P, and ``memory`` to what a table of seen pairs says; one frequency inside."""

    def __init__(self, height: float, memory: float, seen: torch.Tensor) -> None:
        super().__init__()
        angles = 2 * math.pi * 2 * torch.arange(P) / P
        self.first = nn.Parameter(torch.stack([angles.cos(), angles.sin()]).repeat(1, 2))
        self.height, self.memory, self.seen = height, memory, seen

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        a, b = inputs[:, :P].argmax(dim=1), inputs[:, P:].argmax(dim=1)
        hot = nn.functional.one_hot((a + b) % P, P).double()
        return hot * (self.height + self.memory * self.seen[a, b].double())[:, None]


def probe_of(model: nn.Module, rows: np.ndarray, losses: torch.Tensor | None = None) -> Probe:
    x, y = rows // P, rows % P
    inputs = torch.from_numpy(one_hot_pairs(x, y, P)).double()
    labels = torch.from_numpy((x + y) % P)
    losses = torch.zeros(len(rows)) if losses is None else losses
    fields = {
        **NO_GRADIENTS,
        "gradient_rows": torch.arange(1),
        "inputs_of": lambda wanted: inputs[wanted],
        "evaluate_train": lambda: (losses, labels),
        "evaluate_test": lambda: (losses, labels),
    }
    nothing = torch.zeros(len(rows), dtype=torch.bool)
    return Probe(
        model=model, step=1, labels=labels, original_labels=labels, changed=nothing, test_labels=labels, initial={},
        **fields,
    )  # fmt: skip


def table(height: float, memory: float) -> Probe:
    rows = np.arange(0, P * P, 3)
    seen = torch.zeros(P, P, dtype=torch.bool)
    seen.view(-1)[torch.from_numpy(rows)] = True
    return probe_of(Rule(height, memory, seen), rows)


def test_a_network_that_knows_the_rule_has_all_its_outputs_in_it() -> None:
    found = modular_addition(table(5.0, 0.0))

    assert found["rule_share"] == pytest.approx(1)
    assert found["restricted_loss"] == pytest.approx(math.log(1 + (P - 1) * math.exp(-5)))
    assert found["excluded_loss"] == pytest.approx(math.log(P))
    assert found["key_frequencies"] == 1
    assert found["fourier_gini"] == pytest.approx(2 / 3)


def test_memory_alone_is_no_rule() -> None:
    found = modular_addition(table(0.0, 5.0))

    assert found["rule_share"] == 0
    assert found["restricted_loss"] == pytest.approx(math.log(P))
    assert found["excluded_loss"] == pytest.approx(math.log(1 + (P - 1) * math.exp(-5)))


def test_other_inputs_are_refused() -> None:
    probe = table(1.0, 0.0)
    probe.inputs_of = lambda wanted: torch.zeros(len(wanted), 3)
    with pytest.raises(SpecError) as caught:
        modular_addition(probe)
    assert caught.value.identifier == "modular-addition-inputs"


def test_collapse_is_where_rounding_takes_the_loss() -> None:
    gaps = torch.tensor([1.0, 15.0, 20.0, 40.0], dtype=torch.float64)
    losses = torch.log1p(torch.exp(-gaps))

    found = softmax_collapse(probe_of(nn.Linear(1, 1), np.arange(4), losses))

    outputs = torch.stack([gaps, torch.zeros(4, dtype=torch.float64)], dim=1).float()
    rounded = nn.functional.cross_entropy(outputs, torch.zeros(4, dtype=torch.long), reduction="none")
    assert found == {"collapsed_float32": 0.5, "collapsed_float64": 0.25}
    assert (rounded == 0).tolist() == [False, False, True, True]


def test_times_and_their_ratio() -> None:
    rows = tuple(
        {"step": step, "epoch": 1.0, "test_accuracy": value}
        for step, value in ((0, 0.0), (50, 0.1), (100, 0.5), (150, 0.992))
    )
    late = Record(RunSpec(), Status.DONE, rows, {"steps": 150, "steps_to_fit": 30, "epochs_to_fit": 30.0})
    never = Record(RunSpec(), Status.DONE, rows[:3], {"steps": 100, "steps_to_fit": 30, "epochs_to_fit": 30.0})

    assert (time_to_generalise(late), delay(late), at_fit(late, "test_accuracy")) == (150, 5.0, 0.1)
    assert generalisation_bound(late) == (150, False)
    assert (time_to_generalise(never), delay(never), generalisation_bound(never)) == (None, None, (100, True))


def test_gini_is_the_mean_difference() -> None:
    values = np.array([0.0, 1.0, 5.0, 2.0])
    plain = np.abs(values[:, None] - values).sum() / (2 * 16 * values.mean())

    assert gini(values) == pytest.approx(plain)
    assert gini([3.0, 3.0]) == 0
    assert gini([0.0, 0.0]) == 0
    assert gini([0.0, 0.0, 0.0, 9.0]) == pytest.approx(3 / 4)
