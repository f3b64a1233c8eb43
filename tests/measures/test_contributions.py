"""Shares and contributions beside gradients taken one by one; null worlds; sums over steps; the crossover."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gradient_probes import examples, gradient_probe, network, single_gradients

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.gradients.sums import GradientSums
from shattering.measures.coherence import coherence
from shattering.measures.contributions import (
    WORLDS,
    contributions,
    crossover,
    cumulative,
    null_numbers,
    null_shares,
    null_tags,
    projections_of,
)
from shattering.measures.registry import Probe

COUNT = 16
ROWS = torch.tensor([0, 1, 3, 4, 5, 7, 8, 9, 10, 12, 13, 15])


def probe_of(changed: torch.Tensor | None = None, rows: torch.Tensor = ROWS) -> Probe:
    inputs, labels = examples(COUNT)
    changed = torch.arange(COUNT) % 3 == 0 if changed is None else changed
    return gradient_probe(network(), inputs, labels, changed, rows, seed=3)


def record(name: str, steps: list[int], values: list[float]) -> Record:
    rows = tuple({"step": step, name: value} for step, value in zip(steps, values, strict=True))
    return Record(RunSpec(), Status.DONE, rows)


def test_every_number_equals_that_of_single_gradients() -> None:
    probe = probe_of()

    numbers = contributions(probe)

    gradients, corrupt = single_gradients(probe), probe.changed[ROWS]
    total = gradients.sum(0)
    pristine_sum, corrupt_sum = gradients[~corrupt].sum(0), gradients[corrupt].sum(0)
    common = gradients @ total / (total @ total)
    worlds = []
    for world in range(WORLDS):
        order = Stream(3, "null-worlds").permutation(len(ROWS), world)
        worlds.append(float(common[order[: int((~corrupt).sum())].tolist()].sum()))
    share = float(pristine_sum @ total / (total @ total))
    low, high = np.quantile(worlds, [0.025, 0.975])
    expected = {
        "pristine_share": share,
        "corrupt_share": float(corrupt_sum @ total / (total @ total)),
        "pristine_contribution": float((gradients[~corrupt] @ gradients.mean(0)).mean()),
        "corrupt_contribution": float((gradients[corrupt] @ gradients.mean(0)).mean()),
        "null_share_low": float(low),
        "null_share_high": float(high),
        "share_p": (1 + sum(world >= share - 1e-12 for world in worlds)) / (WORLDS + 1),
    }
    assert numbers == pytest.approx(expected, rel=1e-9)
    assert numbers["pristine_share"] + numbers["corrupt_share"] == pytest.approx(1.0, rel=1e-12)


def test_share_from_sums_equals_that_from_projections() -> None:
    probe = probe_of()

    found = projections_of(probe)

    pristine = (~probe.changed[ROWS]).numpy()
    assert found.dtype == np.float64
    assert found[pristine].sum() / found.sum() == pytest.approx(contributions(probe)["pristine_share"], rel=1e-10)
    assert probe.model.training and all(module.training for module in probe.model.modules())


@pytest.mark.parametrize("group", ["pristine", "corrupt"])
def test_one_group_alone_has_a_contribution_only(group: str) -> None:
    probe = probe_of(torch.full((COUNT,), group == "corrupt"))

    numbers = contributions(probe)

    mean = single_gradients(probe).mean(0)
    assert numbers == pytest.approx({f"{group}_contribution": float(mean @ mean)}, rel=1e-10)


def test_no_gradient_no_share() -> None:
    model = torch.nn.Linear(5, 1).double()
    with torch.no_grad():
        model.weight.zero_()
        model.bias.fill_(1.0)
    labels, changed = torch.ones(4, dtype=torch.int64), torch.tensor([True, False, False, True])
    probe = gradient_probe(model, torch.randn(4, 5, dtype=torch.float64), labels, changed, loss="squared")

    assert contributions(probe) == {"pristine_contribution": 0.0, "corrupt_contribution": 0.0}


@pytest.mark.parametrize("factor", [1e200, 1e-165, float("inf")])
def test_gradients_beyond_range_leave_no_number_that_is_not_finite(factor: float) -> None:
    probe = probe_of()

    def scaled(rows: torch.Tensor) -> GradientSums:
        sums = sums_over(rows)
        total = {name: value * factor for name, value in sums.total.items()}
        return replace(sums, total=total, squared={name: value * factor for name, value in sums.squared.items()})

    sums_over, probe.sums_over = probe.sums_over, scaled

    for numbers in (contributions(probe), coherence(probe)):
        assert all(math.isfinite(value) for value in numbers.values())


def test_worlds_are_the_same_for_every_snapshot_and_deal_out_every_tag() -> None:
    tags = null_tags(40, 10, 5)

    assert tags.shape == (WORLDS, 40)
    assert (tags.sum(axis=1) == 10).all()
    assert len(np.unique(tags, axis=0)) == WORLDS
    # Each example is pristine in a quarter of the worlds: 250 ± 14.
    assert np.abs(tags.sum(axis=0) - WORLDS / 4).max() < 5 * 14
    assert np.array_equal(null_tags.__wrapped__(40, 10, 5), tags)
    assert not np.array_equal(null_tags(40, 10, 6), tags)


def test_null_worlds_are_one_matrix_product_whatever_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = np.random.default_rng(0).normal(size=50)
    at_once = null_shares(parts, 20, 1)
    tags = null_tags(50, 20, 1)

    monkeypatch.setattr("shattering.measures.contributions.CHUNK_ENTRIES", 64)

    assert null_shares(parts, 20, 1) == pytest.approx(at_once, rel=1e-12)
    assert np.array_equal(null_tags.__wrapped__(50, 20, 1), tags)
    assert at_once == pytest.approx([parts[row].sum() for row in tags], rel=1e-12)


def test_p_is_uniform_where_tags_mean_nothing() -> None:
    generator = np.random.default_rng(4)
    p_values, means, inside = [], [], 0
    for seed in range(200):
        parts = generator.exponential(size=30)
        parts /= parts.sum()
        pristine = generator.permutation(30) < 18
        numbers = null_numbers(parts, pristine, seed)
        p_values.append(numbers["share_p"])
        means.append(null_shares(parts, 18, seed).mean())
        inside += numbers["null_share_low"] <= parts[pristine].sum() <= numbers["null_share_high"]

    # Kolmogorov's distance at 200 draws is above 0.115 once in a hundred times.
    assert np.abs(np.sort(p_values) - (np.arange(200) + 0.5) / 200).max() < 0.115
    assert 180 <= inside <= 198
    # About 1 - ε of the decrease is pristine where tags are dealt out by chance.
    assert np.mean(means) == pytest.approx(18 / 30, abs=1e-3)


def test_p_is_smallest_where_pristine_examples_do_it_all_and_one_where_all_are_alike() -> None:
    pristine = np.arange(30) < 10

    assert null_numbers(np.where(pristine, 0.1, 0.0), pristine, 0)["share_p"] == 1 / (WORLDS + 1)
    assert null_numbers(np.where(pristine, -0.1, 0.1), pristine, 0)["share_p"] == 1.0
    assert null_numbers(np.full(30, 1 / 30), pristine, 0)["share_p"] == 1.0


def test_cumulative_sum_is_exact_where_every_step_is_a_snapshot() -> None:
    values = [0.5, -0.25, 3.0, 1.0, 7.5]

    assert cumulative(record("a", [0, 1, 2, 3, 4], values), "a") == ([0, 1, 2, 3, 4], [0.5, 0.25, 3.25, 4.25, 11.75])


def test_cumulative_sum_is_linear_between_snapshots() -> None:
    steps = [0, 1, 4, 10, 11]
    values = [2.0, 4.0, 1.0, 13.0, 0.0]

    found = cumulative(record("a", steps, values), "a")

    dense = np.cumsum(np.interp(np.arange(12), steps, values))
    assert found[0] == steps
    assert found[1] == pytest.approx(dense[steps].tolist(), rel=1e-12)
    assert cumulative(record("a", [], []), "a") == ([], [])


def test_cumulative_contributions_share_their_null_expectation() -> None:
    """Over null worlds the mean of i_p, and of i_c, is the cumulative mean contribution of all examples."""
    projections = np.random.default_rng(0).normal(1.0, 1.0, size=(4, 25))  # [snapshots, examples]
    tags = null_tags(25, 15, 8)
    steps = [0, 2, 3, 9]

    def summed(values: np.ndarray) -> float:
        return cumulative(record("a", steps, values.tolist()), "a")[1][-1]

    pristine = np.mean([summed(projections[:, row].mean(axis=1)) for row in tags])
    corrupt = np.mean([summed(projections[:, ~row].mean(axis=1)) for row in tags])

    assert pristine == pytest.approx(summed(projections.mean(axis=1)), rel=0.02)
    assert corrupt == pytest.approx(summed(projections.mean(axis=1)), rel=0.02)


@pytest.mark.parametrize(
    ("shares", "options", "expected"),
    [
        ([0.1, 0.2, 0.6, 0.9], {}, 4),
        ([0.1, 0.6, 0.4, 0.9], {}, 6),  # a passing fluctuation
        ([0.7, 0.6, 0.6, 0.9], {}, 0),
        ([0.1, 0.2, 0.6, 0.5], {}, None),
        ([0.1, 0.2, 0.3, 0.4], {}, None),
        ([0.1, 0.2, 0.3, 0.4], {"threshold": 0.25}, 4),
        ([0.6, 0.4, 0.7, 0.8], {"lasting": 2}, 4),
        ([0.6, 0.7, 0.1, 0.8], {"lasting": 2}, 0),
        ([0.6, 0.4, 0.7, 0.1], {"lasting": 2}, None),
    ],
)
def test_crossover(shares: list[float], options: dict[str, float], expected: int | None) -> None:
    assert crossover(record("corrupt_share", [0, 2, 4, 6], shares), **options) == expected
