"""Neal et al. (2018): as networks widen, both bias and variance may fall."""

from __future__ import annotations

from typing import Any

from shattering.core.curves import EffectOf, Number, holds_if, holds_within, number_claim
from shattering.core.record import Record
from shattering.core.spec import DataSpec, RunSpec
from shattering.core.study import (
    Claim,
    Paper,
    Provenance,
    Request,
    Study,
    refuse_models,
    register,
)
from shattering.measures.curve_shapes import (
    first_over_largest,
    largest_climb_over_first,
    ratio_to_first,
    ratio_to_largest,
)
from shattering.simulations.registry import simulated
from shattering.studies.neal2018_pictures import FIGURES, LINEAR, NETWORK, answer, of

NEAL_2018 = Paper(
    authors="Neal, Mittal, Baratin, Tantia, Scicluna, Lacoste-Julien, Mitliagkas",
    year=2018,
    title="A Modern Take on the Bias-Variance Tradeoff in Neural Networks",
    venue="arXiv:1810.08591",
    url="https://arxiv.org/abs/1810.08591",
)

SEEDS = {"smoke": 1, "small": 5, "paper": 5}
FIELDS: dict[str, dict[str, Any]] = {
    "smoke": {"examples": 30, "samples": 2, "trainings": 2, "steps": 20, "widths": [2, 8]},
    "small": {},
    "paper": {"samples": 50, "trainings": 10, "widths": [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]},
}


def specs(request: Request) -> list[RunSpec]:
    """Networks of growing width, and a linear one as the control, for each seed."""
    refuse_models(request, "neal2018-bias-variance has networks of its own; run it without --models.")
    data = DataSpec(name=request.data.name, test_size=min(1000, request.data.test_size), whiten=False)
    fields = {**FIELDS[request.scale]}
    control = {name: value for name, value in fields.items() if name != "widths"}
    return [
        simulated("width_variance", seed, data=data, **chosen)
        for seed in range(request.seeds or SEEDS[request.scale])
        for chosen in (fields, {**control, "hidden": False})
    ]


def share_of_training(record: Record) -> float | None:
    """The share of the variance that is between trainings on one sample, at the last row."""
    total = record.last.get("variance", 0.0)
    return float(record.last["optimisation_variance"]) / total if total > 0 else None


def share_at_peak(record: Record) -> float | None:
    """The same where the variance is largest."""
    rows = [row for row in record.rows if row["variance"] > 0]
    top = max(rows, key=lambda row: row["variance"], default=None)
    return None if top is None else float(top["optimisation_variance"]) / float(top["variance"])


def _claim(
    kind: str,
    source: str,
    quantity: str,
    known: Provenance,
    number: Number,
    effect: EffectOf,
) -> Claim:
    return number_claim(
        lambda records: of(records, kind),
        number,
        effect,
        source=source,
        quantity=f"{kind}: {quantity}",
        provenance=known,
        data="mnist",
    )


CLAIMS = (
    _claim(
        NETWORK,
        "Bias falls with width",
        "bias² at the largest width over the smallest",
        "Q-abs",
        ratio_to_first("bias"),
        lambda found: holds_within(found, "below one half", high=0.5),
    ),
    _claim(
        NETWORK,
        "Bias falls with width",
        "largest climb of bias², over its first value",
        "V",
        largest_climb_over_first("bias"),
        lambda found: holds_within(found, "at most 0.1, so it only falls", high=0.1),
    ),
    _claim(
        NETWORK,
        "Variance falls with width",
        "variance at the largest width over its largest",
        "Q-abs",
        ratio_to_largest("variance"),
        lambda found: holds_within(found, "at most 0.7", high=0.7),
    ),
    _claim(
        NETWORK,
        "It is the training's part that vanishes",
        "training's variance at the largest width over its largest",
        "Q-text",
        ratio_to_largest("optimisation_variance"),
        lambda found: holds_within(found, "at most one half", high=0.5),
    ),
    _claim(
        NETWORK,
        "What the published widths leave out: variance rises first",
        "variance at the smallest width over its largest",
        "V",
        first_over_largest("variance"),
        lambda found: holds_within(found, "at most 0.7", high=0.7),
    ),
    _claim(
        NETWORK,
        "The training's share where the variance is largest",
        "share of the variance",
        "V",
        share_at_peak,
        lambda found: holds_if(found, "more than a quarter", above=0.25),
    ),
    _claim(
        LINEAR,
        "Control: a convex loss leaves nothing to the training",
        "training's share of the variance",
        "D",
        share_of_training,
        lambda found: holds_within(found, "at most 0.05", high=0.05),
    ),
)


study = register(
    Study(
        name="neal2018-bias-variance",
        paper=NEAL_2018,
        question="Do bias and variance of networks both fall as they widen, and whose variance is it that falls?",
        datasets=("digits", "mnist"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=lambda request: (
            "The paper trains by SGD and on several data sets, with rates tuned for each experiment; here Adam at one "
            "rate trains every width on all examples of a sample at once, for the same number of steps.",
            "The paper's widths mostly lie beyond the peak of the variance; ours begin before it.",
            *request.data.notes,
        ),
        choices=(
            ("samples", "6 samples of 100 examples, 4 trainings on each; the same for every width"),
            ("loss", "half the squared distance to the one-hot label; parts are of the squared distance"),
            ("control", "a linear network, whose loss is convex"),
        ),
    )
)
