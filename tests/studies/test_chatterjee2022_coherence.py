"""What is read off trajectories of coherence, and which runs the studies of it plan."""

from __future__ import annotations

import math

import pytest

from shattering.core.record import Record, Status
from shattering.core.spec import ModelSpec, RunSpec
from shattering.core.study import judge, label_level, studies
from shattering.studies.chatterjee2020 import lies_above, lies_below
from shattering.studies.chatterjee2022 import label_noise
from shattering.studies.chatterjee2022_early_stopping_pictures import coherence_at_best, gain, memorisation_ratio
from shattering.studies.chatterjee2022_records import (
    LOSSES,
    at_equal_loss,
    at_loss,
    convolutional_excess,
    end,
    level_over,
    log_curve,
    peak_from,
    pristine_excess,
    ratio_between,
    ratio_within,
)

COHERENCE = studies.get("chatterjee2022-coherence")
EARLY_STOPPING = studies.get("chatterjee2022-early-stopping")


def run(values: dict[int, float], *, level: float = 0.0, seed: int = 0, model: str = "mlp", **others) -> Record:
    """A run with m-coherence at some steps, and other numbers throughout."""
    rows = tuple({"step": step, "m_coherence": value, **others} for step, value in values.items())
    spec = RunSpec(corruption=label_noise(level), model=ModelSpec(name=model), seed=seed)
    return Record(spec, Status.DONE, rows, {"num_classes": 10})


def test_levels_are_geometric_means_over_the_snapshots_in_reach() -> None:
    record = run({0: 900.0, 25: 2.0, 50: 8.0, 100: 4.0, 200: 100.0, 300: math.nan, 400: 0.0})

    assert level_over(record, "m_coherence", 25, 100) == pytest.approx(4.0)
    assert level_over(record, "m_coherence", 500) is None
    assert end(record) == 100.0


def test_a_peak_needs_three_snapshots_in_a_row() -> None:
    lonely = run({100: 1.0, 200: 1000.0, 300: 1.0, 400: 1.0})
    broad = run({100: 1.0, 200: 8.0, 300: 8.0, 400: 8.0, 500: 1.0})

    assert peak_from(lonely, "m_coherence", 100) == pytest.approx(10.0)
    assert peak_from(broad, "m_coherence", 100) == pytest.approx(8.0)
    assert peak_from(broad, "m_coherence", 400) is None


def losing(power: float, losses: tuple[float, ...]) -> Record:
    """A run whose m-coherence is a power of its training loss."""
    rows = tuple(
        {"step": step, "train_loss": loss, "m_coherence": 50 * loss**power} for step, loss in enumerate(losses)
    )
    return Record(RunSpec(), Status.DONE, rows, {"num_classes": 10})


def test_equal_losses_are_compared_between_snapshots() -> None:
    record = losing(1.5, (2.4, 1.7, 0.9, 0.8, 0.3, 0.01))

    for loss in (2.4, 2.0, 0.9, 0.5, 0.02):
        assert at_loss(record, "m_coherence", loss) == pytest.approx(50 * loss**1.5)
    assert at_loss(record, "m_coherence", 2.5) is None  # it began below
    assert at_loss(record, "m_coherence", 0.005) is None  # it never came so far
    expected = math.exp(sum(math.log(50 * (share * math.log(10)) ** 1.5) for share in LOSSES) / len(LOSSES))
    assert at_equal_loss(record) == pytest.approx(expected)
    assert at_equal_loss(losing(1.0, (2.4, 1.0))) is None


def test_the_first_time_that_a_loss_is_reached_counts() -> None:
    rows = ((2.0, 10.0), (1.0, 20.0), (3.0, 40.0), (0.5, 80.0))
    record = Record(
        RunSpec(), Status.DONE, tuple({"step": i, "train_loss": a, "m_coherence": b} for i, (a, b) in enumerate(rows))
    )

    assert at_loss(record, "m_coherence", 1.0) == pytest.approx(20.0)
    assert at_loss(record, "m_coherence", 0.5) == pytest.approx(80.0)


def test_layers_and_groups_are_compared_from_the_first_fall_on() -> None:
    layers = {"m_coherence/conv1": 8.0, "m_coherence/conv2": 2.0, "m_coherence/linear": 1.0, "m_coherence/output": 4.0}
    record = run({0: 1.0, 50: 1.0, 200: 1.0}, model="small_convnet", pristine_alpha=0.3, corrupt_alpha=0.1, **layers)

    assert convolutional_excess(record) == pytest.approx(2.0)
    assert convolutional_excess(run({50: 1.0}, model="small_convnet")) is None
    assert convolutional_excess(run({50: 1.0}, **layers)) is None
    assert pristine_excess(record) == pytest.approx(3.0)
    assert pristine_excess(run({50: 1.0}, pristine_alpha=0.3)) is None


def test_ratios_are_paired_by_seed_and_traced() -> None:
    real = [run({50: value}, seed=seed) for seed, value in enumerate((20.0, 40.0, 80.0, 5.0))]
    random = [run({50: value}, level=1.0, seed=seed) for seed, value in ((2, 20.0), (1, 20.0), (0, 20.0), (7, 1.0))]

    found = ratio_between(real, random, end)

    assert found is not None
    assert found.value == pytest.approx(2.0)
    assert len(found.runs) == 6 and found.considered == 8
    assert found.low is not None and found.low < 1
    assert ratio_between(real, [], end) is None
    within = ratio_within(real, end, lambda record: 5.0)
    assert within is not None and within.value == pytest.approx((4 * 8 * 16 * 1) ** 0.25)


def test_a_threshold_inside_the_interval_cannot_be_told() -> None:
    found = ratio_within(
        [run({50: value}, seed=seed) for seed, value in enumerate((9.0, 10.0, 11.0))], end, lambda _: 1.0
    )
    few = ratio_within([run({50: 9.0})], end, lambda _: 1.0)

    assert (lies_above(found, 5), lies_above(found, 10), lies_above(found, 20)) == (True, None, False)
    assert (lies_below(found, 5), lies_below(found, 10), lies_below(found, 20)) == (False, None, True)
    assert lies_above(few, 5) is None and lies_below(None, 5) is None


def test_curves_average_logarithms_and_begin_at_one_half() -> None:
    runs = [run({0: 4.0, 7: 3.0, 10: 1.0}), run({0: 16.0, 10: 4.0}, seed=1), run({0: 8.0, 10: 0.0}, seed=2)]

    points = log_curve(runs, "m_coherence", "s")

    # Step 7 is one run's alone.
    assert [(point.x, point.y) for point in points] == [(0.5, pytest.approx(8.0)), (10, pytest.approx(2.0))]


def story(level: float, seed: int, **changes: float) -> Record:
    """A run as the papers describe it for m = 1000, unless changed."""
    real = level == 0
    values = {0: 500.0, 10: 3.0, 30: 300.0 if real else 60.0 if level < 1 else 1.5, 80: 300.0 if real else 2.0}
    values |= {300: 30.0, 400: 30.0, 600: 30.0, 3000: 1.0} if not real else {300: 9.0, 400: 5.0, 600: 2.0, 3000: 1.0}
    values |= {int(step.removeprefix("at")): value for step, value in changes.items()}
    jitter = 1 + 0.01 * seed
    record = run({step: value * jitter for step, value in values.items()}, level=level, seed=seed)
    for row in record.rows:
        row["alpha"] = row["m_coherence"] / 1000
        row["train_loss"] = 2.4 / (1 + row["step"] / (20 if real else 200))
        if level == 0.5:
            row["pristine_alpha"], row["corrupt_alpha"] = 0.3 * jitter, 0.01
    return record


def verdicts(records: list[Record]) -> dict[str, str]:
    claims = [claim for claim in COHERENCE.claims if claim.source.endswith(", mlp")]
    return {claim.quantity: judge(claim, records, comparable=False).verdict for claim in claims}


def test_the_story_told_by_the_papers_is_recognised() -> None:
    told = verdicts([story(level, seed) for level in (0.0, 0.5, 1.0) for seed in range(3)])

    assert set(told.values()) == {"effect reproduced"}
    assert len(told) == 12


@pytest.mark.parametrize(
    ("words", "level", "changes"),
    [
        ("before the first update, real", 0.0, {"at0": 5.0}),
        ("before the first update, random", 1.0, {"at0": 5.0}),
        ("lowest in the first 25 steps, random", 1.0, {"at10": 400.0}),
        ("steps 25 to 100, real / random", 0.0, {"at30": 2.0, "at80": 2.0}),
        ("steps 25 to 100, 50% random / random", 0.5, {"at30": 0.5, "at80": 0.5}),
        ("later peak", 1.0, {"at300": 1.5, "at400": 1.5, "at600": 1.5}),
        ("highest m-coherence after", 1.0, {"at300": 200.0, "at400": 200.0, "at600": 200.0}),
        ("last step, real", 0.0, {"at3000": 50.0}),
        ("last step, random", 1.0, {"at3000": 0.01}),
    ],
)
def test_a_story_that_ends_otherwise_is_not(words, level, changes) -> None:
    records = [story(at, seed, **(changes if at == level else {})) for at in (0.0, 0.5, 1.0) for seed in range(3)]

    (quantity,) = [quantity for quantity in verdicts(records) if words in quantity]
    assert verdicts(records)[quantity] == "effect not reproduced"


def test_nothing_is_said_of_the_end_where_a_run_has_not_fitted() -> None:
    records = [story(1.0, seed) for seed in range(3)]
    records[1] = Record(records[1].spec, Status.NOT_FITTED, records[1].rows, records[1].summary)

    assert verdicts(records)["m-coherence at the last step, random labels"] == "effect inconclusive"


def test_two_seeds_prove_nothing() -> None:
    told = verdicts([story(level, seed) for level in (0.0, 0.5, 1.0) for seed in range(2)])

    assert set(told.values()) == {"effect inconclusive"}


@pytest.mark.parametrize("data", ["mnist", "digits", "cifar10"])
def test_conditions_share_everything_but_their_labels(data, request_for) -> None:
    specs = COHERENCE.specs(request_for(data, "small"))

    for model, seeds in (("mlp", 5), ("small_convnet", 3)):
        chosen = [spec for spec in specs if spec.model.name == model]
        assert sorted({spec.seed for spec in chosen}) == list(range(seeds))
        assert {label_level(spec) for spec in chosen} == {0.0, 0.5, 1.0}
        assert len({spec.model_copy(update={"corruption": label_noise(0), "seed": 0}).digest for spec in chosen}) == 1
    for spec in specs:
        training = spec.training
        assert (training.optimizer, training.momentum, training.weight_decay) == ("sgd", 0.0, 0.0)
        assert (training.batch_size, training.augmentation, training.stop_when_fitted) == (100, "none", False)
        assert spec.stream_seeds == {}


def test_the_published_protocol_on_mnist(request_for) -> None:
    specs = [s for s in COHERENCE.specs(request_for("mnist", "paper")) if s.model.name == "mlp"]

    assert sorted({label_level(spec) for spec in specs}) == [0.0, 0.25, 0.5, 0.75, 1.0]
    for spec in specs:
        training = spec.training
        assert (training.learning_rate, training.momentum, training.batch_size) == (0.1, 0.0, 100)
        assert (training.schedule, training.max_steps) == ("constant", 100_000)
        assert (spec.data.train_size, spec.data.test_size) == (None, None)
        assert spec.model.fields.get("width", 2048) == 2048
        assert spec.measures.gradient_examples == 40_356


def test_early_stopping_shares_its_runs_with_the_study_of_coherence(request_for) -> None:
    request = request_for("mnist", "small")
    known = {spec.digest for spec in COHERENCE.specs(request)}
    specs = EARLY_STOPPING.specs(request)

    assert {(spec.model.name, spec.seed) for spec in specs if spec.digest not in known} == {
        ("small_convnet", 3),
        ("small_convnet", 4),
    }
    assert len(specs) == 10


def stopped(seed: int, best: int = 10, fitted: bool = True) -> Record:
    """Test accuracy is best at one step; the corrupt examples are fitted at step 1000, if at all."""
    rows = tuple(
        {
            "step": step,
            "train_accuracy": 0.9,
            "test_accuracy": 0.8 + 0.001 * seed if step == best else 0.5,
            "changed_train_accuracy": 1.0 if fitted and step >= 1000 else 0.02 if step <= best else 0.5,
            "m_coherence": 100.0 / (1 + step),
        }
        for step in (0, 1, 10, 100, 1000)
    )
    return Record(
        RunSpec(corruption=label_noise(0.5), model=ModelSpec(name="mlp"), seed=seed),
        Status.DONE,
        rows,
        {"num_classes": 10},
    )


def test_stopping_is_best_before_memorisation() -> None:
    record = stopped(0)

    assert gain(record) == pytest.approx(0.3)
    assert coherence_at_best(record) == pytest.approx(100 / 11)
    found = memorisation_ratio([stopped(seed) for seed in range(3)])
    assert found is not None and found.value == pytest.approx(100.0)
    # Looked at after 1, 10, 100 and 1000 updates only: the best may lie at 2, or the fit at 101.
    assert found.low == pytest.approx(10.1) and found.high == pytest.approx(500.0)
    never = memorisation_ratio([stopped(seed, fitted=False) for seed in range(3)])
    assert never is not None and never.value == pytest.approx(100.0)


def test_claims_of_early_stopping_know_both_outcomes() -> None:
    claims = [claim for claim in EARLY_STOPPING.claims if claim.source.endswith(", mlp")]

    def told(records: list[Record]) -> list[str]:
        return [judge(claim, records, comparable=False).verdict for claim in claims]

    assert told([stopped(seed) for seed in range(3)]) == ["effect reproduced"] * 4
    # Best at the very end, when all is memorised: nothing is gained, and nothing told of what comes first.
    late = told([stopped(seed, best=1000) for seed in range(3)])
    assert late == ["effect inconclusive", *["effect not reproduced"] * 3]
    assert told([stopped(0)]) == ["effect inconclusive"] * 4
