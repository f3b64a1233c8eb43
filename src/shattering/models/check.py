"""Is this network fit to be trained? Every way in which it is not has an identifier and a remedy."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shattering.core.errors import ModelError
from shattering.core.spec import BatchPart
from shattering.models.adapted import adapt, logits_of
from shattering.models.named import told
from shattering.models.process_globals import restored_globals
from shattering.models.user import construct, materialise

Loss = Callable[[Tensor, Tensor], Tensor]

CHECK_SEED = 0x5A7733
"""Seeds the networks built here; an unlikely choice for the user's code, so that a re-seeding is noticed."""


@dataclass(frozen=True)
class ModelFacts:
    """What the check found out about a network that passed it.

    Args:
        parameters: number of weights, tied ones counted once.
        trainable: those that are trained.
        deterministic: whether two forward passes in evaluation mode gave the same bits.
        notes: what is allowed but worth recording, a sentence each.
        structured: whether it returns something that holds its logits, see `adapted.logits_of`.
        outputs: of the inputs in evaluation mode, ``[n, k]``.
    """

    parameters: int
    trainable: int
    deterministic: bool
    notes: tuple[str, ...]
    structured: bool = False
    outputs: Tensor | None = field(default=None, compare=False, repr=False)


def check_model(
    model: nn.Module | str,
    inputs: Tensor,
    num_classes: int,
    *,
    fields: dict[str, Any] | None = None,
    batch: Sequence[BatchPart] = (),
    loss: Loss | None = None,
) -> ModelFacts:
    """Builds, calls and differentiates a network once and compares what it does with what training relies on.

    The network given, the process's settings and torch's random state are as before afterwards. Takes about four
    forward passes and one backward pass.

    Args:
        model: ``MODULE:FACTORY``, or a network, which is copied.
        inputs: a few prepared examples ``[n, c, h, w]`` or ``[n, features]``, n ≥ 2.
        num_classes: number of classes, the least number of outputs.
        fields: the factory's own fields.
        batch: the network's arguments that a row of ``inputs`` holds; empty: the row is its input.
        loss: of (outputs, labels), per example; none: cross-entropy. With another, one output will do for two classes.

    Raises:
        ModelError: the first way found in which the network is unfit.
    """
    notes: list[str] = []
    with _seeded(), restored_globals(notes):
        if isinstance(model, str):
            network = _built(model, fields or {}, inputs, num_classes, tuple(batch), notes)
        else:
            network = adapt(_copied(model), batch)
            if materialise(network, inputs):
                notes.append("Parameters without a shape (lazy layers) get theirs from a forward pass.")
        network.to(inputs.device)
        if inputs.dtype == torch.float64:  # a run in double precision casts its network likewise
            network.double()
        _check_parameters(network, notes)
        _check_modes(network)
        structured = not batch and _structured(network, inputs)
        if structured:
            adapt(network, structured=True)
        least = 1 if loss is not None and num_classes == 2 else num_classes
        outputs, deterministic = _check_evaluation(network, inputs, num_classes, least, notes)
        _check_training(network, inputs, num_classes, least, loss, notes)
        parameters = [parameter.numel() for parameter in network.parameters()]
        trainable = [parameter.numel() for parameter in network.parameters() if parameter.requires_grad]
    told_once = tuple(dict.fromkeys(notes))
    return ModelFacts(sum(parameters), sum(trainable), deterministic, told_once, structured, outputs)


@contextmanager
def _seeded() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(CHECK_SEED)
        yield


def _built(
    name: str,
    fields: dict[str, Any],
    inputs: Tensor,
    num_classes: int,
    batch: tuple[BatchPart, ...],
    notes: list[str],
) -> nn.Module:
    networks = []
    for _ in range(2):
        torch.manual_seed(CHECK_SEED)
        network, remarks = construct(name, fields, tuple(inputs.shape[1:]), num_classes, batch=batch)
        networks.append(network)
        notes += remarks
    first, second = networks
    if {id(parameter) for parameter in first.parameters()} & {id(parameter) for parameter in second.parameters()}:
        raise ModelError(
            "model-shared-instance",
            f"The factory {name!r} returned the same weights twice, so one run would start where another ended; "
            "make it build a new network at each call.",
        )
    if _changed(_values(first.named_parameters()), second.named_parameters()):
        notes.append("The initial weights differ between two builds with the same seed: runs cannot be repeated.")
    if any(kind.__name__ == "LightningModule" for kind in type(first).__mro__):
        notes.append(
            "A LightningModule is trained through its forward, by this program's loop with the run's own optimizer and "
            "loss; its training_step and configure_optimizers are not used."
        )
    if not batch and not _pickles(first):
        notes.append("The network cannot be pickled; workers build it from its name.")
    return first


def _copied(model: nn.Module) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise ModelError(
            "model-not-a-module",
            f"The model is of type {type(model).__name__} where a torch.nn.Module is wanted; pass the network.",
        )
    if not _pickles(model):
        raise ModelError(
            "model-unpicklable",
            f"The network {type(model).__name__} cannot be sent to other processes because it cannot be pickled; "
            "remove locks, open files and lambdas from its attributes, or name it MODULE:FACTORY.",
        )
    return copy.deepcopy(model)


def _pickles(network: nn.Module) -> bool:
    try:
        pickle.dumps(network)
    except Exception:
        return False
    return True


def _check_parameters(network: nn.Module, notes: list[str]) -> None:
    named = dict(network.named_parameters())
    if not named:
        raise ModelError(
            "model-no-parameters",
            "The network has no parameters; assign its layers as attributes, not in a plain list.",
        )
    frozen = [name for name, parameter in named.items() if not parameter.requires_grad]
    if len(frozen) == len(named):
        raise ModelError(
            "model-all-frozen", "All parameters have requires_grad=False; set it to True on those to be trained."
        )
    if frozen:
        notes.append(f"{len(frozen)} of {len(named)} parameter tensors are frozen: {_some(frozen)}.")
    aliases = [name for name, _ in network.named_parameters(remove_duplicate=False) if name not in named]
    if aliases:
        notes.append(f"Tied parameters are counted and trained once: {_some(aliases)} share another's weights.")
    for name, parameter in named.items():
        if not bool(torch.isfinite(parameter).all()):
            raise ModelError(
                "model-not-finite", f"The parameter {name!r} is not finite at the start; mend its initialisation."
            )


def _check_modes(network: nn.Module) -> None:
    network.train()
    before = _values(network.named_parameters())
    for switch in (network.eval, network.train, network.eval):
        with told("model-mode-failed", "Switching between training and evaluation mode failed"):
            switch()
        changed = _changed(before, network.named_parameters())
        if changed:
            raise ModelError(
                "model-mode-changes-parameters",
                f"Switching between train() and eval() changes the parameter {changed!r}; "
                "keep one set of weights for both modes.",
            )


def _structured(network: nn.Module, inputs: Tensor) -> bool:
    """Whether the network returns no tensor, but something that holds its logits."""
    with torch.no_grad():
        outputs = _forward(network, inputs)
    return not isinstance(outputs, Tensor) and isinstance(logits_of(outputs), Tensor)


def _check_evaluation(
    network: nn.Module, inputs: Tensor, num_classes: int, least: int, notes: list[str]
) -> tuple[Tensor, bool]:
    buffers, parameters = _values(network.named_buffers()), _values(network.named_parameters())
    with torch.no_grad():
        first = _forward(network, inputs)
        _check_output(first, len(inputs), num_classes, least)
        second = _forward(network, inputs)
        fewer = max(1, len(inputs) // 2)
        _check_output(_forward(network, inputs[:fewer]), fewer, num_classes, least)
    changed = _changed(buffers, network.named_buffers())
    if changed:
        raise ModelError(
            "model-eval-changes-buffers",
            f"A forward pass in evaluation mode changes the buffer {changed!r}, so measuring would alter the run; "
            "update it in training mode only.",
        )
    _refuse_changed(parameters, network)
    if first.shape[1] > num_classes:
        notes.append(f"The network has {first.shape[1]} outputs for {num_classes} classes.")
    if not torch.equal(first, second):
        notes.append("Nondeterministic: two forward passes in evaluation mode on the same inputs differ.")
        return first, False
    return first, True


def _check_training(
    network: nn.Module, inputs: Tensor, num_classes: int, least: int, loss_of: Loss | None, notes: list[str]
) -> None:
    network.train()
    network.zero_grad(set_to_none=True)
    parameters = _values(network.named_parameters())
    with torch.enable_grad():
        outputs = _forward(network, inputs)
        _check_output(outputs, len(inputs), num_classes, least)
        _refuse_changed(parameters, network)
        labels = torch.arange(len(inputs), device=outputs.device) % num_classes
        with told("loss-failed", "Calling the loss failed"):
            loss = F.cross_entropy(outputs, labels) if loss_of is None else loss_of(outputs, labels).mean()
        detached = ModelError(
            "model-output-detached",
            "The loss does not depend on any trainable parameter as far as autograd can tell; "
            "remove detach(), no_grad(), .data and NumPy from forward.",
        )
        if not loss.requires_grad:
            raise detached
        with told("model-backward-failed", "The backward pass failed"):
            torch.autograd.backward(loss)
    trained = {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}
    unused = [name for name, parameter in trained.items() if parameter.grad is None]
    if len(unused) == len(trained):
        raise detached
    if unused:
        notes.append(f"{len(unused)} of {len(trained)} trainable tensors get no gradient: {_some(unused)}.")
    for name, parameter in trained.items():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            raise ModelError(
                "model-not-finite",
                f"The first gradient of the parameter {name!r} is not finite; mend the initialisation or the forward.",
            )


def _forward(network: nn.Module, inputs: Tensor) -> Any:
    given = inputs.clone()
    with told("model-forward-failed", f"The forward pass on inputs of shape {list(inputs.shape)} failed"):
        outputs = network(given)
    if not torch.equal(given, inputs):
        raise ModelError(
            "model-changes-inputs", "The forward pass changes its inputs in place; work on a copy of them."
        )
    return outputs


def _check_output(outputs: Any, examples: int, num_classes: int, least: int) -> None:
    if not isinstance(outputs, Tensor):
        raise ModelError(
            "model-output-type",
            f"The network returns a {type(outputs).__name__} where one tensor of logits is wanted; return that tensor, "
            "or a tuple that begins with it, or an object or dict with `logits`.",
        )
    if outputs.dtype not in (torch.float32, torch.float64):
        raise ModelError(
            "model-output-dtype",
            f"The outputs are {outputs.dtype} where torch.float32 is wanted; return real logits in single precision.",
        )
    if outputs.ndim != 2 or outputs.shape[0] != examples:
        raise ModelError(
            "model-output-shape",
            f"The outputs have the shape {list(outputs.shape)} for {examples} inputs where "
            f"[{examples}, {num_classes}] is wanted; return one row of logits for each example.",
        )
    if outputs.shape[1] < least:
        raise ModelError(
            "model-too-few-logits",
            f"The network has {outputs.shape[1]} outputs for {num_classes} classes; widen its last layer.",
        )
    if not bool(torch.isfinite(outputs).all()):
        raise ModelError(
            "model-not-finite", "The first outputs are not finite; mend the initialisation or the forward."
        )


def _refuse_changed(parameters: dict[str, Tensor], network: nn.Module) -> None:
    changed = _changed(parameters, network.named_parameters())
    if changed:
        raise ModelError(
            "model-forward-changes-parameters",
            f"A forward pass changes the parameter {changed!r}; only the optimizer may; keep such state in a buffer.",
        )


def _values(named: Any) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in named}


def _changed(before: dict[str, Tensor], named: Any) -> str | None:
    """The name of the first tensor that appeared, vanished or changed; None where all are as before."""
    after = dict(named)
    for name in [*before, *after]:
        if name not in before or name not in after or before[name].shape != after[name].shape:
            return str(name)
        old, new = before[name], after[name].detach()
        if not bool(((old == new) | (old != old) & (new != new)).all()):  # a NaN that stays is no change
            return str(name)
    return None


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
