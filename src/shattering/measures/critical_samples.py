"""How many examples have a decision boundary close by: the critical sample ratio."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shattering.core.streams import NORMAL_ONE, Stream
from shattering.measures.registry import Probe, measure

RADIUS = 0.01
"""Half the side of the box around an example that is searched, in units of the network's inputs."""

STEP, NOISE = RADIUS * 0.25 / 0.3, RADIUS * 0.2 / 0.3
"""Of the gradient's sign and of the normal noise; the paper's proportions to its radius of 0.3 of 255."""

BUDGET = 10
"""Steps of a search at most."""

EXAMPLES = 200
"""The first so many of each split are searched around."""

UNITS = {"critical_sample_ratio": "1", "critical_train_ratio": "1"}


@measure(units=UNITS, paper="Arpit et al. (2017), critical sample ratio and its Langevin search")
def critical_samples(probe: Probe) -> dict[str, float]:
    """The fraction of examples within 0.01 of which another class is predicted, on test and on training inputs.

    An example x is critical where some x' with ‖x - x'‖∞ ≤ r has another prediction than x; labels play no part. The
    search is the paper's Langevin walk: x' ← x' + α·sign(∇) + β·η, cut to the box around x, with ∇ the gradient of the
    cross-entropy against the class predicted at x and η standard normal (stream ``critical-samples``; index: step). It
    ends where the prediction changes, or after ten steps. Evaluation mode; r = 0.01, α = 0.0083 and β = 0.0067 in units
    of the inputs (2.55 of 255 for pixels from 0 to 1), where the paper has r = 0.3 of 255, which a perceptron on a few
    thousand digits hardly notices. A search that finds nothing proves nothing: the ratio is a lower bound, to be
    compared at one radius and one budget only.

    Returns:
        ``critical_sample_ratio`` over the first 200 test examples and ``critical_train_ratio`` over the first 200
        training examples, in [0, 1]; with one output, both 0.
    """
    stream = Stream(probe.seed_of("critical-samples"), "critical-samples")
    splits = {
        "critical_sample_ratio": (probe.test_inputs_of, len(probe.test_labels)),
        "critical_train_ratio": (probe.inputs_of, len(probe.labels)),
    }
    modes = {module: module.training for module in probe.model.modules()}
    probe.model.eval()
    try:
        found = {}
        for name, (inputs_of, count) in splits.items():
            inputs = inputs_of(torch.arange(min(count, EXAMPLES), device=probe.labels.device))
            noise = stream.normals(torch.arange(BUDGET).numpy(), inputs[0].numel())
            eta = torch.from_numpy(noise).to(inputs) / NORMAL_ONE
            found[name] = float(critical(probe.model, inputs, eta).double().mean())
    finally:
        for module, mode in modes.items():
            module.training = mode
    return found


def critical(
    model: nn.Module, inputs: Tensor, noise: Tensor, radius: float = RADIUS, step: float = STEP, spread: float = NOISE
) -> Tensor:
    """Which examples the walk finds to be critical.

    Args:
        model: in evaluation mode.
        inputs: ``[n, …]``.
        noise: ``[budget, features]``, standard normal numbers of each step, the same for all examples.
        radius: of the box, in the inputs' units, as are ``step`` of the gradient's sign and ``spread`` of the noise.

    Returns:
        bool ``[n]``.
    """
    with torch.no_grad():
        own = model(inputs).argmax(dim=1)
    found = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
    left = torch.arange(len(inputs), device=inputs.device)
    moved = inputs.clone()
    for eta in noise:
        at = moved[left].requires_grad_(True)
        with torch.enable_grad():
            loss = nn.functional.cross_entropy(model(at), own[left], reduction="sum")
            (gradient,) = torch.autograd.grad(loss, at)
        begin = inputs[left]
        walked = at.detach() + step * gradient.sign() + spread * eta.reshape(inputs.shape[1:])
        moved[left] = torch.maximum(torch.minimum(walked, begin + radius), begin - radius)
        with torch.no_grad():
            hit = model(moved[left]).argmax(dim=1) != own[left]
        found[left[hit]] = True
        left = left[~hit]
        if not len(left):
            break
    return found
