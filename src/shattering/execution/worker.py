"""A worker process: takes jobs over a pipe, one at a time, and dies with its driver."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from shattering.core.errors import DataError, ShatteringError, Stopped
from shattering.core.spec import RunSpec
from shattering.execution.messages import Answered, Broke, Ended, Interrupted, Job, Message, Saw


def work(connection: Connection, stop: Any, beat: Any, driver: int) -> None:
    """Serves jobs until the driver closes the pipe.

    Args:
        connection: jobs come in, messages go out.
        stop: shared flag, set when the user asked to stop.
        beat: shared counter, raised at every sign of life.
        driver: process id of the driver.
    """
    # Terminals and schedulers signal the whole group; the driver alone decides what it means.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        os.dup2(2, 1)  # what a user's model prints must not mix with results
    die_with(driver)
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1)  # NumPy's, which is loaded by now; how many cores there are must not show in a measure

    def alive() -> None:
        beat.value += 1

    while True:
        try:
            job: Job | None = connection.recv()
        except (EOFError, OSError):
            return
        if job is None:
            return
        try:
            connection.send(carry_out(job, alive=alive, stopped=lambda: bool(stop.value), tell=connection.send))
        except (BrokenPipeError, OSError):
            return


def carry_out(
    job: Job,
    *,
    splits: Any = None,
    alive: Callable[[], None] = lambda: None,
    stopped: Callable[[], bool] = lambda: False,
    tell: Callable[[Message], None] = lambda message: None,
) -> Message:
    """Does one job in this process, whoever handed it out.

    Args:
        job: what to do.
        splits: the data, whose fingerprint the caller has checked; none: they are loaded here.
        alive: called at every sign of life.
        stopped: whether the user asked to stop; a run then saves a checkpoint and ends as `Interrupted`.
        tell: hears what there is to see meanwhile.

    Returns:
        What became of it: `Ended`, `Answered`, `Interrupted` or `Broke`; no exception leaves.
    """
    import shattering.execution.run  # noqa: F401 (slow to import; the driver's patience begins with the first beat)

    try:
        if stopped():
            return Interrupted(job.key)
        if splits is None:
            streamed = RunSpec.from_json(job.spec).data.image_size is not None
            splits = _splits(job.data, job.data_dir, job.fingerprint, streamed)
        alive()
        if job.kind == "run":
            return _run(job, splits, alive, stopped, tell)
        return Answered(job.key, _answer(job, splits))
    except Stopped:
        return Interrupted(job.key)
    except ShatteringError as error:
        return Broke(job.key, error.identifier, error.message, error.exit_code)
    except BaseException as error:
        return _unexpected(job, error)


def _unexpected(job: Job, error: BaseException) -> Broke:
    """An exception nobody foresaw: the user's model's fault where her code raised it, ours elsewhere."""
    place = ""
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
    told = f"{type(error).__name__}: {error}".strip().rstrip(".:")
    if os.environ.get("SHATTERING_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
    name = RunSpec.from_json(job.spec).model.name
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return Broke(
            job.key, "run-out-of-memory", f"The run ran out of memory ({told}); use fewer --jobs or smaller batches.", 5
        )
    if ":" in name:
        return Broke(
            job.key,
            "model-raised",
            f"The model {name} raised {told}{place}; mend it and run the same command again.",
            4,
        )
    return Broke(job.key, "run-raised", f"The run raised {told}{place}; see the traceback with --debug.", 1)


def _run(
    job: Job,
    splits: Any,
    alive: Callable[[], None],
    stopped: Callable[[], bool],
    tell: Callable[[Message], None],
) -> Message:
    from shattering.execution.control import Control
    from shattering.execution.run import execute
    from shattering.execution.simulate import simulate
    from shattering.learners.registry import is_learner
    from shattering.simulations.registry import is_simulation
    from shattering.training.estate import Estate

    checkpoints = None
    if job.store is not None:
        from shattering.store.store import Store

        checkpoints = Store.beside(job.store).checkpoints(job.key)
    told = 0.0
    left: list[bytes] = []

    def saw(row: Any) -> None:
        nonlocal told
        alive()
        if time.monotonic() - told > 0.2:  # a table nobody can read faster
            told = time.monotonic()
            tell(Saw(job.key, row))

    def should_stop() -> bool:
        alive()  # asked between the batches of an evaluation, too, which may be long
        return stopped()

    control = Control(
        should_stop=should_stop,
        beat=lambda step: alive(),
        saw=saw,
        checkpoints=checkpoints,
        checkpoint_seconds=float(os.environ.get("SHATTERING_CHECKPOINT_SECONDS", "20")),
        pieces=checkpoints,
        way=job.way,
        start=None if job.start is None else Estate.from_bytes(job.start),
        leaves=job.leaves,
        left=lambda estate: left.append(estate.to_bytes()),
    )
    spec = RunSpec.from_json(job.spec)
    if is_learner(spec.model.name):
        return _fit(job, spec, splits, control)
    if is_simulation(spec.model.name):
        return Ended(job.key, simulate(spec, splits, control, job.parent), None)
    record, model = execute(spec, splits, control, job.parent)
    weights = None
    if job.keep_weights:
        from safetensors.torch import save

        weights = save({name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()})
    return Ended(job.key, record, weights, left[0] if left else None)


def _fit(job: Job, spec: RunSpec, splits: Any, control: Any) -> Message:
    from shattering.execution.fit import fit

    record, fitted = fit(spec, splits, control, job.parent)
    weights = None
    if job.keep_weights:
        from safetensors.numpy import save

        weights = save(dict(fitted.weights))
    return Ended(job.key, record, weights)


@functools.lru_cache(maxsize=1)
def _splits(data: str, data_dir: Path | None, fingerprint: str, streamed: bool) -> Any:
    from shattering.data.load import load_data

    # A worker on another machine may have the same data elsewhere; the fingerprint tells.
    there = data_dir if data_dir is not None and data_dir.is_dir() else None
    splits = load_data(data, there, streamed=streamed)
    if splits.fingerprint != fingerprint:
        raise DataError(
            "data-changed",
            f"The data {data!r} have changed since the run was planned (fingerprint {splits.fingerprint[:12]}, planned "
            f"{fingerprint[:12]}); restore them, or run into a new --out.",
        )
    return splits


def _answer(job: Job, splits: Any) -> Any:
    from shattering.models.process_globals import restored_globals

    with restored_globals([]):  # what a user's code alters must not reach the next job
        match job.kind:
            case "check":
                return _check(job, splits)
            case "time":
                return _time(job, splits)
            case "audit":
                from shattering.execution.trained import look_at_subject

                return look_at_subject(RunSpec.from_json(job.spec), splits, job.weights)
            case "calibrate":
                return _calibrate(job, splits)
    raise ValueError(f"there is no job of kind {job.kind!r}")


def _check(job: Job, splits: Any) -> Any:
    from shattering.execution.preflight import check_user_model

    return check_user_model(RunSpec.from_json(job.spec), splits)


def _time(job: Job, splits: Any) -> Any:
    from shattering.execution.estimate import time_fit, time_simulation, time_step
    from shattering.learners.registry import is_learner
    from shattering.simulations.registry import is_simulation

    spec = RunSpec.from_json(job.spec)
    if is_simulation(spec.model.name):
        return time_simulation(spec, splits)
    return (time_fit if is_learner(spec.model.name) else time_step)(spec, splits)


def _calibrate(job: Job, splits: Any) -> Any:
    from shattering.execution.calibration import updates_per_second

    return updates_per_second(RunSpec.from_json(job.spec), splits)


def die_with(driver: int) -> None:
    """Asks the kernel to kill this process when the driver dies, however it dies; elsewhere the pipe's end does."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)
    if os.getppid() != driver:  # it died before the request
        os._exit(1)
