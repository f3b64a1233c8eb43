"""The user's own network, named ``MODULE:FACTORY``: imported, built, fingerprinted; what fails becomes `ModelError`."""

from __future__ import annotations

import functools
import hashlib
import inspect
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shattering.core.errors import ModelError
from shattering.core.registry import Field, check_fields
from shattering.core.spec import BatchPart
from shattering.models.adapted import adapt, input_shape_of
from shattering.models.named import kind_of as _kind
from shattering.models.named import load_named, module_name, told
from shattering.models.process_globals import restored_globals

PROVIDED = ("input_shape", "num_classes")
"""Parameters a factory may have that are filled in from the data."""


def build_user_model(
    name: str,
    fields: dict[str, Any],
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    batch: Sequence[BatchPart] = (),
    structured: bool = False,
) -> nn.Module:
    """Builds the network ``MODULE:FACTORY``; settings of the process that its code alters are put back.

    Args:
        name: module (looked for in the current directory first, or the path of a Python file) and a callable in it that
            returns a new ``nn.Module``.
        fields: further keyword arguments of the factory, converted to the types it annotates.
        input_shape: (channels, height, width) or (features,); passed if the factory has a parameter of that name.
        num_classes: number of outputs; passed likewise.
        batch: the network's arguments that a row of the inputs holds, see `adapted.adapt`; with them, ``input_shape``
            is the shape of the only one, or a dict of the shapes.
        structured: whether it returns something that holds its logits.

    Raises:
        ModelError: the module, the factory or the construction fails.
        SpecError: ``fields`` do not fit the factory.
    """
    return construct(name, fields, input_shape, num_classes, batch=batch, structured=structured)[0]


def construct(
    name: str,
    fields: dict[str, Any],
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    batch: Sequence[BatchPart] = (),
    structured: bool = False,
) -> tuple[nn.Module, list[str]]:
    """As `build_user_model`, with notes on what was put right on the way."""
    notes: list[str] = []
    # A module is imported once, networks are built often: what the import draws must not move the first one's weights.
    with torch.random.fork_rng(devices=[]), restored_globals(notes):
        factory = load_factory(name)
    dtype = torch.get_default_dtype()
    with restored_globals(notes):
        # Weights drawn by Python or NumPy then follow from the run's seed too.
        random.seed(torch.initial_seed())
        np.random.seed(torch.initial_seed() % 2**32)
        arguments = _arguments(name, factory, fields, input_shape_of(input_shape, batch), num_classes)
        with told("model-factory-failed", f"Calling the factory {name!r} failed"):
            network = factory(**arguments)
        if not isinstance(network, nn.Module):
            raise ModelError(
                "model-not-a-module",
                f"The factory {name!r} returned {_kind(network)} where a torch.nn.Module is wanted; return that.",
            )
        if torch.get_default_dtype() != dtype:
            network.to(dtype)
        adapt(network, batch, structured=structured)
        if materialise(network, torch.zeros(2, *input_shape, dtype=dtype)):
            notes.append("Parameters without a shape (lazy layers) got theirs from a forward pass on zeros.")
    return network, notes


def load_factory(name: str) -> Callable[..., Any]:
    """Imports ``MODULE`` and returns its ``FACTORY``; any failure, ``sys.exit`` included, raises `ModelError`."""
    found = load_named(name)
    if isinstance(found, nn.Module) or not callable(found):
        raise ModelError(
            "model-factory-not-callable",
            f"{name!r} is {_kind(found)}, but every run needs a network of its own; "
            "name a function or class that returns a new one.",
        )
    factory: Callable[..., Any] = found
    return factory


def source_fingerprint(name: str) -> str:
    """SHA-256 of the source file that defines what ``name`` names, so that an edited network is a different run."""
    factory: Any = load_named(name)
    while isinstance(factory, functools.partial):
        factory = factory.func
    try:
        source = inspect.getsourcefile(inspect.unwrap(factory))
    except TypeError:
        source = getattr(sys.modules.get(module_name(name)), "__file__", None)
    if source is None or not Path(source).is_file():
        raise ModelError(
            "model-source-missing",
            f"No source file defines {name!r}, so its runs could not be told from those of an edited version; "
            "define the factory in a Python file.",
        )
    return hashlib.sha256(Path(source).read_bytes()).hexdigest()


def materialise(network: nn.Module, inputs: Tensor) -> bool:
    """Gives lazy parameters their shape by a forward pass; returns whether there were any."""
    lazy = torch.nn.parameter.is_lazy
    if not any(lazy(tensor) for tensor in [*network.parameters(), *network.buffers()]):
        return False
    training = network.training
    network.eval()
    with told("model-forward-failed", f"The forward pass on {list(inputs.shape)} failed"), torch.no_grad():
        network(inputs)
    network.train(training)
    return True


def _arguments(
    name: str, factory: Callable[..., Any], fields: dict[str, Any], input_shape: Any, num_classes: int
) -> dict[str, Any]:
    """Keyword arguments of the factory: what the data provide, then ``fields``."""
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:  # a callable written in C
        parameters = {}  # type: ignore[assignment]
    annotated = factory.__init__ if isinstance(factory, type) else factory  # type: ignore[misc]
    try:
        hints = inspect.get_annotations(annotated, eval_str=True)
    except Exception:  # a name that only a type checker can resolve
        hints = {}
    named = [
        entry
        for entry in parameters.values()
        if entry.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    ]
    own = tuple(
        Field(entry.name, hints.get(entry.name, Any), entry.default) for entry in named if entry.name not in PROVIDED
    )
    for field in own:
        if field.required and field.name not in fields:
            raise ModelError(
                "model-factory-arguments",
                f"The factory {name!r} needs the argument {field.name!r}, which the data do not tell; "
                f"give it a default or set model.fields.{field.name}.",
            )
    provided = {"input_shape": input_shape, "num_classes": num_classes}
    wanted = {entry.name: provided[entry.name] for entry in named if entry.name in provided}
    return wanted | check_fields("model", name, own, fields)
