"""A kernel solve that is killed goes on from the rows it has finished, to the same bits."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from shattering.core.streams import Stream
from shattering.learners.desk import Desk
from shattering.learners.kernel_machine import kernel_machine
from shattering.learners.registry import Fitted, Material
from shattering.store.checkpoints import Checkpoints

POINTS = 2100
"""Enough that there are several rows of tiles, and a factor in float32."""


def checkpoints(folder: Path) -> Checkpoints:
    return Checkpoints(folder / "run", folder / "tmp", lambda path, reason, still: True)


def solved(desk: Desk) -> Fitted:
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (POINTS, 12)).astype(np.float32) / np.float32(255)
    labels = draw.integers(0, 10, POINTS)
    return kernel_machine(Material(images, labels, 10, lambda purpose: Stream(0, purpose), desk=desk), gamma=2.0)


def solve_slowly(folder: Path) -> None:
    """What the process does that is going to be killed."""
    solved(Desk(tell=lambda done, total: time.sleep(0.1), pieces=checkpoints(folder)))


class Counting:
    """Pieces of somebody else's, and how many of them were asked for and found."""

    def __init__(self, own: Checkpoints) -> None:
        self.own, self.found, self.made = own, 0, 0

    def keep(self, name: str, payload: bytes) -> None:
        self.made += 1
        self.own.keep(name, payload)

    def kept(self, name: str) -> bytes | None:
        payload = self.own.kept(name)
        self.found += payload is not None
        return payload


def test_rows_finished_before_a_kill_are_not_computed_again(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import pathlib, test_killed_solve as t; "
    process = subprocess.Popen([sys.executable, "-c", code + f"t.solve_slowly(pathlib.Path({str(tmp_path)!r}))"])
    run = tmp_path / "run"
    deadline = time.monotonic() + 100
    while len(list(run.glob("piece-*"))) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it was killed"

    before = len(list(run.glob("piece-*")))
    pieces = Counting(checkpoints(tmp_path))
    resumed = solved(Desk(pieces=pieces))
    whole = solved(Desk())

    assert pieces.found == before >= 3
    assert pieces.made >= 1
    assert (resumed.weights["coefficients"] == whole.weights["coefficients"]).all()
    assert resumed.facts == whole.facts
    assert whole.facts["residual"] < 1e-10
