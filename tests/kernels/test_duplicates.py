"""Equal points and numbers that are none: found, named, and only those."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.errors import DataError
from shattering.kernels.duplicates import first_of_each, require_consistent, require_finite


def points() -> np.ndarray:
    return np.random.default_rng(0).random((20, 3)).astype(np.float32)


def test_each_point_is_its_own_first_where_none_is_equal() -> None:
    np.testing.assert_array_equal(first_of_each(points()), np.arange(20))


def test_equal_points_share_the_first() -> None:
    rows = points()
    rows[[7, 19]] = rows[4]
    rows[5, 0], rows[6] = 0.0, rows[5]
    rows[6, 0] = -0.0

    first = first_of_each(rows)

    assert first[[4, 7, 19]].tolist() == [4, 4, 4]
    assert first[6] == 5
    assert (np.delete(first, [6, 7, 19]) == np.delete(np.arange(20), [6, 7, 19])).all()


def test_the_last_bit_tells_points_apart() -> None:
    rows = points()
    rows[1] = rows[0]
    rows[1, 2] = np.nextafter(rows[1, 2], np.float32(2))

    assert first_of_each(rows)[1] == 1


def test_conflicting_labels_are_named() -> None:
    first = np.array([0, 1, 0, 3, 1])
    require_consistent(first, np.array([4, 2, 4, 0, 2]))

    with pytest.raises(DataError) as caught:
        require_consistent(first, np.array([4, 2, 4, 0, 3]))

    assert caught.value.identifier == "kernel-conflicting-duplicates"
    assert "examples 1 and 4 are equal but labelled 2 and 3" in caught.value.message
    assert "ridge" in caught.value.message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_named(bad) -> None:
    rows = points()
    require_finite(rows)
    require_finite(np.full((2, 3), 3e38, np.float32))
    rows[13, 2] = bad

    with pytest.raises(DataError, match="Feature 2 of training example 13") as caught:
        require_finite(rows)

    assert caught.value.identifier == "kernel-not-finite"
