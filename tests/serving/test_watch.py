"""What the page is told of a store: counts, who computes, curves, findings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from serving_demo import Client, commit, demo_plan, demo_specs, rows_of

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec, parse_spec
from shattering.serving.curves import Choice, Curves, choices, thinned
from shattering.serving.progress import Pace, about
from shattering.serving.underway import ALIVE_SECONDS, Beats, halfway
from shattering.store.store import Store


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_counts_sum_to_the_plan_and_grow(client: Client, plan: str, store: Store) -> None:
    specs = demo_specs()
    store.put_failure(Record(specs[3], Status.FAILED, error={"identifier": "x", "message": "y"}))
    commit(store, specs[4], Status.DIVERGED)
    commit(store, specs[5], Status.NOT_FITTED)
    for address in ("/overview", f"/plan/{plan}"):
        tree = client.ask(address).tree
        told = tree["plans"][0] if "plans" in tree else tree
        assert told["counts"] == {"done": 3, "not_fitted": 1, "diverged": 1, "failed": 1, "cancelled": 0}
        assert told["planned"] == 6


def test_an_empty_store_has_no_plans(tmp_path: Path) -> None:
    Store.open(tmp_path / "empty", write=True)
    tree = Client(tmp_path / "empty").ask("/overview").tree
    assert (tree["plans"], tree["reading"], tree["problems"]) == ([], False, [])


def test_a_plan_that_comes_later_is_seen(client: Client, plan: str, store: Store) -> None:
    store.save_plan(demo_plan(demo_specs(seeds=1), study="tiny-study-2"))
    assert sorted(each["planned"] for each in client.ask("/overview").tree["plans"]) == [2, 6]


def test_findings_name_question_and_answer(client: Client, plan: str) -> None:
    tree = client.ask(f"/plan/{plan}").tree
    assert (tree["question"], tree["answer"]) == ("Does it run?", "It runs. It ends.")
    assert tree["command"] == "shattering run tiny-study"


def test_findings_of_a_study_that_is_not_installed(store: Store) -> None:
    store.save_plan(demo_plan(demo_specs(), study="unheard-of"))
    client = Client(store.root)
    key = next(each["id"] for each in client.ask("/overview").tree["plans"] if "unheard-of" in each["title"])
    tree = client.ask(f"/plan/{key}").tree
    assert "unheard-of" in tree["note"]
    assert tree["counts"]["done"] == 3


def test_curves_are_means_of_what_each_run_showed_last(client: Client, plan: str, store: Store) -> None:
    specs = demo_specs()
    steps = {0: (0, 1, 10), 1: (0, 1, 10), 2: (0, 1, 10), 3: (0, 4, 10), 4: (2, 3), 5: (5,)}
    commit(store, specs[3], steps=steps[3])
    client.ask(f"/plan/{plan}/curves/1")  # what is taken up now must not be counted again
    commit(store, specs[4], Status.NOT_FITTED, steps[4])
    commit(store, specs[5], Status.DIVERGED, steps[5])
    tree = client.ask(f"/plan/{plan}/curves/1").tree
    assert tree["by"] == "nothing: all runs together"
    (line,) = tree["lines"]
    wanted = []
    shown = [(steps[number], rows_of(specs[number], steps[number])) for number in range(5)]
    for step in sorted({step for taken, _ in shown for step in taken}):
        last = [[row for row in rows if row["step"] <= step][-1:] for _, rows in shown]
        values = [row["test_accuracy"] for rows in last for row in rows]
        wanted.append([step, float(np.mean(values)), len(values)])
    assert np.allclose(line["test_accuracy"], wanted, atol=2e-6)
    assert line["counts"] == {"done": 4, "not_fitted": 1, "diverged": 1, "failed": 0, "cancelled": 0}


def test_lines_are_told_apart_by_what_varies(client: Client, plan: str) -> None:
    assert client.ask(f"/plan/{plan}").tree["choices"] == ["corruption", "nothing: all runs together"]
    true, random = client.ask(f"/plan/{plan}/curves/0").tree["lines"]
    assert (true["name"], random["name"]) == ("true_labels", "random_labels")
    assert np.allclose([point[1] for point in true["test_accuracy"]], [0.01, 0.1, 0.91])
    assert random["test_accuracy"] == []


def test_snapshots_without_a_number_leave_the_mean_of_the_others(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", write=True)
    specs = demo_specs(seeds=1)
    rows = (
        ({"step": 0, "test_accuracy": 0.5}, {"step": 2, "test_accuracy": float("nan")}),
        ({"step": 2, "train_accuracy": 1.0},),
    )
    for spec, taken in zip(specs, rows, strict=True):
        lease = store.lease(spec.digest)
        assert lease is not None
        with lease:
            store.put(Record(spec, Status.DONE, taken), lease)
    curves = Curves([spec.digest for spec in specs], Choice("all", ("all runs",), [0, 0]))
    known = store.catalogue()
    curves.take_up(store, known)
    (line,) = curves.to_tree(known)["lines"]
    assert (line["test_accuracy"], line["train_accuracy"]) == ([[0, 0.5, 1]], [[2, 1.0, 1]])


def test_many_values_are_no_lines() -> None:
    specs = [parse_spec({"training": {"learning_rate": rate / 100}, "corruption": {"name": name}})
             for rate in range(1, 10) for name in ("true_labels", "random_labels")]  # fmt: skip
    assert [choice.title for choice in choices(specs)] == ["corruption", "nothing: all runs together"]
    assert choices(specs[:4])[0].names == (
        "true_labels, 0.01", "random_labels, 0.01", "true_labels, 0.02", "random_labels, 0.02",
    )  # fmt: skip


def levels(models: tuple[str, ...] = ("mlp_1x512", "mlp_3x512"), many: int = 3) -> list[RunSpec]:
    told = [
        {"name": "true_labels"},
        *({"name": "partially_corrupted_labels", "fields": {"p": level / 16}} for level in range(1, many + 1)),
    ]
    return [
        parse_spec({"corruption": each, "model": {"name": model}, "seed": seed})
        for each in told
        for model in models
        for seed in range(2)
    ]


def test_levels_of_a_corruption_are_lines_of_their_own() -> None:
    found = {choice.title: choice for choice in choices(levels(many=4))}
    p = "partially_corrupted_labels, p="
    assert found["corruption"].names == ("true_labels", *(f"{p}{value}" for value in (0.0625, 0.125, 0.1875, 0.25)))
    assert found["corruption"].together == ("model",)
    assert found["model"].together == ("corruption", "corruption level p")
    assert found["nothing: all runs together"].together == ("corruption", "corruption level p", "model")
    assert choices(levels(("mlp_1x512",)))[0].names[:2] == ("true_labels", f"{p}0.0625")


def test_levels_that_are_too_many_for_lines_are_said_to_be_taken_together(tmp_path: Path) -> None:
    specs = levels(many=9)
    by_corruption = choices(specs)[0]
    assert by_corruption.names == ("true_labels", "partially_corrupted_labels")
    assert by_corruption.together == ("corruption level p", "model")
    told = Curves([spec.digest for spec in specs], by_corruption).to_tree({})
    assert told["together"] == ["corruption level p", "model"]


def test_a_line_is_named_by_the_fields_that_are_set() -> None:
    specs = [
        parse_spec({"model": {"name": "simulated", "fields": fields}})
        for fields in ({}, {"strength": 5, "world": "logistic"}, {"strength": 1, "profile": "constant"})
    ]
    assert choices(specs)[0].names == ("defaults", "strength=5, world=logistic", "strength=1, profile=constant")


def test_thinning_keeps_the_ends() -> None:
    kept = thinned(list(range(10_000)), 500)
    assert len(kept) == 500
    assert (kept[0], kept[-1], kept == sorted(set(kept))) == (0, 9999, True)


def test_only_locks_that_are_counted_up_are_alive(tmp_path: Path) -> None:
    clock = Clock()
    folder = tmp_path / "locks"
    folder.mkdir()
    dead, living, late = ("0" * 32, "1" * 32, "2" * 32)

    def stamp(run: str, beat: int) -> None:
        (folder / f"{run}.lock").write_bytes(f"fence {1:020d}\nbeat  {beat:020d}\n".encode())

    stamp(dead, 7)
    stamp(living, 1)
    (folder / "takeover.lock").write_bytes(b"")
    (folder / f"{'3' * 32}.lock").symlink_to(folder / f"{living}.lock")
    beats = Beats(tmp_path, clock)
    assert beats.alive() == []
    clock.now += 2
    stamp(living, 3)
    stamp(late, 0)
    assert beats.alive() == [living, late]
    clock.now += ALIVE_SECONDS - 1
    assert beats.alive() == [living, late]
    clock.now += 2
    assert beats.alive() == []
    clock.now += 1000  # nobody looked; that it was counted up since says nothing of now
    stamp(living, 900)
    assert beats.alive() == []


def test_locks_of_this_process_are_seen_without_being_taken(client: Client, plan: str, store: Store) -> None:
    spec = demo_specs()[5]
    client.ask("/overview")
    lease = store.lease(spec.digest)
    assert lease is not None
    with lease:
        tree = client.ask(f"/plan/{plan}").tree
        assert tree["alive"] == 1
        assert tree["underway"][0]["run"] == spec.digest[:10]
        assert lease.valid()


def test_a_checkpoint_tells_its_rows_without_torch_reading_it(tmp_path: Path) -> None:
    import torch

    from shattering.training.state import Checkpoint, Progress

    spec = demo_specs()[0]
    store = Store.open(tmp_path / "store", write=True)
    rows = [{"step": 0, "epoch": 0.0, "test_accuracy": 0.1}, {"step": 9, "epoch": 1 / 3, "test_accuracy": float("nan")}]
    for step in (9, 12):
        payload = Checkpoint({"model/w": torch.zeros(3)}, Progress(step=step), rows).to_bytes()
        store.checkpoints(spec.digest).save(step, payload)
    found = halfway(store.root, spec.digest)
    assert found is not None
    assert found.step == 12
    assert found.rows[0] == rows[0]
    assert (found.rows[1]["epoch"], np.isnan(found.rows[1]["test_accuracy"])) == (1 / 3, True)
    assert halfway(store.root, "f" * 32) is None


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]", b"\x09\0\0\0\0\0\0\0{"]
)
def test_a_checkpoint_that_is_none_tells_its_step_alone(tmp_path: Path, data: bytes) -> None:
    folder = tmp_path / "checkpoints" / ("0" * 32)
    folder.mkdir(parents=True)
    (folder / f"step-00000003-{'a' * 16}.safetensors").write_bytes(data)
    found = halfway(tmp_path, "0" * 32)
    assert found is not None
    assert (found.step, found.rows) == (3, ())


def test_the_rest_takes_as_long_as_the_pace_says() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.see(10)
    clock.now += 10
    pace.see(12)
    assert pace.remaining(100) is None  # of two runs no pace follows
    clock.now += 10
    pace.see(30)
    assert pace.remaining(100) == pytest.approx(100.0)
    pace.see(3)  # the store was replaced
    assert pace.remaining(100) is None


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0.0 s"), (4.123, "4.1 s"), (87, "87.0 s"), (1234, "20.0 min"), (86400, "23.9 h")]
)
def test_durations_are_told_to_two_digits(seconds: float, told: str) -> None:
    assert about(seconds) == told
