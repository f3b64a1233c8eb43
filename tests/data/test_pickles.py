from __future__ import annotations

import pickle
from typing import Any

import data_writers as write
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shattering.core.errors import DataError
from shattering.data.pickles import read_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@write.STEADY
@given(st.dictionaries(st.text(), PLAIN), st.sampled_from([2, 3, 4, 5]))
def test_plain_values_come_back_as_they_were(tree: dict[str, Any], protocol: int) -> None:
    assert read_pickle(pickle.dumps(tree, protocol), "here") == tree


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_come_back_as_they_were(protocol: int, dtype: Any, order: Any) -> None:
    array = np.asarray(np.arange(12).reshape(3, 4), dtype=dtype, order=order)
    back = read_pickle(pickle.dumps({"a": array}, protocol), "here")["a"]
    np.testing.assert_array_equal(back, array)
    assert back.dtype == dtype


SOUND = pickle.dumps({b"data": np.zeros((2, 3), np.uint8), b"labels": [1, 2], "name": "ab"}, 2)


def test_a_cut_at_any_byte_is_refused() -> None:
    for length in range(len(SOUND)):
        with pytest.raises(DataError):
            read_pickle(SOUND[:length], "here")


@write.STEADY
@given(st.integers(0, len(SOUND) - 1), st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused_and_never_crashes(place: int, value: int) -> None:
    changed = bytearray(SOUND)
    changed[place] = value
    try:
        assert isinstance(read_pickle(bytes(changed), "here"), dict)
    except DataError as error:
        assert error.identifier.startswith("data-pickle-")


@write.STEADY
@given(st.binary(max_size=200))
def test_random_bytes_are_refused(data: bytes) -> None:
    try:
        read_pickle(data, "here")
    except DataError as error:
        assert error.exit_code == 3
    else:
        assert b"}" in data


@pytest.mark.parametrize("value", [np.float64(1.0), np.zeros(2), np.array(["a"]), {1, 2}, complex(1, 2), range(3)])
def test_values_no_data_file_needs_are_refused(value: Any) -> None:
    with pytest.raises(DataError):
        read_pickle(pickle.dumps({"a": value}, 2), "here")
