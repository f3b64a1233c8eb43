"""A look at somebody else's training every so many updates, which leaves no trace in it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import nn

from shattering.core.errors import DataError, ModelError, ShatteringError, SpecError
from shattering.core.record import Row, Status
from shattering.core.words import plural
from shattering.execution.provenance import provenance
from shattering.gradients.batches import Loss
from shattering.gradients.coverage import Coverage
from shattering.gradients.engine import MEMORY
from shattering.measures.learning_step import known_since
from shattering.watching.cost import Cost
from shattering.watching.log import Log, fresh_name, spec_of
from shattering.watching.network import check_network, unwrapped
from shattering.watching.numbers import BATCH_NORM, Gauge, Measured, Right, notes_of
from shattering.watching.probe import Collate, FixedProbe, draw
from shattering.watching.state import kept
from shattering.watching.trackers import Tracker

NOT_FINITE = ("gradients-loss-not-finite", "gradients-not-finite")


class Watch:
    """What `shattering.watch` returns; see there. `step` is told of every update, or callbacks call `advance`.

    The first look, at the start, raises what is wrong with the network, the loss, the probe or the store. After it
    nothing that goes wrong here stops the training: it is said on standard error and stands in `problems`.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        *,
        probe: Any,
        every: int = 100,
        out: str | Path = "watched",
        changed: Any = None,
        max_overhead: float | None = 0.05,
        probe_examples: int = 512,
        tracker: Tracker | Sequence[Tracker] = (),
        right: Right | None = None,
        collate: Collate | None = None,
        name: str | None = None,
        seed: int = 0,
        max_memory: int = MEMORY,
        enabled: bool = True,
        quiet: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if isinstance(every, bool) or every < 1:
            raise SpecError("watch-range", f"every={every}; give a number of updates, at least 1.")
        if max_overhead is not None and not max_overhead > 0:
            raise SpecError(
                "watch-range", f"max_overhead={max_overhead}; give a share of the training time above 0, or None."
            )
        self.model = unwrapped(model)
        self.enabled, self.quiet, self.every, self.out = enabled, quiet, every, Path(out)
        self.updates = 0
        """Updates made, as far as told."""
        self.skipped = 0
        """Looks that were left out because they would have cost more than ``max_overhead``."""
        self.problems: list[str] = []
        """What went wrong after the first look, one sentence each."""
        self.notes: tuple[str, ...] = ()
        """What is to be said beside the numbers, one clause each."""
        self.diverged_at: int | None = None
        """Updates before the first look at which a loss or gradient was not finite."""
        self._loss, self._source, self._changed, self._collate = loss, probe, changed, collate
        self._wanted, self._right, self._seed, self._memory = probe_examples, right, seed, max_memory
        self._name = name or fresh_name()
        self._trackers = list(tracker) if isinstance(tracker, Sequence) else [tracker]
        self.cost = Cost(max_overhead, clock, self._settle)
        self._gauge: Gauge | None = None
        self._log: Log | None = None
        self._columns: dict[str, NDArray[Any]] = {}
        self._given = 0  # the last step that `step` was given, plus one
        self._before = 0  # updates of the epochs before, where the steps begin anew in each
        self._looked = -1
        self._over = False  # no more looks
        self._ended = False

    # What was found.

    @property
    def rows(self) -> list[Row]:
        """The numbers of each look, by name, with its ``step``."""
        return [] if self._log is None else self._log.rows

    @property
    def examples(self) -> dict[str, NDArray[Any]]:
        """Columns with an entry for each example of the probe.

        ``index`` (its place in the source), ``loss`` (at the last look), ``learning_step`` (the first look since which
        it has been right without interruption, -1 for never), ``changed`` where that is known.
        """
        return dict(self._columns)

    @property
    def digest(self) -> str | None:
        """The name under which the store has it."""
        return None if self._log is None else self._log.spec.digest

    @property
    def coverage(self) -> Coverage | None:
        """How the gradients of single examples are computed."""
        return None if self._gauge is None else self._gauge.engine.coverage

    def __str__(self) -> str:
        if self._log is None:
            return "watch: not measured"
        cost = self.cost
        lines = [
            f"watch: {plural(len(self.rows), 'look')} at {self._wanted} examples in "
            f"{cost.watching:.2f} s, {cost.share:.1%} of the training's {cost.training:.1f} s; "
            f"{self.digest} in {self.out}"
        ]
        if self.skipped:
            lines.append(
                f"watch: {self.skipped} of {self.skipped + len(self.rows)} looks left out, since they would have cost "
                f"more than max_overhead={cost.bound}"
            )
        if cost.bound is not None and cost.share > cost.bound:
            only = ": the first look, which is always made, took longer" if len(self.rows) == 1 else ""
            lines.append(f"watch: above max_overhead={cost.bound}{only}")
        return "\n".join([*lines, *(f"watch: {note}" for note in self.notes)])

    # The training's side.

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(error)

    def start(self, updates: int = 0) -> None:
        """Draws the probe and measures for the first time, after so many ``updates``.

        Raises:
            ShatteringError: what is wrong with the network, the loss, the probe or the store.
        """
        self.updates = updates
        if not self.enabled or self._log is not None:
            return
        with self.cost.billed():
            check_network(self.model)
            gauge, probe, measured = self._first()
            self.notes = (*probe.notes, *self._told(gauge))
            dtype = "float32" if any(p.dtype == torch.float32 for p in gauge.engine.parameters.values()) else "float64"
            spec = spec_of(
                type(self.model).__name__,
                self._name,
                probe,
                device="cuda" if self._device.type == "cuda" else "cpu",
                dtype=dtype,
                threads=torch.get_num_threads(),
                seed=self._seed,
            )
            note = "running statistics" if BATCH_NORM in self.notes else ""
            self._wanted = probe.examples
            self._log, self._gauge = Log(self.out, spec, note), gauge
            self._columns = {"index": probe.index}
            if probe.changed is not None:
                self._columns["changed"] = probe.changed
            self._keep(measured)

    def step(self, step: int | None = None) -> None:
        """Says that an update was made, and measures if it is time.

        Args:
            step: its number, counted from 0; it may begin anew in every epoch. None: one more than the last.
        """
        if step is None:
            self.advance(self.updates + 1)
            return
        if step + 1 <= self._given:
            self._before += self._given
        self._given = int(step) + 1
        self.advance(self._before + self._given)

    def advance(self, updates: int) -> None:
        """Says that ``updates`` updates have been made in all, and measures if it is time."""
        if not self.enabled or self._over:
            return
        if self._log is None:
            raise SpecError("watch-not-started", "The watch has not begun; call its step inside `with watch(…) as w:`.")
        due = updates // self.every > self.updates // self.every
        self.updates = updates
        if due:
            self._look_if_it_fits()

    def stop(self, error: BaseException | None = None) -> None:
        """Measures for the last time if that fits, writes the record and says what it cost.

        Args:
            error: what ended the training; none: it came to its end.
        """
        if not self.enabled or self._log is None or self._ended:
            return
        if error is None and not self._over and self._looked != self.updates:
            self._look_if_it_fits()
        with self.cost.billed():
            self._end(error)
        for tracker in self._trackers:
            self._guarded("a tracker's close", tracker.close)
        self._over = self._ended = True
        if not self.quiet:
            print(self, file=sys.stderr)

    # The watcher's side.

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _settle(self) -> None:
        if torch.cuda.default_generators:  # empty as long as no GPU has been used
            torch.cuda.synchronize()

    def _modules(self) -> list[nn.Module]:
        return [self.model, self._loss] if isinstance(self._loss, nn.Module) else [self.model]

    def _first(self) -> tuple[Gauge, FixedProbe, Measured]:
        if self._source is None:
            raise DataError("watch-probe-empty", "There is no probe; give probe=, examples to measure on.")
        try:
            with kept(self._modules(), [self._source, self._collate]):
                probe = draw(
                    self._source,
                    examples=self._wanted,
                    changed=self._changed,
                    collate=self._collate,
                    seed=self._seed,
                )
                gauge = Gauge(self.model, self._loss, probe, self._right, self._memory)
                return gauge, probe, gauge.look()
        except SystemExit as error:
            raise ModelError(
                "watch-model-exits",
                f"The network or the loss asked the process to exit ({error}) when it was measured; take that out.",
            ) from error

    def _told(self, gauge: Gauge) -> tuple[str, ...]:
        notes = list(notes_of(self.model))
        if gauge.slower:
            notes.append(f"not all gradients come from one pass over a batch; {gauge.engine.coverage}")
        if gauge.why_no_accuracy:
            notes.append(gauge.why_no_accuracy)
        return tuple(notes)

    def _look_if_it_fits(self) -> None:
        if not self.cost.fits():
            self.skipped += 1
            return
        with self.cost.billed():
            self._look()

    def _look(self) -> None:
        assert self._gauge is not None
        try:
            with kept(self._modules()):
                measured = self._gauge.look()
        except DataError as error:
            if error.identifier not in NOT_FINITE:
                self._give_up(error)
                return
            if self.diverged_at is None:
                self.diverged_at = self.updates
            self._keep(None)
        except (Exception, SystemExit) as error:
            self._give_up(error)
        else:
            self._keep(measured)

    def _keep(self, measured: Measured | None) -> None:
        """Puts one look, none if it was not finite, into the record and the trackers."""
        assert self._log is not None
        self._looked = self.updates
        numbers: dict[str, float] = {} if measured is None else measured.numbers
        if measured is not None:
            self._columns["loss"] = measured.losses
            if measured.right is not None:
                before = self._columns.get("learning_step")
                self._columns["learning_step"] = known_since(measured.right, before, self.updates)
        row: Row = {"step": self.updates, **numbers}
        try:
            with self.cost.writing():
                self._log.add(row, self._facts())
        except ShatteringError as error:
            if len(self.rows) == 1:
                raise
            self._say(f"The measurements so far could not be written: {error.message}")
        for tracker in list(self._trackers):
            if not self._guarded("a tracker", partial(tracker.log, numbers, self.updates)):
                self._trackers.remove(tracker)

    def _end(self, error: BaseException | None) -> None:
        assert self._log is not None
        told = None
        fitted = self.rows[-1].get("probe_accuracy", 0.0) >= self._log.spec.training.fit_accuracy
        status = Status.DONE if fitted else Status.NOT_FITTED
        if self.diverged_at is not None:
            status = Status.DIVERGED
        if error is not None:
            status = Status.FAILED
            told = {"identifier": "watch-training-stopped", "message": f"The training ended by {_told(error)}."}
        summary: dict[str, Any] = {"steps": self.updates}
        if self.diverged_at is not None:
            summary["diverged_step"] = self.diverged_at
        log = self._log
        self._guarded("writing the record", lambda: log.end(status, summary, self._columns, self._facts(), told))

    def _facts(self) -> dict[str, Any]:
        assert self._log is not None
        cost = self.cost
        facts = {
            "seconds": round(cost.training + cost.watching, 3),
            "watch_seconds": round(cost.watching, 3),
            "watch_overhead": round(cost.share, 5),
            "watch_looks": len(self.rows),
            "watch_skipped": self.skipped,
            "watch_notes": "; ".join(self.notes),
            "watch_problems": " ".join(self.problems),
            "watch_every": self.every,
            "watch_device": str(self._device),
            "coverage": str(self.coverage) if self.coverage is not None else "",
        }
        return provenance(self._log.spec) | {name: value for name, value in facts.items() if value != ""}

    def _give_up(self, error: BaseException) -> None:
        self._over = True
        self._say(f"Watching ended after {self.updates:,} updates, the training goes on: {_told(error)}.")

    def _guarded(self, what: str, act: Callable[[], object]) -> bool:
        """Whether it went well; where not, that is said, and no more."""
        try:
            act()
        except Exception as error:
            self._say(f"In watching, {what} failed: {_told(error)}.")
            return False
        return True

    def _say(self, problem: str) -> None:
        self.problems.append(problem)
        print(f"watch: {problem}", file=sys.stderr)


def _told(error: BaseException) -> str:
    if isinstance(error, ShatteringError):
        return error.message.rstrip(".")
    line = (str(error).strip().splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
