"""What counts as a batch, and how it is cut."""

from __future__ import annotations

from collections import UserDict, namedtuple

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from shattering.core.errors import DataError
from shattering.gradients.batches import batch_size, loss_of, map_tensors, rows_of, split_batches, tensors_of

X, Y = torch.arange(12.0).reshape(6, 2), torch.arange(6)


def test_one_set_in_memory_is_one_batch() -> None:
    for batches in ((X, Y), ({"ids": X}, Y), {"x": X, "y": Y}, X, UserDict(x=X)):
        (batch,) = split_batches(batches)
        assert batch is batches
        assert batch_size(batch) == 6


def test_an_iterable_yields_its_batches() -> None:
    loader = DataLoader(TensorDataset(X, Y), batch_size=4)
    assert [batch_size(batch) for batch in split_batches(loader)] == [4, 2]
    assert [batch_size(batch) for batch in split_batches([(X, Y), (X[:1], Y[:1])])] == [6, 1]
    assert [batch_size(batch) for batch in split_batches({"x": X[i:]} for i in range(3))] == [6, 5, 4]


def test_rows_keep_the_nesting() -> None:
    Pair = namedtuple("Pair", ["x", "y"])
    batch = {"a": [X, None, 3, "name"], "b": Pair(X, Y)}
    part = rows_of(batch, slice(1, 3))
    assert part["a"][1:] == [None, 3, "name"]
    assert isinstance(part["b"], Pair)
    assert torch.equal(part["b"].y, Y[1:3])
    assert torch.equal(part["a"][0], X[1:3])
    assert len(tensors_of(batch)) == 3
    assert isinstance(rows_of(UserDict(x=X), slice(0, 1)), dict)


def test_the_loss_gets_what_the_batch_is() -> None:
    def model(inputs: torch.Tensor) -> torch.Tensor:
        return inputs * 2

    assert torch.equal(loss_of(model, lambda outputs, targets: outputs[:, 0] + targets, [X, Y]), 2 * X[:, 0] + Y)
    assert torch.equal(loss_of(model, lambda net, batch: net(batch["x"]), {"x": X}), 2 * X)
    assert torch.equal(loss_of(model, lambda net, batch: net(batch[2]), (X, X, Y)), 2 * Y)


@pytest.mark.parametrize(
    ("batches", "identifier"),
    [
        ([X, Y], "gradients-batches-ambiguous"),
        (3, "gradients-batches-type"),
        (torch.nn.ModuleList([torch.nn.Linear(1, 1)]), "gradients-batches-type"),
    ],
)
def test_what_is_no_batches(batches: object, identifier: str) -> None:
    with pytest.raises(DataError) as caught:
        list(split_batches(batches))
    assert caught.value.identifier == identifier


@pytest.mark.parametrize(
    ("batch", "identifier"),
    [
        ((X, Y[:5]), "gradients-batch-sizes"),
        ((X, torch.tensor(1.0)), "gradients-batch-sizes"),
        (("a", 1), "gradients-batch-no-tensor"),
        ((X.numpy(), Y), "gradients-batch-item"),
    ],
)
def test_what_is_no_batch(batch: object, identifier: str) -> None:
    with pytest.raises(DataError) as caught:
        batch_size(batch)
    assert caught.value.identifier == identifier


def test_change_reaches_every_tensor() -> None:
    assert torch.equal(map_tensors({"a": (X, [X])}, lambda x: x + 1)["a"][1][0], X + 1)
