"""What a run is told while it trains, and whom it tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from shattering.core.record import Row
from shattering.training.ways import PLAIN

if TYPE_CHECKING:
    from shattering.learners.desk import Pieces
    from shattering.training.estate import Estate
    from shattering.training.parallel import Team


class Checkpoints(Protocol):
    """Where a run keeps its checkpoints."""

    def save(self, step: int, payload: bytes) -> None: ...
    def newest(self) -> Iterator[tuple[int, bytes]]: ...


@dataclass(frozen=True)
class Control:
    """What a run is told, and tells, while it trains.

    Args:
        should_stop: whether the user asked to stop.
        beat: called before every update with the number of updates made.
        saw: called with every snapshot's row.
        checkpoints: where to keep checkpoints; none: nowhere.
        checkpoint_seconds: at least so long between two of them.
        pieces: where a learner keeps its unfinished work; none: nowhere.
        team: the processes that train together; none: this one alone.
        way: of making updates; a run that cannot go it goes the plain one, and says so.
        start: what the run that this one starts from left; none where it starts from none.
        leaves: steps whose weights it leaves to others; none: it leaves nothing.
        left: is given what it leaves, at the end, unless it diverged.
    """

    should_stop: Callable[[], bool] = lambda: False
    beat: Callable[[int], None] = lambda step: None
    saw: Callable[[Row], None] = lambda row: None
    checkpoints: Checkpoints | None = None
    checkpoint_seconds: float = 20.0
    pieces: Pieces | None = None
    team: Team | None = None
    way: str = PLAIN
    start: Estate | None = None
    leaves: frozenset[int] | None = None
    left: Callable[[Estate], None] = lambda estate: None
