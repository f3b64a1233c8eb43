"""What holds for every registered measure, whoever adds one."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest
import torch
from torch import nn

from shattering.core.errors import ShatteringError, SpecError
from shattering.core.spec import RunSpec
from shattering.gradients.engine import Engine
from shattering.gradients.sums import GradientSums
from shattering.measures.registry import Probe, example_measure, measure, measures
from shattering.training import objective
from shattering.training.evaluation import evaluate
from shattering.training.examples import Examples

NAMES = measures.names()
COLUMNS = [name for name, entry in measures if entry.fold is not None]
COUNT, CLASSES = 24, 3


class Network(nn.Sequential):
    """Small, with what can go wrong: batch norm's buffers, dropout, and weights that moved since initialisation."""

    def __init__(self) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, CLASSES)
        )


@pytest.fixture
def network() -> Network:
    torch.manual_seed(5)
    return Network().train()


@pytest.fixture(params=["half changed", "none changed", "all changed"])
def examples(request: pytest.FixtureRequest) -> Examples:
    generator = torch.Generator().manual_seed(6)
    original = torch.arange(COUNT) % CLASSES
    labels = original.clone()
    if request.param == "half changed":
        labels[::2] = (labels[::2] + 1) % CLASSES
    if request.param == "all changed":
        labels = (labels + 2) % CLASSES
    return Examples(torch.randn(COUNT, 4, generator=generator), labels, original, labels != original, CLASSES)


def probe_of(network: nn.Module, examples: Examples, order: torch.Tensor | None = None) -> Probe:
    """A probe as a run makes it, its training examples in ``order``, gradients on two thirds of them."""
    order = torch.arange(COUNT) if order is None else order
    fields = (examples.inputs, examples.labels, examples.original_labels, examples.changed)
    train = Examples(*(field[order] for field in fields), CLASSES)
    test = Examples(
        examples.inputs.flip(1), examples.original_labels, examples.original_labels, examples.changed, CLASSES
    )

    def seen(split: Examples) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        def look() -> tuple[torch.Tensor, torch.Tensor]:
            found = evaluate(network, split, RunSpec())
            return found.losses, found.predictions

        return look

    def losses(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return objective.losses(outputs, labels, "cross_entropy")

    def sums_over(rows: torch.Tensor) -> GradientSums:
        return Engine(network, losses).sums((train.inputs[rows], train.labels[rows]))

    def outputs_on(split: str) -> torch.Tensor:
        network.eval()
        with torch.no_grad():
            found = network((train if split == "train" else test).inputs)
        network.train()
        return found

    place = torch.argsort(order)  # of each example, in the order given
    return Probe(
        model=network,
        step=3,
        labels=train.labels,
        original_labels=train.original_labels,
        changed=train.changed,
        test_labels=test.labels,
        initial={name: value.detach() * 0.5 for name, value in network.named_parameters()},
        evaluate_train=seen(train),
        evaluate_test=seen(test),
        gradient_rows=place[torch.arange(COUNT) % 3 > 0],
        inputs_of=lambda rows: train.inputs[rows],
        test_inputs_of=lambda rows: test.inputs[rows],
        losses=losses,
        sums_over=sums_over,
        seed_of=lambda purpose: 4,
        outputs_on=outputs_on,
        parent_final={name: value.detach() * 2 for name, value in network.state_dict().items()},
        ranks=lambda: (evaluate(network, train, RunSpec()).ranks, evaluate(network, test, RunSpec()).ranks),
    )


def known(number: str, units: Mapping[str, str]) -> bool:
    """Whether a number has a unit, by its name or by the beginning of it."""
    return number in units or any(fnmatch.fnmatchcase(number, key) for key in units if key.endswith("*"))


def state(network: nn.Module) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


@pytest.mark.parametrize("name", NAMES)
def test_returns_finite_numbers_with_units(name, network, examples) -> None:
    entry = measures.get(name)

    numbers = entry.function(probe_of(network, examples))

    assert bool(numbers) == (entry.fold is None and entry.tested is None and entry.tested_fold is None)
    for key, value in numbers.items():
        assert known(key, entry.units), key
        assert type(value) is float, key
        assert math.isfinite(value), key


@pytest.mark.parametrize("name", NAMES)
def test_leaves_the_network_as_it_found_it(name, network, examples) -> None:
    before, generator = state(network), torch.get_rng_state()
    probe, entry = probe_of(network, examples), measures.get(name)
    network[2].weight.requires_grad_(False)

    entry.function(probe)
    if entry.fold is not None:
        entry.fold(probe, {})

    assert state(network) == before
    assert [parameter.requires_grad for parameter in network.parameters()] == [True] * 2 + [False] + [True] * 3
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(module.training for module in network.modules())
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("name", NAMES)
def test_is_deterministic(name, network, examples) -> None:
    function = measures.get(name).function

    assert function(probe_of(network, examples)) == function(probe_of(network, examples))


@pytest.mark.parametrize("name", NAMES)
def test_does_not_depend_on_the_order_of_examples(name, network, examples) -> None:
    function = measures.get(name).function
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))

    first, second = function(probe_of(network, examples)), function(probe_of(network, examples, order))

    # Sums in another order differ in the last bits.
    assert second == pytest.approx(first, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_have_an_entry_per_example_and_follow_its_order(name, network, examples) -> None:
    entry = measures.get(name)
    assert entry.fold is not None
    order = torch.randperm(COUNT, generator=torch.Generator().manual_seed(1))

    first = entry.fold(probe_of(network, examples), {})
    kept = {column: values.copy() for column, values in first.items()}
    second = entry.fold(probe_of(network, examples), first)
    permuted = entry.fold(probe_of(network, examples, order), {})

    assert set(first) == set(second) == set(entry.units)
    for column, values in first.items():
        assert values.shape == (COUNT,)
        assert values.dtype == second[column].dtype
        assert np.isfinite(values).all()
        assert np.array_equal(values, kept[column])
        assert np.array_equal(permuted[column], values[order.numpy()])


@pytest.mark.parametrize("name", NAMES)
def test_is_documented(name) -> None:
    entry = measures.get(name)

    assert entry.summary.endswith(".")
    text = (entry.fold or entry.tested or entry.tested_fold or entry.function).__doc__ or ""
    assert len(text) > len(entry.summary) + 50
    assert all(unit for unit in entry.units.values())


def test_no_two_measures_return_the_same_name() -> None:
    names = [number for _, entry in measures if not entry.tested for number in entry.units]

    assert len(names) == len(set(names))
    # Which test example it is, is told alike by all columns of test examples.
    shared = {"index", "left_out", "label"}
    tested = [number for _, entry in measures if entry.tested for number in entry.units if number not in shared]
    assert len(tested) == len(set(tested))
    assert not {"step", "epoch", "learning_rate"} & set(names)


def test_measure_without_units_or_docstring_is_refused() -> None:
    def undocumented(probe: Probe) -> dict[str, float]:
        return {}

    for units in ({"a": "1"}, {}):
        with pytest.raises(ShatteringError) as caught:
            measure(units=units)(undocumented)
        assert caught.value.identifier == "registry-incomplete"
    assert "undocumented" not in measures.names()


def test_column_without_units_or_docstring_is_refused() -> None:
    def undocumented(probe: Probe, before: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {}

    for units in ({"a": "1"}, {}):
        with pytest.raises(ShatteringError) as caught:
            example_measure(units=units)(undocumented)
        assert caught.value.identifier == "registry-incomplete"


def test_unknown_measure_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError) as caught:
        measures.get("acuracy")

    assert caught.value.identifier == "unknown-measure"
    assert "'accuracy'" in caught.value.message
