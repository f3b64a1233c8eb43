"""``run --engine``: the choice arrives, the command that continues it names it, and what cannot be is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shattering.cli import reading
from shattering.execution import engines
from shattering.execution import study as execution
from shattering.execution.engines.slurm import SlurmEngine
from shattering.execution.study import Outcome


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `run_plan` is given, in place of carrying it out."""
    heard: dict[str, Any] = {}

    def run_plan(planned: Any, **given: Any) -> Outcome:
        heard.update(given, plan=planned.plan)
        return Outcome(planned.plan, None, 1.5, 0, None)  # type: ignore[arg-type]

    monkeypatch.setattr(execution, "run_plan", run_plan)
    monkeypatch.setattr(reading, "print_report", lambda *given: {"done": 1})
    return heard


def test_slurm_arrives_with_its_settings(
    tiny_study: str, shattering: Any, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(engines, "warning", lambda *given: "It would be done sooner.")
    monkeypatch.setattr("shattering.execution.engines.slurm.require_submitit", lambda: None)
    words = f"run tiny --engine slurm --slurm partition=cpu --slurm timeout_min=5 --jobs 3 --out {tmp_path}/runs"

    ended = shattering(*words.split())

    assert ended.code == 0
    assert "It would be done sooner." in ended.err
    engine = asked["engine"]
    assert isinstance(engine, SlurmEngine)
    assert (dict(engine.settings), engine.jobs) == ({"partition": "cpu", "timeout_min": 5}, 3)
    assert engine.out == asked["out"] == tmp_path / "runs"
    assert "--engine slurm --slurm partition=cpu --slurm timeout_min=5" in asked["plan"].command


def test_nothing_is_said_of_the_engine_where_quiet_is_asked_for(
    tiny_study: str, shattering: Any, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "warning", lambda *given: pytest.fail("it was timed"))
    monkeypatch.setattr("shattering.execution.engines.slurm.require_submitit", lambda: None)

    assert shattering("run", "tiny", "--engine", "slurm", "--quiet").err == ""


@pytest.mark.parametrize(
    ("words", "identifier"),
    [
        ("--engine dask", "option-wrong-value"),
        ("--address auto", "address-without-ray"),
        ("--engine ray --slurm qos=a", "slurm-without-slurm"),
        ("--engine slurm --slurm qos", "slurm-malformed"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_planned(
    words: str, identifier: str, tiny_study: str, shattering: Any, asked: dict[str, Any]
) -> None:
    ended = shattering("run", "tiny", *words.split())
    assert ended.code == 2 and asked == {}
    assert identifier in ended.err


def test_settings_may_stand_in_a_file(tiny_study: str, shattering: Any, asked: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("run:\n  engine: ray\n  address: 'a@b'\n")
    ended = shattering("run", "tiny", "--config", str(tmp_path / "mine.yaml"))
    assert ended.code == 2 and "ray-address" in ended.err
