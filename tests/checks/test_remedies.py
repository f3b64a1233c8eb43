"""What would help: verdicts from known predictions, arms that a subject allows, and the learning curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audited import base_spec, digit_images, evidence, subject, table, trained

from shattering.checks.registry import Subject, checks
from shattering.checks.remedy_arms import arms, base_run, smaller_run
from shattering.core.finding import Finding, Table
from shattering.core.record import Record, Status
from shattering.core.spec import ModelSpec, RunSpec, override
from shattering.core.streams import Stream, events, uniform_classes
from shattering.data.arrays import from_arrays
from shattering.data.digits import digits
from shattering.execution.run import execute
from shattering.execution.selection import choose_examples

CHECK = checks.get("remedies")
TESTED = 400


def made(spec: RunSpec, share: float, generator: np.random.Generator, stopped: float | None = None) -> Record:
    """A run that is right on about this share of the test examples, the easy ones first."""
    labels = np.zeros(TESTED, np.int64)
    ease = np.linspace(0, 1, TESTED)

    def predictions(wanted: float) -> np.ndarray:
        return np.where(ease + generator.normal(0, 0.02, TESTED) < wanted, 0, 1).astype(np.int64)

    tested = {"index": np.arange(TESTED), "left_out": np.zeros(TESTED, bool), "label": labels}
    tested["prediction"] = predictions(share)
    if "early_stopping" in spec.measures.names:
        tested["stopped_prediction"] = predictions(stopped or share)
    row = {"step": 1, "test_accuracy": float((tested["prediction"] == 0).mean())}
    return Record(spec, Status.DONE, (row,), tested=tested, provenance={"seconds": 0.2})


def answered(who: Subject, shares: dict[str, float], seeds: int = 5) -> dict[str, Finding]:
    """Findings where the runs of the arms that the words name are right on these shares, and all others on 80%."""
    generator = np.random.default_rng(0)
    records = []
    for spec in CHECK.design(who, seeds):
        told = repr(spec.model_dump(exclude_defaults=True))
        share = next((value for word, value in shares.items() if word in told), 0.8)
        records.append(made(spec, share, generator, shares.get("stopped")))
    return {each.name: each for each in CHECK.answer(who, evidence(records, seeds)).findings}


def test_what_helps_what_hurts_and_what_cannot_be_told() -> None:
    found = answered(subject("table"), {"'dropout'": 0.9, "'width': 2": 0.7})

    assert "helps: +" in found["remedy_dropout_0_5"].statement
    assert "hurts: -" in found["remedy_width_2"].statement
    for name in ("remedy_weight_decay_0_0001", "remedy_weight_decay_0_01", "remedy_early_stopping"):
        assert "cannot be told" in found[name].statement
        assert (found[name].p_value or 0) > 0.05
    best = found["best_remedy"]
    assert best.statement.startswith("Dropout of 0.5 would help most")
    assert (best.level, best.value) == ("warning", found["remedy_dropout_0_5"].value)
    assert "over 6 tests" in best.method


def test_nothing_is_found_to_help_where_nothing_does() -> None:
    found = answered(subject("digits"), {})

    assert found["best_remedy"].value is None
    assert "None of 7 changes" in found["best_remedy"].statement
    assert all(finding.level != "warning" for finding in found.values())


def test_early_stopping_is_judged_by_its_own_predictions() -> None:
    assert "helps" in answered(subject("table"), {"stopped": 0.9})["remedy_early_stopping"].statement


def test_two_seeds_cannot_tell() -> None:
    found = answered(subject("table"), {"'dropout'": 0.9}, seeds=2)
    assert {finding.level for finding in found.values()} == {"unknown"}
    assert found["remedy_dropout_0_5"].value == pytest.approx(0.1, abs=0.03)


def test_a_falling_learning_curve_promises_more() -> None:
    shares = {"'train_size': 10": 0.6, "'train_size': 20": 0.7}
    who = subject("digits")
    falling = {"'train_size': 12": 0.6, "'train_size': 24": 0.72}
    flat = answered(who, {})["more_data_gain"]
    found = answered(who, falling)["more_data_gain"]

    assert flat.value is not None and flat.value < 0.01
    assert found.value is not None and 0.02 < found.value < 0.2
    assert found.low is not None and found.low <= found.value <= (found.high or 0)
    assert answered(subject("table"), shares)["more_data_gain"].n == 5


def test_ten_examples_have_no_learning_curve() -> None:
    assert answered(subject("ten rows"), {})["more_data_gain"].level == "unknown"


def test_arms_are_those_that_the_subject_allows() -> None:
    def names(who: Subject) -> tuple[list[str], list[str]]:
        found, refused = arms(who)
        return [arm.name for arm in found], sorted(refused)

    rows, images = Subject(base_spec(), table()), Subject(base_spec(), digit_images())
    assert names(rows) == (["weight_decay_0.0001", "weight_decay_0.01", "dropout_0.5", "width_2"], ["augmentation"])
    assert "augmentation" in names(images)[0]
    own = replace(rows, base=rows.base.model_copy(update={"model": ModelSpec(name="mine:build")}))
    assert names(own) == (["weight_decay_0.0001", "weight_decay_0.01"], ["augmentation", "dropout", "less width"])
    assert "model.fields.dropout" in arms(own)[1]["dropout"]
    told = replace(own, base=override(own.base, {"model.fields.hidden": 32, "model.fields.dropout": 0.2}))
    assert names(told) == (["weight_decay_0.0001", "weight_decay_0.01", "no_dropout", "hidden_8"], ["augmentation"])
    decayed = replace(rows, base=override(rows.base, {"training.weight_decay": 1e-3}))
    assert names(decayed)[0][:2] == ["no_weight_decay", "weight_decay_0.01"]


def test_parts_of_the_data_are_nested_within_a_seed() -> None:
    who = subject("digits")
    chosen = [
        set(choose_examples(who.splits, smaller_run(who, size, 3)).train.source_indices.tolist()) for size in (12, 24)
    ]
    assert len(chosen[0]) == 12
    assert chosen[0] < chosen[1]
    assert base_run(who, 3).data.train_size is None


def test_the_table_states_every_test() -> None:
    who = subject("table")
    generator = np.random.default_rng(0)
    records = [made(spec, 0.8, generator) for spec in CHECK.design(who, 3)]
    (exhibit,) = [each for each in CHECK.answer(who, evidence(records, 3)).exhibits if isinstance(each, Table)]

    assert len(exhibit.rows) == 6
    assert all(len(row) == len(exhibit.columns) for row in exhibit.rows)
    assert {row[1] for row in exhibit.rows} <= {"helps", "hurts", "cannot tell"}


@pytest.mark.slow
def test_early_stopping_is_found_to_help_where_labels_are_noisy() -> None:
    """Real trainings on digits with 30% of the labels redrawn, which a network fits to the ruin of its accuracy."""
    whole = digits()
    words = Stream(1, "planted-noise").words(np.arange(500))
    labels = whole.train.labels[:500].copy()
    redrawn = events(words[:, 0], 0.3)
    labels[redrawn] = uniform_classes(words[redrawn, 1], 10)
    tables = [split.inputs.reshape(len(split), -1) / 16.0 for split in (whole.train, whole.test)]
    splits = from_arrays(tables[0][:500], labels, tables[1], whole.test.labels, name="audited", num_classes=10)
    base = base_spec(learning_rate=3e-3, batch_size=50, max_steps=3000)
    base = base.model_copy(update={"model": ModelSpec(name="mlp", fields={"width": 128})})
    who = Subject(base, splits, pilot=execute(base, splits)[0])

    runs = trained([base_run(who, seed) for seed in (1, 2, 3)], splits)
    found = {each.name: each for each in CHECK.answer(who, evidence(runs, 3)).findings}

    assert "Early stopping helps" in found["remedy_early_stopping"].statement
    assert (found["remedy_early_stopping"].value or 0) > 0.05
