"""Which fleets there are, and verdicts that follow what they found."""

from __future__ import annotations

import pytest
from noisy_records import verdicts

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.study import studies
from shattering.simulations.memorised_examples import REMOVED, THRESHOLDS
from shattering.studies.feldman2020_claims import noisy, untouched

STUDY = studies.get("feldman2020-memorisation")


@pytest.fixture
def specs(request_for):
    return STUDY.specs(request_for("mnist", "small"))


@pytest.fixture
def records(specs):
    """Fleets that end with these numbers, a little apart from each other."""

    def build(cost: float, flipped: float, shuffled: float, clean: float) -> list[Record]:
        made = []
        for spec in specs:
            noise = 0.001 * spec.seed
            rows = []
            for place, (threshold, removed) in enumerate(zip(THRESHOLDS, REMOVED, strict=True)):
                row = {"step": place + 1, "threshold": threshold, "removed": removed, "share_clean": clean + noise}
                row |= {
                    "accuracy_without_random": 0.9 - noise,
                    "accuracy_without_memorised": 0.9 - cost * place + noise,
                }
                row |= {"mean_flipped": flipped - noise, "mean_clean": clean + noise, "auroc": flipped + noise}
                row |= {"split_half": flipped + noise, "unique_helper": flipped - noise, "squared_error": 0.001 + noise}
                row |= {
                    "mean_shuffled": shuffled + noise,
                    "shuffled_auroc": 0.5 + shuffled + noise,
                    "shuffled_pairs": 0,
                }
                rows.append(row)
            made.append(Record(spec, Status.DONE, tuple(rows)))
        return made

    return build


def test_fleets_with_and_without_flipped_labels(specs, records) -> None:
    made = records(0.01, 0.97, 0.0, 0.02)

    assert (len(noisy(made)), len(untouched(made))) == (10, 5)
    (share,) = {spec.corruption.fields["p"] for spec in specs if spec.corruption.fields}
    assert share == pytest.approx(0.05 / 0.9)
    assert all(spec.data.crop == 20 for spec in specs)


def test_the_published_effects_are_seen(records) -> None:
    found = verdicts(STUDY, records(0.01, 0.97, 0.0, 0.02))

    assert set(found.values()) == {"effect reproduced"}, found


def test_memorised_examples_of_no_use_and_a_control_that_shows_something_are_told(records) -> None:
    found = verdicts(STUDY, records(-0.01, 0.4, 0.3, 0.5))

    seen = [quantity for (_, quantity), verdict in found.items() if verdict == "effect reproduced"]
    assert all("bound" in quantity or "help test examples" in quantity for quantity in seen), seen


def test_other_networks_are_refused(request_for) -> None:
    with pytest.raises(SpecError, match="leave --models out"):
        STUDY.specs(request_for("mnist", "small", models=("mlp",)))
