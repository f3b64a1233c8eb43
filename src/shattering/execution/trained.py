"""What an audit looks at before it trains: the model, how fast it is, and weights that the user trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shattering.core import io
from shattering.core.errors import DataError, ModelError
from shattering.core.spec import RunSpec
from shattering.data.dataset import Splits
from shattering.execution.arithmetic import arithmetic
from shattering.execution.run import corrupted, initial_model
from shattering.execution.training import batch_normalisations
from shattering.training.evaluation import evaluate
from shattering.training.examples import prepare

MOST_NAMED = 3
WRAPPERS = ("network.", "module.", "model.", "_orig_mod.")
"""Beginnings of names that a wrapper around the network puts in front, here or where the weights were saved."""


def look_at_subject(spec: RunSpec, splits: Splits, weights: Path | None) -> dict[str, Any]:
    """One look at everything, in one process, for to start several would cost more than the looks.

    Args:
        spec: the base training of an audit.
        splits: the data.
        weights: file of trained weights; none: there are none.

    Returns:
        ``checked``: of `check_user_model`, none where model and loss are our own; ``speed``: of `time_step`;
        ``trained``: of `look_at_weights`, empty without weights; ``batch_normalisations``: of the network as built.

    Raises:
        ModelError, SpecError, DataError: what is wrong with the model, the loss or the weights.
    """
    from shattering.execution.estimate import time_step
    from shattering.execution.preflight import check_user_model, settled

    checked = None
    if ":" in spec.model.name + spec.training.loss:
        checked = check_user_model(spec, splits)
        spec = spec.model_copy(update={"model": settled(spec.model, checked)})
    trained = {} if weights is None else look_at_weights(spec, splits, weights)
    return {
        "checked": checked,
        "speed": time_step(spec, splits),
        "trained": trained,
        "batch_normalisations": batch_normalisations(_built(spec, splits)),
    }


def _built(spec: RunSpec, splits: Splits) -> nn.Module:
    """The untrained network."""
    few = splits.test.take(np.arange(min(2, len(splits.test))))
    training = spec.training.model_copy(update={"batch_size": len(few), "augmentation": "none"})
    plain = spec.model_copy(update={"data": spec.data.unselected, "training": training})
    with arithmetic(plain):
        examples = prepare(corrupted(Splits(few, few), plain).test, plain)
        return initial_model(plain, examples.input_shape, examples.num_classes)


def look_at_weights(spec: RunSpec, splits: Splits, path: Path) -> dict[str, Any]:
    """Loads weights into the model of ``spec`` and evaluates it on both splits.

    Args:
        spec: the base training of an audit.
        splits: the data.
        path: a ``.safetensors`` file, or one that ``torch.load`` reads as tensors without running code: a mapping of
            names to tensors, or one with such a mapping under ``state_dict``, ``model_state_dict`` or ``model``.

    Returns:
        ``file``, and of each split ``train_`` and ``test_`` ``losses`` (float64 ``[n]``) and ``predictions`` (int64
        ``[n]``).

    Raises:
        DataError: the file is missing or holds no weights.
        ModelError: they are not those of the model.
    """
    with arithmetic(spec):
        both = corrupted(splits, spec)
        train, test = prepare(both.train, spec), prepare(both.test, spec)
        model = initial_model(spec, train.input_shape, train.num_classes)
        _load_into(model, read_weights(path), path, spec.model.name)
        found: dict[str, Any] = {"file": path.name}
        for name, examples in (("train", train), ("test", test)):
            seen = evaluate(model, examples, spec)
            found[f"{name}_losses"] = seen.losses.cpu().numpy()
            found[f"{name}_predictions"] = seen.predictions.cpu().numpy()
    return found


def weights_file(trained: nn.Module | str | Path, folder: Path) -> Path:
    """Where trained weights lie: the file that was named, or one written into ``folder`` from a network."""
    if not isinstance(trained, nn.Module):
        return Path(trained)
    from safetensors.torch import save

    from shattering.store.marker import find_or_make

    find_or_make(folder, write=True)  # only a store may be written to later
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in trained.state_dict().items()}
    path = folder / "trained.safetensors"
    io.write_file(path, save(tensors))
    return path


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors in a file, by name; nothing in it is run.

    Raises:
        DataError: ``weights-missing`` or ``weights-unreadable``.
    """
    if not path.is_file():
        raise DataError("weights-missing", f"There is no file {path} of trained weights; check --weights.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(
            "weights-unreadable",
            f"{path} could not be read as weights ({type(error).__name__}); save them with "
            "safetensors.torch.save_file(model.state_dict(), FILE).",
        ) from error
    for name in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise DataError(
            "weights-unreadable", f"{path} holds no state dict; save model.state_dict() and give that file."
        )
    return content


def _load_into(model: nn.Module, weights: dict[str, torch.Tensor], path: Path, name: str) -> None:
    own = model.state_dict()
    given = {_bare(key): value for key, value in weights.items()}
    wanted = {_bare(key): key for key in own}
    absent, foreign = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    unlike = sorted(key for key in set(wanted) & set(given) if own[wanted[key]].shape != given[key].shape)
    for keys, what in ((absent, "lacks"), (foreign, "has besides"), (unlike, "has in another shape")):
        if keys:
            shown = ", ".join(keys[:MOST_NAMED]) + (" …" if len(keys) > MOST_NAMED else "")
            raise ModelError(
                "weights-of-another-model",
                f"{path} {what} {shown}, so these are not weights of {name} on these data; give those of this model.",
            )
    model.load_state_dict({wanted[key]: value for key, value in given.items()})


def _bare(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name
