"""A fleet on digits with flipped labels: who is memorised, the shuffled control, and going on after a stop."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from shattering.core.errors import Stopped
from shattering.core.spec import CorruptionSpec, DataSpec
from shattering.core.streams import Stream
from shattering.data.load import load_data
from shattering.execution.control import Control
from shattering.execution.run import corrupted
from shattering.execution.simulate import simulate
from shattering.simulations.memorised_examples import REMOVED, THRESHOLDS, area
from shattering.simulations.registry import Bench, simulated
from shattering.simulations.subset_trainings import Recipe, Trainer, random_subsets

DATA = DataSpec(name="digits", train_size=80, test_size=100, whiten=False)
FLIPPED = CorruptionSpec(name="partially_corrupted_labels", fields={"p": 0.2})
SMALL = {"models": 16, "width": 24, "batch": 20, "epochs": 40, "rate": 0.1}


class Pieces:
    """What a fleet leaves of its work."""

    def __init__(self) -> None:
        self.pieces: dict[str, bytes] = {}

    def keep(self, name: str, payload: bytes) -> None:
        self.pieces[name] = payload

    def kept(self, name: str) -> bytes | None:
        return self.pieces.get(name)


@pytest.fixture(scope="module")
def record():
    return simulate(
        simulated("memorised_examples", 1, data=DATA, corruption=FLIPPED, **SMALL, repeats=1), load_data("digits")
    )


def test_flipped_labels_are_memorised_and_shuffled_subsets_show_nothing(record) -> None:
    last = record.last

    assert last["fitted"] > 0.99
    assert last["mean_flipped"] > last["mean_clean"] + 0.4
    assert last["auroc"] > 0.85
    assert abs(last["mean_shuffled"]) < 0.1
    assert last["shuffled_pairs"] == 0
    assert 0 < last["squared_error"] < 0.05


def test_rows_are_the_thresholds_and_what_was_removed(record) -> None:
    assert [row["threshold"] for row in record.rows] == list(THRESHOLDS)
    assert [row["removed"] for row in record.rows] == list(REMOVED)
    for name in ("share_flipped", "share_clean", "share_shuffled"):
        shares = [row[name] for row in record.rows]
        assert shares == sorted(shares, reverse=True)
    assert record.rows[0]["accuracy_without_memorised"] == record.rows[0]["accuracy_without_random"]
    assert all(0.3 < row["accuracy_without_random"] <= 1 for row in record.rows)


def test_without_flipped_labels_what_concerns_them_is_left_out() -> None:
    spec = simulated("memorised_examples", 0, data=DATA, **{**SMALL, "models": 10, "epochs": 3}, repeats=0)

    rows = simulate(spec, load_data("digits")).rows

    assert not {"auroc", "mean_flipped", "share_flipped", "removed"} & set(rows[0])
    assert "mean_clean" in rows[0]


def test_area_is_that_of_the_reference_ties_included() -> None:
    draw = np.random.default_rng(0)
    marked, others = draw.integers(5, size=40) / 4, draw.integers(4, size=60) / 4

    found = area(marked, others)

    truth = np.repeat([1, 0], [40, 60])
    assert found == pytest.approx(roc_auc_score(truth, np.concatenate([marked, others])))
    assert area(marked, np.empty(0)) is None


def test_a_fleet_goes_on_where_it_was_stopped(monkeypatch) -> None:
    monkeypatch.setattr("shattering.simulations.subset_trainings.PIECE", 4)
    spec = simulated("memorised_examples", 2, data=DATA, **{**SMALL, "models": 10, "epochs": 3}, repeats=0)
    splits, pieces = load_data("digits"), Pieces()
    whole = simulate(spec, splits)
    with pytest.raises(Stopped):
        simulate(spec, splits, Control(should_stop=lambda: len(pieces.pieces) >= 2, pieces=pieces))

    assert sorted(pieces.pieces) == ["subsets-0", "subsets-4"]
    assert simulate(spec, splits, Control(pieces=pieces)).rows == whole.rows


def test_a_training_has_its_own_seed_and_learns_its_subset() -> None:
    spec = simulated("memorised_examples", 0, data=DATA)
    both = corrupted(load_data("digits"), spec)
    bench = Bench(lambda purpose: Stream(0, purpose), both, False)
    trainer = Trainer(bench, Recipe((24,), 20, 0.1, 60, True), 2)
    first, second = random_subsets(bench, 2, 56, 80)

    said = trainer.predictions(first, 0)

    assert (said[first] == both.train.labels[first]).all()
    assert len(said) == 180
    assert np.array_equal(said, trainer.predictions(first, 0))
    assert not np.array_equal(said, trainer.predictions(first, 1))
    assert not np.array_equal(first, second)
