"""Names to things, found on first look-up: one file in the right folder is all that an addition takes."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from shattering.core.errors import ShatteringError, SpecError, StoreError, nearest

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")

PLUGIN_GROUP = "shattering.plugins"


@dataclass
class Registry(Generic[T]):
    """The registered things of one kind.

    Args:
        kind: the noun for messages, such as ``"corruption"``.
        package: dotted name of the folder whose modules register themselves when imported.
    """

    kind: str
    package: str
    _entries: dict[str, T] = field(default_factory=dict)
    _discovered: bool = False

    def add(self, name: str, entry: T) -> None:
        """Registers ``entry``; a second thing of the same name is an error at once."""
        if name in self._entries:
            raise ShatteringError("registry-duplicate", f"There are two {self.kind}s named {name!r}; rename one.")
        self._entries[name] = entry

    def get(self, name: str) -> T:
        """The entry called ``name``; an unknown name raises `SpecError` with the nearest known one."""
        self._discover()
        if name not in self._entries:
            raise SpecError(f"unknown-{self.kind}", f"There is no {self.kind} {name!r}; {nearest(name, self.names())}")
        return self._entries[name]

    def names(self) -> list[str]:
        """All names, sorted."""
        self._discover()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[tuple[str, T]]:
        self._discover()
        return iter(sorted(self._entries.items()))

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        load_plugins()


_plugins_loaded = False


def load_plugins() -> None:
    """Imports every module named by the entry point ``shattering.plugins``; importing them registers what they hold.

    Raises:
        StoreError: ``plugin-broken``, an import fails; what the plugins register, nobody else can make up for.
    """
    global _plugins_loaded
    if _plugins_loaded:
        return
    for entry in entry_points(group=PLUGIN_GROUP):
        try:
            entry.load()
        except Exception as error:
            owner = entry.dist.name if entry.dist is not None else entry.value
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise StoreError(
                "plugin-broken",
                f"The plugin {entry.name} ({entry.value}, installed with {owner}) cannot be imported ({reason}); mend "
                f"it, or uninstall {owner}.",
            ) from error
    _plugins_loaded = True


@dataclass(frozen=True)
class Field:
    """One keyword-only parameter of a registered function: a field of the spec."""

    name: str
    annotation: Any
    default: Any

    @property
    def required(self) -> bool:
        return self.default is inspect.Parameter.empty


def keyword_fields(function: Callable[..., Any]) -> tuple[Field, ...]:
    """The keyword-only parameters of ``function``; one without an annotation is an error at registration."""
    hints = inspect.get_annotations(function, eval_str=True)
    fields = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        if parameter.name not in hints:
            raise ShatteringError(
                "registry-unannotated", f"{function.__name__}: annotate the parameter {parameter.name!r}."
            )
        fields.append(Field(parameter.name, hints[parameter.name], parameter.default))
    return tuple(fields)


def check_fields(kind: str, name: str, fields: tuple[Field, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Validates ``given`` against ``fields``: unknown, missing and ill-typed values raise `SpecError`.

    Returns the values converted to the annotated types, those equal to their default left out, so that a digest does
    not depend on whether a default was written down.
    """
    from pydantic import ValidationError

    from shattering.core.spec import Number, Truth, Whole

    # Plain bool would take "no" and 0, plain int and float would take True.
    strict: dict[Any, Any] = {bool: Truth, int: Whole, float: Number}
    known = {entry.name: entry for entry in fields}
    for key in given:
        if key not in known:
            hint = nearest(key, list(known)) if known else "it takes no fields."
            raise SpecError("spec-unknown-key", f"{kind} {name!r} has no field {key!r}; {hint}")
    values: dict[str, Any] = {}
    for entry in fields:
        if entry.name not in given:
            if entry.required:
                raise SpecError(
                    "spec-missing-key",
                    f"{kind} {name!r} needs the field {entry.name!r}; set {kind}.fields.{entry.name}.",
                )
            continue
        try:
            value = _adapter(strict.get(entry.annotation, entry.annotation)).validate_python(given[entry.name])
        except ValidationError as error:
            problem = error.errors()[0]["msg"].removeprefix("Value error, ")
            place = f"{kind}.fields.{entry.name}"
            raise SpecError(
                "spec-wrong-type",
                f"{place}={given[entry.name]!r} for {name!r} is not valid: {problem}; set it with --set {place}=VALUE.",
            ) from None
        if entry.required or value != entry.default:
            values[entry.name] = value
    return values


@functools.cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    """Made once for each type: a sweep checks as many values as it has runs."""
    from pydantic import TypeAdapter

    return TypeAdapter(annotation)
