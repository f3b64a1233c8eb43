"""Shares in mini-batches beside the average over every batch there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec, TrainingSpec
from shattering.measures.step_share import with_step_shares


def recorded(gradients, pristine, batch):
    """A run of one snapshot with the numbers that the gradient measures give for these gradients."""

    def aligned(rows):
        coherence = float(np.square(rows.sum(0)).sum() / np.square(rows).sum())
        return coherence, coherence / len(rows)

    total = gradients.sum(0)
    row = {"step": 0, "gradient_norm": float(np.linalg.norm(total)) / len(gradients)}
    row["m_coherence"], row["alpha"] = aligned(gradients)
    row["pristine_m_coherence"], row["pristine_alpha"] = aligned(gradients[pristine])
    row["corrupt_m_coherence"], row["corrupt_alpha"] = aligned(gradients[~pristine])
    row["pristine_share"] = float(gradients[pristine].sum(0) @ total / (total @ total))
    return Record(RunSpec(training=TrainingSpec(batch_size=batch)), Status.DONE, (row,))


@pytest.mark.parametrize("batch", [1, 2, 4, 7, 50])
def test_shares_are_those_of_the_average_batch(batch) -> None:
    draw = np.random.default_rng(0)
    gradients, pristine = draw.normal(size=(7, 3)) + 0.3, np.arange(7) < 3
    above = below = 0.0
    falls = {True: [], False: []}
    for rows in map(list, itertools.combinations(range(7), min(batch, 7))):
        total = gradients[rows].sum(0)
        above += float(gradients[[i for i in rows if pristine[i]]].sum(0) @ total)
        below += float(total @ total)
        for i in rows:
            falls[bool(pristine[i])].append(float(gradients[i] @ total) / len(rows))

    row = with_step_shares(recorded(gradients, pristine, batch)).last

    assert row["step_pristine_share"] == pytest.approx(above / below, rel=1e-12)
    assert row["step_corrupt_share"] == pytest.approx(1 - above / below, rel=1e-12)
    assert row["step_pristine_contribution"] == pytest.approx(np.mean(falls[True]), rel=1e-12)
    assert row["step_corrupt_contribution"] == pytest.approx(np.mean(falls[False]), rel=1e-12)
    assert row["pristine_fraction"] == pytest.approx(3 / 7)


def test_rows_without_two_groups_are_left_alone() -> None:
    record = Record(RunSpec(), Status.DONE, ({"step": 0, "m_coherence": 2.0, "alpha": 0.1},))

    assert with_step_shares(record).rows == record.rows
