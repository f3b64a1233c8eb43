"""The command from one end to the other: a small table, real trainings, a budget of seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shattering.api import audit
from tiny_runs import fork_workers

MODEL = """
from torch import nn

def build(input_shape, num_classes):
    return nn.Sequential(nn.Linear(input_shape[0], 16), nn.ReLU(), nn.Linear(16, num_classes))

def broken(input_shape, num_classes):
    return nn.Linear(input_shape[0], 1)
"""
ASKED = ("--data", "table.npz", "--jobs", "1", "--budget", "12s", "--set", "training.max_steps=60", "--quiet")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model and data without a test part."""
    fork_workers(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "auditable.py").write_text(MODEL)
    draw = np.random.default_rng(0)
    labels = np.arange(150) % 3
    np.savez("table.npz", x=(np.eye(3)[labels] * 3 + draw.normal(size=(150, 3))).astype(np.float32), y=labels)
    return tmp_path


def test_it_answers_and_answers_again(shattering: Any, workplace: Path) -> None:
    words = ("audit", "auditable.py:build", *ASKED, "--checks", "soundness,signal", "--json")

    first = shattering(*words)
    again = shattering(*words)

    assert (first.code, first.err) == (0, "")
    found = json.loads(first.out)
    assert found["data"] == {"name": "table", "train": 120, "test": 30, "classes": 3, "held_out": True}
    assert [each["check"] for each in found["plan"]] == ["soundness", "signal"]
    assert {finding["check"] for finding in found["findings"]} == {"soundness", "signal"}
    for finding in found["findings"]:  # how much was trained in the time is the machine's affair
        assert finding["level"] in ("good", "note", "warning", "unknown")
        assert finding["p_value"] is None or 0 < finding["p_value"] <= 1
    assert Path(found["report"]).is_file()
    assert sum(found["runs"].values()) >= found["computed"] > 0
    told = json.loads(again.out)
    if found["complete"]:
        assert told["computed"] == 0
        assert told["findings"] == found["findings"]


def test_a_dry_run_says_what_could_be_told(shattering: Any) -> None:
    done = shattering("audit", "auditable:build", *ASKED, "--dry-run")

    assert done.code == 0
    assert "Nothing was trained." in done.out
    for check in ("signal", "noise", "memorisation", "coherence", "soundness", "remedies"):
        assert check in done.out


def test_a_dry_run_in_python_returns_the_plan(workplace: Path) -> None:
    told = audit("auditable:build", "table.npz", checks="soundness,signal", budget="10s", jobs=1, dry_run=True)

    assert [row["check"] for row in told["plan"]] == ["soundness", "signal"]
    assert told["budget_minutes"] == pytest.approx(1 / 6)
    assert not list((workplace / "audit" / "runs").glob("*"))


@pytest.mark.parametrize(
    ("words", "code", "identifier"),
    [
        (("auditable.py", "--data", "table.npz"), 4, "model-name-malformed"),
        (("auditable:build", "--data", "table.npz", "--budget", "soon"), 2, "audit-budget"),
        (("auditable:build", "--data", "table.npz", "--checks", "signals"), 2, "unknown-check"),
        (("auditable:build", "--data", "table.npz", "--set", "seed=3"), 2, "spec-planned-field"),
        (("auditable:build", "--data", "absent.npz"), 3, "data-missing"),
        (("auditable:build", "--data", "table.npz", "--weights", "absent.pt"), 3, "weights-missing"),
        (("auditable:missing", "--data", "table.npz"), 4, "model-factory-missing"),
        (("auditable:broken", "--data", "table.npz"), 4, "model-too-few-logits"),
        (("auditable:build",), 2, "missing-argument"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(shattering: Any, words, code, identifier) -> None:
    done = shattering("audit", *words)

    assert done.code == code, done.err
    assert f"error [{identifier}]:" in done.err
    assert done.out == ""
    assert done.err.count("\n") == 1
