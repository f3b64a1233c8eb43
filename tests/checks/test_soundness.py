"""Is the evaluation sound: planted copies, conflicts and shifts are found, and sound data are left in peace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from audited import base_spec, subject

from shattering.checks.class_shares import balanced_accuracy, label_shift
from shattering.checks.duplicates import exact_copies, near_copies
from shattering.checks.registry import Evidence, Subject, checks
from shattering.core.finding import Answer, Finding, Gallery, Table
from shattering.core.record import Record, Status
from shattering.data.dataset import Dataset, Splits

CHECK = checks.get("soundness")


def rows(train: np.ndarray, train_labels: list[int], test: np.ndarray, test_labels: list[int]) -> Splits:
    classes = max(*train_labels, *test_labels) + 1
    return Splits(
        Dataset(train.astype(np.float32), np.array(train_labels), classes, "planted", "train", 1.0),
        Dataset(test.astype(np.float32), np.array(test_labels), classes, "planted", "test", 1.0),
    )


def answered(splits: Splits, predictions: list[int] | None = None) -> tuple[dict[str, Finding], Answer]:
    pilot = None
    if predictions is not None:
        tested = {
            "index": splits.test.source_indices,
            "left_out": np.zeros(len(predictions), bool),
            "label": splits.test.labels,
            "prediction": np.array(predictions),
        }
        pilot = Record(base_spec(), Status.DONE, ({"step": 1},), tested=tested, provenance={"seconds": 2.0})
    answer = CHECK.answer(Subject(base_spec(), splits, pilot=pilot), Evidence())
    return {finding.name: finding for finding in answer.findings}, answer


@pytest.fixture
def planted() -> Splits:
    """Six training rows, two of them equal with different labels, and four test rows, two of them copies of those."""
    train = np.array([[0, 0], [0, 1], [0, 1], [1, 0], [2, 2], [3, 3]])
    test = np.array([[0, 0], [2, 2], [5, 5], [6, 6]])
    return rows(train, [0, 0, 1, 1, 0, 1], test, [0, 1, 0, 1])


def test_copies_and_conflicts_are_counted(planted: Splits) -> None:
    found, answer = answered(planted, [0, 1, 1, 0])

    assert found["test_copies_in_train"].value == 0.5
    assert found["test_copies_in_train"].level == "warning"
    assert found["conflicting_labels"].value == pytest.approx(1 / 6)
    assert "83.3%" in found["conflicting_labels"].statement
    assert "1 input has another label in the test split" in found["conflicting_labels"].statement
    assert found["copies_within_splits"].value == pytest.approx(1 / 6)
    (copies,) = [each for each in answer.exhibits if isinstance(each, Table) and each.name == "copies"]
    assert len(copies.rows) == 3
    assert copies.rows[0][6] is True
    (gallery,) = [each for each in answer.exhibits if isinstance(each, Gallery) and each.name == "copies"]
    assert ("test", 1, (("train", 4),)) in [(each.split, each.index, each.related) for each in gallery.examples]


def test_accuracy_without_the_copies_is_told(planted: Splits) -> None:
    found, answer = answered(planted, [0, 1, 1, 0])
    (parts,) = [each for each in answer.exhibits if isinstance(each, Table) and each.name == "accuracy_by_part"]

    assert found["test_accuracy"].value == 0.5
    assert {row[0]: row[1:3] for row in parts.rows} == {
        "the whole test split": (4, 0.5),
        "without copies of training examples": (2, 0.0),
        "without inputs that have several labels": (3, pytest.approx(1 / 3)),
    }
    assert "without copies of training examples it is 0.0% of 2 examples" in found["test_accuracy"].statement
    assert found["test_accuracy"].cost.runs == 1


def test_a_test_split_of_copies_alone_is_warned_of() -> None:
    train = np.arange(12.0).reshape(6, 2)
    found, _ = answered(rows(train, [0, 1, 0, 1, 0, 1], train[:4], [0, 1, 0, 1]), [0, 1, 0, 1])

    accuracy = found["test_accuracy"]
    assert (accuracy.value, accuracy.level) == (1.0, "warning")
    assert "no test example is left without copies of training examples" in accuracy.statement
    assert "No test example is left without copies of training examples" in accuracy.caveats[0]


def test_sound_data_raise_no_warning() -> None:
    generator = np.random.default_rng(0)
    labels = [0, 1] * 30
    splits = rows(generator.normal(size=(60, 3)), labels, generator.normal(size=(60, 3)), labels)

    found, _ = answered(splits, labels)

    assert {finding.level for finding in found.values()} == {"good", "note"}
    missing = found["missing_classes"]
    assert (missing.value, missing.unit) == (0, "missing")  # the report says "0 missing"
    assert missing.statement == "All 2 classes occur in both splits; none is missing."


def test_small_and_missing_classes_are_told() -> None:
    generator = np.random.default_rng(0)
    labels = [0] * 50 + [1] * 10
    splits = rows(generator.normal(size=(60, 3)), labels, generator.normal(size=(40, 3)), [0] * 38 + [2] * 2)

    found, _ = answered(splits, [0] * 40)

    assert found["class_imbalance"].value == 5.0
    assert found["class_imbalance"].level == "warning"
    assert "the training split lacks 2 and the test split lacks 1" in found["missing_classes"].statement
    assert found["balanced_accuracy"].value == 0.5
    assert found["label_shift"].level == "warning"
    assert found["test_accuracy"].statement.count("without classes that training lacks") == 1


def test_zeros_of_either_sign_are_copies() -> None:
    splits = rows(np.array([[0.0, 1], [2, 0.0], [2, -0.0]]), [0, 1, 1], np.array([[-0.0, 1], [5, 5]]), [0, 1])
    copies = exact_copies(splits)
    assert copies.train.tolist() == [False, True, True]
    assert copies.contaminated.tolist() == [True, False]


def test_a_class_kept_in_the_training_split_is_told_as_such() -> None:
    splits = rows(np.arange(10.0).reshape(5, 2), [0, 0, 1, 1, 2], np.array([[9.0, 8], [7, 6]]), [0, 1])
    answer = CHECK.answer(Subject(base_spec(), splits, held_out=True), Evidence())
    (found,) = (each for each in answer.findings if each.name == "missing_classes")
    assert (found.level, found.value) == ("warning", 1.0)
    assert "the test split lacks 2" in found.statement and "one example stays" in found.caveats[1]


def test_one_class_in_the_test_split_is_no_crash() -> None:
    who = subject("one class tested")
    found = {each.name: each for each in CHECK.answer(who, Evidence()).findings}
    assert any("one class only" in caveat for caveat in found["test_accuracy"].caveats)


def test_label_shift_keeps_its_level() -> None:
    """p from permutations, of classes too small for the chi-square distribution."""
    generator = np.random.default_rng(3)
    blank = np.zeros((30, 1))
    p_values = []
    for _ in range(150):
        labels = generator.choice(4, 45, p=[0.6, 0.2, 0.1, 0.1])
        found = label_shift(rows(blank, [*labels[:30].tolist(), 3], np.zeros((15, 1)), labels[30:].tolist()))
        assert found.p is not None and found.p > 0
        p_values.append(found.p)
    assert np.mean([p <= 0.1 for p in p_values]) <= 0.1 + 3 * (0.09 / 150) ** 0.5
    assert np.mean([p <= 0.5 for p in p_values]) >= 0.5 - 4 * (0.25 / 150) ** 0.5


def test_a_large_shift_of_large_classes_is_found_by_chi_square() -> None:
    from scipy.stats import chi2_contingency

    splits = rows(np.zeros((100, 1)), [0] * 50 + [1] * 50, np.zeros((100, 1)), [0] * 70 + [1] * 30)
    expected = chi2_contingency([[50, 50], [70, 30]], correction=False).pvalue
    assert label_shift(splits).p == pytest.approx(expected)
    assert label_shift(splits).distance == pytest.approx(0.2)


def test_balanced_accuracy_covers() -> None:
    generator = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [60, 20, 10])
    chance = np.array([0.9, 0.7, 0.5])
    found = [balanced_accuracy((generator.random(90) < chance[labels]).astype(float), labels) for _ in range(300)]
    assert np.mean([each.low <= 0.7 <= each.high for each in found]) >= 0.935


def test_near_copies_are_found_and_others_not() -> None:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (80, 6, 6, 1)).astype(np.uint8)
    nearly = np.clip(images[7].astype(int) + generator.integers(-4, 5, (6, 6, 1)), 0, 255).astype(np.uint8)
    test = np.concatenate([images[60:], nearly[None], images[:1]])
    train = Dataset(images[:60], np.arange(60) % 2, 2, "images", "train")
    splits = Splits(train, Dataset(test, np.arange(len(test)) % 2, 2, "images", "test"))

    found = near_copies(splits, exact_copies(splits))

    assert found is not None
    assert (found.test.tolist(), found.train.tolist()) == ([20], [7])
    assert 0 < found.distance[0] < 0.1
    assert found.looked_at == (21, 60)


def test_features_that_wake_up_in_the_test_split_are_told() -> None:
    train = np.column_stack([np.ones(10), np.arange(10), np.zeros(10)])
    test = np.column_stack([np.ones(10), np.arange(10, 20), np.arange(10)])
    found, _ = answered(rows(train, [0, 1] * 5, test, [0, 1] * 5))
    assert found["constant_features"].value == pytest.approx(2 / 3)
    assert "1 of these change" in found["constant_features"].statement
    assert found["constant_features"].level == "warning"


def test_an_answer_does_not_touch_the_data(planted: Splits) -> None:
    before = planted.fingerprint
    answered(replace(planted), [0, 1, 1, 0])
    assert planted.fingerprint == before


def test_what_is_predicted_wrong_is_shown(planted: Splits) -> None:
    _, answer = answered(planted, [0, 0, 1, 1])
    (mistakes,) = [each for each in answer.exhibits if isinstance(each, Gallery) and each.name == "mistakes"]
    assert [(each.split, each.index, each.label, each.caption) for each in mistakes.examples] == [
        ("test", 1, 1, "taken for 0"),
        ("test", 2, 0, "taken for 1"),
    ]
    assert mistakes.reading.startswith("2 of 2 test examples ")
    for predictions in ([0, 1, 0, 1], None):
        _, answer = answered(planted, predictions)
        assert not [each for each in answer.exhibits if isinstance(each, Gallery) and each.name == "mistakes"]


def test_of_many_mistakes_some_are_shown_from_all_over_the_split() -> None:
    test = np.arange(200.0)[:, None]
    splits = rows(np.array([[-1.0], [-2.0]]), [0, 1], test, [0] * 100 + [1] * 100)
    _, answer = answered(splits, [1] * 100 + [0] * 100)
    (mistakes,) = [each for each in answer.exhibits if isinstance(each, Gallery) and each.name == "mistakes"]
    assert len(mistakes.examples) == 24 and mistakes.reading.startswith("24 of 200 ")
    assert sum(each.label == 0 for each in mistakes.examples) == 12
