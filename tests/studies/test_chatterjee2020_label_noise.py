"""Chatterjee (2020) on label noise: the published protocol, and verdicts that follow the records."""

from __future__ import annotations

import pytest
from noisy_records import noisy_record, verdicts

from shattering.core.study import label_level, studies

STUDY = studies.get("chatterjee2020-label-noise")
STEPS = (0, 1, 10, 100, 1000, 10_000)


def gradients(share, fraction):
    """Orthogonal gradients of a thousand examples: the share is the same in a mini-batch and in the whole."""
    return {
        "pristine_share": share,
        "corrupt_share": 1 - share,
        "null_share_low": fraction - 0.05,
        "null_share_high": fraction + 0.05,
        "m_coherence": 1.0,
        "alpha": 1 / 1000,
        "pristine_m_coherence": 1.0,
        "pristine_alpha": 1 / (1000 * fraction),
        "corrupt_m_coherence": 1.0,
        "corrupt_alpha": 1 / (1000 * (1 - fraction)),
        "gradient_norm": 0.01,
    }


def world(spec, *, signal: bool):
    """A run as the paper tells it; or, without ``signal``, one in which the tags mean nothing."""
    level, jitter = label_level(spec), 1 + 0.01 * spec.seed
    fraction = 1 - 0.9 * level
    late = max(0.0, min(1.0, 0.25 + level))
    pristine = (0.1, 0.4, 0.8, 0.95, 1.0, 1.0)
    corrupt = (0.1, 0.1, 0.1, 0.1, 0.3 + 0.3 * late, 1.0) if signal else pristine
    rows = []
    for place, step in enumerate(STEPS):
        lead = (0.9, 0.9, 0.88, 0.4, 0.2, 0.2)[place] if signal else fraction + (0.01 if spec.seed % 2 else -0.01)
        row = {
            "step": round(step * jitter * (1 + level)),
            "unchanged_train_accuracy": pristine[place],
            "changed_train_accuracy": corrupt[place],
            "test_accuracy": (0.1, 0.5, 0.7, 0.9, 0.6, 0.5)[place],
        }
        rows.append(row | (gradients(lead, fraction) if level else {}))
    return noisy_record(spec, rows)


@pytest.fixture
def specs(request_for):
    return STUDY.specs(request_for("mnist", "small"))


def test_the_published_protocol(request_for) -> None:
    specs = STUDY.specs(request_for("mnist", "paper"))

    assert {label_level(spec) for spec in specs} == {0.0, 0.25, 0.5, 0.75, 1.0}
    for spec in specs:
        training = spec.training
        assert (spec.model.name, spec.model.fields) == ("mlp", {})  # whose defaults are one layer of 2048, Xavier
        assert (training.optimizer, training.learning_rate, training.momentum) == ("sgd", 0.1, 0.0)
        assert (training.batch_size, training.max_steps, training.schedule) == (100, 100_000, "constant")
        assert (training.weight_decay, training.augmentation, training.loss) == (0.0, "none", "cross_entropy")
        assert (spec.data.train_size, spec.data.test_size) == (None, None)
        assert not training.stop_when_fitted


def test_no_claim_has_a_number_that_nobody_could_read() -> None:
    assert {claim.published for claim in STUDY.claims} == {None}
    assert {claim.provenance for claim in STUDY.claims} == {"Q-note"}


def test_a_world_like_the_papers_shows_every_effect_that_it_can(specs) -> None:
    found = verdicts(STUDY, [world(spec, signal=True) for spec in specs])

    for (source, quantity), verdict in found.items():
        if "100%" in source:  # a control: there the measures would be wrong
            assert verdict == "effect not reproduced", quantity
        elif quantity.startswith(("steps to fit half of the pristine", "steps to fit half of the corrupt")):
            assert verdict in ("effect reproduced", "effect inconclusive"), quantity  # snapshots a decade apart
        else:
            assert verdict == "effect reproduced", (source, quantity)


def test_tags_without_meaning_show_none(specs) -> None:
    found = verdicts(STUDY, [world(spec, signal=False) for spec in specs])

    for (source, quantity), verdict in found.items():
        if quantity.startswith("share of pristine") and "100%" not in source:
            assert verdict in ("effect not reproduced", "effect inconclusive"), source
        if quantity == "steps to fit half: corrupt / pristine":
            assert (verdict == "effect reproduced") == ("100%" in source), source
        if "permuted" in quantity:
            assert verdict == "effect reproduced"


def test_two_seeds_cannot_tell(request_for) -> None:
    specs = STUDY.specs(request_for("mnist", "small", seeds=2))

    found = verdicts(STUDY, [world(spec, signal=True) for spec in specs])

    assert set(found.values()) <= {"effect inconclusive", "not run"}
