"""Many specs as what they are made of: a product of choices, so that 10⁵ runs are listed and named in a second.

A block is every combination of a few *factors* (an axis of a grid, the rows of a zip, the draws of a sample, seeds).
Each part of a spec (``training``, ``model``, ``seed``, …) depends on some of the factors and is stored once for each
combination of those. A run's name follows from the pieces of text of its parts, without building the spec.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from shattering.core.spec import NUMERICS_VERSION, RunSpec, parse_spec

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)

DEFAULT = ""
"""Stands for a part that is at its default, and hence absent from the text that a digest is made of."""


@dataclass(frozen=True)
class Part:
    """One part of the specs of a block.

    Args:
        name: a field of `RunSpec`.
        factors: the factors it depends on, ascending.
        texts: its distinct contents as JSON without defaults, `DEFAULT` for none.
        pick: for each combination of ``factors``, the last one fastest, which of ``texts``; none: one after the other.
    """

    name: str
    factors: tuple[int, ...]
    texts: tuple[str, ...]
    pick: tuple[int, ...] | None = None

    @functools.cached_property
    def picks(self) -> NDArray[np.int64] | None:
        """``pick`` as an array."""
        return None if self.pick is None else np.asarray(self.pick, dtype=np.int64)


@dataclass(frozen=True)
class Block:
    """Every combination of some factors, the last one fastest.

    Args:
        sizes: number of choices of each factor.
        parts: the parts of the specs; one that is not named is at its default.
    """

    sizes: tuple[int, ...]
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        """Number of combinations."""
        return math.prod(self.sizes)

    def picked(self, part: Part, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of the part's texts each combination has."""
        if not part.factors:
            return np.zeros(len(places), dtype=np.int64)
        chosen = np.unravel_index(places, self.sizes)
        sizes = [self.sizes[factor] for factor in part.factors]
        flat = np.ravel_multi_index([chosen[factor] for factor in part.factors], sizes)
        return flat.astype(np.int64) if part.picks is None else part.picks[flat]


class Lattice(Sequence[RunSpec]):
    """The specs of some blocks, in order, without repetitions; each spec is built when it is asked for.

    Args:
        blocks: the combinations.
    """

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = tuple(blocks)
        names: dict[str, tuple[int, int]] = {}
        for number, block in enumerate(self.blocks):
            for place, digest in enumerate(_digests(block)):
                names.setdefault(digest, (number, place))
        self.digests: list[str] = list(names)
        """The runs' names, in order."""
        self._where = np.array(list(names.values()), dtype=np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.digests)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lattice) and self.digests == other.digests

    def __hash__(self) -> int:
        return hash(tuple(self.digests))

    @overload
    def __getitem__(self, index: int) -> RunSpec: ...
    @overload
    def __getitem__(self, index: slice) -> list[RunSpec]: ...
    def __getitem__(self, index: int | slice) -> RunSpec | list[RunSpec]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        number, place = self._where[index]
        block = self.blocks[number]
        at = np.array([place])
        return _built(tuple((part.name, part.texts[int(block.picked(part, at)[0])]) for part in block.parts))

    def __iter__(self) -> Iterator[RunSpec]:
        for number, block in enumerate(self.blocks):
            places = self._where[self._where[:, 0] == number, 1]
            for rows in np.array_split(places, max(1, len(places) // 4096)):
                columns = [[part.texts[pick] for pick in block.picked(part, rows)] for part in block.parts]
                names = [part.name for part in block.parts]
                for texts in zip(*columns, strict=True):
                    yield _built(tuple(zip(names, texts, strict=True)))

    @functools.cached_property
    def varying(self) -> tuple[str, ...]:
        """The dotted fields that differ between specs, in the order of `RunSpec`, seeds last."""
        found: dict[str, set[str]] = {}
        trees: dict[str, dict[str, None]] = {part.name: {} for block in self.blocks for part in block.parts}
        for block in self.blocks:
            here = {part.name: part.texts for part in block.parts}
            for name in trees:
                trees[name].update(dict.fromkeys(here.get(name, (DEFAULT,))))
        for name, texts in trees.items():
            flat = [_flat(name, text) for text in texts]
            for path in {path: None for leaves in flat for path in leaves}:
                found[path] = {json.dumps(leaves.get(path), sort_keys=True) for leaves in flat}
        several = [path for path, values in found.items() if len(values) > 1]
        return tuple(sorted(several, key=_rank))

    def column(self, path: str) -> list[Any]:
        """The value of a dotted field in every run, in order; a free field that a run does not have is none."""
        name, _, inner = path.partition(".")
        values: list[Any] = [None] * len(self)
        for number, block in enumerate(self.blocks):
            rows = np.flatnonzero(self._where[:, 0] == number)
            part = next((part for part in block.parts if part.name == name), Part(name, (), (DEFAULT,)))
            each = [_value(name, inner, text) for text in part.texts]
            for row, pick in zip(rows, block.picked(part, self._where[rows, 1]), strict=True):
                values[row] = each[pick]
        return values

    def places(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Block of each run, and its place among the block's combinations."""
        return self._where[:, 0], self._where[:, 1]

    def to_tree(self) -> list[dict[str, Any]]:
        """Everything, JSON-able."""
        return [
            {
                "sizes": list(block.sizes),
                "parts": {
                    part.name: {
                        "factors": list(part.factors),
                        "texts": list(part.texts),
                        **({} if part.pick is None else {"pick": list(part.pick)}),
                    }
                    for part in block.parts
                },
            }
            for block in self.blocks
        ]

    @classmethod
    def from_tree(cls, tree: Sequence[dict[str, Any]]) -> Lattice:
        """Reads what `to_tree` wrote."""
        return cls(
            [
                Block(
                    tuple(block["sizes"]),
                    tuple(
                        Part(
                            name,
                            tuple(part["factors"]),
                            tuple(part["texts"]),
                            tuple(part["pick"]) if "pick" in part else None,
                        )
                        for name, part in block["parts"].items()
                    ),
                )
                for block in tree
            ]
        )


def text_of(value: Any) -> str:
    """A part's content as the digest has it: JSON without blanks, keys sorted."""
    return _ENCODER.encode(value)


def value_at(part: Any, inner: str) -> Any:
    """A field of a part by its dotted name within it; the part itself where that is empty; none where absent."""
    for name in inner.split(".") if inner else ():
        part = part.get(name) if isinstance(part, dict) else getattr(part, name, None)
    return part


def _value(name: str, inner: str, text: str) -> Any:
    """A field of a part from its text; a default that the text leaves out is filled in."""
    if text != DEFAULT:
        node = json.loads(text)
        for key in inner.split(".") if inner else ():
            if not isinstance(node, dict) or key not in node:
                break
            node = node[key]
        else:
            return node
    return value_at(_defaults()[name], inner)


def _digests(block: Block) -> list[str]:
    """The names of all combinations, by the rule of `RunSpec.digest`."""
    if not block.size:
        return []
    places = np.arange(block.size)
    parts = sorted(block.parts, key=lambda part: part.name)
    pieces = [[f'"{part.name}":{text}' if text != DEFAULT else "" for text in part.texts] for part in parts]
    picks = [block.picked(part, places).tolist() for part in parts]
    begin = f'{{"numerics":{NUMERICS_VERSION},"spec":{{'
    found = []
    for chosen in zip(*picks, strict=True):
        inner = ",".join([text for piece, pick in zip(pieces, chosen, strict=True) if (text := piece[pick])])
        found.append(hashlib.sha256(f"{begin}{inner}}}}}".encode()).hexdigest()[:32])
    return found


def _built(texts: tuple[tuple[str, str], ...]) -> RunSpec:
    parts = {name: _part(name, text) for name, text in texts if text != DEFAULT}
    return RunSpec.model_construct(_fields_set=set(parts), **{**_defaults(), **parts})


@functools.lru_cache(maxsize=8192)
def _part(name: str, text: str) -> Any:
    return getattr(parse_spec({name: json.loads(text)} if text != DEFAULT else {}), name)


@functools.cache
def _defaults() -> dict[str, Any]:
    return dict(RunSpec())


def _flat(name: str, text: str) -> dict[str, Any]:
    """The leaves of a part that are not at their default, by dotted name; free mappings are opened too."""
    found: dict[str, Any] = {}

    def enter(path: str, node: Any) -> None:
        if isinstance(node, dict):
            for key, inner in node.items():
                enter(f"{path}.{key}", inner)
        else:
            found[path] = node

    if text != DEFAULT:
        enter(name, json.loads(text))
    return found


def _rank(path: str) -> tuple[bool, int, str]:
    name = path.partition(".")[0]
    return name in ("seed", "stream_seeds"), list(RunSpec.model_fields).index(name), path
