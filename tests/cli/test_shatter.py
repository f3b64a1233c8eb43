"""The command from one end to the other: real digits, real trainings, small enough for seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shattering as package
from tiny_runs import digits, fork_workers

FIELDS = {"training.learning_rate": 0.1, "model.fields.width": 128, "training.batch_size": 16}
QUICK = (
    "mlp_1x512",
    "--data",
    "few.npz",
    "--jobs",
    "2",
    "--seeds",
    "2",
    "--budget",
    "60",
    *(w for item in FIELDS.items() for w in ("--set", "{}={}".format(*item))),
)


@pytest.fixture(autouse=True)
def quick_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    fork_workers(monkeypatch)


@pytest.fixture
def few_digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few examples that the check reaches them all, however slow the machine is."""
    splits = digits()
    arrays = {
        "x_train": splits.train.inputs[:128],
        "y_train": splits.train.labels[:128],
        "x_test": splits.test.inputs[:200],
        "y_test": splits.test.labels[:200],
    }
    monkeypatch.chdir(tmp_path)
    np.savez("few.npz", **arrays)


def digests(store: Path) -> list[str]:
    return sorted(path.name for path in (store / "runs").iterdir())


def test_it_answers_and_answers_again(shattering: Any, few_digits: None, tmp_path: Path) -> None:
    store = tmp_path / "store"
    first = shattering("shatter", *QUICK, "--out", str(store), "--json", "--quiet")
    assert first.code == 0 and first.err == ""
    found: dict[str, Any] = json.loads(first.out)
    assert (found["study"], found["model"], found["data"], found["n"]) == ("shatter", "mlp_1x512", "few", 128)
    assert found["random"]["value"] > found["real"]["value"] > 0
    assert found["random"]["holdout"] and found["ratio"]["value"] > 1
    assert sum(found["runs"].values()) == len(digests(store))
    assert f"{found['n']:,}" in found["answer"] and "random labels" in found["answer"]
    page = Path(found["report"]).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and len(list((Path(found["report"]).parent / "figures").iterdir())) >= 2

    before = digests(store)
    again = shattering("shatter", *QUICK, "--out", str(store), "--json", "--quiet")
    assert digests(store) == before
    assert {**json.loads(again.out), "seconds": 0} == {**found, "seconds": 0}
    assert Path(found["report"]).read_text(encoding="utf-8") == page

    told = shattering("shatter", *QUICK, "--out", str(store), "--quiet")
    assert told.code == 0 and "random labels" in told.out and found["report"] in told.out

    called = package.shatter(
        "mlp_1x512",
        data="few.npz",
        overrides=FIELDS,
        jobs=2,
        seeds=2,
        budgets=(60,),
        out=store,
        quiet=True,
    )
    assert digests(store) == before
    assert {name: called[name] for name in ("random", "real", "ratio", "capacity")} == {
        name: found[name] for name in ("random", "real", "ratio", "capacity")
    }


def test_a_dry_run_writes_nothing(shattering: Any, few_digits: None, tmp_path: Path) -> None:
    told = shattering("shatter", *QUICK, "--dry-run", "--out", str(tmp_path / "store"))
    assert told.code == 0 and "Nothing was written." in told.out
    assert "starting the processes, some seconds, is not counted" in " ".join(told.out.split())
    assert not (tmp_path / "store").exists()
    listed = json.loads(shattering("shatter", *QUICK, "--dry-run", "--json").out)
    assert listed["learning_rates"] == [0.1] and listed["smallest"] == 16 and listed["seconds_per_update"] > 0


@pytest.mark.parametrize(
    ("words", "code", "identifier"),
    [
        (("mlp_1x512", "--budget", "many"), 2, "shatter-budget"),
        (("mlp_1x512", "--seeds", "0"), 2, "seeds-too-few"),
        (("mlp_1x512", "--jobs", "0"), 2, "jobs-too-few"),
        (("mlp_1x512", "--minutes", "-1"), 2, "shatter-minutes"),
        (("mlp_1x512", "--minute", "1"), 2, "unknown-option"),
        (("mlp_1x512", "--set", "training.max_steps=5"), 2, "shatter-field"),
        (("mlp_1x512", "--set", "training.batch_size=2000"), 3, "data-fewer-than-batch"),
        (("mlp_1x512", "--data", "one_class.npz"), 3, "data-one-class"),
        (("mlp_1x512", "--data", "nowhere.npz"), 3, "data-missing-file"),
        (("inception", "--minutes", "0.01"), 2, "shatter-too-little-time"),
        (("own_broken:build",), 4, "model-factory-failed"),
        (("own_absent:build",), 4, "model-module-missing"),
    ],
)
def test_bad_input_is_one_sentence(
    words: tuple[str, ...],
    code: int,
    identifier: str,
    shattering: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_broken.py").write_text("def build(input_shape, num_classes):\n    raise RuntimeError('no such layer')\n")
    images = np.zeros((40, 4, 4, 1), dtype=np.float32)
    images[:, 0, 0, 0] = np.arange(40)
    labels = np.zeros(40, dtype=np.int64)
    np.savez("one_class.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    told = shattering("shatter", *words, "--quiet")
    assert told.code == code, told.err
    assert told.out == "" and told.err.count("\n") == 1
    if identifier != "data-missing-file":
        assert told.err.startswith(f"error [{identifier}]: ")
