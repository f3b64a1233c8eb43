"""Holm's correction: by hand, and its family-wise error by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shattering.core.errors import ShatteringError
from shattering.core.statistics import holm


def test_by_hand() -> None:
    # 3 · 0.01; max(0.03, 2 · 0.02); max(0.04, 0.03): the largest p never overtakes those before it.
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_family_wise_error_keeps_the_level(shared: float) -> None:
    """R21: 4,000 families of eight true hypotheses, independent and strongly dependent."""
    from scipy.special import ndtr

    generator = np.random.default_rng(0)
    common = generator.normal(size=(4000, 1))
    scores = math.sqrt(shared) * common + math.sqrt(1 - shared) * generator.normal(size=(4000, 8))
    p_values = 2 * ndtr(-np.abs(scores))
    wrong = np.mean([min(holm(row)) <= 0.05 for row in p_values.tolist()])

    assert wrong <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 4000)
    assert shared > 0 or wrong >= 0.05 - 4 * math.sqrt(0.05 * 0.95 / 4000) - 0.01


def test_finds_more_than_bonferroni() -> None:
    assert [p <= 0.05 for p in holm([0.01, 0.02, 0.04])] == [True, True, True]


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.1, math.nan])
def test_what_is_no_p_is_refused(bad: float) -> None:
    with pytest.raises(ShatteringError) as caught:
        holm([0.5, bad])
    assert caught.value.identifier == "statistics-wrong-p"
