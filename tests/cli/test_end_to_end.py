"""The installed command, from one end to the other: real digits, real workers, real reports, at the smallest scale."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

STUDY = "zhang2017-random-labels"
PROGRAM = Path(sys.executable).with_name("shattering")
SECRET = "canary-5f1c0b7e9d"

SUMMARY_KEYS = {"study", "scale", "data", "store", "report", "runs", "claims", "seconds", "digest"}
CLAIM_KEYS = {"source", "quantity", "published", "ours", "low", "high", "seeds", "verdict"}
STATUSES = {"done", "not_fitted", "diverged", "failed", "cancelled"}
COLOURING = {"NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLORTERM"}

NETWORKS = """\
from torch import nn


class Breaking(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.layer = nn.Linear(features, classes)

    def forward(self, x):
        if self.training and len(x) > 16:
            raise RuntimeError("the 17th example is too many")
        return self.layer(x.flatten(1))


def build(input_shape, num_classes):
    return nn.Sequential(nn.Linear(input_shape[0], 64), nn.ReLU(), nn.Linear(64, num_classes))


def breaking(input_shape, num_classes):
    features = 1
    for size in input_shape:
        features *= size
    return Breaking(features, num_classes)
"""


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """Standard output, which must be one JSON object and nothing else."""
        answer = json.loads(self.out)
        assert isinstance(answer, dict)
        return answer


def obey_permissions() -> None:
    """Gives up for this process and its children what lets root write where the permissions forbid it."""
    drop_from_bounding_set, override_permissions = 24, 1
    if os.geteuid() == 0 and ctypes.CDLL(None).prctl(drop_from_bounding_set, override_permissions, 0, 0, 0) != 0:
        raise OSError("root cannot give up its privileges here")


class Place:
    """A working directory, and everything the commands typed there have printed."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.printed = folder, ""

    def type(self, *words: str, permitted: bool = True, **variables: str) -> Ended:
        """Types ``shattering`` and the given words; unless ``permitted``, permissions count for root, too."""
        environment = {name: value for name, value in os.environ.items() if name not in COLOURING}
        done = subprocess.run(
            [PROGRAM, *words],
            cwd=self.folder,
            env=environment | {"SHATTERING_CANARY_SECRET": SECRET} | variables,
            capture_output=True,
            text=True,
            timeout=280,
            preexec_fn=None if permitted else obey_permissions,
        )
        self.printed += done.stdout + done.stderr
        assert "\x1b" not in done.stdout + done.stderr, "escape codes in a pipe"
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("end-to-end")
    (folder / "networks.py").write_text(NETWORKS)
    draw = np.random.default_rng(0)
    labels = np.arange(200) % 4
    inputs = (3 * draw.normal(size=(4, 20))[labels] + draw.normal(size=(200, 20))).astype(np.float32)
    np.savez(folder / "own.npz", x_train=inputs[:160], y_train=labels[:160], x_test=inputs[160:], y_test=labels[160:])
    return Place(folder)


@pytest.fixture(scope="module")
def first(place: Place) -> Ended:
    """The study of random labels, run for the first time into the store ``runs``."""
    return place.type("run", STUDY, "--data", "digits", "--scale", "smoke", "--out", "runs", "--json")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody but root can write into ``folder``, or anything in it."""
    folders = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    try:
        for path in folders:
            path.chmod(0o555)
        yield
    finally:
        for path in folders:
            path.chmod(0o755)


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """Every file with its identity and time of change: what is written again, even with equal bytes, has others."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def test_run_prints_one_object(first: Ended, place: Place) -> None:
    assert first.code == 0, first.err
    answer = first.answer
    assert answer.keys() >= SUMMARY_KEYS
    assert (answer["study"], answer["scale"], answer["data"], answer["store"]) == (STUDY, "smoke", "digits", "runs")
    assert answer["runs"].keys() == STATUSES
    assert answer["runs"]["done"] == sum(answer["runs"].values()) == len(list((place.folder / "runs/runs").iterdir()))
    assert answer["claims"] and all(claim.keys() >= CLAIM_KEYS for claim in answer["claims"])
    assert "effect reproduced" in [claim["verdict"] for claim in answer["claims"]]
    assert f"{answer['runs']['done']} of {answer['runs']['done']} runs" in first.err


def test_run_writes_the_report(first: Ended, place: Place) -> None:
    report = place.folder / first.answer["report"]
    assert report.name == "index.html" and report.read_text().startswith("<!doctype html>")
    figures = sorted((report.parent / "figures").iterdir())
    assert {path.suffix for path in figures} == {".svg", ".png"}
    assert {path.stem for path in figures if path.suffix == ".svg"} == {
        path.stem for path in figures if path.suffix == ".png"
    }
    for path in figures:
        assert path.read_bytes().startswith({".svg": b"<svg", ".png": b"\x89PNG"}[path.suffix]), path.name


def test_the_same_again_computes_nothing(first: Ended, place: Place) -> None:
    before = state(place.folder / "runs" / "runs")
    again = place.type("run", STUDY, "--data", "digits", "--scale", "smoke", "--out", "runs", "--json", "--quiet")
    assert (again.code, again.err) == (0, "")
    for key in ("digest", "runs", "claims", "answer", "report"):
        assert again.answer[key] == first.answer[key]
    assert state(place.folder / "runs" / "runs") == before


def test_show_lists_the_runs(first: Ended, place: Place) -> None:
    listed = place.type("show", "runs", "--json")
    assert (listed.code, listed.err) == (0, "")
    runs = listed.answer["runs"]
    assert [run["status"] for run in runs] == ["done"] * first.answer["runs"]["done"]
    for_people = place.type("show", "runs", NO_COLOR="1")
    assert (for_people.code, for_people.err) == (0, "")
    assert all(run["digest"][:8] in for_people.out for run in runs)


def test_show_tells_one_run(first: Ended, place: Place) -> None:
    digest = next(digest for claim in first.answer["claims"] for digest in claim["runs"])
    told = place.type("show", "runs", digest[:12], "--json")
    assert (told.code, told.err) == (0, "")
    answer = told.answer
    assert (answer["digest"], answer["status"]) == (digest, "done")
    assert answer["rows"][-1]["step"] == answer["summary"]["steps"] and answer["provenance"]
    for_people = place.type("show", "runs", digest[:12])
    assert (for_people.code, for_people.err) == (0, "")
    assert digest in for_people.out and "train accuracy" in for_people.out


def test_report_writes_it_again(first: Ended, place: Place) -> None:
    figures = (place.folder / first.answer["report"]).parent / "figures"
    before = {path.name: path.read_bytes() for path in figures.glob("*.svg")}
    shutil.rmtree(figures.parent)
    told = place.type("report", "runs", "--json")
    assert (told.code, told.err) == (0, "")
    assert {**told.answer, "seconds": 0} == {**first.answer, "seconds": 0}
    assert {path.name: path.read_bytes() for path in figures.glob("*.svg")} == before
    for_people = place.type("report", "runs", NO_COLOR="1")
    assert (for_people.code, for_people.err) == (0, "")
    assert first.answer["report"] in for_people.out and first.answer["counts"] in for_people.out


def test_compare_aligns_stores(first: Ended, place: Place) -> None:
    told = place.type("compare", "runs", "runs", "--json")
    assert (told.code, told.err) == (0, "")
    assert [summary["digest"] for summary in told.answer["summaries"]] == [first.answer["digest"]] * 2
    assert {claim["study"] for claim in told.answer["claims"]} > {STUDY}
    for claim in told.answer["claims"]:
        left, right = claim["results"]
        if claim["study"] != STUDY:  # another study of the paper, of which there is no plan
            assert (left, right, claim["verdict"]) == (None, None, "not run")
            continue
        assert left == right and left.keys() == {"ours", "low", "high", "seeds", "verdict"}
    for_people = place.type("compare", "runs", "runs")
    assert (for_people.code, for_people.err) == (0, "")
    assert STUDY in for_people.out and "effect reproduced" in for_people.out.replace("\n", " ")


def test_the_users_model_and_data(place: Place) -> None:
    words = ["run", STUDY, "--models", "networks:build", "--data", "own.npz", "--scale", "smoke", "--seeds", "1"]
    ended = place.type(*words, "--out", "mine", "--jobs", "1", "--quiet")
    assert (ended.code, ended.err) == (0, "")
    assert "mine/reports/" in ended.out and "networks:build" in ended.out
    listed = place.type("show", "mine", "--json").answer["runs"]
    assert {(run["model"], run["seed"]) for run in listed} == {("networks:build", 0)}
    assert {run["status"] for run in listed} <= {"done", "not_fitted"}


def test_a_model_that_breaks_in_training(place: Place) -> None:
    words = ["run", STUDY, "--models", "networks:breaking", "--scale", "smoke", "--out", "broken", "--jobs", "1"]
    ended = place.type(*words, "--json")
    assert ended.code == 6
    counts = ended.answer["runs"]
    assert counts["failed"] == sum(counts.values()) > 0
    assert "the 17th example is too many" in ended.err and "networks.py:11" in ended.err
    failed = place.type("show", "broken", "--json").answer["runs"][0]
    told = place.type("show", "broken", failed["digest"])
    assert failed["status"] == "failed" and "the 17th example is too many" in " ".join(told.out.split())


def test_a_folder_that_cannot_be_written_is_refused_before_computing(place: Place) -> None:
    closed = place.folder / "closed"
    closed.mkdir()
    with locked(closed):
        ended = place.type("run", STUDY, "--scale", "smoke", "--out", "closed/runs", permitted=False)
    assert (ended.code, ended.out) == (5, "")
    assert ended.err.startswith("error [store-permission]: ") and ended.err.count("\n") == 1
    assert list(closed.iterdir()) == []


def test_a_store_that_cannot_be_written_is_reported(first: Ended, place: Place) -> None:
    before = state(place.folder / "runs")
    with locked(place.folder / "runs"):
        ended = place.type("report", "runs", "--json", permitted=False)
    assert ended.code == 0
    assert {**ended.answer, "seconds": 0} == {**first.answer, "seconds": 0}
    assert ended.err.startswith("The reports are left as they are: ") and ended.err.count("\n") == 1
    assert state(place.folder / "runs") == before


def test_no_secret_of_the_environment_gets_out(first: Ended, place: Place) -> None:
    """Neither into the stores, the reports, the caches, nor into what was printed; packed files are looked into."""
    import pyarrow.parquet

    assert SECRET not in place.printed and place.printed
    searched = 0
    for root in (place.folder, Path(os.environ["SHATTERING_CACHE"])):
        for path in root.rglob("*"):
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path
                searched += 1
            if path.suffix == ".parquet":
                table = pyarrow.parquet.read_table(path)
                assert SECRET not in f"{table.schema.metadata} {table.schema}" and SECRET not in str(table.to_pydict())
    assert searched > 50
