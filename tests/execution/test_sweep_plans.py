"""Planned sweeps: the very runs that the long way gives, seeds where needed, thresholds by bisection."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shattering.core.errors import SpecError
from shattering.core.lattice import Lattice
from shattering.core.plan import Plan
from shattering.core.record import Status
from shattering.core.spec import RunSpec, override
from shattering.core.sweep import MoreSeeds
from shattering.core.sweep_file import parse_sweep
from shattering.execution.adaptive import Decider, Ended, interval_of, next_count, threshold_interval
from shattering.execution.plan import Planned, resolved
from shattering.execution.sweep import plan_sweep, run_sweep
from shattering.simulations.registry import simulated
from tiny_runs import TINY, fork_workers, register_study, tiny_spec


def planned(tree: dict[str, Any], **options: Any) -> Planned:
    return plan_sweep(parse_sweep({"name": "x", **tree}), **options)


def test_the_runs_are_those_of_the_long_way() -> None:
    """Every combination by `override` and `resolved`, one by one, has the digest that the product of parts gives it."""
    tree = {
        "base": {"training.max_steps": 7, "stream_seeds.order": 4},
        "grid": {
            "training.learning_rate": ["1e-1", 0.5],  # the first is the default, and hence absent from the text
            "data.train_size": ["none", 200],
            "model.fields.width": [512, 16],
        },
        "zip": {
            "corruption.name": ["true_labels", "partially_corrupted_labels"],
            "measures.names": ["accuracy", "accuracy,weights"],
        },
        "seeds": 2,
    }
    with pytest.raises(SpecError, match="needs the field 'p'"):
        planned(tree)
    tree["zip"] = {
        "corruption.name": ["random_labels", "shuffled_pixels"],
        "measures.names": ["accuracy", "accuracy,weights"],
    }
    made = planned(tree).plan
    base = override(RunSpec(), {"training.max_steps": 7, "stream_seeds.order": 4})
    expected = [
        resolved(
            override(
                base,
                {
                    "training.learning_rate": rate,
                    "data.train_size": size,
                    "model.fields.width": width,
                    "corruption.name": corruption,
                    "measures.names": names,
                    "seed": seed,
                },
            ),
            made.request,
        )
        for rate in (0.1, 0.5)
        for size in ("none", 200)
        for width in (512, 16)
        for corruption, names in (("random_labels", ["accuracy"]), ("shuffled_pixels", ["accuracy", "weights"]))
        for seed in (0, 1)
    ]
    assert isinstance(made.specs, Lattice) and made.digests == [spec.digest for spec in expected]
    assert list(made.specs) == expected
    assert Plan.from_json(made.to_json()).digests == made.digests


def test_a_study_gives_the_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    def specs(request: Any) -> list[RunSpec]:
        return [
            tiny_spec(seed=seed, corruption__name=name)
            for name in ("true_labels", "random_labels")
            for seed in range(request.seeds or 3)
        ]

    register_study(monkeypatch, specs)
    plain = planned({"study": "tiny-study", "grid": {"training.momentum": [0, 0.5]}}).plan
    assert len(plain.specs) == 2 * 2 * 3
    assert plain.specs.varying == ("corruption.name", "training.momentum", "seed")  # type: ignore[attr-defined]
    assert len(planned({"study": "tiny", "seeds": 1}).plan.specs) == 2
    assert len(planned({"study": "tiny", "grid": {"seed": [7, 8]}}).plan.specs) == 4


def test_runs_with_parents_are_planned_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from shattering.core.spec import SelectionSpec

    parent = tiny_spec()
    register_study(monkeypatch, lambda request: [parent.model_copy(update={"selection": SelectionSpec(parent=parent)})])
    made = planned(
        {
            "study": "tiny-study",
            "grid": {"selection.fraction": [0.25, 0.5], "seed": [0, 1]},
            "base": {"training.batch_size": 4},
        }
    )
    assert len(made.plan.specs) == 2 + 4
    children = [spec for spec in made.plan.specs if spec.selection is not None]
    assert {spec.selection.parent.seed == spec.seed for spec in children if spec.selection} == {True}
    with pytest.raises(SpecError, match="selects examples"):
        planned({"study": "tiny-study", "seeds": {"at_most": 9, "measure": "fitted", "half_width": 0.1}})


@pytest.mark.parametrize(
    ("tree", "identifier"),
    [
        ({"grid": {"seed": {"range": [0, 10_001]}}}, "sweep-unconfirmed"),
        ({"grid": {"seed": {"range": [0, 9]}}, "runs_at_most": 8}, "sweep-unconfirmed"),
        ({"grid": {"model.name": ["mlp_1x512", "mlp_9"]}}, "unknown-model"),
        ({"grid": {"corruption.name": ["random_label"]}}, "unknown-corruption"),
        ({"grid": {"model.fields.widht": [3]}}, "spec-unknown-key"),
        ({"grid": {"model.fields.width": [3, 3.5]}}, "spec-wrong-type"),
        ({"grid": {"data.train_size": [200, 5000]}}, "data-subset-too-large"),
        ({"grid": {"compute.dtype": ["float32", "bfloat16"]}}, "spec-bfloat16-cpu"),
        ({"base": {}, "seeds": {"at_most": 9, "measure": "test_acuracy", "half_width": 0.1}}, "sweep-unknown-measure"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_runs(tree: dict[str, Any], identifier: str) -> None:
    with pytest.raises(Exception) as error:
        planned(tree)
    assert getattr(error.value, "identifier", error.value) == identifier


def answered(planned: Planned, outcome: Callable[[RunSpec], Ended]) -> tuple[Any, dict[str, Ended]]:
    """All decisions, where every run ends as ``outcome`` says, in an arbitrary order."""
    decider, ended = Decider(planned.plan), {}
    order = np.random.default_rng(0)
    while True:
        decided = decider.decide_by(ended)
        if not decided.waiting:
            return decided, ended
        digest = decided.waiting[int(order.integers(len(decided.waiting)))]
        ended[digest] = outcome(decided.runs[digest])


def test_a_threshold_is_found_by_bisection_for_each_seed() -> None:
    tree = {
        "grid": {"training.batch_size": [8, 16]},
        "threshold": {
            "field": "model.fields.width",
            "low": 1,
            "high": 1000,
            "met": "test_accuracy >= 0.5",
            "within": "5%",
            "seeds": 4,
        },
    }
    made = planned(tree)

    def edge(spec: RunSpec) -> float:
        return 3000.0 if spec.training.batch_size == 16 else 100.0 + 10 * spec.seed

    def outcome(spec: RunSpec) -> Ended:
        width = spec.model.fields.get("width", 512)
        return Ended(Status.DONE, {"test_accuracy": float(width >= edge(spec))})

    decided, ended = answered(made, outcome)
    threshold = parse_sweep(made.plan.sweep or {}).threshold
    assert threshold is not None
    for seed, bracket in enumerate(decided.brackets[0]):
        assert bracket.outcome == "found" and bracket.rises
        assert bracket.below < 100 + 10 * seed <= bracket.above <= 1.05 * bracket.below
    assert [bracket.outcome for bracket in decided.brackets[1]] == ["met nowhere"] * 4
    value, low, high = threshold_interval(decided.brackets[0], threshold) or (0, 0, 0)
    assert 100 < value < 135 and low is not None and high is not None and low < value < high
    assert threshold_interval(decided.brackets[1], threshold) is None
    assert set(decided.runs) == set(ended) and len(ended) < 4 * (2 + 2 + 9)
    assert {digest: spec.digest for digest, spec in decided.runs.items()} == {digest: digest for digest in decided.runs}
    assert set(made.plan.digests) <= set(decided.runs)


def test_seeds_are_added_where_the_interval_is_wide() -> None:
    tree = {
        "grid": {"training.batch_size": [8, 16]},
        "seeds": {"at_least": 3, "at_most": 50, "measure": "train_loss", "half_width": 0.5},
    }
    made = planned(tree)

    def outcome(spec: RunSpec) -> Ended:
        noise = float(np.random.default_rng(spec.seed).standard_normal())
        return Ended(Status.DONE, {"train_loss": 3 * noise if spec.training.batch_size == 8 else noise / 1000})

    decided, _ = answered(made, outcome)
    assert decided.seeds[1] == 3 and 5 < decided.seeds[0] <= 50
    numbers = [outcome(spec).number("train_loss") for spec in decided.runs.values() if spec.training.batch_size == 8]
    value, _, high = interval_of("train_loss", [number for number in numbers if number is not None])
    assert (value is not None and high is not None and high - value <= 0.5) or decided.seeds[0] == 50


def test_diverged_runs_count_and_have_no_number() -> None:
    rule = MoreSeeds(3, 20, "test_loss", 0.1)
    assert next_count(rule, [None, 1.0, 1.0], None) == 6  # no interval from two
    assert next_count(rule, [None, 1.0, 1.0, 1.0], None) is None
    assert next_count(rule, [None] * 20, None) is None
    assert Ended(Status.DIVERGED, {"test_loss": 1.0}).number("test_loss") is None
    assert [Ended(status, {}).number("fitted") for status in Status] == [1.0, 0.0, 0.0, None, None]


def test_coverage_suffers_from_stopping_by_no_more_than_is_said() -> None:
    """The rule itself on normal numbers: about 91% from three seeds, about 94% from ten."""
    draws = np.random.default_rng(1).standard_normal((600, 60))

    def coverage(at_least: int) -> float:
        rule, hits = MoreSeeds(at_least, 60, "test_loss", 1.96 / 10**0.5), 0
        for row in draws.tolist():
            count = at_least
            while (more := next_count(rule, row[:count], None)) is not None:
                count = more
            _, low, high = interval_of("test_loss", row[:count])
            hits += low is not None and high is not None and low <= 0 <= high
        return hits / len(draws)

    few, many = coverage(3), coverage(10)
    error = (0.9 * 0.1 / len(draws)) ** 0.5
    assert 0.906 - 4 * error < few < 0.95  # it does suffer
    assert few < many and many > 0.94 - 4 * error


def test_a_sweep_runs_resumes_and_decides_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fork_workers(monkeypatch)
    base = {**TINY, "measures.names": "accuracy", "measures.points_per_decade": 0, "measures.every_epochs": 0}
    rule = {"at_least": 3, "at_most": 5, "measure": "test_accuracy", "half_width": 0.001}
    sweep = parse_sweep({"name": "x", "base": base, "grid": {"training.learning_rate": [0.05, 0.2]}, "seeds": rule})
    made = plan_sweep(sweep)
    first = run_sweep(made, sweep, out=tmp_path / "s", jobs=1, quiet=True)
    assert first.computed == 10  # never so narrow, so all five seeds
    again = run_sweep(plan_sweep(sweep), sweep, out=tmp_path / "s", jobs=1, quiet=True)
    assert again.computed == 0
    fixed = parse_sweep({"name": "y", "base": base, "grid": {"training.learning_rate": [0.05, 0.2]}, "seeds": 5})
    assert set(plan_sweep(fixed).plan.digests) == set(first.store.all_digests())


def test_the_fields_of_a_simulation_can_be_swept() -> None:
    """Simulations are neither trained nor measured, so a sweep's own training and measures are not theirs."""
    grid = {"model.fields.size": [20, 40]}
    found = planned({"base": {"model.name": "pseudo_fisher"}, "grid": grid, "data": "drawn", "seeds": 2})
    wanted = [simulated("pseudo_fisher", seed, size=size) for seed in range(2) for size in (20, 40)]
    assert set(found.plan.digests) == {resolved(spec, found.plan.request, {}).digest for spec in wanted}
    with pytest.raises(SpecError) as caught:
        planned({"study": "deng2019-classification", "data": "digits"})
    assert caught.value.identifier == "study-own-data"
