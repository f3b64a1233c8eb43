"""How the loss after so many updates depends on each training example, through all the updates before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field as Bound

from shattering.core.spec import Number, Truth, Whole
from shattering.simulations.registry import Bench, Numbers, simulation
from shattering.theory.gini import gini

if TYPE_CHECKING:
    from torch import Tensor, nn

    Weights = dict[str, Tensor]

SHARES = tuple(place / 20 for place in range(21))

Count = Annotated[Whole, Bound(ge=1)]


def _seconds(fields: Mapping[str, Any]) -> float:
    return 0.01 * float(fields.get("steps", 200))


@simulation(
    summary="how unequally the loss depends on single training examples, through unrolled updates",
    paper="Arpit et al. (2017), loss sensitivity",
    units={"share": "1", "held": "1", "gini": "1", "loss": "nats"},
    seconds=_seconds,
)
def loss_sensitivity(
    bench: Bench,
    *,
    width: Count = 16,
    steps: Count = 200,
    every: Count = 40,
    rate: Annotated[Number, Bound(gt=0)] = 0.1,
    batch_size: Count = 50,
    own_class: Truth = False,
) -> Iterator[Numbers]:
    """Trains a tiny perceptron by plain SGD, and derives its training loss by every input, back through the updates.

    ``g_x = mean over t of ‖dL_t/dx‖₁``, with L_t the mean training loss after t updates. The derivative is what x did
    through the updates that it took part in; that L_t is itself evaluated at x is left out. Images of even height and
    width are halved, by means over 2 × 2 pixels.

    Args:
        bench: the examples. Streams ``initialisation`` (index 0) and ``order`` (index: epoch).
        width: of two hidden layers.
        steps: updates, ``every`` so many of which L_t is derived.
        rate, batch_size: of SGD without momentum.
        own_class: every example is a class of its own.

    Yields:
        At 21 shares of the examples, the least important first: the part of all sensitivity that they hold (the Lorenz
        curve); its Gini coefficient and the final training loss stand in every row.
    """
    import torch

    from shattering.models.build import build_model

    train = bench.splits.train
    inputs = torch.from_numpy(_halved(bench))
    labels = torch.arange(len(train)) if own_class else torch.from_numpy(np.array(train.labels))
    classes = len(train) if own_class else train.num_classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(bench.stream("initialisation").integer())
        model = build_model("mlp", {"depth": 2, "width": width}, (inputs.shape[1],), classes).double()
    weights = {name: value.detach().clone() for name, value in model.named_parameters()}
    batches: list[Tensor] = []
    while len(batches) < steps:
        order = bench.stream("order").permutation(len(labels), index=len(batches) // max(1, len(labels) // batch_size))
        batches += [rows for rows in torch.split(torch.from_numpy(order), batch_size) if len(rows) == batch_size]
    path = trained(model, weights, inputs, labels, batches[:steps], rate)
    found = torch.zeros(len(labels), dtype=torch.float64)
    looks = range(every, steps + 1, every)
    for step in looks:
        bench.desk.should_stop()
        found += derived(model, path[: step + 1], inputs, labels, batches[:step], rate).abs().sum(dim=1)
    each = np.sort((found / len(looks)).numpy())
    held = np.concatenate([[0.0], np.cumsum(each) / each.sum()]) if each.sum() > 0 else np.linspace(0, 1, len(each) + 1)
    with torch.no_grad():
        loss = float(_loss(model, path[-1], inputs, labels))
    for share in SHARES:
        yield {"share": share, "held": float(held[round(share * len(each))]), "gini": gini(each), "loss": loss}


def trained(
    model: nn.Module, weights: Weights, inputs: Tensor, labels: Tensor, batches: list[Tensor], rate: float
) -> list[Weights]:
    """Weights before the first update, and after each: θ ← θ - η·∇ of the batch's mean loss."""
    import torch

    path = [weights]
    for rows in batches:
        here = {name: value.detach().requires_grad_(True) for name, value in path[-1].items()}
        gradient = torch.autograd.grad(_loss(model, here, inputs[rows], labels[rows]), list(here.values()))
        path.append({name: (here[name] - rate * own).detach() for name, own in zip(here, gradient, strict=True)})
    return path


def derived(
    model: nn.Module, path: list[Weights], inputs: Tensor, labels: Tensor, batches: list[Tensor], rate: float
) -> Tensor:
    """dL/dx for the mean loss L over all examples at the last weights, through the updates that led there.

    The adjoint of the updates: λ = ∇L at the end; a step back, dL/dx takes -η ∂⟨λ, ∇ℓ_B⟩/∂x for the batch's examples,
    and λ becomes λ - η H_B λ. Its cost is that of one double backward pass for each update.

    Args:
        model: without dropout or buffers.
        path: weights before each update and after the last.
        inputs: ``[n, features]``, float64.
        labels: int64 ``[n]``.
        batches: rows of each update.
        rate: learning rate η.

    Returns:
        ``[n, features]``; 0 for examples that no batch had.
    """
    import torch

    last = {name: value.detach().requires_grad_(True) for name, value in path[-1].items()}
    pull = torch.autograd.grad(_loss(model, last, inputs, labels), list(last.values()))
    found = torch.zeros_like(inputs)
    for weights, rows in zip(reversed(path[:-1]), reversed(batches), strict=True):
        here = {name: value.detach().requires_grad_(True) for name, value in weights.items()}
        at = inputs[rows].clone().requires_grad_(True)
        gradient = torch.autograd.grad(_loss(model, here, at, labels[rows]), list(here.values()), create_graph=True)
        along = torch.stack([(own * towards).sum() for own, towards in zip(gradient, pull, strict=True)]).sum()
        *curved, by_input = torch.autograd.grad(along, [*here.values(), at], materialize_grads=True)
        found.index_add_(0, rows, by_input, alpha=-rate)
        pull = tuple(towards - rate * own for towards, own in zip(pull, curved, strict=True))
    return found


def _loss(model: nn.Module, weights: Weights, inputs: Tensor, labels: Tensor) -> Tensor:
    from torch.func import functional_call
    from torch.nn import functional

    return functional.cross_entropy(functional_call(model, weights, (inputs,)), labels)


def _halved(bench: Bench) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Training inputs as rows; images of even sides at half their height and width."""
    rows, shape = bench.inputs("train"), bench.splits.train.inputs.shape[1:]
    if len(shape) != 3 or shape[0] % 2 or shape[1] % 2:
        return rows
    height, width, channels = shape
    blocks = rows.reshape(len(rows), height // 2, 2, width // 2, 2, channels)
    found: np.ndarray[Any, np.dtype[np.float64]] = blocks.mean(axis=(2, 4)).reshape(len(rows), -1)
    return found
