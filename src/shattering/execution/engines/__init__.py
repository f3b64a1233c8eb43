"""Where runs are carried out: local processes, Ray, or Slurm. What comes out does not depend on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shattering.core.errors import SpecError, nearest

if TYPE_CHECKING:
    from shattering.execution.driver import Engine
    from shattering.execution.plan import Planned

ENGINES = ("local", "ray", "slurm")
"""The engines by name, the default first."""

START_UP_SECONDS = {"local": 4.0, "ray": 15.0, "slurm": 30.0}
"""About how long it takes an engine, on an idle machine, until its workers train; a queue of Slurm's may be longer."""


def check_choice(name: str, address: str | None = None, slurm: Sequence[str] = ()) -> None:
    """Refuses a choice of an engine that cannot be, before anything is planned.

    Args:
        name: one of `ENGINES`.
        address: of a Ray cluster.
        slurm: settings for Slurm, each ``KEY=VALUE``.

    Raises:
        SpecError: there is no such engine, or an option belongs to another one.
        StoreError: what the engine needs is not installed, or too old.
    """
    if name not in ENGINES:
        raise SpecError("engine-unknown", f"There is no engine {name!r}; {nearest(name, ENGINES)}")
    if address is not None and name != "ray":
        raise SpecError(
            "address-without-ray", f"--address {address} is for a Ray cluster; add --engine ray, or leave it out."
        )
    if slurm and name != "slurm":
        raise SpecError(
            "slurm-without-slurm", f"--slurm {slurm[0]} is for --engine slurm; choose that engine, or leave it out."
        )
    if name == "ray":
        from shattering.execution.engines.ray import require_ray

        require_ray(address)
    if name == "slurm":
        from shattering.execution.engines.slurm import require_submitit, settings_of

        settings_of(slurm)
        require_submitit()


def choose_engine(
    name: str,
    planned: Planned,
    *,
    out: Path = Path("runs"),
    address: str | None = None,
    slurm: Sequence[str] = (),
    jobs: int | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Engine:
    """The engine of that name for one plan, to be given to `run_plan`.

    Args:
        name: one of `ENGINES`.
        planned: the plan.
        out: folder of the store that the plan is run into.
        address: of a running Ray cluster; none: one is started on this machine and stopped again.
        slurm: settings for Slurm, each ``KEY=VALUE``.
        jobs: runs at a time; none: as many as the cluster has room for.
        tell: hears what a user may want to know of the start-up, one sentence at a time.

    Raises:
        SpecError, StoreError: as `check_choice`.
    """
    check_choice(name, address, slurm)
    if name == "ray":
        from shattering.execution.engines.ray import RayEngine
        from shattering.execution.study import run_bytes

        return RayEngine(planned.splits, address, jobs, int(run_bytes(planned)), tell)
    if name == "slurm":
        from shattering.execution.engines.slurm import SlurmEngine, settings_of

        return SlurmEngine(settings_of(slurm), out, jobs, tell)
    from shattering.execution.local import run_jobs

    return run_jobs


CERTAIN_STEPS = 20_000_000
"""Updates; a plan of more takes longer than any start-up, however small its networks."""


def warning(name: str, planned: Planned, out: Path, jobs: int | None = None) -> str | None:
    """One sentence where an engine's start-up costs more than the work that is left; none where it pays.

    Times a few updates of each kind of network to tell, unless so many are to come that it is certain.

    Args:
        name: one of `ENGINES`.
        planned: the plan.
        out: folder of the store, which need not be there yet.
        jobs: processes that the work is compared on; none: as many as there would be.
    """
    if name == "local":
        return None
    from shattering.execution.study import estimate_cost
    from shattering.store.store import Store

    digests = planned.plan.digests
    there = out.is_dir() and any(out.iterdir())
    left = set(Store.open(out, write=False).missing(digests) if there else digests)
    specs = [spec for spec in planned.plan.specs if spec.digest in left]
    steps = sum(min(planned.study.expected_steps(spec), spec.training.max_steps) for spec in specs)
    if not specs or steps > CERTAIN_STEPS:
        return None
    return too_small(name, estimate_cost(planned, specs, jobs).seconds)


def too_small(name: str, seconds: float) -> str | None:
    """The sentence itself, for work of so many seconds on local processes."""
    needed = START_UP_SECONDS[name]
    if name == "local" or seconds >= needed:
        return None
    return (
        f"The engine {name} takes about {needed:.0f} s to start and the work about {seconds:.0f} s on this machine; "
        "--engine local would be done sooner."
    )
