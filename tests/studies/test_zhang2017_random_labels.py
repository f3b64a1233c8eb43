"""Zhang et al. (2017), Table 1 and protocol, beside a second transcription."""

from __future__ import annotations

import pytest

from shattering.core.study import judge, studies

TABLE_1 = """
inception  bn    crop  wd    true    100.0   89.05
inception  bn    crop  -     true    100.0   89.31
inception  bn    -     wd    true    100.0   86.03
inception  bn    -     -     true    100.0   85.75
inception  bn    -     -     random  100.0    9.78
inception  nobn  -     wd    true    100.0   83.00
inception  nobn  -     -     true    100.0   82.00
inception  nobn  -     -     random  100.0   10.12
alexnet    bn    crop  wd    true     99.90  81.22
alexnet    bn    crop  -     true     99.82  79.66
alexnet    bn    -     wd    true    100.0   77.36
alexnet    bn    -     -     true    100.0   76.07
alexnet    bn    -     -     random   99.82   9.86
mlp_3x512  bn    -     wd    true    100.0   53.35
mlp_3x512  bn    -     -     true    100.0   52.39
mlp_3x512  bn    -     -     random  100.0   10.48
mlp_1x512  bn    -     wd    true     99.80  50.39
mlp_1x512  bn    -     -     true    100.0   50.51
mlp_1x512  bn    -     -     random   99.34  10.61
"""
"""Model, batch norm (of the Inception), random crop, weight decay, labels, training and test accuracy in percent."""

Setting = tuple[str, bool, str, bool, str]
PUBLISHED: dict[Setting, tuple[float, float]] = {
    (model, bn == "bn", "crop" if crop == "crop" else "none", wd == "wd", f"{labels}_labels"): (float(a), float(b))
    for model, bn, crop, wd, labels, a, b in (line.split() for line in TABLE_1.strip().splitlines())
}
STUDY = studies.get("zhang2017-random-labels")


def setting(spec) -> Setting:
    return (
        spec.model.name,
        spec.model.fields.get("batch_norm", True),
        spec.training.augmentation,
        spec.training.weight_decay > 0,
        spec.corruption.name,
    )


@pytest.fixture
def paper_specs(request_for):
    """The runs at the paper's scale, without repetitions."""
    return list({spec.digest: spec for spec in STUDY.specs(request_for("cifar10", "paper"))}.values())


def test_all_nineteen_rows_are_planned_with_every_seed(paper_specs) -> None:
    assert len(PUBLISHED) == 19
    for row in PUBLISHED:
        assert [spec.seed for spec in paper_specs if setting(spec) == row] == [0, 1, 2], row


def test_runs_follow_the_published_protocol(paper_specs) -> None:
    for spec in paper_specs:
        training = spec.training
        assert training.optimizer == "sgd"
        assert training.learning_rate == (0.1 if spec.model.name == "inception" else 0.01)
        assert (training.momentum, training.batch_size) == (0.9, 128)
        assert (training.schedule, training.decay) == ("exponential", 0.95)
        assert (training.decay_steps or -(-50_000 // 128)) == 391
        assert training.max_steps % 391 == 0
        assert not training.stop_when_fitted
        assert (spec.data.train_size, spec.data.test_size) == (None, None)
        assert (spec.data.crop, spec.data.whiten) == (28, True)
        assert spec.corruption.name == "true_labels" or training.weight_decay == 0


def test_every_condition_of_figure_1_is_planned_for_every_network(paper_specs) -> None:
    for model in ("inception", "alexnet", "mlp_1x512"):
        mine = [spec for spec in paper_specs if spec.model.name == model and spec.seed == 0]
        conditions = {spec.corruption.name for spec in mine}
        assert conditions >= {"true_labels", "random_labels", "shuffled_pixels", "random_pixels", "gaussian"}
        levels = {spec.corruption.fields["p"] for spec in mine if spec.corruption.fields}
        assert len(levels) >= 4
        assert all(0 < level < 1 for level in levels)


def table_claims():
    return [claim for claim in STUDY.claims if claim.source.startswith("Table 1")]


def test_table_1_has_all_rows_and_both_columns(paper_specs, record_of) -> None:
    records = [record_of(spec) for spec in paper_specs]
    specs = {spec.digest: spec for spec in paper_specs}
    found: dict[Setting, dict[str, float]] = {}
    for claim in table_claims():
        estimate = claim.estimate(records)
        assert estimate is not None, claim.source
        (row,) = {setting(specs[digest]) for digest in estimate.runs}
        assert len(estimate.runs) == estimate.considered == 3, claim.source
        assert claim.quantity not in found.setdefault(row, {}), claim.source
        found[row][claim.quantity] = 100 * claim.published
        assert (claim.provenance, claim.data, claim.unit) == ("Q-tab", "cifar10", "1")

    assert len(table_claims()) == 2 * 19
    assert found == {
        row: {"training accuracy": pytest.approx(train), "test accuracy": pytest.approx(test)}
        for row, (train, test) in PUBLISHED.items()
    }


def test_small_surprises_of_the_table_are_kept() -> None:
    inception, mlp = ("inception", True), ("mlp_1x512", True)

    assert PUBLISHED[*inception, "crop", True, "true_labels"] < PUBLISHED[*inception, "crop", False, "true_labels"]
    assert PUBLISHED[*mlp, "none", True, "true_labels"] < PUBLISHED[*mlp, "none", False, "true_labels"]


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "reproduced"), (-0.08, "not reproduced")])
def test_table_1_is_judged_by_its_numbers_at_full_scale(shift, verdict, paper_specs, record_of) -> None:
    records = []
    for spec in paper_specs:
        test = PUBLISHED.get(setting(spec), (0.0, 50.0))[1] / 100
        record = record_of(spec, test_accuracy=test + shift)
        record.summary["test_size"] = 10_000
        records.append(record)
    tests = [claim for claim in table_claims() if claim.quantity == "test accuracy"]

    verdicts = {claim.source: judge(claim, records, comparable=True).verdict for claim in tests}

    assert set(verdicts.values()) == {verdict}, verdicts
    assert "reproduced" not in {judge(claim, records, comparable=False).verdict for claim in tests}


def test_effects_at_small_scale_follow_the_records(request_for, record_of) -> None:
    specs = STUDY.specs(request_for("digits", "small"))
    chance = [claim for claim in table_claims() if claim.source == "Table 1: MLP 1x512, random labels"][1]

    for accuracy, verdict in ((0.1, "effect reproduced"), (0.4, "effect not reproduced")):
        records = [record_of(spec, test_accuracy=accuracy) for spec in specs]
        assert judge(chance, records, comparable=False).verdict == verdict
