"""Reads a configuration file: a YAML mapping of spec fields, and under ``run`` the options of the command.

    run: {data: digits, scale: small, seeds: 5}
    training:
      learning_rate: 1e-3
    measures.points_per_decade: 8

Every scalar stays the text that was written and is converted by the type of its field, so that ``1e-3`` is a number
and neither ``12:30`` nor ``no`` turns into something else. Of YAML only mappings, lists and scalars are understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from shattering.core.errors import SpecError, nearest
from shattering.core.spec import SPEC_VERSION, RunSpec, override, spec_fields

if TYPE_CHECKING:
    from yaml.events import Event

MAX_BYTES = 65536
"""Of a configuration file: it is a page to read, not data."""

MAX_DEPTH = 8

OPTIONS_KEY = "run"

PLANNED_FIELDS = {
    "version": "leave it out",
    "seed": "ask for a number of seeds with --seeds",
    "seeds": "it is no field of a run; ask for a number of seeds with --seeds",
    "data.name": "choose the data with --data",
    "data.fingerprint": "it follows from --data",
    "model.name": "choose the models with --models",
    "model.source": "it follows from --models",
    "compute.device": "choose it with --device",
}
"""Fields that the planner fills in from an option, with what to do in place of setting them."""

Value = str | list[str]


@dataclass(frozen=True)
class Setting:
    """A value as it was written, and where.

    Args:
        value: the text, or a list of texts.
        place: ``file:line:column``, or the option that set it.
    """

    value: Value
    place: str


@dataclass(frozen=True)
class Config:
    """What a configuration file asks for.

    Args:
        options: options of the command by name, with ``_`` between words; not yet converted.
        fields: dotted spec fields; each was checked to fit its type.
    """

    options: dict[str, Setting] = field(default_factory=dict)
    fields: dict[str, Setting] = field(default_factory=dict)


def read_config(path: Path, options: tuple[str, ...]) -> Config:
    """Reads a configuration file.

    Args:
        path: of the file; UTF-8, a byte-order mark is skipped.
        options: names that are known under ``run``.

    Raises:
        SpecError: the file is missing, too large, not UTF-8 or not plain YAML; a key is unknown or repeated; a value
            does not fit its field. The message begins with ``file:line:column``.
    """
    found: dict[str, Setting] = {}
    for name, setting in leaves(_tree(path, _text(path))):
        if name in found:
            _repeated(name, setting.place, found[name].place)
        found[name] = setting
    chosen: dict[str, Setting] = {}
    fields: dict[str, Setting] = {}
    for name, setting in found.items():
        group, _, rest = name.partition(".")
        if group == OPTIONS_KEY:
            if not rest:
                told = f"{OPTIONS_KEY} must be a mapping of options, such as {OPTIONS_KEY}: {{{options[0]}: VALUE}}"
                _refuse("config-not-a-mapping", setting.place, told)
            option = rest.replace("-", "_")
            if option not in options:
                hint = nearest(option, options)
                _refuse("config-unknown-key", setting.place, f"{OPTIONS_KEY!r} has no option {rest!r}; {hint}")
            if option in chosen:
                _repeated(rest, setting.place, chosen[option].place)
            chosen[option] = setting
        elif name == "version":
            _check_version(setting)
        else:
            fields[name] = Setting(field_value(name, setting), setting.place)
    return Config(chosen, fields)


def field_value(name: str, setting: Setting) -> Value:
    """The value of the dotted spec field ``name``, as `override` takes it; a comma-separated text becomes a list.

    Raises:
        SpecError: there is no such field, the planner sets it, or the value does not fit; the message begins with the
            setting's place.
    """
    known = spec_fields()
    if name in PLANNED_FIELDS:
        _refuse("spec-planned-field", setting.place, f"{name}={setting.value!r} cannot be set; {PLANNED_FIELDS[name]}")
    inner = [other for other in known if other.startswith(f"{name}.")]
    if inner:
        _refuse("spec-wrong-value", setting.place, f"{name} has fields of its own; set one, such as {inner[0]}")
    value = setting.value
    if isinstance(value, str) and name in known and isinstance(known[name][1], tuple):
        value = [part.strip() for part in value.split(",")]
    try:
        override(RunSpec(), {name: value})
    except SpecError as error:
        raise SpecError(error.identifier, f"{setting.place}: {error.message}") from None
    return value


def _check_version(setting: Setting) -> None:
    if not isinstance(setting.value, str) or not setting.value.isdecimal():
        _refuse("spec-wrong-value", setting.place, f"version={setting.value!r} is not a whole number; leave it out")
    if int(setting.value) > SPEC_VERSION:
        told = f"the file has version {setting.value}, this program knows up to {SPEC_VERSION}; upgrade shattering"
        _refuse("spec-newer-version", setting.place, told)


def read_tree(path: Path, option: str = "") -> Tree:
    """The mapping in a YAML file, every scalar as it was written, each key with its place.

    Args:
        path: of the file; UTF-8, a byte-order mark is skipped.
        option: the option that named it, for messages about the file itself.

    Raises:
        SpecError: the file is missing, too large, not UTF-8 or not plain YAML, or a key is repeated.
    """
    return _tree(path, _text(path, option))


def _text(path: Path, option: str = "--config") -> str:
    named = f"{option} {path}".strip()
    if path.is_dir():
        raise SpecError("config-unreadable", f"{named} is a folder; name a YAML file.")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError("config-missing", f"{named}: there is no such file; check its path.") from None
    except OSError as error:
        raise SpecError("config-unreadable", f"{named} cannot be read: {error.strerror}; check it.") from None
    if len(content) > MAX_BYTES:
        raise SpecError("config-too-large", f"{named} has over {MAX_BYTES} bytes; name a configuration file.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} (0x{content[error.start]:02x})"
        raise SpecError("config-not-utf8", f"{named}: {byte} is not UTF-8; save the file as UTF-8.") from None


Tree = dict[str, tuple[str, "Node"]]
"""Keys to the place of the key and what stands there."""
Node = str | list[str] | Tree


def _tree(path: Path, text: str) -> Tree:
    """The one document of the file; an empty file asks for nothing."""
    import yaml

    try:
        events = _events(path, text)
        root = next(events, None)
        if root is None or (isinstance(root, yaml.ScalarEvent) and not root.value):
            return {}
        tree = _node(root, events, path, 1)
        for event in events:
            _refuse("config-several-documents", _place(path, event), "a second document begins; keep one in a file")
    except yaml.YAMLError as error:
        raise _malformed(path, error) from None
    if not isinstance(tree, dict):
        _refuse("config-not-a-mapping", _place(path, root), "the file must be a mapping, such as 'run: {seeds: 5}'")
    return tree


def _events(path: Path, text: str) -> Iterator[Event]:
    """PyYAML's events rather than its nodes: an alias or a tag is refused before anything follows it."""
    import yaml

    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor:
            told = f"anchors and aliases are not understood ({anchor!r}); write the value out"
            _refuse("config-alias", _place(path, event), told)
        if tag:
            _refuse("config-tag", _place(path, event), f"tags are not understood ({tag!r}); leave it out")
        if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            yield event


def _node(event: Event, events: Iterator[Event], path: Path, depth: int) -> Node:
    import yaml

    if isinstance(event, yaml.ScalarEvent):
        return str(event.value)
    if depth > MAX_DEPTH:
        _refuse("config-too-deep", _place(path, event), f"more than {MAX_DEPTH} levels are nested; write dotted keys")
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[str] = []
        while not isinstance(item := next(events), yaml.SequenceEndEvent):
            if not isinstance(item, yaml.ScalarEvent):
                _refuse("config-nested-list", _place(path, item), "a list may hold only plain values; take them apart")
            items.append(str(item.value))
        return items
    entries: Tree = {}
    while not isinstance(key := next(events), yaml.MappingEndEvent):
        if not isinstance(key, yaml.ScalarEvent):
            _refuse("config-malformed", _place(path, key), "a key must be a plain word; quote it")
        if key.value in entries:
            _repeated(key.value, _place(path, key), entries[key.value][0])
        entries[key.value] = (_place(path, key), _node(next(events), events, path, depth + 1))
    return entries


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Setting]]:
    """What stands at the ends of a tree, by dotted name."""
    for key, (place, node) in tree.items():
        if isinstance(node, dict):
            yield from leaves(node, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", Setting(node, place)


def _place(path: Path, event: Event) -> str:
    mark: Any = event.start_mark
    return f"{path}:{mark.line + 1}:{mark.column + 1}"


def _malformed(path: Path, error: Exception) -> SpecError:
    mark: Any = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    if mark is None:
        where = f"{path}, character {getattr(error, 'position', 0)}"
    else:
        where = f"{path}:{mark.line + 1}:{mark.column + 1}"
    if "\\t" in problem:
        problem += ", a tab; indent with spaces"
    return SpecError("config-malformed", f"{where}: this is not YAML: {problem}; mend the file.")


def _repeated(name: str, place: str, earlier: str) -> NoReturn:
    _refuse("config-duplicate-key", place, f"{name!r} was already set at {earlier}; keep one of the two")


def _refuse(identifier: str, place: str, told: str) -> NoReturn:
    raise SpecError(identifier, f"{place}: {told}{'' if told.endswith(('.', '?')) else '.'}")


def minutes_of(budget: str | float) -> float:
    """A duration such as ``90s``, ``10m``, ``1.5h`` or ``10`` (minutes), in minutes; else raises `SpecError`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|m|min|h)?\s*", str(budget))
    minutes = float(found[1]) * {"s": 1 / 60, "h": 60.0}.get(found[2] or "m", 1.0) if found else 0.0
    if not 0 < minutes < 100_000:
        raise SpecError(
            "audit-budget", f"The budget {budget!r} is no time to train in; give one such as 90s, 10m or 2h."
        )
    return minutes
