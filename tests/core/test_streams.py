"""Random streams: published vectors, and a second implementation written from the module's text alone."""

from __future__ import annotations

import zlib
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shattering.core.philox import philox4x32
from shattering.core.streams import NORMAL_ONE, Stream, events, normal_table, uniform_classes

KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]
"""Counter, key and output of Philox4x32-10 in the Random123 distribution's known-answer tests."""


def slow_philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> list[int]:
    """Ten rounds on plain integers."""
    a, b, c, d = counter
    k, l = key  # noqa: E741
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (second >> 32) ^ b ^ k, second % 2**32, (first >> 32) ^ d ^ l, first % 2**32
        k, l = (k + 0x9E3779B9) % 2**32, (l + 0xBB67AE85) % 2**32  # noqa: E741
    return [a, b, c, d]


def slow_words(seed: int, purpose: str, index: int, blocks: int) -> list[int]:
    key = (seed % 2**32, seed >> 32)
    last = zlib.crc32(purpose.encode("utf-8"))
    return [word for block in range(blocks) for word in slow_philox((block, index % 2**32, index >> 32, last), key)]


def slow_permutation(seed: int, purpose: str, index: int, size: int) -> list[int]:
    words = slow_words(seed, purpose, index, -(-size // 4))
    return sorted(range(size), key=lambda position: (words[position], position))


def hexadecimal(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


@pytest.mark.parametrize(("counter", "key", "output"), KNOWN_ANSWERS)
def test_philox_gives_the_published_vectors(counter: str, key: str, output: str) -> None:
    words = tuple(np.array(word, dtype=np.uint32) for word in hexadecimal(counter))
    k0, k1 = hexadecimal(key)

    assert philox4x32(words, (k0, k1)).tolist() == hexadecimal(output)  # type: ignore[arg-type]
    assert slow_philox(tuple(hexadecimal(counter)), (k0, k1)) == hexadecimal(output)  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**63 - 1),
    purpose=st.sampled_from(["labels", "order", "pixels", "ünïcode"]),
    index=st.one_of(st.integers(0, 100), st.integers(2**32 - 2, 2**40)),
    size=st.integers(1, 40),
)
def test_words_and_permutations_follow_the_documented_mapping(seed: int, purpose: str, index: int, size: int) -> None:
    stream = Stream(seed, purpose)

    assert stream.words(index, blocks=3).tolist() == slow_words(seed, purpose, index, 3)
    assert stream.permutation(size, index).tolist() == slow_permutation(seed, purpose, index, size)


def test_words_of_many_indices_are_those_of_each() -> None:
    stream = Stream(7, "labels")
    indices = np.array([0, 5, 2**33 + 1])

    together = stream.words(indices, blocks=2)

    assert together.shape == (3, 8)
    for row, index in zip(together, indices, strict=True):
        assert row.tolist() == stream.words(int(index), blocks=2).tolist()


def test_words_may_begin_at_a_later_block() -> None:
    stream = Stream(7, "labels")

    assert stream.words(3, blocks=2, first_block=1).tolist() == stream.words(3, blocks=3)[4:].tolist()


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_permutation_is_a_permutation_and_differs_between_indices(size: int) -> None:
    stream = Stream(3, "order")

    assert sorted(stream.permutation(size).tolist()) == list(range(size))
    if size > 2:
        assert stream.permutation(size, 0).tolist() != stream.permutation(size, 1).tolist()


def test_permutations_are_uniform_over_the_six_of_three() -> None:
    drawn = Stream(11, "pixels").permutations(np.arange(12_000), 3)

    _, counts = np.unique(drawn @ np.array([9, 3, 1]), return_counts=True)

    assert len(counts) == 6
    assert np.abs(counts - 2000).max() < 4 * np.sqrt(12_000 / 6 * 5 / 6)


def test_seeds_and_purposes_give_different_streams() -> None:
    streams = [Stream(0, "labels"), Stream(1, "labels"), Stream(2**32, "labels"), Stream(0, "order")]

    assert len({tuple(stream.words(0).tolist()) for stream in streams}) == 4


def test_uniform_classes_by_multiply_and_shift() -> None:
    words = np.array([0, 2**32 - 1, 2**31, 429496729, 429496730], dtype=np.uint32)

    assert uniform_classes(words, 10).tolist() == [word * 10 >> 32 for word in words.tolist()]
    assert uniform_classes(words, 10).tolist() == [0, 9, 5, 0, 1]


def test_events_of_probability_zero_and_one_are_impossible_and_certain() -> None:
    words = np.array([0, 1, 2**31, 2**32 - 1], dtype=np.uint32)

    assert not events(words, 0.0).any()
    assert events(words, 1.0).all()
    assert events(words, 0.5).tolist() == [True, True, False, False]


def test_events_of_a_smaller_probability_are_a_subset() -> None:
    words = Stream(5, "labels").words(np.arange(1000))[:, 0]

    rare, frequent = events(words, 0.3), events(words, 0.7)

    assert not (rare & ~frequent).any()
    assert abs(int(frequent.sum()) - 700) < 4 * np.sqrt(1000 * 0.7 * 0.3)


def test_normal_numbers_follow_the_documented_table() -> None:
    words = slow_words(9, "pixels", 4, 2)
    halves = [half for word in words for half in (word & 0xFFFF, word >> 16)]
    expected = [_normal(half) for half in halves[:13]]

    assert Stream(9, "pixels").normals(np.array([4]), 13).tolist() == [expected]


def _normal(half: int) -> int:
    """The table's entry; the lower half mirrors the upper one, where the two tails differ in their last bit."""
    if half < 32768:
        return -_normal(65535 - half)
    return round(NORMAL_ONE * NormalDist().inv_cdf((half + 0.5) / 65536))


def test_normal_table_is_symmetric_with_unit_variance() -> None:
    table = normal_table().astype(np.int64)

    assert len(table) == 65536
    assert (table + table[::-1] == 0).all()
    assert abs(table).max() == 17_715
    # The mean of squares over equally likely quantiles misses only the tails beyond 1/131072.
    assert abs((table**2).mean() / NORMAL_ONE**2 - 1) < 1e-3


def test_integer_joins_two_words_below_two_to_the_63() -> None:
    low, high = slow_words(1, "initialisation", 0, 1)[:2]

    assert Stream(1, "initialisation").integer() == (high * 2**32 + low) % 2**63
