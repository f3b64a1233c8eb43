"""Norms of trained weights that bounds on the generalisation gap are made of."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, NamedTuple

from shattering.core.errors import ModelError
from shattering.measures.registry import Probe, measure

if TYPE_CHECKING:
    import torch
    from torch import nn

CHUNK = 500
"""Examples whose margins are computed at once."""

QUANTILE = 0.1
"""The margin that nine tenths of the examples have."""


class Layer(NamedTuple):
    """A layer as a matrix ``[units, inputs]`` in float64, and the same at initialisation."""

    matrix: torch.Tensor
    initial: torch.Tensor


@measure(
    units={
        "frobenius_product": "1",
        "spectral_product": "1",
        "spectral_complexity": "1",
        "path_norm": "1",
        "training_margin": "1",
        "normalised_frobenius_product": "1",
        "normalised_spectral_product": "1",
        "normalised_spectral_complexity": "1",
        "normalised_path_norm": "1",
    },
    paper="Bartlett, Foster & Telgarsky (2017); Neyshabur, Tomioka & Srebro (2015)",
    gradient_passes=0.4,
)
def weight_norms(probe: Probe) -> dict[str, float]:
    """Products of layers' norms, spectral complexity and path norm, plain and over the training margin.

    With W_l the weights of layer l as a matrix with a row for each of its units, M_l the same at initialisation, and
    biases left aside:

    * ``frobenius_product``: Π ‖W_l‖_F; ``spectral_product``: Π ‖W_l‖₂, the largest singular values.
    * ``spectral_complexity``: Π ‖W_l‖₂ · (Σ (‖W_l - M_l‖₂₁ / ‖W_l‖₂)^⅔)^{3/2}, where ‖·‖₂₁ is the sum of the rows' ℓ2
      norms (Bartlett, Foster & Telgarsky 2017, Equation 1.2, with ReLU and the initialisation as reference).
    * ``path_norm``: √(Σ over paths from an input to an output of the product of squared weights along it), biases being
      weights from a unit that is always 1 (Neyshabur, Tomioka & Srebro 2015, p = 2). It is the root of what the network
      says of ones when all weights are squared; max-pooling passes on the largest of its inputs, and the shift of a
      batch norm counts as a bias. Left out where the network with biases at zero is not positively homogeneous, as with
      response normalisation.
    * ``training_margin``: γ, the margin f_y - max_{j≠y} f_j (for a single output, ±f) that nine tenths of the examples
      exceed: the lower decile, over the examples on which gradients are measured.
    * ``normalised_…``: each divided by γ, left out where γ ≤ 0; the spectral complexity times ‖X‖_F / (γ n), the
      leading term of that bound (Theorem 1.1 there), X being the n inputs.

    A convolution stands as its kernel matrix ``[channels out, channels in · height · width]``. Where a whole kernel
    fits into the image the operator norm lies between that matrix's spectral norm and √(height · width) times it. Batch
    norm is the diagonal layer it is in evaluation mode. Layers side by side, as in an Inception, are multiplied like
    layers in a row, for which the bounds were made.

    Returns:
        Numbers of at least 0, save a margin; the products are 0 where a layer's weights are.

    Raises:
        ModelError: ``weight-norms-layer``, where parameters belong to a layer that is neither linear, nor a
            convolution, nor a batch norm, or to two layers at once.
    """
    import torch

    with torch.no_grad():
        layers = _layers(probe)
        spectral = [_spectral_norm(layer.matrix) for layer in layers]
        numbers = {
            "frobenius_product": math.prod(float(layer.matrix.norm()) for layer in layers),
            "spectral_product": math.prod(spectral),
            "spectral_complexity": _spectral_complexity(layers, spectral),
        }
        margins, squares = _margins(probe)
        path = _path_norm(probe)
    if path is not None:
        numbers["path_norm"] = path
    margin = float(torch.quantile(margins, QUANTILE))
    normalised = {}
    if margin > 0:
        normalised = {f"normalised_{name}": value / margin for name, value in numbers.items()}
        normalised["normalised_spectral_complexity"] *= math.sqrt(squares) / len(margins)
    return {
        name: value
        for name, value in {**numbers, "training_margin": margin, **normalised}.items()
        if math.isfinite(value)
    }


def _layers(probe: Probe) -> list[Layer]:
    """The layers with weights, in the network's order."""
    import torch
    from torch import nn

    found = []
    for place, module in probe.model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        if not own and not isinstance(module, nn.modules.batchnorm._BatchNorm):
            continue
        prefix = f"{place}." if place else ""
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            begun = probe.initial.get(f"{prefix}weight")
            # Weights that are shared with another layer, or made of other parameters, are not in the list.
            if begun is None or (isinstance(module, nn.modules.conv._ConvNd) and module.transposed):
                raise _refusal(place, module)
            found.append(Layer(module.weight.detach().double().flatten(1), begun.double().flatten(1)))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_var is not None:
            initial = probe.initial.get(f"{prefix}weight")
            start = torch.ones_like(module.running_var) if initial is None else initial
            factor = _scale(module) * torch.rsqrt(module.running_var.double() + module.eps)
            found.append(Layer(torch.diag(factor), torch.diag(start.double() / math.sqrt(1 + module.eps))))
        else:
            raise _refusal(place, module)
    return found


def _refusal(place: str, module: nn.Module) -> ModelError:
    return ModelError(
        "weight-norms-layer",
        f"The measure weight_norms has no norm for the layer {place or 'at the top'!r} ({type(module).__name__}), only "
        "for linear layers, convolutions and batch norm with weights of their own; leave weight_norms out of "
        "measures.names.",
    )


def _scale(module: nn.Module) -> torch.Tensor:
    """The factors of a batch norm, which are 1 where it has none."""
    import torch

    weight = getattr(module, "weight", None)
    variance = module.running_var
    assert isinstance(variance, torch.Tensor)
    return torch.ones_like(variance, dtype=torch.float64) if weight is None else weight.detach().double()


def _spectral_norm(matrix: torch.Tensor) -> float:
    """The largest singular value, from the Gram matrix of the shorter side: to half the digits of float64 at worst."""
    import torch

    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    return math.sqrt(max(0.0, float(torch.linalg.eigvalsh(gram)[-1])))


def _spectral_complexity(layers: list[Layer], spectral: list[float]) -> float:
    if min(spectral, default=0.0) == 0.0:
        return 0.0
    moved = [float((layer.matrix - layer.initial).norm(dim=1).sum()) for layer in layers]
    total = sum((distance / norm) ** (2 / 3) for distance, norm in zip(moved, spectral, strict=True))
    return math.prod(spectral) * float(total**1.5)


def _margins(probe: Probe) -> tuple[torch.Tensor, float]:
    """Margins, float64 ``[m]``, and the inputs' sum of squares, over the examples gradients are measured on."""
    import torch

    modes = {module: module.training for module in probe.model.modules()}
    margins, squares = [], 0.0
    probe.model.eval()
    try:
        for rows in torch.split(probe.gradient_rows, CHUNK):
            inputs, labels = probe.inputs_of(rows), probe.labels[rows]
            outputs = probe.model(inputs).double()
            squares += float(inputs.double().square().sum())
            if outputs.shape[1] == 1:
                margins.append(outputs[:, 0] * (2 * labels - 1))
                continue
            right = outputs.gather(1, labels[:, None])[:, 0]
            others = outputs.scatter(1, labels[:, None], -math.inf)
            margins.append(right - others.amax(dim=1))
    finally:
        for module, training in modes.items():
            module.training = training
    return torch.cat(margins), squares


def _path_norm(probe: Probe) -> float | None:
    """None where the network is not positively homogeneous in its inputs, biases aside."""
    import torch
    from torch import nn

    squared = copy.deepcopy(probe.model).double().eval()
    biases: list[torch.Tensor] = []
    for module in squared.modules():
        bias = getattr(module, "bias", None)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            mean, variance = module.running_mean, module.running_var
            assert mean is not None and variance is not None
            factor = _scale(module) * torch.rsqrt(variance + module.eps)
            shift = (0.0 if bias is None else bias) - factor * mean
            # With mean 0 and variance 1 - ε what is left of the layer is its factor and its shift.
            module.weight, module.bias = nn.Parameter(factor.square()), nn.Parameter(shift.square())
            module.running_mean, module.running_var = torch.zeros_like(mean), torch.full_like(variance, 1 - module.eps)
            biases.append(module.bias)
        elif isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            module.weight.square_()
            if module.bias is not None:
                biases.append(module.bias.square_())
    ones = torch.ones_like(probe.inputs_of(probe.gradient_rows[:1]), dtype=torch.float64)
    total = float(squared(ones).sum())
    for bias in biases:
        bias.zero_()
    once, twice = float(squared(ones).sum()), float(squared(2 * ones).sum())
    if not math.isclose(twice, 2 * once, rel_tol=1e-6):
        return None
    return math.sqrt(total)
