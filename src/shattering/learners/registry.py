"""How a learner is registered: what it is given, and what it gives back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from shattering.core.errors import ShatteringError
from shattering.core.registry import Field, Registry, check_fields, keyword_fields
from shattering.learners.desk import Desk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shattering.core.streams import Stream


@dataclass(frozen=True, eq=False)
class Material:
    """What a learner is given.

    Args:
        inputs: float32 ``[n, height, width, channels]`` or ``[n, features]``, scaled (bytes lie in 0 … 1) or whitened
            as the spec says; not to be modified.
        labels: int64 ``[n]`` in ``0 … num_classes-1``, as trained on.
        num_classes: number of classes.
        stream: the run's streams, by purpose; all chance comes from them.
        device: ``cpu`` or ``cuda``; a learner that knows no GPU works on the CPU whatever it says.
        dtype: ``float32`` or ``float64``, where a learner leaves the choice.
        desk: where it works.
    """

    inputs: NDArray[np.float32]
    labels: NDArray[np.int64]
    num_classes: int
    stream: Callable[[str], Stream]
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["float32", "float64", "bfloat16"] = "float32"
    desk: Desk = field(default_factory=Desk)

    @property
    def rows(self) -> NDArray[np.float32]:
        """The inputs flattened: ``[n, features]``."""
        return self.inputs.reshape(len(self.inputs), -1)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a learner gives back.

    Args:
        scores: maps inputs, prepared as the training inputs were, to float64 ``[n, num_classes]``; the greatest of a
            row is the prediction.
        facts: numbers of the fit, such as leaves, residual or norm.
        weights: what defines the fitted function; hashed into the record, and saved where weights are kept.
        train_scores: ``scores`` of the training inputs, where they are known without another pass.
        exact: False where the fit is not what it claims to be, such as a solve whose residual is too large; the run
            then counts as not fitted whatever its accuracy.
    """

    scores: Callable[[NDArray[np.float32]], NDArray[np.float64]]
    facts: Mapping[str, float | int]
    weights: Mapping[str, NDArray[Any]]
    train_scores: NDArray[np.float64] | None = None
    exact: bool = True


Learn = Callable[..., Fitted]
"""``(material, *, fields…) -> Fitted``."""

MemoryOf = Callable[[int, int, int, int, Mapping[str, Any]], float]
"""``(train, test, features, classes, fields) -> bytes`` at the peak, the inputs not counted."""


@dataclass(frozen=True)
class LearnerEntry:
    """A registered learner.

    Args:
        name: as typed after ``--models``; the name of the function.
        summary: one line for listings.
        paper: where it was defined.
        learn: the function itself.
        fields: its keyword-only parameters.
        units: every fact it can return, with its unit (``"1"`` for a fraction or a plain number).
        growth: a fit takes about n to this power; for estimates.
        memory: an estimate of its peak; none where it is small beside the inputs.
    """

    name: str
    summary: str
    paper: str
    learn: Learn
    fields: tuple[Field, ...]
    units: Mapping[str, str]
    growth: float
    memory: MemoryOf | None


learners: Registry[LearnerEntry] = Registry("learner", "shattering.learners")


def learner(
    *, summary: str, paper: str, units: Mapping[str, str], growth: float = 1.0, memory: MemoryOf | None = None
) -> Callable[[Learn], Learn]:
    """Registers a learner under its function's name; one without source, units or docstring is refused."""

    def register(learn: Learn) -> Learn:
        name = learn.__name__
        if not (summary and paper and units and inspect.getdoc(learn)):
            raise ShatteringError(
                "registry-undocumented", f"learner {name!r} needs a summary, a paper, units and a docstring."
            )
        entry = LearnerEntry(name, summary, paper, learn, keyword_fields(learn), dict(units), growth, memory)
        learners.add(name, entry)
        return learn

    return register


def is_learner(name: str) -> bool:
    """Whether ``name`` is a registered learner, not a network."""
    return ":" not in name and name in learners.names()


def learner_fields(entry: LearnerEntry, given: dict[str, Any]) -> dict[str, Any]:
    """``given`` checked and converted, those equal to their default left out; wrong ones raise `SpecError`."""
    return check_fields("model", entry.name, entry.fields, given)
