"""Inception V3 and ResNet-50: published counts, what training sees of the auxiliary classifier, what is refused."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from shattering.core.errors import ModelError
from shattering.models.auxiliary import WithAuxiliary
from shattering.models.build import build_model
from shattering.training import objective


@pytest.mark.parametrize(
    ("name", "fields", "published"),
    [
        ("inception_v3", {}, 27_161_264),
        ("inception_v3", {"auxiliary": False}, 23_834_568),
        ("resnet50", {}, 25_557_032),
    ],
)
def test_parameter_counts_at_a_thousand_classes(name: str, fields: dict[str, object], published: int) -> None:
    with torch.device("meta"):
        network = build_model(name, fields, (3, 299, 299), 1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == published


def test_maps_have_the_published_sides() -> None:
    with torch.device("meta"):
        network = build_model("inception_v3", {"width": 0.03}, (3, 299, 299), 7)
        inputs = torch.empty(2, 3, 299, 299)
    seen = [tuple(network.get_submodule(name)(maps).shape[-2:]) for name, maps in [("stem", inputs)]]
    maps = network.get_submodule("first")(network.get_submodule("stem")(inputs))
    assert seen == [(35, 35)] and tuple(maps.shape[-2:]) == (17, 17)
    assert tuple(network.get_submodule("last")(maps).shape[-2:]) == (8, 8)


def test_the_auxiliary_classifier_speaks_in_training_alone() -> None:
    torch.manual_seed(0)
    network = build_model("inception_v3", {"width": 0.03}, (3, 75, 75), 4)
    inputs = torch.randn(3, 3, 75, 75)
    found = network(inputs)
    assert isinstance(found, WithAuxiliary) and found.weight == 0.4
    assert found.logits.shape == found.auxiliary.shape == (3, 4)
    assert isinstance(network.eval()(inputs), torch.Tensor)


def test_its_loss_counts_with_its_weight_and_its_predictions_do_not() -> None:
    logits, auxiliary = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[-3.0, 0.0], [4.0, 1.0]])
    labels = torch.tensor([0, 0])
    outputs = WithAuxiliary(logits, auxiliary, 0.4)
    expected = F.cross_entropy(logits, labels) + 0.4 * F.cross_entropy(auxiliary, labels)
    torch.testing.assert_close(objective.mean_loss(outputs, labels, "cross_entropy"), expected)
    torch.testing.assert_close(objective.losses(outputs, labels, "cross_entropy").mean(), expected)
    assert objective.predictions(outputs).tolist() == [0, 1]


def test_dropout_draws_in_training_and_rests_in_evaluation() -> None:
    for name, side in (("inception_v3", 75), ("resnet50", 16)):
        torch.manual_seed(0)
        width = {"width": 0.05} if name == "inception_v3" else {"width": 4}
        network = build_model(name, {**width, "dropout": 0.5}, (3, side, side), 4)
        inputs = torch.randn(4, 3, side, side)
        first, second = (objective.logits(network(inputs)) for _ in range(2))
        assert not torch.equal(first, second)
        network.eval()
        assert torch.equal(network(inputs), network(inputs))


def test_images_below_the_least_side_are_refused_in_one_sentence() -> None:
    with pytest.raises(ModelError, match=r"75 x 75 pixels or more, and these have 74 x 80") as caught:
        build_model("inception_v3", {}, (3, 74, 80), 10)
    assert caught.value.identifier == "model-images-too-small"


def test_ranks_count_the_classes_before_the_label() -> None:
    outputs = torch.tensor([[0.1, 0.9, 0.5], [1.0, 1.0, 1.0], [1.0, 1.0, 1.0]])
    assert objective.ranks(outputs, torch.tensor([2, 0, 2])).tolist() == [1, 0, 2]
    assert objective.ranks(torch.tensor([[0.3], [-0.3]]), torch.tensor([1, 1])).tolist() == [0, 1]
