"""How far a network has found the rule of addition modulo p: Fourier sparsity, and what depends on a + b - c alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shattering.core.errors import SpecError
from shattering.measures.registry import Probe, measure
from shattering.theory.gini import gini

CARRIED = 0.9
"""Part of the squared norm that key frequencies carry together."""

UNITS = {
    "fourier_gini": "1",
    "key_frequencies": "frequencies",
    "rule_share": "1",
    "restricted_loss": "nats",
    "excluded_loss": "nats",
}


@measure(units=UNITS, paper="Nanda et al. (2023), progress measures; the choice of components is ours")
def modular_addition(probe: Probe) -> dict[str, float]:
    """How sparse the first layer is in frequencies, and how far the outputs follow the rule c = a + b modulo p.

    For data whose inputs are pairs of one-hot vectors of length p. The network is asked for all p² pairs, in evaluation
    mode. Each pair's outputs are centred over classes; on pairs it has *not* been trained on, their mean at each value
    of d = a + b - c modulo p is the function r(d) that the rule alone would leave. Nanda et al. take the components of
    a few frequencies of a + b instead; taken over unseen pairs, as here, what was memorised adds nothing.

    Returns:
        ``fourier_gini``: Gini coefficient, in [0, 1), of the Fourier norms of the first layer's weights over the
        frequencies 1 … p/2: 0 where all are equal, near 1 where one has everything. ``key_frequencies``: the fewest
        frequencies with 90% of the squared norm. ``rule_share``: the part of the variance of the outputs on unseen
        pairs that r explains, in [0, 1]. ``restricted_loss``: cross-entropy of r alone, log p where there is no rule.
        ``excluded_loss``: mean cross-entropy of the training pairs with r taken off their outputs; it rises when
        memory gives way to the rule. Where every pair was trained on, r is taken over all of them.

    Raises:
        SpecError: ``modular-addition-inputs``: the inputs are not two vectors of equal length, or there are fewer
            classes than residues.
    """
    inputs = probe.inputs_of(torch.arange(len(probe.labels), device=probe.labels.device)).flatten(1)
    modulus, odd = divmod(inputs.shape[1], 2)
    if odd or not modulus:
        raise _unfit()
    outputs = _of_all_pairs(probe.model, inputs, modulus)
    first, second = inputs[:, :modulus].argmax(dim=1), inputs[:, modulus:].argmax(dim=1)
    trained = torch.zeros(modulus, modulus, dtype=torch.bool, device=inputs.device)
    trained[first, second] = True
    unseen = ~trained if not bool(trained.all()) else trained
    places = torch.arange(modulus, device=inputs.device)
    distance = (places[:, None, None] + places[None, :, None] - places) % modulus  # [a, b, c]
    chosen, where = outputs[unseen], distance[unseen]
    rule = torch.zeros(modulus, dtype=torch.float64, device=inputs.device)
    rule.index_add_(0, where.flatten(), chosen.flatten())
    rule /= len(chosen)
    spread = float(chosen.square().sum())
    share = float(rule.square().sum()) * len(chosen) / spread if spread > 0 else 0.0
    rest = (outputs - rule[distance])[first, second]
    sparsity, keys = _sparsity(probe.model, modulus)
    return {
        "fourier_gini": sparsity,
        "key_frequencies": float(keys),
        "rule_share": min(1.0, share),
        "restricted_loss": float(torch.logsumexp(rule, dim=0) - rule[0]),
        "excluded_loss": float((torch.logsumexp(rest, dim=1) - rest[_places(first, second, modulus)]).mean()),
    }


def _unfit() -> SpecError:
    return SpecError(
        "modular-addition-inputs",
        "The measure modular_addition is for pairs of one-hot vectors and as many classes as each has entries; leave "
        "it out of measures.names, or take data such as addition_mod_59.",
    )


def _places(first: Tensor, second: Tensor, modulus: int) -> tuple[Tensor, Tensor]:
    return torch.arange(len(first), device=first.device), (first + second) % modulus


@torch.no_grad()
def _of_all_pairs(model: nn.Module, like: Tensor, modulus: int) -> Tensor:
    """Outputs for every pair, float64 ``[p, p, p]``, of mean 0 over classes; the model's mode is restored."""
    modes = {module: module.training for module in model.modules()}
    eye = torch.eye(modulus, dtype=like.dtype, device=like.device)
    model.eval()
    try:
        rows = [model(torch.cat([eye[place].expand(modulus, -1), eye], dim=1)) for place in range(modulus)]
    finally:
        for module, mode in modes.items():
            module.training = mode
    if rows[0].shape[1] < modulus:
        raise _unfit()
    found = torch.stack(rows)[:, :, :modulus].double()
    centred: Tensor = found - found.mean(dim=2, keepdim=True)
    return centred


def _sparsity(model: nn.Module, modulus: int) -> tuple[float, int]:
    """Gini coefficient of the first layer's Fourier norms, and the number of its key frequencies."""
    weights = next((value for value in model.parameters() if value.shape[1:].numel() in (modulus, 2 * modulus)), None)
    if weights is None:
        raise SpecError(
            "modular-addition-weights",
            f"The measure modular_addition finds no layer that reads vectors of length {modulus}; leave it out.",
        )
    halves = weights.detach().double().reshape(-1, modulus)
    power = torch.fft.rfft(halves, dim=1).abs().square().sum(dim=0)[1:]
    held = power.sort(descending=True).values.cumsum(0)
    keys = int((held < CARRIED * held[-1]).sum()) + 1 if len(held) else 0
    return gini(power.sqrt().cpu().numpy()), keys
