"""Tables of binary operations, modulo a prime and on permutations of five: what grokking is watched on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shattering.data.checks import frozen
from shattering.data.dataset import Dataset, Splits, dataset, moments

Whole = NDArray[np.int64]
Operation = Callable[[Whole, Whole, int], Whole]

PAPER_MODULUS, SMALL_MODULUS = 97, 59
"""The paper's, and one whose table trains in seconds."""

NOTE = (
    "The training split is the whole table, and so is the test split: take a part of it with data.train_size, and what "
    "is left out as the test set with data.tested_on=left_out."
)


def quotient(x: Whole, y: Whole, modulus: int) -> Whole:
    """x · y⁻¹ modulo a prime, 0 where y is 0; the inverse is y to the power of ``modulus`` - 2 (Fermat)."""
    found, power, rest = np.ones_like(y), y % modulus, modulus - 2
    while rest:
        if rest % 2:
            found = found * power % modulus
        power, rest = power * power % modulus, rest // 2
    return x * found % modulus


MODULAR: dict[str, tuple[str, Operation]] = {
    "addition": ("x + y", lambda x, y, p: (x + y) % p),
    "subtraction": ("x - y", lambda x, y, p: (x - y) % p),
    "division": ("x / y for y from 1", quotient),
    "division_or_subtraction": (
        "x / y where y is odd, x - y elsewhere",
        lambda x, y, p: np.where(y % 2 == 1, quotient(x, y, p), (x - y) % p),
    ),
    "sum_of_squares": ("x² + y²", lambda x, y, p: (x * x + y * y) % p),
    "quadratic_form": ("x² + xy + y²", lambda x, y, p: (x * x + x * y + y * y) % p),
    "quadratic_form_and_x": ("x² + xy + y² + x", lambda x, y, p: (x * x + x * y + y * y + x) % p),
    "cubic": ("x³ + xy", lambda x, y, p: (x**3 + x * y) % p),
    "cubic_and_y": ("x³ + xy² + y", lambda x, y, p: (x**3 + x * y * y + y) % p),
}
"""The paper's operations modulo a prime: formula, and function of x, y and the modulus."""


def _after(first: Whole, second: Whole) -> Whole:
    """The permutation that does ``second``, then ``first``, row by row."""
    return np.take_along_axis(first, second, axis=1)


def _inverse(elements: Whole) -> Whole:
    return np.argsort(elements, axis=1)


ON_S5: dict[str, tuple[str, Callable[[Whole, Whole], Whole]]] = {
    "product": ("x·y", _after),
    "conjugation": ("x·y·x⁻¹", lambda x, y: _after(_after(x, y), _inverse(x))),
    "sandwich": ("x·y·x", lambda x, y: _after(_after(x, y), x)),
}
"""The paper's operations on permutations of five elements; the right factor acts first."""


def one_hot_pairs(x: Whole, y: Whole, size: int) -> NDArray[np.float32]:
    """``[n, 2 · size]``: a one at place x and a one at place ``size`` + y."""
    inputs = np.zeros((len(x), 2 * size), np.float32)
    rows = np.arange(len(x))
    inputs[rows, x] = inputs[rows, size + y] = 1
    return inputs


def _table(name: str, x: Whole, y: Whole, answers: Whole, size: int) -> Splits:
    inputs = one_hot_pairs(x, y, size)
    train = Dataset(frozen(inputs), answers, size, name, "train", 1.0, moments=moments(inputs), notes=(NOTE,))
    return Splits(train, replace(train, split="test"))


def modular(operation: str, modulus: int, folder: Path | None = None) -> Splits:
    """The table of one of `MODULAR`, in rows of x and columns of y; the classes are the residues.

    ``folder`` is not used.
    """
    x, y = (place.ravel() for place in np.indices((modulus, modulus)))
    if operation == "division":
        x, y = x[y > 0], y[y > 0]
    return _table(f"{operation}_mod_{modulus}", x, y, MODULAR[operation][1](x, y, modulus), modulus)


def on_s5(operation: str, folder: Path | None = None) -> Splits:
    """The table of one of `ON_S5`; elements and classes are the 120 permutations in lexicographic order.

    ``folder`` is not used.
    """
    elements = np.array(list(permutations(range(5))))
    places = elements @ 5 ** np.arange(4, -1, -1)  # ascending, since the order is lexicographic
    x, y = (place.ravel() for place in np.indices((len(elements), len(elements))))
    answers = ON_S5[operation][1](elements[x], elements[y])
    found = np.searchsorted(places, answers @ 5 ** np.arange(4, -1, -1))
    return _table(f"s5_{operation}", x, y, found, len(elements))


for _name, (_formula, _) in MODULAR.items():
    for _modulus in (SMALL_MODULUS, PAPER_MODULUS):
        dataset(
            f"{_name}_mod_{_modulus}",
            summary=f"all pairs under {_formula} modulo {_modulus}, as two one-hot vectors; made by the program",
        )(partial(modular, _name, _modulus))
for _name in ON_S5:
    _formula = ON_S5[_name][0]
    dataset(f"s5_{_name}", summary=f"all pairs of permutations of five under {_formula}, one-hot; made by the program")(
        partial(on_s5, _name)
    )
