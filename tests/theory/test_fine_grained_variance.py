"""The parts of the variance beside the verified values, a quadrature, full sums over pairs, and small simulations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from shattering.core.streams import Stream
from shattering.simulations.random_feature_variance import PARTS, erf_slopes, measured, random_feature_variance
from shattering.simulations.registry import Bench
from shattering.theory.fine_grained_variance import (
    Parts,
    given_features,
    given_inputs,
    parts_of,
    projected_parts,
    resolvent,
)

VERIFIED = {
    0.5: (0.283, 0.219, 0.139, 0.829, 0.123, 0.359),
    0.66: (0.180, 0.171, 0.178, 0.892, 0.247, 0.516),
    0.9: (0.133, 0.045, 0.204, 0.160, 0.382, 0.129),
}


def values(parts: Parts) -> list[float]:
    return [getattr(parts, name) for name in PARTS]


@pytest.mark.parametrize("share", VERIFIED)
def test_the_closed_form_has_the_verified_values(share: float) -> None:
    parts = projected_parts(share, 1.5, 0.02, signal=1.0, noise=0.25)
    assert values(parts) == pytest.approx(VERIFIED[share], abs=6e-4)
    assert parts.error == pytest.approx(sum(VERIFIED[share]), abs=3e-3)


@pytest.mark.parametrize(("ratio", "ridge"), [(0.3, 0.02), (1.0, 1e-3), (2.5, 0.5)])
def test_the_resolvent_is_an_integral_over_the_marchenko_pastur_law(ratio: float, ridge: float) -> None:
    angle = (np.arange(200_000) + 0.5) * np.pi / 200_000
    middle, half = 1 + ratio, 2 * np.sqrt(ratio)
    place = middle + half * np.cos(angle)
    density = (half * np.sin(angle)) ** 2 / (2 * np.pi * ratio * place) * np.pi / 200_000
    zero = max(0.0, 1 - 1 / ratio)
    for power, found in enumerate(resolvent(ratio, ridge), 1):
        wanted = float((density / (place + ridge) ** power).sum()) + zero / ridge**power
        assert found == pytest.approx(wanted, rel=1e-4)


def test_slopes_of_erf_are_gaussian_expectations() -> None:
    from scipy.special import erf

    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    assert erf_slopes()[0] == pytest.approx(float(weights @ erf(nodes) ** 2), rel=1e-9)
    assert erf_slopes()[1] == pytest.approx(float(weights @ (nodes * erf(nodes))) ** 2, rel=1e-9)


def test_products_of_crossed_predictors_are_sums_over_pairs() -> None:
    predicted = Stream(1, "test").normals(np.arange(60), 7).reshape(3, 4, 5, 7)[:, :, :2] / 4096.0
    truth = np.linspace(-1, 1, 7)
    found = measured(predicted, truth)

    def product(part: int, same_init: bool, same_set: bool) -> float:
        cells = list(itertools.product(range(3), range(4)))
        pairs = [
            float((predicted[a][part] * predicted[b][part]).mean())
            for a, b in itertools.product(cells, cells)
            if (a[0] == b[0], a[1] == b[1]) == (same_init, same_set)
        ]
        return sum(pairs) / len(pairs)

    same, init, inputs, neither = (
        product(0, *kind) for kind in ((True, True), (True, False), (False, True), (False, False))
    )
    assert found["init"] == pytest.approx(init - neither)
    assert found["inputs"] == pytest.approx(inputs - neither)
    assert found["both"] == pytest.approx(same - init - inputs + neither)
    assert found["noise"] == pytest.approx(product(1, False, True))
    assert found["all_three"] == pytest.approx(product(1, True, True) - product(1, False, True))
    assert found["bias"] == pytest.approx(
        neither - 2 * (predicted[:, :, 0].mean((0, 1)) * truth).mean() + (truth**2).mean()
    )


def test_nonlinear_parts_have_the_verified_values() -> None:
    bench = Bench(lambda purpose: Stream(5, purpose), None)  # type: ignore[arg-type]
    target = bench.normals("simulation/target", 1, 100)[0]
    target *= 10 / np.linalg.norm(target)
    for width, wanted in ((150, (0.098, 0.367, 0.084, 0.204)), (400, (0.026, 0.034, 0.097, 0.047))):
        draws = bench.normals("simulation/weights", 16 * width, 100).reshape(16, width, 100)
        samples = bench.normals("simulation/inputs", 2400, 100).reshape(16, 150, 100)
        parts = parts_of(
            [given_features(weights, target, 150, 0.003, erf_slopes(), 0.1) for weights in draws],
            [given_inputs(sample, target, width, 0.003, erf_slopes(), 0.1) for sample in samples],
        )
        found = (parts.init, parts.both, parts.noise, parts.all_three)
        assert found == pytest.approx(wanted, rel=0.1, abs=0.016)


@pytest.mark.parametrize("features", ["projection", "erf"])
def test_measured_parts_follow_the_formula(features: str) -> None:
    bench = Bench(lambda purpose: Stream(0, purpose), None)  # type: ignore[arg-type]
    rows = list(random_feature_variance(bench, features=features, examples=60, ridge=0.02, noise=0.1, group=8))
    for row in rows:
        for name in PARTS:
            assert abs(row[f"simulated_{name}"] - row[f"formula_{name}"]) < 0.12 * row["formula_error"], (name, row)
        assert abs(row["simulated_error"] / row["formula_error"] - 1) < 0.15
