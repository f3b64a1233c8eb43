"""How many runs of which size each scale of the memorisation study has."""

from __future__ import annotations

from dataclasses import dataclass

from shattering.core.study import Scale


@dataclass(frozen=True)
class Design:
    """The runs of a scale: every part of the paper that it has.

    Args:
        examples: trained on under label noise, and how many are tested on.
        tested: test examples.
        width: of both hidden layers.
        steps: updates under label noise.
        levels: of label noise.
        narrow: other widths, and the levels that they are trained at.
        sizes: numbers of examples whose time to fit is taken.
        fit_steps: the budget of these.
        dropout: rates, of networks trained on true and on random labels.
        dropout_steps: their updates.
        tracked: examples of the easiness and sensitivity experiments.
        repeats: trainings whose first epoch is looked at.
        unrolled: updates that the loss is derived through, five times on the way.
        own_class: whether the sensitivity is also taken with a class for each example.
        batch: examples of an update.
        rate: of SGD without momentum.
    """

    examples: int
    tested: int | None
    width: int
    steps: int
    levels: tuple[float, ...]
    narrow: tuple[tuple[int, ...], tuple[float, ...]]
    sizes: tuple[int, ...]
    fit_steps: int
    dropout: tuple[float, ...]
    dropout_steps: int
    tracked: int
    repeats: int
    unrolled: int
    own_class: bool = False
    batch: int = 50
    rate: float = 0.1


DESIGNS: dict[Scale, Design] = {
    "smoke": Design(
        100, 60, 32, 40, (0.0, 0.8), ((8,), (0.8,)), (60, 120), 40, (), 40, 60, 3, 10, batch=20
    ),
    "small": Design(
        2000, 1000, 256, 1600, (0.0, 0.2, 0.4, 0.6, 0.8), ((16, 64), (0.0, 0.8)), (250, 500, 1000), 4000,
        (0.0, 0.5), 800, 1000, 30, 500,
    ),
    "paper": Design(
        50_000, None, 4096, 390_000, (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        ((16, 64, 256, 1024), (0.0, 0.2, 0.4, 0.6, 0.8)), (1000, 5000, 10_000, 50_000), 390_000,
        (0.0, 0.25, 0.5, 0.75, 0.9), 390_000, 1000, 100, 1000, own_class=True, batch=128, rate=0.01,
    ),
}  # fmt: skip
SEEDS = {"smoke": 1, "small": 5, "paper": 5}
