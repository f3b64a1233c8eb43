"""Easy and hard halves: which runs there are, and verdicts that follow the records."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from noisy_records import verdicts

from shattering.core.study import studies
from shattering.studies.chatterjee2022_easy_hard_pictures import ANOTHER, EASY, HARD, PLACES, RANDOM, halves, part_of

STUDY = studies.get("chatterjee2022-easy-hard")


@pytest.fixture
def specs(request_for):
    return STUDY.specs(request_for("mnist", "small"))


@pytest.fixture
def records(specs, record_of):
    """Runs that end with a test accuracy of their half, and learn their examples in an order of noise and signal."""

    def build(tested, noise):
        made = []
        for spec in specs:
            draw = np.random.default_rng(spec.seed)
            record = record_of(spec, test_accuracy=tested.get(part_of(record_of(spec)), 0.9) + 0.002 * spec.seed)
            steps = np.argsort(np.arange(200) + noise * draw.normal(size=200))
            columns = {"index": np.arange(200), "label": np.arange(200) % 10, "learning_step": steps}
            made.append(replace(record, examples=columns if spec.selection is None else {}))
        return made

    return build


def test_halves_are_of_the_run_with_the_same_seed_and_the_same_data(specs) -> None:
    parents = {spec.digest: spec for spec in specs if spec.selection is None}

    assert len(parents) == 5
    assert {spec.seed_of("subset") for spec in parents.values()} == {0}
    for spec in specs:
        if spec.selection is not None:
            parent = parents[spec.selection.parent.digest]
            assert "learning_step" in parent.measures.names
            assert (spec.seed, spec.training, spec.model, spec.data) == (
                parent.seed,
                parent.training,
                parent.model,
                parent.data,
            )


def test_every_parent_has_one_half_of_each_kind_and_all_are_of_one_size(specs, record_of) -> None:
    records = [record_of(spec) for spec in specs]

    assert {part: len(halves(records, part)) for part in PLACES} == {EASY: 5, RANDOM: 5, ANOTHER: 5, HARD: 5}
    assert len({spec.sizes(60_000, 10_000) for spec in specs if spec.selection is not None}) == 1
    assert len({spec.seed_of("selection") for spec in specs if part_of(record_of(spec)) in (RANDOM, ANOTHER)}) == 10


def test_easy_halves_that_generalise_better_are_seen(records) -> None:
    found = verdicts(STUDY, records({EASY: 0.99, HARD: 0.8, RANDOM: 0.9, ANOTHER: 0.9}, noise=10.0))

    assert set(found.values()) == {"effect reproduced"}, found


def test_halves_alike_and_seeds_that_disagree_are_told(records) -> None:
    found = verdicts(STUDY, records({EASY: 0.9, HARD: 0.9, RANDOM: 0.9, ANOTHER: 0.8}, noise=1e6))

    assert "effect reproduced" not in found.values(), found


def test_a_parent_alone_gives_no_answer(specs, record_of) -> None:
    assert "no answer" in STUDY.answer([record_of(spec) for spec in specs if spec.selection is None])
