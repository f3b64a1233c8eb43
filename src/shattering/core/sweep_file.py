"""What a sweep's file says: which runs, over which fields, and what is decided on the way.

    name: digits-noise
    base: {model: {name: mlp_1x512, fields: {width: 64}}, training.learning_rate: 0.05}
    grid: {corruption.name: [true_labels, random_labels], training.batch_size: [32, 64]}
    seeds: 5

The runs are every combination of the bases (``base``, or the runs of a ``study``), the axes of ``grid``, the rows of
``zip``, the draws of ``sample``, and the seeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shattering.core.axes import MOST_RUNS, Axis, axis_values, drawn_values, is_axis, number_of, refuse
from shattering.core.config import PLANNED_FIELDS, Node, Setting, Tree, field_value, read_tree
from shattering.core.errors import SpecError, nearest
from shattering.core.spec import RunSpec, override, spec_fields
from shattering.core.study import SCALES
from shattering.core.sweep import FITTED, Condition, MoreSeeds, Sweep, Threshold

KEYS = (
    "name",
    "study",
    "scale",
    "models",
    "data",
    "base",
    "grid",
    "zip",
    "sample",
    "seeds",
    "threshold",
    "runs_at_most",
)
SEEDS_KEYS = ("at_least", "at_most", "measure", "half_width")
THRESHOLD_KEYS = ("field", "low", "high", "met", "seeds", "within")
SAMPLE_KEYS = ("runs", "seed")

SWEPT_TOO = ("seed", "model.name")
"""Fields that `run` fills in from an option, and that a sweep may vary."""

_CONDITION = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(>=|<=|>|<)\s*(\S+)\s*")


def read_sweep(path: Path) -> Sweep:
    """Reads a sweep's file.

    Raises:
        SpecError: what is wrong with it; the message begins with ``file:line:column``.
    """
    return _declared(read_tree(path), str(path), path.stem)


def parse_sweep(tree: Mapping[str, Any]) -> Sweep:
    """Reads a sweep from a nested mapping, as a file would hold it; raises `SpecError`."""
    return _declared(_placed(tree, ""), "the sweep", "sweep")


def changed(sweep: Sweep, **changes: Any) -> Sweep:
    """The sweep with top-level entries of its file replaced (none: taken out), or fields of ``base`` added."""
    tree = {**sweep.tree}
    base = changes.pop("base", None)
    for key, value in changes.items():
        tree[key] = value
        if value is None:
            del tree[key]
    if base:
        kept = {name: value for name, value in sweep.base.items() if name not in base}
        tree["base"] = {**kept, **base}
    return parse_sweep({"name": sweep.name, **tree})


def _declared(tree: Tree, whole: str, stem: str) -> Sweep:
    for key, (place, _) in tree.items():
        if key not in KEYS:
            if key in spec_fields() or key.partition(".")[0] in RunSpec.model_fields:
                told = f"{key!r} is a field of the spec; set it under 'base', or vary it under 'grid'"
                refuse("sweep-unknown-key", place, told)
            refuse("sweep-unknown-key", place, f"a sweep has no key {key!r}; {nearest(key, KEYS)}")
    if not {"study", "base", "grid", "zip", "sample", "threshold"} & set(tree):
        refuse("sweep-empty", whole, "there is nothing to run; write 'base', 'study' or 'grid'")
    axes = [*_grid(tree), *_zip(tree), *_sample(tree)]
    threshold = _threshold(tree)
    base = _base(tree)
    swept: dict[str, str] = {}
    for axis in axes:
        for path in axis.paths:
            if path in swept:
                refuse("sweep-field-twice", _place(tree, axis.kind), f"{path} is varied twice; keep one of the two")
            swept[path] = axis.kind
    if threshold is not None:
        if threshold.field in swept:
            refuse("sweep-field-twice", _place(tree, "threshold"), f"{threshold.field} is varied as well; keep one")
        swept[threshold.field] = "threshold"
    for path in swept.keys() & base.keys():
        told = f"{path} is set under 'base' and varied under {swept[path]!r}; keep one of the two"
        refuse("sweep-field-twice", _place(tree, "base"), told)
    seeds, more_seeds = _seeds(tree)
    if "seeds" in tree and "seed" in {*swept, *base}:
        refuse(
            "sweep-field-twice", _place(tree, "seeds"), "seeds are given twice, here and as the field 'seed'; keep one"
        )
    if threshold is not None and ("seeds" in tree or "seed" in {*swept, *base}):
        refuse("sweep-field-twice", _place(tree, "threshold"), "each seed is bisected on its own; set threshold.seeds")
    scale = _text(tree, "scale") or "small"
    if scale not in SCALES:
        refuse(
            "scale-unknown", _place(tree, "scale"), f"there is no scale {scale!r}; choose one of: {', '.join(SCALES)}"
        )
    study = _text(tree, "study")
    for key in ("scale", "models"):
        if study is None and key in tree:
            told = f"{key!r} is asked of a study, and there is none; write 'study', or take it out"
            refuse("sweep-without-study", _place(tree, key), told)
    product = 1
    for axis in axes:
        product *= len(axis.rows)
    if product > MOST_RUNS:
        told = f"it combines to {product:,} runs, and a sweep has at most {MOST_RUNS:,}; take fewer values"
        refuse("sweep-too-large", whole, told)
    return Sweep(
        name=_name(tree, stem),
        study=study,
        scale=scale,
        models=_texts(tree, "models"),
        data=_text(tree, "data"),
        base=base,
        axes=tuple(axes),
        seeds=seeds,
        more_seeds=more_seeds,
        threshold=threshold,
        runs_at_most=_count(tree, "runs_at_most"),
        tree=_plain(tree),
    )


def _name(tree: Tree, stem: str) -> str:
    name = _text(tree, "name") or stem
    if len(name) > 80 or not name.isprintable():
        refuse("sweep-wrong-value", _place(tree, "name"), "the name must be one line of at most 80 characters")
    return name


def _base(tree: Tree) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, place, node in _fields(tree, "base"):
        if isinstance(node, dict):
            refuse("sweep-wrong-value", place, f"{path} is to be varied; move it from 'base' to 'grid'")
        known = spec_fields()
        if isinstance(node, list) and not (path in known and isinstance(known[path][1], tuple)):
            refuse("sweep-wrong-value", place, f"{path} has several values; move it from 'base' to 'grid'")
        if path in found:
            refuse("config-duplicate-key", place, f"{path!r} is set twice; keep one of the two")
        found[path] = _checked(path, node if isinstance(node, str) else ",".join(node), place)
    return found


def _grid(tree: Tree) -> list[Axis]:
    axes = []
    for path, place, node in _fields(tree, "grid"):
        values, logarithmic = axis_values(path, place, node, _checked)
        axes.append(Axis("grid", (path,), tuple((value,) for value in values), logarithmic))
    return axes


def _zip(tree: Tree) -> list[Axis]:
    columns: dict[str, list[Any]] = {}
    some_logarithmic = False
    for path, place, node in _fields(tree, "zip"):
        if path in columns:
            refuse("config-duplicate-key", place, f"{path!r} is set twice; keep one of the two")
        columns[path], logarithmic = axis_values(path, place, node, _checked)
        some_logarithmic = some_logarithmic or logarithmic
        first = next(iter(columns))
        if len(columns[path]) != len(columns[first]):
            told = f"{path} has {len(columns[path])} values and {first} has {len(columns[first])}; zip needs as many"
            refuse("sweep-zip-lengths", place, told)
    if not columns:
        return []
    return [Axis("zip", tuple(columns), tuple(zip(*columns.values(), strict=True)), some_logarithmic)]


def _sample(tree: Tree) -> list[Axis]:
    if "sample" not in tree:
        return []
    place, node = tree["sample"]
    if not isinstance(node, dict):
        refuse("sweep-wrong-value", place, "'sample' must be a mapping, such as sample: {runs: 50, FIELD: {…}}")
    runs = _count(node, "runs", "sample.")
    if runs is None:
        refuse("sweep-missing-key", place, "'sample' must say how many are drawn; write runs: N")
    seed = _count(node, "seed", "sample.", least=0) or 0
    rest: Tree = {key: value for key, value in node.items() if key not in SAMPLE_KEYS}
    columns: dict[str, list[Any]] = {}
    some_logarithmic = False
    for path, inner_place, drawn in _fields({"sample": (place, rest)}, "sample"):
        if path in columns:
            refuse("config-duplicate-key", inner_place, f"{path!r} is set twice; keep one of the two")
        columns[path], logarithmic = drawn_values(path, inner_place, drawn, runs, seed, _checked)
        some_logarithmic = some_logarithmic or logarithmic
    if not columns:
        refuse("sweep-empty", place, "'sample' draws no field; name one, such as training.learning_rate: {…}")
    return [Axis("sample", tuple(columns), tuple(zip(*columns.values(), strict=True)), some_logarithmic)]


def _seeds(tree: Tree) -> tuple[int | None, MoreSeeds | None]:
    if "seeds" not in tree:
        return None, None
    place, node = tree["seeds"]
    if not isinstance(node, dict):
        return _count(tree, "seeds"), None
    _require_keys(node, SEEDS_KEYS, "seeds")
    measure = _text(node, "measure") or ""
    half_width = _fraction(node, "half_width", "seeds.")
    at_least = _count(node, "at_least", "seeds.") or 3
    at_most = _count(node, "at_most", "seeds.") or 0
    if not measure or half_width is None or not at_most:
        missing = next(key for key in ("measure", "half_width", "at_most") if key not in node)
        refuse("sweep-missing-key", place, f"'seeds' that are added as needed must say {missing!r}")
    if at_least < 3 or at_most < at_least:
        told = f"at_least {at_least} and at_most {at_most} cannot be; 3 or more are needed for an interval"
        refuse("sweep-wrong-value", place, told)
    return None, MoreSeeds(at_least, at_most, measure, half_width)


def _threshold(tree: Tree) -> Threshold | None:
    if "threshold" not in tree:
        return None
    place, node = tree["threshold"]
    if not isinstance(node, dict):
        refuse("sweep-wrong-value", place, "'threshold' must be a mapping with field, low, high and met")
    _require_keys(node, THRESHOLD_KEYS, "threshold")
    path, low, high, met = (_text(node, key) for key in ("field", "low", "high", "met"))
    if path is None or low is None or high is None or met is None:
        missing = next(key for key in ("field", "low", "high", "met") if key not in node)
        refuse("sweep-missing-key", place, f"'threshold' must say {missing!r}")
    ends = [number_of(text) for text in (low, high)]
    for key, text, end in zip(("low", "high"), (low, high), ends, strict=True):
        if end is None:
            refuse("sweep-wrong-value", node[key][0], f"threshold.{key}={text!r} is not a finite number; mend it")
        _checked(path, text, node["field"][0])
    first, last = (float(end or 0) for end in ends)
    if first >= last:
        refuse(
            "sweep-wrong-value",
            node["low"][0],
            f"the threshold is looked for from {low} to {high}; low is not below high",
        )
    whole = isinstance(ends[0], int) and isinstance(ends[1], int)
    annotation = spec_fields().get(path, ("int" if whole else "float", None, ""))[0]
    if "int" not in annotation and "float" not in annotation:
        refuse(
            "sweep-wrong-value", node["field"][0], f"{path} takes no numbers, so it has no threshold; choose another"
        )
    within = _fraction(node, "within", "threshold.")
    return Threshold(
        field=path,
        low=first,
        high=last,
        met=_condition(met, node["met"][0]),
        seeds=_count(node, "seeds", "threshold.") or 3,
        within=0.05 if within is None else within,
        whole=whole and "float" not in annotation,
    )


def _condition(text: str, place: str) -> Condition:
    if text.strip() == FITTED:
        return Condition(FITTED)
    match = _CONDITION.fullmatch(text)
    value = number_of(match[3]) if match else None
    if match is None or value is None:
        told = f"{text!r} is no condition; write {FITTED}, or a comparison such as 'test_accuracy >= 0.5'"
        refuse("sweep-wrong-value", place, told)
    return Condition(match[1], match[2], float(value))  # type: ignore[arg-type]


def _fields(tree: Tree, key: str) -> list[tuple[str, str, Node]]:
    """The dotted fields under a key, with place and content; mappings are opened unless they say how to space."""
    if key not in tree:
        return []
    place, node = tree[key]
    if not isinstance(node, dict):
        refuse(
            "sweep-wrong-value", place, f"{key!r} must be a mapping of fields, such as {key}: {{training.momentum: …}}"
        )
    found: list[tuple[str, str, Node]] = []

    def enter(prefix: str, inside: Tree) -> None:
        for name, (where, inner) in inside.items():
            path = f"{prefix}{name}"
            if isinstance(inner, dict) and not is_axis(inner) and path not in spec_leaves():
                enter(f"{path}.", inner)
            else:
                found.append((path, where, inner))

    enter("", node)
    return found


_PARENTAL = ("selection", "start")


def spec_leaves() -> set[str]:
    """The dotted fields that hold one value, free mappings left out."""
    return {name for name in spec_fields() if not name.endswith((".fields", "stream_seeds")) and name not in _PARENTAL}


def _checked(path: str, text: str, place: str) -> Any:
    """A written value as `override` takes it; raises `SpecError` with its place where it does not fit the field."""
    if path.startswith("selection."):  # only a study's runs have one; whether it fits is seen with them
        return text
    if path in ("data.name", "compute.device"):
        raise SpecError(
            "spec-planned-field",
            f"{place}: {path} is the same for a whole sweep; {PLANNED_FIELDS[path]}, and write one file for each.",
        )
    if path not in SWEPT_TOO:
        return field_value(path, Setting(text, place))
    try:
        override(RunSpec(), {path: text})
    except SpecError as error:
        raise SpecError(error.identifier, f"{place}: {error.message}") from None
    return text


def _require_keys(node: Tree, known: Sequence[str], key: str) -> None:
    for name, (place, inner) in node.items():
        if name not in known:
            refuse("sweep-unknown-key", place, f"{key!r} has no key {name!r}; {nearest(name, tuple(known))}")
        if not isinstance(inner, str):
            refuse("sweep-wrong-value", place, f"{key}.{name} takes one value; mend it")


def _place(tree: Tree, key: str) -> str:
    return tree[key][0] if key in tree else ""


def _text(tree: Tree, key: str) -> str | None:
    if key not in tree:
        return None
    place, node = tree[key]
    if not isinstance(node, str) or not node.strip():
        refuse("sweep-wrong-value", place, f"{key!r} takes one value; mend it")
    return node


def _texts(tree: Tree, key: str) -> tuple[str, ...]:
    if key not in tree:
        return ()
    place, node = tree[key]
    if isinstance(node, dict):
        refuse("sweep-wrong-value", place, f"{key!r} takes a list; mend it")
    return tuple(part.strip() for part in (node.split(",") if isinstance(node, str) else node))


def _count(tree: Tree, key: str, prefix: str = "", least: int = 1) -> int | None:
    text = _text(tree, key)
    if text is None:
        return None
    value = number_of(text)
    if not isinstance(value, int) or not least <= value < 2**63:
        refuse("sweep-wrong-value", tree[key][0], f"{prefix}{key}={text!r} is no whole number of at least {least}")
    if value > MOST_RUNS and key in ("seeds", "runs"):
        told = f"{prefix}{key}={value:,}, and a sweep has at most {MOST_RUNS:,} runs; take fewer"
        refuse("sweep-too-large", tree[key][0], told)
    return value


def _fraction(tree: Tree, key: str, prefix: str) -> float | None:
    text = _text(tree, key)
    if text is None:
        return None
    value = number_of(text.strip().removesuffix("%"))
    if value is None or value <= 0:
        refuse("sweep-wrong-value", tree[key][0], f"{prefix}{key}={text!r} is no number above 0; mend it")
    return float(value) / 100 if text.strip().endswith("%") else float(value)


def _placed(node: Mapping[str, Any], prefix: str) -> Tree:
    """A mapping of Python's values as a tree of texts, each with its dotted name for a place."""

    def text(value: Any) -> str:
        return {"True": "true", "False": "false", "None": "none"}.get(str(value), str(value))

    tree: Tree = {}
    for key, value in node.items():
        place = f"{prefix}{key}"
        inner: Node
        if isinstance(value, Mapping):
            inner = _placed(value, f"{place}.")
        elif isinstance(value, list | tuple | range):
            inner = [text(each) for each in value]
        else:
            inner = text(value)
        tree[str(key)] = (place, inner)
    return tree


def _plain(tree: Tree) -> dict[str, Any]:
    return {key: _plain(node) if isinstance(node, dict) else node for key, (_, node) in tree.items()}
