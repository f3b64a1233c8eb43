"""Which weights a transform takes away, on networks small enough to do it by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shattering.core.errors import SpecError
from shattering.core.streams import Stream
from shattering.transforms.magnitude_pruning import magnitude_pruning
from shattering.transforms.registry import Origin
from shattering.transforms.reinitialised import reinitialised
from shattering.transforms.shuffled_masks import shuffled_masks

FINAL = {
    "one": torch.tensor([[0.1, -0.9, 0.3, -0.4]]),
    "two": torch.tensor([[5.0, -6.0], [7.0, -8.0]]),
    "output": torch.tensor([[1.0, -3.0], [2.0, 0.5]]),
}


def origin(masks: dict[str, Tensor] | None = None, final: dict[str, Tensor] = FINAL) -> Origin:
    start = {name: torch.full_like(value, 2.0) for name, value in final.items()}
    fresh = {name: torch.full_like(value, 3.0) for name, value in final.items()}
    return Origin(start, final, masks or {}, fresh, tuple(final), lambda purpose: Stream(1, purpose))


def kept(origin: Origin, **fields: object) -> dict[str, list[object]]:
    begin = magnitude_pruning(origin, **fields)
    assert all(torch.equal(begin.weights[name], origin.weights[name]) for name in origin.weights)
    return {name: mask.int().tolist() for name, mask in begin.masks.items()}


def test_each_layer_loses_its_own_smallest_and_the_output_layer_its_own_share() -> None:
    assert kept(origin(), fraction=0.5, output_fraction=0.25) == {
        "one": [[0, 1, 0, 1]],
        "two": [[0, 0], [1, 1]],
        "output": [[1, 1], [1, 0]],
    }


def test_all_hidden_layers_together_lose_the_smallest_of_all_but_no_layer_its_last() -> None:
    assert kept(origin(), fraction=0.5, output_fraction=0.0, scope="global") == {
        "one": [[0, 1, 0, 0]],
        "two": [[0, 1], [1, 1]],
        "output": [[1, 1], [1, 1]],
    }


def test_only_survivors_count_and_what_is_gone_stays_gone() -> None:
    before = {"one": torch.tensor([[True, False, True, True]])}

    assert kept(origin(before), fraction=1 / 3, output_fraction=0.0)["one"] == [[0, 0, 1, 1]]


def test_ties_go_by_place_and_the_last_weight_of_a_layer_is_left() -> None:
    equal = {"one": torch.ones(1, 4), "output": torch.ones(2, 1)}

    assert kept(origin(final=equal), fraction=0.25, output_fraction=0.0)["one"] in ([[1, 0, 1, 1]], [[0, 1, 1, 1]])
    assert kept(origin(final=equal), fraction=0.99, output_fraction=0.99) == {
        "one": [[1, 0, 0, 0]],
        "output": [[1], [0]],
    }


@pytest.mark.parametrize("fields", [{"fraction": 1.0}, {"fraction": -0.1}, {"output_fraction": 1.5}])
def test_a_share_that_leaves_nothing_is_refused(fields: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="share that leaves something"):
        magnitude_pruning(origin(), **fields)


def test_controls_draw_weights_anew_and_keep_the_number_of_connections() -> None:
    mask = torch.arange(4).reshape(2, 2) < 1
    parent = origin({"two": mask})
    again, shuffled = reinitialised(parent), shuffled_masks(parent)

    assert torch.equal(again.masks["two"], mask) and again.weights is parent.fresh
    assert shuffled.weights is parent.fresh and shuffled.masks.keys() == {"two"}
    assert shuffled.masks["two"].sum() == mask.sum()
    order = torch.from_numpy(Stream(1, "masks").permutation(4, 1))
    assert torch.equal(shuffled.masks["two"].flatten(), mask.flatten()[order])
