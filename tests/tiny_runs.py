"""Runs of milliseconds, a study of them, and the means to stop, resume and kill them."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shattering.core.errors import Stopped
from shattering.core.record import Record, results_digest
from shattering.core.spec import RunSpec, override
from shattering.core.study import Paper, Request, Study, studies
from shattering.data.dataset import Splits
from shattering.data.load import load_data
from shattering.execution.control import Control
from shattering.execution.run import execute

TINY = {
    "data.train_size": 64,
    "data.test_size": 32,
    "model.fields.width": 8,
    "training.batch_size": 24,  # 24 + 24 + 16: the last batch of an epoch is smaller
    "training.max_steps": 14,
}


def tiny_spec(**changes: Any) -> RunSpec:
    """A run on 64 digits; fields are changed by their dotted names with ``__`` for the dot."""
    return override(RunSpec(), TINY | {name.replace("__", "."): value for name, value in changes.items()})


def network_spec(factory: str, **changes: Any) -> RunSpec:
    """A run of a network in ``tiny_networks``."""
    spec = tiny_spec(**changes)
    return spec.model_copy(update={"model": type(spec.model)(name=f"tiny_networks:{factory}")})


@functools.cache
def digits() -> Splits:
    return load_data("digits")


class Memory:
    """Checkpoints that live as long as the test."""

    def __init__(self) -> None:
        self.kept: list[tuple[int, bytes]] = []

    def save(self, step: int, payload: bytes) -> None:
        self.kept.append((step, payload))

    def newest(self) -> Iterator[tuple[int, bytes]]:
        yield from reversed(self.kept)


def stop_at_step(step: int) -> Control:
    """Stops before the update with the number ``step``, and keeps the checkpoint."""
    seen = -1

    def beat(number: int) -> None:
        nonlocal seen
        seen = number

    return Control(should_stop=lambda: seen >= step, beat=beat, checkpoints=Memory())


def stop_at_call(number: int) -> Control:
    """Stops the ``number``-th time that the run asks: before an update, or between the batches of an evaluation."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked >= number

    return Control(should_stop=should_stop, checkpoints=Memory())


def stopped_and_resumed(spec: RunSpec, control: Control, splits: Splits | None = None) -> Record | None:
    """The record of a run that was stopped and resumed; none where it ended before it was stopped."""
    splits = splits or digits()
    try:
        execute(spec, splits, control)
    except Stopped:
        return execute(spec, splits, Control(checkpoints=control.checkpoints))[0]
    return None


def facts(record: Record) -> tuple[str, Any]:
    """What must be equal to the bit: the digest, and the predictions on every example."""
    return results_digest([record]), {name: column.tolist() for name, column in record.examples.items()}


def fork_workers(monkeypatch: Any) -> None:
    """Workers that inherit what is imported here, instead of importing it for seconds."""
    import multiprocessing

    context = multiprocessing.get_context("fork")
    monkeypatch.setattr("shattering.execution.local.multiprocessing.get_context", lambda method: context)


@dataclass
class Driver:
    """A forked process that leads a process group, and what it said when it ended."""

    pid: int
    pipe: int
    code: int | None = None

    def alive(self) -> bool:
        """Whether it has not ended."""
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is None

    def end(self, seconds: float = 60.0) -> Any:
        """Waits for it; returns what its task returned. A driver that does not end fails the test."""
        patience = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > patience:
                os.killpg(self.pid, signal.SIGKILL)
                raise AssertionError(f"the driver has not ended after {seconds} s")
            time.sleep(0.01)
        with os.fdopen(self.pipe, "rb") as said:
            text = said.read()
        return json.loads(text) if text else None

    def group(self) -> list[int]:
        """The living processes of its group, itself included."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    state, _, group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if int(group) == self.pid and state != "Z":
                    found.append(int(entry.name))
        return found


def fork_driver(task: Callable[[], Any]) -> Driver:
    """Runs ``task`` in a forked process that leads a group of its own; what it returns must be JSON-able."""
    reading, writing = os.pipe()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # from Python 3.12 on, forking warns where there are threads
        child = os.fork()
    if child == 0:
        code = 99
        try:
            os.setpgid(0, 0)
            os.close(reading)
            said = json.dumps(task()).encode()
            while said:
                said = said[os.write(writing, said) :]
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with suppress(OSError):  # the child may have done it, and gone, already
        os.setpgid(child, child)
    return Driver(child, reading)


def register_study(
    monkeypatch: Any, specs: Callable[[Request], list[RunSpec]], name: str = "tiny-study", **fields: Any
) -> Study:
    """Makes a study of the given runs known for the length of a test."""
    study = Study(
        name=name,
        paper=Paper("Author et al.", 2017, "A title", "A venue", "https://example.org"),
        question="Does it run?",
        datasets=("digits",),
        specs=specs,
        claims=(),
        figures=(),
        answer=lambda records: "It runs. It ends.",
        differences=lambda request: (),
        choices=(),
        **fields,
    )
    studies.names()
    monkeypatch.setitem(studies._entries, name, study)
    return study
