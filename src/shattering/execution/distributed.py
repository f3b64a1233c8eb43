"""A plan carried out by processes that ``torchrun`` started: all train each run together, the first keeps the store."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from io import TextIOBase
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from shattering.core.errors import DataError, ShatteringError, SpecError, Stopped, StoreError
from shattering.core.spec import RunSpec

if TYPE_CHECKING:
    from shattering.core.record import Record, Row
    from shattering.execution.control import Checkpoints, Control
    from shattering.execution.driver import Listener
    from shattering.execution.messages import Job, Message
    from shattering.execution.plan import Planned
    from shattering.execution.study import Outcome
    from shattering.training.parallel import Team

PATIENCE = timedelta(hours=6)
"""For a process that is alive and does not answer: it may be waiting for a lease, or looking at a million images."""


@dataclass(frozen=True)
class Together:
    """What became of a plan that several processes carried out.

    Args:
        outcome: for the first process; none for the others, which have no store.
        interrupted_by: the signal that stopped them; none where none did.
    """

    outcome: Outcome | None
    interrupted_by: int | None


def launched() -> int:
    """How many processes ``torchrun`` started, this one among them; 1 without it."""
    if not {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        return 1
    return int(os.environ["WORLD_SIZE"])


def is_first() -> bool:
    """Whether this process is the one that speaks and writes."""
    return launched() == 1 or os.environ["RANK"] == "0"


def launch_command() -> str:
    """How the processes were started, to be typed again; without the address where they meet."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    nodes = launched() // local
    where = "--standalone" if nodes == 1 else f"--nnodes {nodes}"
    return f"torchrun {where} --nproc-per-node {local} -m"


def run_together(
    plan: Callable[[], Planned],
    *,
    device: str = "cpu",
    out: Path = Path("runs"),
    keep_weights: bool = False,
    quiet: bool = False,
) -> Together:
    """Plans in every process, then carries out the plan, one run after the other, each by all processes.

    Every process takes its part of each batch and of each evaluation; the first has the store, leases and commits the
    runs, and saves checkpoints, which hold for all. A run that is killed goes on from them, to the bit on a CPU as long
    as the number of processes is the same; that number is ``compute.processes``, a part of the run's identity.

    Args:
        plan: gives the plan, the same in every process.
        device: ``cpu`` (gloo) or ``cuda`` (NCCL, one GPU for each process of a machine).
        out: folder of the store, as the first process sees it.
        keep_weights: whether to keep the final weights.
        quiet: no progress on standard error.

    Raises:
        ShatteringError: what went wrong in any of the processes, in all of them; `StoreError` where one has died.
    """
    with _hushed_unless_first(), _team(device) as team:
        planned = team.settle(plan)
        team.settle(lambda: _require_common(planned, team))
        if team.rank == 0:
            outcome = _lead(planned, team, out, keep_weights, quiet)
            return Together(outcome, outcome.interrupted_by)
        return Together(None, _follow(planned, team))


def _lead(planned: Planned, team: Team, out: Path, keep_weights: bool, quiet: bool) -> Outcome:
    from shattering.execution.study import run_plan
    from shattering.store.store import Store
    from shattering.training.parallel import PeerLost

    def carry_out(job: Job, listener: Listener) -> Message:
        own = None if job.store is None else Store.beside(job.store).checkpoints(job.key)
        team.told((job.spec, job.parent))
        return _run(job, planned, team, listener, _Kept(own, team))

    try:
        outcome = run_plan(planned, out=out, keep_weights=keep_weights, quiet=quiet, carry_out=carry_out)
    except PeerLost:
        raise
    except ShatteringError:
        team.told(None)
        raise
    team.told(outcome.interrupted_by or 0)
    return outcome


def _run(job: Job, planned: Planned, team: Team, listener: Listener, kept: Checkpoints) -> Message:
    """One run as the first process sees it."""
    from shattering.execution.control import Control
    from shattering.execution.messages import Broke, Ended, Interrupted, Saw
    from shattering.execution.signals import SIGNALS
    from shattering.training.parallel import PeerLost

    def saw(row: Row) -> None:
        listener.hear(Saw(job.key, row))

    control = Control(
        should_stop=lambda: team.agree(bool(listener.stop)),
        beat=lambda step: listener.tick(),
        saw=saw,
        checkpoints=kept,
        checkpoint_seconds=float(os.environ.get("SHATTERING_CHECKPOINT_SECONDS", "20")),
        team=team,
    )
    try:
        record, weights = _trained(RunSpec.from_json(job.spec), planned, control, team, job.parent)
    except Stopped:
        if team.trouble is not None:  # the last checkpoint could not be written
            raise team.trouble from None
        if not listener.stop:  # another process was told
            listener.stop.by = int(SIGNALS[-1])
        return Interrupted(job.key)
    except PeerLost:
        raise
    except ShatteringError as error:
        return Broke(job.key, error.identifier, error.message, error.exit_code)
    return Ended(job.key, record, weights() if job.keep_weights else None)


def _follow(planned: Planned, team: Team) -> int | None:
    """Takes part in whatever the first process begins; returns the signal that ended it all."""
    from shattering.execution.control import Control
    from shattering.execution.signals import stop_on_signals
    from shattering.training.parallel import PeerLost

    with stop_on_signals() as stop:
        control = Control(
            should_stop=lambda: team.agree(bool(stop)),
            checkpoints=_Kept(None, team),
            checkpoint_seconds=math.inf,
            team=team,
        )
        while isinstance(told := team.told(None), tuple):
            text, parent = told
            try:
                _trained(RunSpec.from_json(text), planned, control, team, parent)
            except PeerLost:
                raise
            except (Stopped, ShatteringError):  # the first process has it as well, and tells what follows
                team.trouble = None
        return told or None


def _trained(
    spec: RunSpec, planned: Planned, control: Control, team: Team, parent: Record | None
) -> tuple[Record, Callable[[], bytes]]:
    from shattering.execution.run import execute

    record, model = execute(spec, planned.splits, control, parent)
    team.agree(False)

    def weights() -> bytes:
        from safetensors.torch import save

        return save({name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()})

    return record, weights


class _Kept:
    """The checkpoints of the first process, for all of them.

    Args:
        own: the first process's; none in the others, which save nothing.
        team: the processes.
    """

    def __init__(self, own: Checkpoints | None, team: Team) -> None:
        self._own, self._team = own, team

    def save(self, step: int, payload: bytes) -> None:
        """Saves in the first process; an error there is told to all before the next step."""
        if self._own is not None:
            try:
                self._own.save(step, payload)
            except ShatteringError as error:
                self._team.note(error)

    def newest(self) -> Iterator[tuple[int, bytes]]:
        """What the first process has, sent to all of them, one after the other until one can be read."""
        waiting = iter(()) if self._own is None else self._own.newest()
        while (found := self._team.told(self._next(waiting))) is not None:
            yield found

    def _next(self, waiting: Iterator[tuple[int, bytes]]) -> tuple[int, bytes] | None:
        try:
            return next(waiting, None)
        except ShatteringError as error:
            self._team.note(error)
            return None


def _require_common(planned: Planned, team: Team) -> None:
    """Refuses a plan that the processes do not share, and what they cannot do together."""
    from shattering.learners.registry import is_learner
    from shattering.training.parallel import LEAST_SHARE

    if team.told(planned.plan.digests) != planned.plan.digests:
        raise DataError(
            "plan-differs",
            f"Process {team.rank} plans other runs than process 0; give all of them the same program and data.",
        )
    for spec in planned.plan.specs:
        if spec.compute.processes != team.size:
            raise SpecError(
                "processes-mismatch",
                f"The plan is for compute.processes={spec.compute.processes} and torchrun has started {team.size}; "
                "leave the field out, or start as many.",
            )
        if spec.training.batch_size < LEAST_SHARE * team.size and not is_learner(spec.model.name):
            raise SpecError(
                "processes-exceed-batch",
                f"Batches of {spec.training.batch_size} do not give each of {team.size} processes {LEAST_SHARE} "
                f"examples; set training.batch_size={LEAST_SHARE * team.size} or more, or start fewer.",
            )
        if is_learner(spec.model.name) or spec.training.gradient not in ("mean", "rolling_median"):
            what = spec.model.name if is_learner(spec.model.name) else f"training.gradient={spec.training.gradient}"
            raise SpecError(
                "processes-unshared",
                f"{what!r} needs a whole batch in one process; run it without torchrun, with --jobs for several runs.",
            )


@contextmanager
def _team(device: str) -> Iterator[Team]:
    import torch
    import torch.distributed as dist

    # Its functions have the group for a default argument, as it is at this moment. Imported later (a first optimiser
    # does), it would hold the group, whose threads would then outlive it and now and then end the process by SIGABRT.
    import torch.distributed.nn.functional

    from shattering.execution.worker import die_with
    from shattering.training.parallel import Team

    die_with(os.getppid())  # torchrun's children would outlive it where it is killed
    local = int(os.environ.get("LOCAL_RANK", "0"))
    beside = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
    if device == "cuda":
        found = torch.cuda.device_count()
        if found < beside:
            raise StoreError(
                "device-absent",
                f"torchrun has started {beside} processes here, and PyTorch finds {found} CUDA devices; start with "
                f"--nproc-per-node {max(1, found)}, or run with --device cpu.",
            )
        torch.cuda.set_device(local)
    if beside == launched() and sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine, which may have no network
    # Small things are agreed on over gloo, so that no decision waits for a GPU.
    dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Team()
    finally:
        with suppress(RuntimeError):
            dist.destroy_process_group()


class _Nowhere(TextIOBase):
    """Takes what is written, and forgets it."""

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def _hushed_unless_first() -> Iterator[None]:
    """Only the first process speaks, for good; the others do so only of what nobody expected."""
    if is_first():
        yield
        return
    spoken: tuple[TextIO, TextIO] = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = _Nowhere()
    try:
        yield
    except ShatteringError:
        raise
    except BaseException:
        sys.stdout, sys.stderr = spoken
        raise
