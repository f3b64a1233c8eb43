"""Chatterjee (2020) on winsorized SGD: the published protocol, and verdicts that follow the records."""

from __future__ import annotations

import pytest
from noisy_records import noisy_record, verdicts

from shattering.core.study import label_level, studies
from shattering.studies.chatterjee2020_winsorized_pictures import percent

STUDY = studies.get("chatterjee2020-winsorized")


def ending(spec, corrupt, pristine=1.0):
    """A run that ends with these fractions of wrong and of right labels fitted."""
    wobble = 0.004 * spec.seed
    rows = [
        {
            "step": step,
            "unchanged_train_accuracy": pristine - wobble,
            "changed_train_accuracy": max(0.0, corrupt - wobble),
            "test_accuracy": 0.8 - wobble,
        }
        for step in (0, 1, 100)
    ]
    return noisy_record(spec, rows)


@pytest.fixture
def specs(request_for):
    return STUDY.specs(request_for("mnist", "small"))


def test_the_published_protocol(request_for) -> None:
    specs = STUDY.specs(request_for("mnist", "paper"))

    assert {percent(ending(spec, 0.0)) for spec in specs} == {0.0, 1.0, 2.0, 4.0, 8.0}
    for spec in specs:
        training = spec.training
        assert spec.model.fields == {"depth": 3, "width": 256}
        assert (training.learning_rate, training.momentum, training.batch_size) == (0.1, 0.0, 100)
        assert training.max_steps == 100 * 600
        assert training.gradient == ("winsorized" if training.winsorize else "mean")


def test_every_c_clips_at_least_one_gradient_of_a_batch(specs) -> None:
    for spec in specs:
        assert spec.data.train_size % spec.training.batch_size == 0
        assert spec.training.winsorize * spec.training.batch_size >= 100 or spec.training.winsorize == 0


def test_a_second_network_has_about_the_papers_parameters_for_each_example(specs) -> None:
    narrow = [spec for spec in specs if spec.model.fields["width"] == 64]

    assert {percent(ending(spec, 0.0)) for spec in narrow} == {0.0, 1.0, 2.0, 4.0, 8.0}
    for spec in narrow:
        parameters = 785 * 64 + 2 * 65 * 64 + 65 * 10
        assert 5.6 < parameters / spec.data.train_size < 2.5 * 5.6
        assert spec.training.max_steps * spec.training.batch_size == 100 * spec.data.train_size


def test_memorisation_that_stops_is_seen(specs) -> None:
    left = {0.0: 1.0, 1.0: 0.5, 2.0: 0.05, 4.0: 0.03, 8.0: 0.02}

    found = verdicts(STUDY, [ending(s, left[s.training.winsorize], 1 - s.training.winsorize / 100) for s in specs])

    assert set(found.values()) == {"effect reproduced"}, found


def test_memorisation_that_goes_on_is_told(specs) -> None:
    found = verdicts(STUDY, [ending(spec, 1.0) for spec in specs])

    for (_, quantity), verdict in found.items():
        control = quantity.endswith("proper accuracy, c = 0")
        assert verdict == ("effect reproduced" if control else "effect not reproduced"), quantity


def test_the_answer_names_what_was_fitted_at_half_noise(specs) -> None:
    records = [ending(spec, 0.5 if label_level(spec) else 0.0) for spec in specs]

    assert "50% at c = 8" in STUDY.answer(records)
