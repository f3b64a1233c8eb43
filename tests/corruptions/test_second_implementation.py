"""The label corruptions once more, in plain integers, written from docs/streams.md; the two must agree on every label.

Nothing here comes from the package but the corruptions under test.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from shattering.core.spec import CorruptionSpec, RunSpec
from shattering.corruptions.registry import corrupt
from shattering.data.dataset import Dataset, Splits

EXAMPLES = 50_000
SEEDS = (0, 2017, 2**63 - 1)
WORD = 2**32


def crc32(name: bytes) -> int:
    """CRC-32 as in ISO-HDLC (zip, PNG), bit by bit."""
    register = WORD - 1
    for byte in name:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0xEDB88320 if register & 1 else 0)
    return register ^ (WORD - 1)


def keys_of(seed: int) -> list[tuple[int, int]]:
    low, high = seed % WORD, seed // WORD
    return [((low + n * 0x9E3779B9) % WORD, (high + n * 0xBB67AE85) % WORD) for n in range(10)]


def block(keys: list[tuple[int, int]], a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    for left, right in keys:
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32) ^ b ^ left, q & 0xFFFFFFFF, (p >> 32) ^ d ^ right, p & 0xFFFFFFFF
    return a, b, c, d


def label_words(seed: int, count: int) -> list[tuple[int, int]]:
    """Words 0 and 1 of the stream ``labels`` for each example."""
    keys, purpose = keys_of(seed), crc32(b"labels")
    return [block(keys, 0, index % WORD, index // WORD, purpose)[:2] for index in range(count)]


def redrawn(labels: list[int], words: list[tuple[int, int]], p: float, classes: int) -> list[int]:
    bound = floor(Fraction(p) * WORD)
    return [
        second * classes // WORD if first < bound else label
        for label, (first, second) in zip(labels, words, strict=True)
    ]


def flipped(labels: list[int], words: list[tuple[int, int]], p: float, classes: int) -> list[int]:
    bound = floor(Fraction(p) * WORD)
    return [(label + 1) % classes if first < bound else label for label, (first, _) in zip(labels, words, strict=True)]


def wronged(labels: list[int], words: list[tuple[int, int]], p: float, classes: int) -> list[int]:
    bound = floor(Fraction(p) * WORD)
    return [
        (label + 1 + second * (classes - 1) // WORD) % classes if first < bound else label
        for label, (first, second) in zip(labels, words, strict=True)
    ]


@pytest.mark.parametrize("seed", SEEDS)
def test_both_implementations_give_the_same_labels(seed: int) -> None:
    labels = [(7 * index + index // 1000) % 10 for index in range(EXAMPLES)]
    words = label_words(seed, EXAMPLES)
    cases = [("random_labels", None, redrawn(labels, words, 1.0, 10))]
    cases += [("partially_corrupted_labels", p, redrawn(labels, words, p, 10)) for p in (0.0, 0.1, 0.25, 0.5, 1 / 3)]
    cases += [("random_signs", None, [second * 2 // WORD for _, second in words])]
    cases += [("wrong_labels", p, wronged(labels, words, p, 10)) for p in (0.2, 0.45, 1.0)]
    cases += [("pair_flipped_labels", p, flipped(labels, words, p, 10)) for p in (0.2, 0.45, 1.0)]

    column = np.array(labels)
    split = Dataset(np.zeros((EXAMPLES, 1), np.float32), column, 10, "none", "train")
    for name, p, expected in cases:
        spec = RunSpec(corruption=CorruptionSpec(name=name, fields={} if p is None else {"p": p}), seed=seed)
        assert corrupt(Splits(split, split), spec).train.labels.tolist() == expected, (name, p)


def test_both_implementations_agree_for_a_hundred_classes() -> None:
    labels = [index % 100 for index in range(2000)]
    expected = redrawn(labels, label_words(5, 2000), 0.8, 100)
    split = Dataset(np.zeros((2000, 1), np.float32), np.array(labels), 100, "none", "train")
    spec = RunSpec(corruption=CorruptionSpec(name="partially_corrupted_labels", fields={"p": 0.8}), seed=5)

    assert corrupt(Splits(split, split), spec).train.labels.tolist() == expected
