"""What holds for every registered transform, whoever adds one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shattering.core.streams import Stream
from shattering.transforms.registry import Begin, Origin, transforms

NAMES = transforms.names()
SHAPES = {"hidden.weight": (6, 5), "hidden.bias": (6,), "output.weight": (3, 6), "output.bias": (3,)}


def state(seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


@pytest.fixture
def origin() -> Origin:
    mask = torch.arange(30).reshape(6, 5) % 3 > 0
    return Origin(
        weights=state(0),
        final=state(1),
        masks={"hidden.weight": mask},
        fresh=state(2),
        prunable=("hidden.weight", "output.weight"),
        stream=lambda purpose: Stream(7, purpose),
    )


def apply(name: str, origin: Origin) -> Begin:
    return transforms.get(name).function(origin)


def image(origin: Origin) -> list[bytes]:
    parts = (origin.weights, origin.final, origin.masks, origin.fresh)
    return [value.numpy().tobytes() for part in parts for value in part.values()]


@pytest.mark.parametrize("name", NAMES)
def test_is_deterministic_and_leaves_what_it_is_given_alone(name: str, origin: Origin) -> None:
    before = image(origin)

    first, second = apply(name, origin), apply(name, origin)

    assert image(origin) == before
    for one, other in ((first.weights, second.weights), (first.masks, second.masks)):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", NAMES)
def test_gives_whole_weights_and_never_more_connections_than_the_parent_had(name: str, origin: Origin) -> None:
    begin = apply(name, origin)

    assert {key: tuple(value.shape) for key, value in begin.weights.items()} == SHAPES
    assert begin.masks.keys() <= set(origin.prunable)
    for key in origin.prunable:
        mask = begin.masks.get(key, torch.ones(SHAPES[key], dtype=torch.bool))
        assert mask.dtype is torch.bool and tuple(mask.shape) == SHAPES[key]
        assert 0 < mask.sum() <= origin.mask(key).sum()


@pytest.mark.parametrize("name", NAMES)
def test_says_where_it_is_from(name: str) -> None:
    entry = transforms.get(name)

    assert entry.paper and entry.summary.endswith(".")
    assert all(not field.required for field in entry.fields)
