"""From the words of a command line and a configuration file to typed options: defaults < file < command line."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from shattering.core.errors import SpecError

if TYPE_CHECKING:
    from shattering.core.config import Config, Setting, Value

Flag = Annotated[bool, Parameter(negative="", show_default=False)]
Words = Annotated[list[str] | None, Parameter(negative="")]


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    json: Flag = False
    """Print one JSON object to standard output, and nothing else there."""
    quiet: Flag = False
    """Print no progress."""
    debug: Flag = False
    """Print the traceback of an error."""


COMMON = Common()


@dataclass(frozen=True)
class RunOptions:
    """The options of ``run`` that a configuration file may set under ``run``."""

    data: str | None = None
    data_dir: Path | None = None
    scale: Literal["smoke", "small", "paper"] = "small"
    seeds: int | None = None
    models: tuple[str, ...] = ()
    engine: Literal["local", "ray", "slurm"] = "local"
    address: str | None = None
    slurm: tuple[str, ...] = ()
    out: Path = Path("runs")
    device: Literal["cpu", "cuda"] = "cpu"
    jobs: int | None = None
    keep_weights: bool = False


def option_names() -> tuple[str, ...]:
    """The names that a configuration file may use under ``run``."""
    return tuple(RunOptions.__dataclass_fields__)


def resolve_options(given: dict[str, Value | None], config: Config) -> RunOptions:
    """Lays the command line's options over the file's, and converts them.

    Args:
        given: the command line's, by name; none where it was silent.
        config: the file's.

    Raises:
        SpecError: a value does not fit its option; the message names where it was written.
    """
    from shattering.core.config import Setting

    named = {name: Setting(value, f"--{name.replace('_', '-')}") for name, value in given.items() if value is not None}
    settings = {**config.options, **named}
    return RunOptions(**{name: _converted(name, setting) for name, setting in settings.items()})


def resolve_fields(assignments: list[str], config: Config) -> dict[str, Any]:
    """Lays the ``--set`` of the command line over the spec fields of the file.

    Raises:
        SpecError: an assignment without ``=``, a field that is set twice, unknown, or given a value that does not fit.
    """
    from shattering.core.config import Setting, field_value

    named: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise SpecError("set-malformed", f"--set {assignment!r} has no field or no '='; write --set FIELD=VALUE.")
        if name in named:
            raise SpecError("duplicate-field", f"--set {name}={value} sets {name!r} a second time; keep one.")
        named[name] = field_value(name, Setting(value, f"--set {assignment}"))
    return {**{name: setting.value for name, setting in config.fields.items()}, **named}


def command_line(words: list[str], given: dict[str, Value | None], switches: dict[str, bool]) -> str:
    """What to type to ask for the same again.

    Args:
        words: command and its arguments.
        given: options by name; a list repeats its option; none: left out.
        switches: options without a value.
    """
    typed = ["shattering", *words]
    for name, value in given.items():
        for each in [value] if isinstance(value, str) else value or []:
            typed += [f"--{name.replace('_', '-')}", each]
    typed += [f"--{name.replace('_', '-')}" for name, on in switches.items() if on]
    return shlex.join(typed)


def _converted(name: str, setting: Setting) -> Any:
    from pydantic import TypeAdapter, ValidationError

    if name == "models":
        return _models(setting.value, setting.place)
    if name == "slurm":
        return (setting.value,) if isinstance(setting.value, str) else tuple(setting.value)
    value = setting.value
    try:
        return TypeAdapter(_types()[name]).validate_python(value)
    except ValidationError as error:
        problem = error.errors()[0]["msg"].removeprefix("Value error, ")
        told = f"{setting.place}: {value!r} is not valid for {name!r}: {problem}; change it or leave it out."
        raise SpecError("option-wrong-value", told) from None


def _types() -> dict[str, Any]:
    from pydantic import Field

    from shattering.core.spec import Truth, Whole
    from shattering.core.study import Scale

    text = Annotated[str, Field(min_length=1)]
    count = Annotated[Whole, Field(ge=1)]
    path = Annotated[Path, Field()]
    return {
        "data": text,
        "data_dir": path,
        "scale": Scale,
        "seeds": count,
        "engine": Literal["local", "ray", "slurm"],
        "address": text,
        "out": path,
        "device": Literal["cpu", "cuda"],
        "jobs": count,
        "keep_weights": Truth,
    }


def _models(value: str | list[str], place: str) -> tuple[str, ...]:
    pieces = [value] if isinstance(value, str) else value
    names = [name.strip() for piece in pieces for name in piece.split(",")]
    if not all(names) or not names:
        told = f"{place}: {','.join(pieces)!r} leaves a model unnamed; see `shattering list models`."
        raise SpecError("empty-option", told)
    for name in names:
        if names.count(name) > 1:
            raise SpecError("duplicate-model", f"{place}: the model {name!r} is named twice; name it once.")
    return tuple(names)
