"""How a simulation is registered, what it is given, and what it gives back."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shattering.core.errors import ShatteringError
from shattering.core.registry import Field, Registry, check_fields, keyword_fields
from shattering.core.spec import AT_ONCE, CorruptionSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec
from shattering.learners.desk import Desk

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from shattering.core.streams import Stream
    from shattering.data.dataset import Splits

Numbers = dict[str, float | int]
"""The numbers at one place along the axis, its own coordinates among them, such as ``{"n": 40, "risk": 0.8}``."""


@dataclass(frozen=True, eq=False)
class Bench:
    """What a simulation is given.

    Args:
        stream: the run's streams, by purpose; all chance comes from them.
        splits: the run's data, cut to the sizes that the spec asks for and corrupted; a simulation that draws its own
            examples does not look at them.
        whiten: whether the spec asks for whitened inputs.
        desk: where it works: it can be stopped, and tells how far it is.
    """

    stream: Callable[[str], Stream]
    splits: Splits
    whiten: bool = True
    desk: Desk = field(default_factory=Desk)

    def normals(self, purpose: str, rows: int, columns: int, first: int = 0) -> NDArray[np.float64]:
        """Independent standard normal numbers ``[rows, columns]`` of a stream; row i is its index ``first + i``."""
        import numpy as np

        from shattering.core.streams import NORMAL_ONE

        return self.stream(purpose).normals(np.arange(first, first + rows), columns) / float(NORMAL_ONE)

    def inputs(self, split: str) -> NDArray[np.float64]:
        """The inputs of ``"train"`` or ``"test"`` as rows, scaled or whitened as the spec says: ``[n, features]``."""
        import numpy as np

        from shattering.data.preprocessing import scale, whiten

        chosen = self.splits.train if split == "train" else self.splits.test
        ready = (whiten if self.whiten else scale)(chosen.inputs, chosen.divisor)
        return ready.reshape(len(ready), -1).astype(np.float64)


Simulate = Callable[..., Iterable[Numbers]]
"""``(bench, *, fields…) -> rows``, all with the same names."""


@dataclass(frozen=True)
class SimulationEntry:
    """A registered simulation.

    Args:
        name: as it stands in ``model.name`` of a spec; the name of the function.
        summary: one line for listings.
        paper: where the experiment is described.
        simulate: the function itself.
        fields: its keyword-only parameters.
        units: every number of its rows, with its unit (``"1"`` for a fraction or a plain number).
        seconds: about how long a run takes on one core, from its fields; for estimates only.
    """

    name: str
    summary: str
    paper: str
    simulate: Simulate
    fields: tuple[Field, ...]
    units: Mapping[str, str]
    seconds: Callable[[Mapping[str, Any]], float]


simulations: Registry[SimulationEntry] = Registry("simulation", "shattering.simulations")


def simulation(
    *, summary: str, paper: str, units: Mapping[str, str], seconds: Callable[[Mapping[str, Any]], float]
) -> Callable[[Simulate], Simulate]:
    """Registers a simulation under its function's name; one without source, units or docstring is refused."""

    def register(simulate: Simulate) -> Simulate:
        name = simulate.__name__
        if not (summary and paper and units and inspect.getdoc(simulate)):
            raise ShatteringError(
                "registry-undocumented", f"simulation {name!r} needs a summary, a paper, units and a docstring."
            )
        entry = SimulationEntry(name, summary, paper, simulate, keyword_fields(simulate), dict(units), seconds)
        simulations.add(name, entry)
        return simulate

    return register


def is_simulation(name: str) -> bool:
    """Whether ``name`` is a registered simulation, neither a network nor a learner."""
    return ":" not in name and name in simulations.names()


def simulation_fields(entry: SimulationEntry, given: dict[str, Any]) -> dict[str, Any]:
    """``given`` checked and converted, those equal to their default left out; wrong ones raise `SpecError`."""
    return check_fields("model", entry.name, entry.fields, given)


DRAWN = DataSpec(name="drawn", whiten=False)
"""The data of a simulation that draws its own."""

NOTHING = MeasureSpec(names=(), points_per_decade=0, every_epochs=0)
"""A simulation gives its numbers itself."""


def simulated(
    name: str, seed: int, *, data: DataSpec = DRAWN, corruption: CorruptionSpec | None = None, **fields: Any
) -> RunSpec:
    """The run of a simulation: ``fields`` are its own, ``data`` and ``corruption`` for those that look at data."""
    return RunSpec(
        data=data,
        corruption=corruption or CorruptionSpec(),
        model=ModelSpec(name=name, fields=fields),
        training=AT_ONCE,
        measures=NOTHING,
        seed=seed,
    )
