"""Table 2 as specs and claims: every row at the paper's scale, no number from memory, effects from made-up records."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from image_folders import write_images
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.study import DataFacts, Request, judge, studies
from shattering.execution.plan import plan_study
from shattering.execution.run import execute
from shattering.studies.zhang2017_imagenet_claims import ALL_OFF, ROWS, cost_of_switching_off, gain_of_stopping

STUDY = studies.get("zhang2017-imagenet")
IMAGENET = DataFacts("imagenet", 1_281_167, 50_000, (299, 299, 3), 1000, "4" * 64, streamed=True)


def specs(scale: str, seeds: int | None = None) -> list[RunSpec]:
    return STUDY.specs(Request(scale, IMAGENET, seeds))  # type: ignore[arg-type]


def record(spec: RunSpec, train: float, tests: list[float], classes: int = 1000) -> Record:
    rows = tuple(
        {"step": step + 1, "train_accuracy": train, "test_accuracy": value, "test_top5_accuracy": min(1.0, value + 0.2)}
        for step, value in enumerate(tests)
    )
    summary = {"steps": len(tests), "train_size": 1_281_167, "test_size": 50_000, "num_classes": classes}
    return Record(spec, Status.NOT_FITTED, rows, summary)


def test_every_row_of_table_2_is_run_at_the_papers_scale() -> None:
    planned = specs("paper")
    assert len(planned) == len(ROWS) == 7
    for spec in planned:
        assert (spec.model.name, spec.data.image_size, spec.data.whiten) == ("inception_v3", 299, False)
        assert spec.data.train_size is None and "width" not in spec.model.fields
        assert spec.training.max_steps == 100 * (1_281_167 // 256) and not spec.training.stop_when_fitted
        made_up = Record(spec, Status.NOT_FITTED)
        assert sum(row.holds(made_up) for row in ROWS) == 1
    kinds = Counter(spec.training.augmentation for spec in planned)
    assert kinds == {"resized_crop": 2, "none": 5}


def test_the_claims_are_the_quoted_numbers_and_no_others() -> None:
    published = {(claim.source, claim.quantity): claim for claim in STUDY.claims}
    top1 = "top-1 test accuracy"
    assert published["Table 2: augmentation, dropout, weight decay", top1].published == 0.7784
    assert published["Table 2: no regulariser", f"{top1}, best so far"].published == 0.6316
    assert published["Table 2: random labels, no regulariser", "top-1 training accuracy"].published == 0.952
    numbers = {claim.published for claim in STUDY.claims}
    # Remembered only: top-5 training accuracies, 91.31 and 84.49 best so far, 91.18 and 87.81 on random labels.
    assert not numbers & {0.9921, 0.9917, 0.9131, 0.8449, 0.9118, 0.8781, 0.9795, 0.9615, 0.9914, 0.0049, 0.0056}
    assert {claim.data for claim in STUDY.claims} == {"imagenet"}
    sources = {claim.source for claim in STUDY.claims}
    assert {f"Table 2: {row.name}" for row in ROWS} < sources and "Table 2: Krizhevsky et al. (2012)" in sources


def test_the_papers_own_numbers_reproduce_it() -> None:
    records = []
    for spec in specs("paper", seeds=3):
        row = next(row for row in ROWS if row.holds(Record(spec, Status.DONE)))
        train = row.printed.get("train_accuracy", (0.9, ""))[0]
        last = row.printed["test_accuracy"][0]
        best = row.printed.get("best_test_accuracy", (last, ""))[0]
        made = record(spec, train, [best, last])
        if "test_top5_accuracy" in row.printed:
            rows = tuple({**each, "test_top5_accuracy": row.printed["test_top5_accuracy"][0]} for each in made.rows)
            made = replace(made, rows=rows)
        records.append(made)

    found = {claim.source + claim.quantity: judge(claim, records, comparable=True) for claim in STUDY.claims}

    verdicts = Counter(judgement.verdict for judgement in found.values())
    assert verdicts == {"reproduced": len(STUDY.claims) - 1, "effect reproduced": 1}
    cost = cost_of_switching_off(records)
    assert cost is not None and cost.value == pytest.approx(0.1804) and cost.considered == 6
    gain = gain_of_stopping(records)
    assert gain is not None and gain.value == pytest.approx(0.0336)


def test_effects_can_fail() -> None:
    tests = [0.3, 0.3]
    records = [record(spec, 0.2, tests) for spec in specs("small")]
    verdicts = {
        claim.source + claim.quantity: judge(claim, records, comparable=False).verdict for claim in STUDY.claims
    }
    assert set(verdicts.values()) == {"effect reproduced", "effect not reproduced", "effect inconclusive"}
    noisy = [verdict for source, verdict in verdicts.items() if "random labels" in source]
    assert set(noisy) == {"effect not reproduced"}
    assert "switching augmentation, dropout and weight decay off costs 0.0 points" in STUDY.answer(records)


def test_few_classes_tell_nothing_of_five_guesses() -> None:
    records = [
        record(spec, 1.0, [0.8], classes=4) for spec in specs("small") if ALL_OFF.holds(Record(spec, Status.DONE))
    ]
    claims = [claim for claim in STUDY.claims if claim.quantity == "top-5 test accuracy" and claim.estimate(records)]
    assert [judge(claim, records, comparable=False).verdict for claim in claims] == ["effect inconclusive"]


def test_a_folder_of_images_goes_through_inception_v3(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "pets", classes=2, train=4, val=2)
    plan = plan_study(
        "zhang2017-imagenet",
        data=str(folder),
        scale="smoke",
        overrides={"training.max_steps": 1, "model.fields.width": 0.03},
    )
    assert plan.plan.request.data.streamed
    spec = plan.plan.specs[0]
    assert (spec.model.name, spec.data.image_size, spec.training.augmentation) == ("inception_v3", 75, "resized_crop")
    done, _ = execute(spec, plan.splits)
    assert done.last["train_top5_accuracy"] == done.last["test_top5_accuracy"] == 1.0  # of two classes
    assert done.examples["label"].tolist() == [0] * 4 + [1] * 4
