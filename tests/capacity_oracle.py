"""Runs that are not trained: a formula says when they would have fitted, so that designs and reports can be tested."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from shattering.core.record import Record, Status
from shattering.core.spec import DataSpec, MeasureSpec, RunSpec, TrainingSpec
from shattering.execution.capacity_design import Ended, Question, Round, next_round
from shattering.execution.capacity_records import (
    RANDOM,
)
from shattering.training.schedule import steps_per_epoch

Oracle = Callable[[RunSpec], float]
"""Updates after which a run fits; not finite where it diverges."""


@dataclass(frozen=True)
class PowerLaw:
    """``first · (examples / 32) ** exponent`` for random labels, ``easier`` times fewer for real ones."""

    first: float = 20.0
    exponent: float = 1.2
    easier: float = 2.0

    def __call__(self, spec: RunSpec) -> float:
        steps = self.first * ((spec.data.train_size or 0) / 32) ** self.exponent
        return steps if spec.corruption.name == RANDOM else steps / self.easier


def question(**changes: object) -> Question:
    """Batches of 32 out of 4,096 examples, one learning rate, three minutes on two processes."""
    base = RunSpec(
        data=DataSpec(test_size=10),
        training=TrainingSpec(batch_size=32),
        measures=MeasureSpec(names=("accuracy",), points_per_decade=0, every_epochs=0),
    )
    given: dict[str, object] = {"base": base, "target": 4096, "rates": (0.1,), "seeds": 3, "minutes": 3.0, "jobs": 2}
    return Question(**(given | changes))  # type: ignore[arg-type]


def recorded(spec: RunSpec, oracle: Oracle, pace: float = 0.01) -> Record:
    """What the run would have left behind, at ``pace`` seconds an update; times are whole epochs, as in training."""
    wanted = oracle(spec)
    epoch = steps_per_epoch(spec.data.train_size or 0, spec.training.batch_size)
    if not math.isfinite(wanted):
        summary: dict[str, float | int | None] = {"steps": 3, "steps_to_fit": None, "diverged_step": 3}
        return Record(spec, Status.DIVERGED, summary=summary, provenance={"seconds": 3 * pace})
    fit = max(1, math.ceil(wanted / epoch)) * epoch
    steps = min(fit, spec.training.max_steps)
    fitted = fit <= spec.training.max_steps
    summary = {
        "steps": steps,
        "steps_to_fit": steps if fitted else None,
        "epochs_to_fit": steps / epoch if fitted else None,
    }
    status = Status.DONE if fitted else Status.NOT_FITTED
    return Record(spec, status, summary=summary, provenance={"seconds": pace * steps})


def drive(asked: Question, oracle: Oracle, pace: float = 0.01) -> tuple[list[tuple[Record, ...]], list[Round], Ended]:
    """All rounds to the end."""
    rounds: list[tuple[Record, ...]] = []
    specs: list[Round] = []
    while isinstance(following := next_round(asked, rounds), Round):
        assert len(rounds) < 60, "the design does not end"
        specs.append(following)
        rounds.append(tuple(recorded(spec, oracle, pace) for spec in following.specs))
    return rounds, specs, following
