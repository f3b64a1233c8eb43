"""Runs that begin with the weights of another run: what they need of it, and how they take it over."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from shattering.core.errors import SpecError
from shattering.core.lattice import Lattice
from shattering.core.record import Status
from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.store.store import Store
from shattering.transforms.registry import Origin, transform_fields, transforms

if TYPE_CHECKING:
    from torch import nn

    from shattering.training.estate import Estate

FIRST = 0
"""The step whose weights every parent leaves."""


def take_over(model: nn.Module, spec: RunSpec, estate: Estate | None) -> None:
    """Gives a freshly initialised network the weights and masks that ``spec.start`` asks for.

    Args:
        model: changed in place.
        spec: of the run, with a ``start``.
        estate: what its parent left.

    Raises:
        SpecError: ``start-parent-absent``, ``start-step-unreached``, ``start-other-network``, or what the transform
            refuses.
    """
    from shattering.training.masking import mask_weights, prunable

    start = spec.start
    assert start is not None
    name = start.parent.digest[:12]
    if estate is None:
        raise SpecError(
            "start-parent-absent", f"The run {name} left no weights to start from: it diverged, or is to be run first."
        )
    weights = estate.final if start.step is None else estate.steps.get(start.step)
    if weights is None:
        raise SpecError(
            "start-step-unreached",
            f"start.step={start.step} is not among the {estate.last} updates of the run {name}; give a smaller one.",
        )
    state = model.state_dict()
    if {name: value.shape for name, value in state.items()} != {name: value.shape for name, value in weights.items()}:
        raise SpecError(
            "start-other-network", f"The run {name} has another network; give both the same model.* fields."
        )
    entry = transforms.get(start.transform)
    origin = Origin(
        weights=weights,
        final=estate.final,
        masks=estate.masks,
        fresh={name: value.detach().cpu() for name, value in state.items()},
        prunable=prunable(model),
        stream=lambda purpose: Stream(spec.seed_of(purpose), purpose),
    )
    begin = entry.function(origin, **transform_fields(entry, start.fields))
    model.load_state_dict(begin.weights)
    mask_weights(model, begin.masks)


def steps_left(specs: Iterable[RunSpec]) -> dict[str, frozenset[int]]:
    """The steps whose weights each parent has to leave, by its name; its final weights it leaves anyway."""
    found: dict[str, set[int]] = {}
    for spec in () if isinstance(specs, Lattice) else specs:  # no run of a sweep starts from another
        if spec.start is not None:
            found.setdefault(spec.start.parent.digest, {FIRST}).add(spec.start.step or FIRST)
    return {digest: frozenset(steps) for digest, steps in found.items()}


def owes(store: Store, digest: str, steps: frozenset[int]) -> bool:
    """Whether a run that has ended lacks weights that it has to leave; one that diverged has none to leave."""
    record = store.get(digest)
    if record is None or record.status is Status.DIVERGED:
        return False
    return not steps <= store.estates.steps(digest, record.weights_sha256)


def with_debtors(specs: Sequence[RunSpec], digests: Sequence[str], missing: list[str], store: Store) -> list[str]:
    """The runs to be done: those ``missing``, and those that have ended but lack the weights that one of these needs.

    Args:
        specs: of a plan, parents before those that start from them.
        digests: their names.
        missing: the names of those without an outcome.
        store: where the others are.
    """
    wanted = set(missing)
    left = steps_left(specs)
    if not left:
        return missing
    for spec, digest in zip(reversed(specs), reversed(digests), strict=True):
        if digest in wanted and spec.start is not None:
            parent = spec.start.parent.digest
            if parent not in wanted and owes(store, parent, left[parent]):
                wanted.add(parent)
    return [digest for digest in digests if digest in wanted]


def require_startable(spec: RunSpec) -> None:
    """Raises `SpecError` for a start that cannot be: another model, one without updates, several processes."""
    from shattering.learners.registry import is_learner
    from shattering.simulations.registry import is_simulation

    start = spec.start
    assert start is not None
    if is_learner(spec.model.name) or is_simulation(spec.model.name):
        raise SpecError("start-without-updates", f"{spec.model.name!r} is not trained by updates; leave start out.")
    if start.parent.model != spec.model:
        raise SpecError(
            "start-other-network",
            f"The run starts from weights of {start.parent.model.name!r}; give both the same model.* fields.",
        )
    if max(spec.compute.processes, start.parent.compute.processes) > 1:
        raise SpecError(
            "start-several-processes",
            "A run that starts from another one's weights is trained in one process; leave compute.processes out.",
        )
    if start.step is not None and start.step > start.parent.training.max_steps:
        raise SpecError(
            "start-step-unreached",
            f"start.step={start.step} is beyond the {start.parent.training.max_steps} updates of the run it starts "
            "from; give a smaller one.",
        )
