"""``run --dry-run``: tells what is planned, finished and still to do, and writes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shattering.cli.dry_run import duration, size
from shattering.execution import study as execution
from shattering.execution.estimate import Speed, shape_of
from shattering.execution.plan import Planned


@pytest.fixture(autouse=True)
def speeds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Speeds that are known rather than timed."""

    def ask(planned: Planned, kind: str, specs: list[Any]) -> dict[str, Speed]:
        assert kind == "time"
        return {shape_of(spec): Speed(10.0, 0.0, 0.0, 3 * 2**20) for spec in specs}

    monkeypatch.setattr(execution, "ask", ask)


def test_the_plan_is_told_and_nothing_written(tiny_study: str, shattering: Any, tmp_path: Path) -> None:
    out = tmp_path / "runs"

    called = shattering(
        "run", "tiny", "--dry-run", "--json", "--quiet", "--seeds", "3", "--jobs", "1", "--out", str(out)
    )

    assert (called.code, called.err) == (0, "")
    told = json.loads(called.out)
    assert (told["study"], told["scale"], told["data"]) == (tiny_study, "small", "digits")
    assert (told["planned"], told["finished"], told["jobs"]) == (6, 0, 1)
    assert told["runs"] == [
        {"model": "mlp_1x512", "corruption": "true_labels", "regularisers": "none", "planned": 3, "finished": 0},
        {"model": "mlp_1x512", "corruption": "random_labels", "regularisers": "none", "planned": 3, "finished": 0},
    ]
    # Six runs of four steps, ten seconds each, and the start of the process.
    assert (told["steps"], told["steps_at_most"], told["memory_bytes"]) == (24, 24, 3 * 2**20)
    assert 240 <= told["seconds"] < 260
    assert told["command"] == f"shattering run {tiny_study} --seeds 3 --out {out} --jobs 1"
    assert not out.exists()


def test_the_plan_for_people(tiny_study: str, shattering: Any, tmp_path: Path) -> None:
    called = shattering("run", "tiny", "--dry-run", "--jobs", "1", "--out", str(tmp_path / "runs"))

    assert (called.code, called.err.count("\n")) == (0, 1) and "for the forecast" in called.err
    assert "0 of 4 runs are finished" in called.out
    assert "about 16 steps (at most 16), about 3 min on 1 process, 3 MiB of memory" in called.out
    assert called.out.endswith("Nothing was written.\n")


def test_the_file_and_the_command_line_are_laid_over_each_other(
    tiny_study: str, shattering: Any, tmp_path: Path
) -> None:
    config = tmp_path / "study.yaml"
    config.write_text(
        "run: {seeds: 5, scale: smoke, models: [mlp_1x512, mlp_3x512]}\ntraining: {max_steps: 2, batch_size: 16}\n"
    )
    words = ["run", "tiny", "--dry-run", "--json", "--config", str(config), "--out", str(tmp_path / "runs")]

    told = json.loads(shattering(*words, "--seeds", "1", "--set", "training.max_steps=3").out)

    assert (told["scale"], told["planned"], told["steps_at_most"]) == ("smoke", 4, 12)
    assert [row["model"] for row in told["runs"]] == ["mlp_1x512", "mlp_1x512", "mlp_3x512", "mlp_3x512"]
    assert f"--config {config}" in told["command"]
    assert "--set training.max_steps=3" in told["command"]


def test_models_may_be_repeated_or_joined(tiny_study: str, shattering: Any, tmp_path: Path) -> None:
    words = ["run", "tiny", "--dry-run", "--json", "--seeds", "1", "--out", str(tmp_path / "runs")]

    joined = json.loads(shattering(*words, "--models", "mlp_1x512,mlp_3x512").out)
    repeated = json.loads(shattering(*words, "--models", "mlp_1x512", "--models", "mlp_3x512").out)

    assert joined["planned"] == 4
    assert joined["runs"] == repeated["runs"]


def test_an_empty_folder_is_no_store_and_stays_empty(tiny_study: str, shattering: Any, tmp_path: Path) -> None:
    called = shattering("run", "tiny", "--dry-run", "--json", "--out", str(tmp_path))

    assert json.loads(called.out)["finished"] == 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_refused_as_a_run_would(tiny_study: str, shattering: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")

    called = shattering("run", "tiny", "--dry-run", "--out", str(tmp_path))

    assert called.err.startswith("error [store-not-a-store]: ") and called.err.endswith("new folder with --out.\n")


def test_ten_thousand_runs_pass_when_confirmed(
    tiny_study: str, shattering: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from shattering.cli import run

    monkeypatch.setattr(run, "CONFIRM_ABOVE", 5)
    words = ["run", "tiny", "--dry-run", "--json", "--seeds", "3", "--out", str(tmp_path / "runs")]

    refused = shattering(*words)
    confirmed = shattering(*words, "--yes")

    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error [plan-too-large]: ")
    assert json.loads(confirmed.out)["planned"] == 6


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "120 min"),
        (7200, "2.0 h"),
        (172800, "2.0 d"),
        (864000, "10.0 d"),
    ],
)
def test_durations(seconds: float, told: str) -> None:
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (3 * 2**20, "3 MiB"), (5 * 2**29, "2.5 GiB")]
)
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told
