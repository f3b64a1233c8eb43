"""The state in which a network's gradients are measured, and the way back to the one it was in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from shattering.core.errors import ModelError
from shattering.gradients.batches import Batch, Loss, loss_of


@contextmanager
def measured(model: nn.Module, modules: Sequence[nn.Module] | None = None) -> Iterator[None]:
    """Evaluation mode inside (dropout off, batch normalisation with its running statistics), with gradients enabled.

    The arithmetic is that of the parameters: no automatic casting, and on a GPU no TF32, whose rounding would be taken
    for incoherence. Afterwards modes, buffers, the state of torch's generators and its settings are what they were.

    Args:
        model: to be measured.
        modules: all of its modules, itself included, where they are known already.
    """
    # One walk through the modules: for a small network each costs as much as one of its layers.
    modules = list(model.modules()) if modules is None else modules
    modes = [module.training for module in modules]
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in modules
        if module._buffers
        for name, buffer in module._buffers.items()
        if buffer is not None
    ]
    parameters = (p for module in modules for p in module._parameters.values() if p is not None)
    devices = list({parameter.device for parameter in parameters if parameter.device.type == "cuda"})
    # Contexts that have nothing to do are left out, for the same reason.
    casting = torch.is_autocast_enabled("cpu") or bool(devices)
    with (
        torch.random.fork_rng(devices=devices) if devices else _generator_kept(),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False) if casting else nullcontext(),
        torch.autocast("cuda", enabled=False) if devices else nullcontext(),
        _settings(modules, on_gpu=bool(devices)),
    ):
        try:
            if any(modes):
                model.eval()
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                if module.training is not mode:
                    module.training = mode
            for module, name, buffer, value in buffers:
                # A network may count its calls, in place or by putting another tensor in the buffer's place.
                module._buffers[name] = buffer
                # Compared, because batch normalisation changes its statistics without raising their version.
                if not torch.equal(buffer, value):
                    with torch.no_grad():
                        buffer.copy_(value)


@contextmanager
def _generator_kept() -> Iterator[None]:
    """What ``torch.random.fork_rng`` does for the CPU's generator, in a third of the time."""
    generator = torch.default_generator
    state = generator.get_state()
    try:
        yield
    finally:
        generator.set_state(state)


@contextmanager
def _settings(modules: Iterable[nn.Module], on_gpu: bool) -> Iterator[None]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    fused = torch.backends.mha.get_fastpath_enabled()
    before = (cudnn.enabled, cudnn.allow_tf32, matmul.allow_tf32)
    try:
        # In evaluation mode attention takes a fused path where no parameter asks for a gradient: one without any.
        torch.backends.mha.set_fastpath_enabled(False)
        if on_gpu:
            cudnn.allow_tf32 = matmul.allow_tf32 = False
            # cuDNN has no backward of recurrent layers in evaluation mode.
            if any(isinstance(module, nn.RNNBase) for module in modules):
                cudnn.enabled = False
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        if on_gpu:
            cudnn.enabled, cudnn.allow_tf32, matmul.allow_tf32 = before


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every parameter that wants a gradient, once, under its first name.

    Raises:
        ModelError: there is none.
    """
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not named:
        raise ModelError(
            "gradients-no-parameters",
            f"The model ({type(model).__name__}) has no parameter that requires a gradient; unfreeze one.",
        )
    return named


def device_of(parameters: Mapping[str, Tensor]) -> torch.device:
    """Where the parameters are, and the examples must go."""
    return next(iter(parameters.values())).device


def loss_alone(model: Callable[..., object], loss: Loss, example: Batch) -> Tensor:
    """ℓᵢ, a scalar: the loss of a batch that holds one example.

    Raises:
        ModelError: the loss is not one number.
    """
    value = loss_of(model, loss, example)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.is_floating_point():
        what = f"a tensor {tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__
        raise ModelError(
            "gradients-loss-shape",
            f"The loss of a single example is {what}; it must be one real number, or one per example of a batch.",
        )
    return value.sum()
