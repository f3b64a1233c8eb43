"""How a corruption is registered and applied."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from shattering.core.errors import ShatteringError, SpecError
from shattering.core.registry import Field, Registry, check_fields, keyword_fields
from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.data.dataset import Dataset, Splits

TestSet = Literal["untouched", "same change", "drawn anew"]
"""What happens to the test set: nothing; the very change made to every training image; a draw of its own per image."""


CorruptionFunction = Callable[..., Dataset]
"""``(dataset, stream, *, fields…) -> dataset``; the input is not modified."""


@dataclass(frozen=True)
class CorruptionEntry:
    """A registered corruption.

    Args:
        name: as it stands in specs and in the paper.
        summary: the first line of its docstring.
        paper: where it was defined.
        changes: ``"labels"``, ``"inputs"`` or ``"nothing"``.
        test_set: what happens to the test set.
        function: the corruption itself.
        fields: its fields in the spec.
        joint: whether what happens to an example depends on which others are in the training set.
    """

    name: str
    summary: str
    paper: str
    changes: Literal["nothing", "labels", "inputs"]
    test_set: TestSet
    function: CorruptionFunction
    fields: tuple[Field, ...]
    joint: bool = False


corruptions: Registry[CorruptionEntry] = Registry("corruption", "shattering.corruptions")


def corruption(
    *, paper: str, changes: Literal["nothing", "labels", "inputs"], test_set: TestSet, joint: bool = False
) -> Callable[[CorruptionFunction], CorruptionFunction]:
    """Registers a corruption under its function's name.

    The function takes ``(dataset, stream)`` and keyword-only fields. ``stream`` is a function from a purpose
    (``"labels"``, ``"pixels"``) to the run's `Stream` of that purpose. A missing source or docstring is refused.
    An example is changed alike in every subset of the training split, unless the corruption is ``joint``.
    """

    def register(function: CorruptionFunction) -> CorruptionFunction:
        summary = (inspect.getdoc(function) or "").partition("\n")[0]
        if not paper or not summary:
            raise ShatteringError(
                "registry-incomplete", f"The corruption {function.__name__!r} needs a paper and a docstring."
            )
        fields = keyword_fields(function)
        entry = CorruptionEntry(function.__name__, summary, paper, changes, test_set, function, fields, joint)
        corruptions.add(function.__name__, entry)
        return function

    return register


def corrupt(splits: Splits, spec: RunSpec) -> Splits:
    """Applies the corruption that ``spec`` names, drawn from the spec's streams.

    Args:
        splits: the data as loaded (cropped, not yet whitened).
        spec: names the corruption, its fields and the seed.

    Returns:
        The corrupted training split, with ``changed`` and ``original_labels`` set, and the test split: the very same
        object where the corruption leaves the test set alone.

    Raises:
        SpecError: unknown corruption, or fields that do not fit it.
    """
    entry = corruptions.get(spec.corruption.name)
    fields = check_fields("corruption", entry.name, entry.fields, spec.corruption.fields)

    def stream(purpose: str) -> Stream:
        return Stream(spec.seed_of(purpose), purpose)

    train = entry.function(splits.train, stream, **fields)
    test = splits.test if entry.test_set == "untouched" else entry.function(splits.test, stream, **fields)
    return Splits(train, test)


def relabel(dataset: Dataset, labels: Any) -> Dataset:
    """``dataset`` with new labels; ``changed`` marks the examples whose label differs from the original one."""
    return replace(dataset, labels=labels, changed=dataset.changed | (labels != dataset.original_labels))


def replace_inputs(dataset: Dataset, inputs: Any) -> Dataset:
    """``dataset`` with new inputs, every example marked as changed."""
    import numpy as np

    return replace(dataset, inputs=inputs, changed=np.ones(len(dataset), dtype=np.bool_))


def require_fraction(name: str, value: float) -> None:
    """Raises `SpecError` where ``value`` is not in [0, 1]."""
    if not 0.0 <= value <= 1.0:
        raise SpecError(
            "spec-fraction",
            f"corruption.fields.{name}={value} is not a probability; give a number from 0 to 1, ends included.",
        )
