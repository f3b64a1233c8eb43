"""Grokking: what the runs are, and what is said of records made up to order."""

from __future__ import annotations

import pytest
from noisy_records import verdicts

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.study import studies

STUDY = studies.get("power2022-grokking")


def made(spec: RunSpec, generalises: bool, late: int = 1000) -> Record:
    good = {"train_accuracy": 1.0, "train_loss": 0.01, "learning_rate": 0.003, "weight_norm": 60.0}
    calm = {"collapsed_float32": 0.0, "collapsed_float64": 0.0, "key_frequencies": 5.0, "fourier_gini": 0.8}
    end = (1.0, 0.1) if generalises else (0.03, 9.0)
    table = ((0, 0.0, 4.1, 4.1, 4.1), (100, 0.02, 6.0, 1.0, 0.1), (late, *end, 0.1, 1.0))
    names = ("step", "test_accuracy", "test_loss", "restricted_loss", "excluded_loss")
    rows = [dict(zip(names, row, strict=True), epoch=float(row[0])) for row in table]
    summary = {"steps": late, "steps_to_fit": 90, "epochs_to_fit": 90.0, "num_classes": 59, "train_size": 1392,
               "test_size": 2089}  # fmt: skip
    return Record(spec, Status.DONE, tuple({**good, **calm, **row} for row in rows), summary)


def records(request_for, generalises) -> list[Record]:
    specs = STUDY.specs(request_for("addition_mod_59", "small"))
    return [made(spec, generalises(spec), 1000 + spec.seed) for spec in specs]


def decayed(spec: RunSpec) -> bool:
    return spec.training.weight_decay > 0


def test_grokking_that_needs_weight_decay_is_judged_so(request_for) -> None:
    found = verdicts(STUDY, records(request_for, decayed))

    told = {quantity: verdict for (_, quantity), verdict in found.items()}
    assert told["accuracy on pairs left out, the largest, with weight decay"] == "effect reproduced"
    assert told["accuracy on pairs left out, the largest, without weight decay"] == "effect reproduced"
    assert told["time to generalise over time to memorise"] == "effect reproduced"
    assert told["updates to half of the pairs left out, over those to half the restricted loss"] == "effect reproduced"


def test_grokking_without_weight_decay_fails_the_control(request_for) -> None:
    told = {
        quantity: verdict for (_, quantity), verdict in verdicts(STUDY, records(request_for, lambda s: True)).items()
    }

    assert told["accuracy on pairs left out, the largest, without weight decay"] == "effect not reproduced"


def test_one_run_that_does_not_generalise_is_enough_to_refuse(request_for) -> None:
    found = records(request_for, decayed)
    place = next(i for i, record in enumerate(found) if decayed(record.spec) and record.spec.data.train_size == 1392)
    found[place] = made(found[place].spec, False)

    told = {quantity: verdict for (_, quantity), verdict in verdicts(STUDY, found).items()}

    assert told["accuracy on pairs left out, the largest, with weight decay"] == "effect not reproduced"


def test_the_small_protocol_is_the_one_told(request_for) -> None:
    specs = STUDY.specs(request_for("addition_mod_59", "small"))
    main = [s for s in specs if s.data.train_size == 1392 and s.stream_seeds == {"subset": 0} and decayed(s)]

    assert len(main) == 5
    assert {(s.training.batch_size, s.training.beta2, s.training.warmup_steps) for s in main} == {(1392, 0.98, 10)}
    assert {s.data.tested_on for s in specs} == {"left_out"}
    bare = [s for s in specs if not decayed(s) and s.training.learning_rate == 3e-3]
    assert {s.training.max_steps for s in bare} == {s.training.max_steps for s in main}


def test_the_paper_protocol_plans_the_transformer(request_for) -> None:
    specs = STUDY.specs(request_for("addition_mod_59", "paper"))

    assert {s.model.name for s in specs} == {"pair_transformer"}
    longest = [s for s in specs if s.training.max_steps == 10**6]
    assert {(s.training.optimizer, s.training.weight_decay) for s in longest} == {("adam", 0.0)}
    assert all(s.training.batch_size <= 512 for s in specs)


def test_a_single_run_refuses_nothing(request_for) -> None:
    one = [record for record in records(request_for, lambda spec: False) if record.spec.seed == 0]
    told = {quantity: verdict for (_, quantity), verdict in verdicts(STUDY, one).items()}

    assert told["accuracy on pairs left out, the largest, with weight decay"] == "effect inconclusive"
    assert "Without it, one run got at most 3.0%" in STUDY.answer(one)


def test_images_are_no_table(request_for) -> None:
    with pytest.raises(SpecError) as caught:
        STUDY.specs(request_for("digits", "smoke"))
    assert caught.value.identifier == "study-needs-table"
