"""``run``: what is asked of the execution, and how its outcome becomes an exit code."""

from __future__ import annotations

import shlex
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shattering.cli import main as main_module
from shattering.cli import reading
from shattering.core.plan import Plan
from shattering.execution import study as execution
from shattering.execution.plan import Planned
from shattering.execution.study import Outcome


@dataclass
class Execution:
    """Stands in for the carrying out of plans: remembers what was asked, and ends as told."""

    interrupted_by: int | None = None
    counts: dict[str, int] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    plan: Plan | None = None
    reported: int = 0

    def run_plan(self, planned: Planned, **asked: Any) -> Outcome:
        self.plan, self.asked = planned.plan, asked
        return Outcome(planned.plan, None, 1.5, 0, self.interrupted_by)  # type: ignore[arg-type]

    def print_report(self, store: object, plan: Plan, seconds: float, common: object) -> dict[str, int]:
        assert plan is self.plan
        assert seconds == 1.5
        self.reported += 1
        return self.counts


@pytest.fixture
def carried_out(monkeypatch: pytest.MonkeyPatch) -> Execution:
    execution_double = Execution()
    monkeypatch.setattr(execution, "run_plan", execution_double.run_plan)
    monkeypatch.setattr(reading, "print_report", execution_double.print_report)
    return execution_double


def test_every_option_arrives(tiny_study: str, shattering: Any, carried_out: Execution, tmp_path: Path) -> None:
    words = "run tiny --data digits --scale smoke --seeds 3 --models mlp_3x512 --set training.max_steps=2 --device cpu"
    words += f" --engine local --jobs 2 --keep-weights --quiet --out {tmp_path}/runs"

    assert shattering(*words.split()).code == 0

    assert carried_out.asked == {"out": tmp_path / "runs", "jobs": 2, "keep_weights": True, "quiet": True}
    plan = carried_out.plan
    assert plan is not None
    request = plan.request
    assert (request.scale, request.seeds, request.models, request.device) == ("smoke", 3, ("mlp_3x512",), "cpu")
    assert {spec.training.max_steps for spec in plan.specs} == {2}
    assert {spec.seed for spec in plan.specs} == {0, 1, 2}
    assert plan.command == (
        f"shattering run {tiny_study} --data digits --scale smoke --seeds 3 --models mlp_3x512 --engine local "
        f"--out {tmp_path}/runs --device cpu --jobs 2 --set training.max_steps=2 --keep-weights"
    )


def test_the_defaults(tiny_study: str, shattering: Any, carried_out: Execution) -> None:
    assert shattering("run", "tiny").code == 0

    assert carried_out.asked == {"out": Path("runs"), "jobs": None, "keep_weights": False, "quiet": False}
    assert carried_out.plan is not None
    request = carried_out.plan.request
    assert (request.scale, request.data.name, request.seeds, request.models) == ("small", "digits", None, ())
    assert carried_out.plan.command == f"shattering run {tiny_study}"


def test_the_resume_command_asks_for_the_same_plan(
    tiny_study: str, shattering: Any, carried_out: Execution, tmp_path: Path
) -> None:
    out = tmp_path / "a folder"
    shattering("run", "tiny", "--out", str(out), "--models", "mlp_1x512,mlp_3x512", "--set", "training.max_steps=2")
    first = carried_out.plan
    assert first is not None

    shattering(*shlex.split(first.command)[1:])

    assert carried_out.plan == first
    assert carried_out.asked["out"] == out


@pytest.mark.parametrize(
    ("counts", "code"),
    [
        ({"done": 4}, 0),
        ({"done": 1, "not_fitted": 2, "diverged": 1, "failed": 0, "cancelled": 0}, 0),
        ({"done": 3, "failed": 1}, 6),
        ({"done": 3, "cancelled": 1}, 6),
    ],
)
def test_the_exit_code_tells_whether_every_run_has_an_outcome(
    counts: dict[str, int], code: int, tiny_study: str, shattering: Any, carried_out: Execution
) -> None:
    carried_out.counts = counts

    assert shattering("run", "tiny").code == code
    assert carried_out.reported == 1


def test_an_interrupted_run_tells_how_to_go_on_and_dies_by_the_signal(
    tiny_study: str, shattering: Any, carried_out: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[int] = []
    monkeypatch.setattr(main_module, "die_by", died.append)
    carried_out.interrupted_by = int(signal.SIGTERM)

    called = shattering("run", "tiny", "--json", "--seeds", "1")

    assert died == [signal.SIGTERM]
    assert called.out == ""
    assert f"shattering run {tiny_study} --seeds 1" in called.err
    assert carried_out.reported == 0
