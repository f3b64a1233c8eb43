"""Tables of binary operations: against the operations themselves, one pair at a time."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from shattering.data.binary_operations import MODULAR, ON_S5, PAPER_MODULUS, SMALL_MODULUS
from shattering.data.dataset import datasets
from shattering.data.load import load_data

P = SMALL_MODULUS
PLAIN = {
    "addition": lambda x, y: x + y,
    "subtraction": lambda x, y: x - y,
    "division": lambda x, y: x * pow(y, -1, P),
    "division_or_subtraction": lambda x, y: x * pow(y, -1, P) if y % 2 else x - y,
    "sum_of_squares": lambda x, y: x**2 + y**2,
    "quadratic_form": lambda x, y: x**2 + x * y + y**2,
    "quadratic_form_and_x": lambda x, y: x**2 + x * y + y**2 + x,
    "cubic": lambda x, y: x**3 + x * y,
    "cubic_and_y": lambda x, y: x**3 + x * y**2 + y,
}


def pairs(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    half = inputs.shape[1] // 2
    assert (inputs[:, :half].sum(axis=1) == 1).all()
    assert (inputs[:, half:].sum(axis=1) == 1).all()
    return inputs[:, :half].argmax(axis=1), inputs[:, half:].argmax(axis=1)


def test_all_published_operations_are_registered() -> None:
    names = {f"{name}_mod_{modulus}" for name in MODULAR for modulus in (SMALL_MODULUS, PAPER_MODULUS)}

    assert set(MODULAR) == set(PLAIN)
    assert len(ON_S5) == 3
    assert names | {f"s5_{name}" for name in ON_S5} <= set(datasets.names())


@pytest.mark.parametrize("name", MODULAR)
def test_an_answer_is_the_operation_on_its_pair(name: str) -> None:
    splits = load_data(f"{name}_mod_{P}")
    first, second = pairs(splits.train.inputs)

    assert len(splits.train) == P * (P - 1 if name == "division" else P) == len(set(zip(first, second, strict=True)))
    assert splits.train.num_classes == P
    for row in range(0, len(first), 37):
        assert splits.train.labels[row] == PLAIN[name](int(first[row]), int(second[row])) % P
    assert splits.test.fingerprint == splits.train.fingerprint


def test_the_paper_s_division_inverts_multiplication() -> None:
    splits = load_data("division_mod_97")
    first, second = pairs(splits.train.inputs)

    assert len(splits.train) == 97 * 96
    assert (splits.train.labels * second % 97 == first).all()


@pytest.mark.parametrize("name", ON_S5)
def test_an_answer_is_the_operation_on_permutations(name: str) -> None:
    splits = load_data(f"s5_{name}")
    first, second = pairs(splits.train.inputs)
    elements = list(permutations(range(5)))

    def after(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(left[place] for place in right)

    assert len(splits.train) == 120 * 120
    for row in range(0, len(first), 211):
        x, y = elements[first[row]], elements[second[row]]
        inverse = tuple(x.index(place) for place in range(5))
        wanted = {"product": after(x, y), "conjugation": after(after(x, y), inverse), "sandwich": after(after(x, y), x)}
        assert elements[splits.train.labels[row]] == wanted[name]
