"""Theorem 1 as a learner: two layers of ReLUs with 2n+d weights, written down for the training labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field as Bound

from shattering.core.spec import Number
from shattering.learners.registry import Fitted, Material, learner

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from shattering.expressivity import Construction, DeepMemoriser, TwoLayerMemoriser

UNITS = {
    "weights": "weights",
    "features": "features",
    "hidden_units": "units",
    "merged": "examples",
    "condition": "1",
    "smallest_eigenvalue": "1",
    "smallest_gap": "1",
    "largest_weight": "1",
    "largest_error": "1",
    "largest_error_float32": "1",
    "missed_float32": "1",
}


@learner(
    summary="two layers of ReLUs with 2n+d weights that fit any labels, constructed",
    paper="Zhang et al. (2017), Theorem 1",
    units=UNITS,
)
def two_layer_memoriser(material: Material, *, place: Annotated[Number, Bound(gt=0, lt=1)] = 0.0009765625) -> Fitted:
    """The two-layer ReLU network of Theorem 1, with the class's number as its real-valued output.

    The class nearest to the output is predicted. Training scores are those of the network evaluated unit by unit in
    float64, whatever the dtype of the run; ``largest_error`` is how far its output is from a class's number at worst.
    The same with weights, inputs and sums in float32 gives ``largest_error_float32``, and ``missed_float32``, the
    share of training examples whose class is then missed.

    Args:
        material: training examples; exact copies with one label are merged, those with two are refused.
        place: where a threshold lies between the projections left and right of it, as a share of their gap: half-way
            at 0.5, next to the left one (1/1024) by default.
    """
    from shattering.expressivity import construct

    material.desk.told(0, 3)
    made = construct(material.rows, material.labels, stream=material.stream("direction"), place=place)
    material.desk.told(1, 3)
    return fitted(material, made, {})


def fitted(
    material: Material, made: Construction[TwoLayerMemoriser] | Construction[DeepMemoriser], facts: dict[str, float]
) -> Fitted:
    """What a learner gives back of a network that was constructed for its material."""
    import copy

    import numpy as np
    import torch

    from shattering.expressivity import class_scores

    network = made.model.to(material.device)
    evaluate = getattr(network, "dense", network)
    inputs = torch.from_numpy(material.rows).to(material.device)
    labels = torch.from_numpy(material.labels).to(material.device)
    with torch.no_grad():
        outputs = evaluate(inputs)
        material.desk.told(2, 3)
        narrow = copy.deepcopy(network).float()
        narrow_outputs = getattr(narrow, "dense", narrow)(inputs)
        material.desk.told(3, 3)

    def scores(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        with torch.no_grad():
            batch = torch.from_numpy(np.ascontiguousarray(rows)).to(material.device)
            found: NDArray[np.float64] = class_scores(network(batch), material.num_classes).cpu().numpy()
        return found

    train_scores = class_scores(outputs, material.num_classes)
    return Fitted(
        scores=scores,
        facts={
            "weights": sum(parameter.numel() for parameter in network.parameters()),
            "features": material.rows.shape[1],
            "hidden_units": len(made.weights),
            "merged": made.merged,
            "condition": made.condition,
            "smallest_eigenvalue": made.smallest_eigenvalue,
            "smallest_gap": made.smallest_gap,
            "largest_weight": made.largest_weight,
            "largest_error": _largest(outputs, labels),
            "largest_error_float32": _largest(narrow_outputs, labels),
            "missed_float32": float(
                (class_scores(narrow_outputs, material.num_classes).argmax(dim=1) != labels).double().mean()
            ),
            **facts,
        },
        weights={name: value.cpu().numpy() for name, value in network.state_dict().items()},
        train_scores=train_scores.cpu().numpy(),
        exact=bool((train_scores.argmax(dim=1) == labels).all()),
    )


def _largest(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    return float((outputs.double() - labels).abs().max())
