"""Weights that are masked are zero, stay zero, and leave no trace in the optimizer."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from shattering.execution.run import corrupted, initial_model
from shattering.training.examples import prepare
from shattering.training.masking import is_masked, mask_weights, masks_of, prunable, remaining
from shattering.training.update import build_optimizer, update
from shattering.training.ways import WAYS, why_not
from tiny_runs import digits, tiny_spec

OPTIMIZERS = {
    "sgd": {"training__momentum": 0.9, "training__weight_decay": 0.1},
    "adam": {"training__optimizer": "adam", "training__learning_rate": 0.01, "training__weight_decay": 0.1},
    "adamw": {"training__optimizer": "adamw", "training__learning_rate": 0.01, "training__weight_decay": 0.1},
    "rolling median": {"training__gradient": "rolling_median"},
}


def masks_for(model: nn.Module) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {name: dict(model.named_parameters())[name].shape for name in prunable(model)}
    return {name: torch.rand(shape, generator=generator) < 0.5 for name, shape in shapes.items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_same_as_masking_gradients_by_hand_before_every_step(name: str) -> None:
    spec = tiny_spec(**OPTIMIZERS[name])
    examples = prepare(corrupted(digits(), spec).train, spec)
    model = initial_model(spec, examples.input_shape, 10)
    masks = masks_for(model)
    twin = copy.deepcopy(model)
    mask_weights(model, masks)
    optimizer, other = build_optimizer(model, spec), build_optimizer(twin, spec)
    parameters = dict(twin.named_parameters())

    def by_hand() -> None:
        for key, mask in masks.items():
            parameters[key].data[~mask] = 0.0
            for value in other.state[parameters[key]].values():
                if isinstance(value, torch.Tensor) and value.shape == mask.shape:
                    value[~mask] = 0.0

    by_hand()
    for batch in torch.split(torch.arange(64), 24):
        update(model, optimizer, examples, spec, batch, examples.inputs[batch])
        update(twin, other, examples, spec, batch, examples.inputs[batch])
        by_hand()

    for key, value in model.named_parameters():
        assert torch.equal(value, parameters[key])
        if key in masks:
            assert bool((value[~masks[key]] == 0).all()) and bool((value[masks[key]] != 0).all())
            state = [kept for kept in optimizer.state[value].values() if getattr(kept, "shape", None) == value.shape]
            assert state and all(bool((kept[~masks[key]] == 0).all()) for kept in state)


def test_masks_are_told_and_only_the_plain_way_takes_them() -> None:
    spec = tiny_spec()
    examples = prepare(corrupted(digits(), spec).train, spec)
    model = initial_model(spec, examples.input_shape, 10)
    whole = sum(dict(model.named_parameters())[name].numel() for name in prunable(model))
    assert not is_masked(model) and remaining(model) == (whole, whole) and masks_of(model) == {}

    masks = masks_for(model)
    mask_weights(model, masks)

    assert is_masked(model)
    assert all(torch.equal(masks_of(model)[name], mask) for name, mask in masks.items())
    assert remaining(model) == (sum(int(mask.sum()) for mask in masks.values()), whole)
    refused = {way: why_not(way, model, spec, examples) for way in WAYS}
    assert refused.pop("plain") is None and all(refused.values())
    assert "masked" in str(refused["by_hand"])
