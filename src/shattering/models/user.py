"""The user's own network, named ``MODULE:FACTORY``: imported, built, fingerprinted; what fails becomes `ModelError`."""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import random
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shattering.core.errors import ModelError, nearest
from shattering.core.registry import Field, check_fields
from shattering.models.process_globals import restored_globals

PROVIDED = ("input_shape", "num_classes")
"""Parameters a factory may have that are filled in from the data."""


def build_user_model(name: str, fields: dict[str, Any], input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Builds the network ``MODULE:FACTORY``; settings of the process that its code alters are put back.

    Args:
        name: module (looked for in the current directory first) and a callable in it that returns a new ``nn.Module``.
        fields: further keyword arguments of the factory, converted to the types it annotates.
        input_shape: (channels, height, width) or (features,); passed if the factory has a parameter of that name.
        num_classes: number of outputs; passed likewise.

    Raises:
        ModelError: the module, the factory or the construction fails.
        SpecError: ``fields`` do not fit the factory.
    """
    return construct(name, fields, input_shape, num_classes)[0]


def construct(
    name: str, fields: dict[str, Any], input_shape: tuple[int, ...], num_classes: int
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
        arguments = _arguments(name, factory, fields, input_shape, num_classes)
        with told("model-factory-failed", f"Calling the factory {name!r} failed"):
            network = factory(**arguments)
        if not isinstance(network, nn.Module):
            raise ModelError(
                "model-not-a-module",
                f"The factory {name!r} returned {_kind(network)} where a torch.nn.Module is wanted; return that.",
            )
        if torch.get_default_dtype() != dtype:
            network.to(dtype)
        if materialise(network, torch.zeros(2, *input_shape, dtype=dtype)):
            notes.append("Parameters without a shape (lazy layers) got theirs from a forward pass on zeros.")
    return network, notes


def load_factory(name: str) -> Callable[..., Any]:
    """Imports ``MODULE`` and returns its ``FACTORY``; any failure, ``sys.exit`` included, raises `ModelError`."""
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise ModelError("model-name-malformed", f"{name!r} is not of the form MODULE:FACTORY, such as mynet:build.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()
    try:
        with told("model-import-failed", f"Importing {module_name!r} failed"):
            module = importlib.import_module(module_name)
    except ModelError as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name and f"{module_name}.".startswith(f"{cause.name}."):
            raise ModelError(
                "model-module-missing",
                f"There is no module {cause.name!r} for {name!r}; run from the folder that holds it or install it.",
            ) from cause
        raise
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [entry for entry in vars(found) if not entry.startswith("_")] if hasattr(found, "__dict__") else []
            hint = nearest(part, names) if names else "it has no public names."
            raise ModelError("model-factory-missing", f"The module {module_name!r} has no {attribute!r}; {hint}")
        found = getattr(found, part)
    if isinstance(found, nn.Module) or not callable(found):
        raise ModelError(
            "model-factory-not-callable",
            f"{name!r} is {_kind(found)}, but every run needs a network of its own; "
            "name a function or class that returns a new one.",
        )
    factory: Callable[..., Any] = found
    return factory


def source_fingerprint(name: str) -> str:
    """SHA-256 of the source file that defines the factory, so that an edited network is a different run."""
    factory: Any = load_factory(name)
    while isinstance(factory, functools.partial):
        factory = factory.func
    try:
        source = inspect.getsourcefile(inspect.unwrap(factory))
    except TypeError:
        source = getattr(sys.modules[name.partition(":")[0]], "__file__", None)
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


@contextmanager
def told(identifier: str, what: str) -> Iterator[None]:
    """Turns what the user's code raises into a `ModelError` that names the exception and the line it came from."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Lazy modules are a new feature")
            yield
    except ModelError:
        raise
    except SystemExit as error:
        raise ModelError(
            "model-exits", f"{what}: its code called sys.exit({error.code!r}){_place(error)}; remove that call."
        ) from error
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
        raise ModelError(identifier, f"{what} with {reason}{_place(error)}; mend the network's code.") from error


def _place(error: BaseException) -> str:
    """Where in code that is neither ours nor a library's the error arose, as `` (file, line n)``."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({error.filename}, line {error.lineno})"
    libraries = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")))
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        library = "site-packages" in file.parts or any(file.is_relative_to(folder) for folder in libraries)
        if file.is_file() and not library:
            place = f" ({file}, line {line})"
    return place


def _kind(value: object) -> str:
    noun = type(value).__name__
    return f"{'an' if noun[0] in 'aeiouAEIOU' else 'a'} {noun}" if value is not None else "None"


def _arguments(
    name: str, factory: Callable[..., Any], fields: dict[str, Any], input_shape: tuple[int, ...], num_classes: int
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
    provided = {"input_shape": tuple(input_shape), "num_classes": num_classes}
    wanted = {entry.name: provided[entry.name] for entry in named if entry.name in provided}
    return wanted | check_fields("model", name, own, fields)
