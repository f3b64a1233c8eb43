"""A team of two forked processes: what it computes is what one process computes, and it agrees on everything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from shattering.core.errors import DataError
from shattering.core.spec import RunSpec
from shattering.execution.control import Control
from shattering.execution.run import execute
from shattering.training.parallel import PeerLost, Team
from tiny_runs import digits, fork_driver, tiny_spec

DOUBLE = {"compute__dtype": "float64", "training__momentum": 0.5, "training__max_steps": 7}


def two(place: Path, task: Callable[[Team], Any]) -> list[Any]:
    """What ``task`` returns in each of two processes that form a team."""
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")

    def member(rank: int) -> Callable[[], Any]:
        def begin() -> Any:
            dist.init_process_group("gloo", init_method=f"file://{place}/meet", rank=rank, world_size=2)
            return task(Team())

        return begin

    drivers = [fork_driver(member(rank)) for rank in range(2)]
    return [driver.end() for driver in drivers]


def trained(spec: RunSpec, team: Team | None) -> tuple[list[float], list[float], int]:
    """The weights, the test accuracies and the running hits at the end."""
    record, model = execute(spec, digits(), Control(team=team))
    weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    return weights.tolist(), [float(row["test_loss"]) for row in record.rows], int(record.summary["steps"] or 0)


@pytest.mark.parametrize("batch", [24, 31])  # batches of 24, 24, 16; and of 31, 31, 2: too few to be shared
def test_two_processes_train_as_one(tmp_path: Path, batch: int) -> None:
    spec = tiny_spec(training__batch_size=batch, **DOUBLE)
    weights, losses, steps = trained(spec, None)

    first, second = two(tmp_path, lambda team: trained(spec, team))

    assert first == second  # to the bit
    assert first[2] == steps == 7
    # float64: the order of sums differs.
    np.testing.assert_allclose(first[0], weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(first[1], losses, rtol=1e-9)


def test_shares_cover_a_batch_and_weigh_one(tmp_path: Path) -> None:
    def shares(team: Team) -> Any:
        found = []
        for count in (2, 3, 4, 5, 64):
            rows = torch.arange(count)
            found.append((team.share(rows).tolist(), team.weight(rows), team.span(count), team.largest_span(count)))
        return found

    for count, one, other in zip((2, 3, 4, 5, 64), *two(tmp_path, shares), strict=True):
        together = one[0] if one[0] == other[0] else one[0] + other[0]
        assert together == list(range(count)) and one[1] + other[1] == pytest.approx(1)
        assert min(len(one[0]), len(other[0])) >= 2
        assert one[2][0] == 0 and one[2][1] == other[2][0] and other[2][1] == count
        assert one[3] == max(span[1] - span[0] for span in (one[2], other[2]))


def test_gathered_parts_are_in_order(tmp_path: Path) -> None:
    def gathered(team: Team) -> Any:
        every = torch.arange(10, dtype=torch.float64).reshape(5, 2)
        first, end = team.span(5)
        return team.gather(every[first:end], 5).tolist()

    whole = torch.arange(10, dtype=torch.float64).reshape(5, 2).tolist()
    assert two(tmp_path, gathered) == [whole, whole]


def test_one_asks_to_stop_and_one_is_in_trouble_all_know(tmp_path: Path) -> None:
    def talk(team: Team) -> Any:
        said: list[Any] = [team.agree(False), team.agree(team.rank == 1), team.told(f"from {team.rank}")]
        if team.rank == 1:
            team.note(DataError("data-image-damaged", "cat.png cannot be decoded."))
        try:
            team.agree(False)
        except DataError as error:
            said += [error.identifier, error.message]
        return [*said, team.agree(False)]

    expected = [False, True, "from 0", "data-image-damaged", "cat.png cannot be decoded.", False]
    assert two(tmp_path, talk) == [expected, expected]


def test_a_lost_partner_is_told_in_a_sentence(tmp_path: Path) -> None:
    def leave(team: Team) -> Any:
        team.agree(False)
        if team.rank == 1:
            return "gone"
        try:
            while True:
                team.agree(False)
        except PeerLost as error:
            return [error.identifier, error.message]

    (identifier, message), _ = two(tmp_path, leave)
    assert identifier == "peer-lost" and "run the same command again" in message and "\n" not in message
