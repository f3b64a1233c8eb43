"""A run whose training subset has one example in another's place."""

from __future__ import annotations

import numpy as np
import pytest

from shattering.core.errors import SpecError
from shattering.core.spec import RunSpec, SelectionSpec
from shattering.corruptions.registry import corrupt
from shattering.execution.estimate import time_step
from shattering.execution.run import execute
from shattering.execution.selection import choose_examples, require_examples
from tiny_runs import digits, tiny_spec


def chosen(**changes: object) -> np.ndarray:
    return choose_examples(digits(), tiny_spec(**changes)).train.source_indices


def test_one_place_holds_an_example_that_was_left_out() -> None:
    plain, first, last = chosen(), chosen(data__replaced=0), chosen(data__replaced=63)

    assert np.flatnonzero(plain != first).tolist() == [0]
    assert np.flatnonzero(plain != last).tolist() == [63]
    assert first[0] == last[63]
    assert first[0] not in plain
    assert chosen(data__replaced=0, seed=1)[0] != first[0]


def test_other_examples_keep_their_random_labels() -> None:
    specs = [tiny_spec(corruption__name="random_labels", data__replaced=place) for place in (None, 5)]
    before, after = (corrupt(choose_examples(digits(), spec), spec).train for spec in specs)

    others = np.arange(64) != 5
    assert np.array_equal(before.labels[others], after.labels[others])
    assert np.array_equal(before.inputs[others], after.inputs[others])
    assert not np.array_equal(before.inputs[5], after.inputs[5])


def test_it_is_a_run_of_its_own_that_trains_and_is_timed() -> None:
    plain, replaced = tiny_spec(), tiny_spec(data__replaced=5)
    assert plain.digest != replaced.digest
    assert tiny_spec(data__replaced=None).digest == plain.digest

    records = [execute(spec, digits())[0] for spec in (plain, replaced)]

    assert records[0].weights_sha256 != records[1].weights_sha256
    assert time_step(replaced, digits()).example_seconds >= 0


@pytest.mark.parametrize(
    ("changes", "identifier"),
    [
        ({"data__replaced": 64}, "replaced-out-of-range"),
        ({"data__replaced": 3, "data__train_size": None}, "replaced-without-spare"),
        ({"data__replaced": 3, "data__train_size": 1437}, "replaced-without-spare"),
    ],
)
def test_where_nothing_can_be_replaced_it_says_so(changes: dict[str, object], identifier: str) -> None:
    with pytest.raises(SpecError) as caught:
        require_examples(digits(), tiny_spec(**changes))

    assert caught.value.identifier == identifier
    assert "data." in caught.value.message


def test_it_does_not_go_with_a_selection() -> None:
    spec = tiny_spec(data__replaced=1).model_copy(update={"selection": SelectionSpec(parent=RunSpec())})

    with pytest.raises(SpecError) as caught:
        choose_examples(digits(), spec, None)

    assert caught.value.identifier == "replaced-with-selection"
