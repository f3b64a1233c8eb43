"""A study of synthetic records with a store of them; every name can carry a payload."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

from PIL import Image

from shattering.core.plan import Plan
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec, parse_spec
from shattering.core.statistics import accuracy_interval
from shattering.core.study import (
    Axis,
    Claim,
    DataFacts,
    Effect,
    Estimate,
    Figure,
    Paper,
    Point,
    Records,
    Request,
    Study,
    select,
)
from shattering.store.store import Store

ENDED = (Status.DONE, Status.NOT_FITTED)


def demo_specs(payload: str = "") -> tuple[RunSpec, ...]:
    return tuple(
        parse_spec(
            {
                "data": {"name": f"digits{payload}"},
                "model": {"name": f"{model}{payload}"},
                "corruption": {"name": corruption},
                "seed": seed,
            }
        )
        for model in ("mlp_1x512", "alexnet")
        for corruption in ("true_labels", "random_labels")
        for seed in range(3)
    )


def demo_record(spec: RunSpec, status: Status = Status.DONE, payload: str = "") -> Record:
    steps = (0, 1, 10, 100)
    slow = 0.5 if spec.corruption.name == "random_labels" else 1.0
    rows = tuple(
        {
            "step": step,
            "epoch": step / 10,
            "train_loss": 2.3 / (1 + slow * step),
            "train_accuracy": min(1.0, 0.1 + slow * step / 10 + spec.seed / 1000),
            "test_accuracy": 0.1 if slow < 1 else min(0.95, 0.1 + step / 10),
        }
        for step in steps
    )
    error = {"identifier": "worker-died", "message": f"Out of memory{payload}."} if status is Status.FAILED else None
    return Record(
        spec=spec,
        status=status,
        rows=() if status is Status.FAILED else rows,
        summary={"steps_to_fit": 100 if status is Status.DONE else None},
        provenance={"torch": f"2.13.0{payload}", "seconds": 1.5},
        error=error,
    )


def demo_study(payload: str = "") -> Study:
    def accuracy(name: str, corruption: str):
        def estimate(records: Records) -> Estimate | None:
            runs = [r for r in select(records, corruption=corruption) if r.status in ENDED and name in r.last]
            if not runs:
                return None
            value, low, high = accuracy_interval([float(r.last[name]) for r in runs], 360)
            return Estimate(value, low, high, tuple(r.digest for r in runs), 6, f"{len(runs)} of 6{payload}")

        return estimate

    def losses(records: Records) -> list[Point]:
        return [
            Point(x, y, f"{corruption}{payload}", y * 0.9, y * 1.1, f"train{payload}", f"{model}{payload}")
            for model in ("mlp_1x512", "alexnet")
            for corruption in ("true_labels", "random_labels")
            for record in select(records, corruption=corruption, seed=0, model=f"{model}{payload}")
            for x, y in zip(*record.trajectory("train_loss"), strict=True)
        ]

    def times(records: Records) -> list[Point]:
        return [
            Point(place, 100.0, f"a{payload}", censored=record.status is Status.NOT_FITTED)
            for place, record in enumerate(records)
        ]

    effect = Effect(f"above chance{payload}", lambda records: True)
    return Study(
        name="demo-study",
        paper=Paper(f"Doe{payload}", 2020, f"A title{payload}", f"Venue{payload}", f"https://example.org/{payload}"),
        question=f"Does it fit{payload}?",
        datasets=("digits",),
        specs=lambda request: list(demo_specs(payload)),
        claims=(
            Claim(
                f"Table 1{payload}",
                f"training accuracy{payload}",
                1.0,
                0.01,
                "1",
                "Q-tab",
                f"cifar10{payload}",
                accuracy("train_accuracy", "random_labels"),
                effect,
            ),
            Claim(
                "Table 2",
                "test accuracy",
                0.8905,
                0.01,
                "1",
                "Q-text",
                "cifar10",
                accuracy("test_accuracy", "true_labels"),
            ),
            Claim("Table 3", "slowdown", None, 0.0, "x", "Q-text", "cifar10", lambda records: None, effect),
        ),
        figures=(
            Figure(
                f"loss{payload}",
                f"Loss{payload}",
                Axis(f"steps{payload}", "log"),
                Axis(f"loss{payload}"),
                losses,
                lambda records: f"It falls{payload}.",
                lambda records: {f"chance{payload}": 2.3},
            ),
            Figure("times", "Times", Axis("run"), Axis("steps to fit, steps"), times, lambda records: "It takes time."),
            Figure("empty", "Empty", Axis("x"), Axis("y"), lambda records: [], lambda records: "Never read."),
        ),
        answer=lambda records: f"It does{payload}. {len(records)} records say so.",
        differences=lambda request: (f"Smaller{payload}",),
        choices=((f"batch{payload}", f"128{payload}"),),
    )


def demo_plan(payload: str = "") -> Plan:
    facts = DataFacts(f"digits{payload}", 1437, 360, (8, 8, 1), 10, "f" * 64, (f"note{payload}",))
    return Plan("demo-study", Request("small", facts), demo_specs(payload), command=f"shattering run demo{payload}")


def demo_store(path: Path, plan: Plan, statuses: list[Status | None] | None = None, payload: str = "") -> Store:
    """A store with one record per spec of the plan; none where the status is none."""
    store = Store.open(path, write=True)
    store.save_plan(plan)
    wanted = statuses if statuses is not None else [Status.DONE] * len(plan.specs)
    for spec, status in zip(plan.specs, wanted, strict=True):
        if status is Status.FAILED:
            store.put_failure(demo_record(spec, status, payload))
        elif status is not None:
            lease = store.lease(spec.digest)
            assert lease is not None
            assert store.put(demo_record(spec, status, payload), lease)
            lease.release()
    picture = io.BytesIO()
    Image.new("L", (8, 8), 128).save(picture, "PNG")
    shown = base64.b64encode(picture.getvalue()).decode()
    example = {"before": shown, "after": shown, "label_before": f"3{payload}", "label_after": f"5{payload}"}
    item = {"corruption": f"random labels{payload}", "summary": f"Redraws{payload}", "test_set": f"untouched{payload}"}
    store.save_gallery(plan, [{**item, "examples": [example]}])
    return store


def with_overrides(plan: Plan) -> Plan:
    return replace(plan, overrides={"training.max_steps": 10})
