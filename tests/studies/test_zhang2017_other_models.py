"""Models that are fitted at once, under the randomization tests: what is planned, judged and said."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from noisy_records import verdicts

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.study import label_level
from shattering.studies.zhang2017_other_models import BELKIN, CHATTERJEE, features, specs, study, variants
from shattering.studies.zhang2017_other_models_pictures import condition_points, error_points, price_points, tree_points
from shattering.studies.zhang2017_other_models_records import ratio, runs_of, series_of

TREE = f"{CHATTERJEE}: decision tree"
LEAVES = "leaves with random / with true labels"
DENSITY = "leaves of a tree for each example, random labels"
CONDITION = "condition of the Gaussian / of the Laplacian kernel matrix"
HALF = "test accuracy, half of the labels random"


def made(spec: RunSpec, *, train: float = 1.0, test: float = 0.5, **facts: float) -> Record:
    """A fit that ended, with these numbers."""
    row = {"step": 1, "epoch": 1.0, "train_accuracy": train, "test_accuracy": test}
    known = {"train_size": 1000, "test_size": 1000, "num_classes": 10}
    return Record(spec, Status.DONE if train >= 0.99 else Status.NOT_FITTED, (row,), {**known, **facts})


def planned(request_for, series: Iterable[str] = (), **others) -> list[RunSpec]:
    found = specs(request_for("mnist", "small", **others))
    return [spec for spec in found if not series or series_of(spec) in series]


def trees(request_for, *, price: float = 4.0, seeds: int = 3) -> list[Record]:
    """Trees whose leaves grow in proportion to the level, to ``price`` times those with true labels."""
    return [
        made(spec, leaves=round(leaves), leaves_per_example=leaves / 1000, depth=10 + spec.seed + 5 * level)
        for spec in planned(request_for, ("decision tree",), seeds=seeds)
        if (level := label_level(spec)) is not None
        for leaves in [150 * (1 + (price - 1) * level) + spec.seed]
    ]


def kernels(request_for, *, noisy_test: float = 0.6, condition: float = 1e6, train: float = 1.0) -> list[Record]:
    return [
        made(
            spec,
            train=train,
            test=0.9 if level == 0 else noisy_test if level == 0.5 else 0.1,
            norm=(100 if series_of(spec) == "Gaussian kernel" else 10) * (1 + 9 * level) + spec.seed,
            condition=condition if series_of(spec) == "Gaussian kernel" else 1e3,
        )
        for spec in planned(request_for, ("Gaussian kernel", "Laplacian kernel"))
        if (level := label_level(spec)) is not None
    ]


def test_trees_that_pay_in_leaves_bear_the_remark_out(request_for) -> None:
    found = verdicts(study, trees(request_for))

    assert found[TREE, LEAVES] == "effect reproduced"
    assert found[TREE, "depth with random / with true labels"] == "effect reproduced"
    assert found[TREE, DENSITY] == "effect reproduced"


def test_trees_that_pay_little_do_not(request_for) -> None:
    found = verdicts(study, trees(request_for, price=1.5))

    assert found[TREE, LEAVES] == found[TREE, DENSITY] == "effect not reproduced"


def test_a_single_seed_cannot_tell(request_for) -> None:
    assert verdicts(study, trees(request_for, seeds=1))[TREE, LEAVES] == "effect inconclusive"


def test_ratios_are_paired_by_seed(request_for) -> None:
    records = trees(request_for)
    random, true = (runs_of(records, "decision tree", name) for name in ("random_labels", "true_labels"))

    found = ratio(random, true[:2], "leaves")

    assert found is not None
    assert found.note == "2 pairs of runs"
    assert len(found.runs) == 4
    assert found.value == pytest.approx((600 / 150 * 601 / 151) ** 0.5)
    assert ratio(random, [], "leaves") is None


def test_kernels_that_interpolate_and_generalise_bear_the_abstract_out(request_for) -> None:
    found = verdicts(study, kernels(request_for))

    for series in ("Laplacian kernel", "Gaussian kernel"):
        assert found[f"{BELKIN}: {series}", HALF] == "effect reproduced"
        assert found[f"{BELKIN}: {series}", "test accuracy, true labels"] == "effect reproduced"
    assert found[f"{BELKIN}: Laplacian kernel", "training accuracy, random labels"] == "effect reproduced"
    assert found[f"{BELKIN}: smooth kernels need many more epochs", CONDITION] == "effect reproduced"


@pytest.mark.parametrize("other", [{"noisy_test": 0.1}, {"train": 0.9}])
def test_kernels_that_guess_or_do_not_interpolate_do_not(request_for, other) -> None:
    found = verdicts(study, kernels(request_for, **other))

    assert found[f"{BELKIN}: Gaussian kernel", HALF] == "effect not reproduced"


def test_a_kernel_as_well_conditioned_as_the_other_speaks_against_it(request_for) -> None:
    found = verdicts(study, kernels(request_for, condition=2e3))

    assert found[f"{BELKIN}: smooth kernels need many more epochs", CONDITION] == "effect not reproduced"


def test_prices_are_drawn_over_those_of_true_labels(request_for) -> None:
    points = price_points([*trees(request_for), *kernels(request_for)])

    ends = {point.series: point.y for point in points if point.x == 1.0}
    assert ends["decision tree: leaves"] == pytest.approx(4.0, rel=0.02)
    assert ends["Gaussian kernel: norm"] == pytest.approx(10.0, rel=0.1)
    assert {point.y for point in points if point.x == 0.0} == {1.0}


def test_boosting_that_ran_out_of_rounds_is_a_lower_bound(request_for) -> None:
    records = [
        made(spec, **({"rounds": 200, "train": 0.8} if label_level(spec) else {"rounds": 15, "rounds_to_fit": 10}))
        for spec in planned(request_for, ("boosting",))
        if label_level(spec) is not None
    ]

    points = price_points(records)

    found = [(point.x, round(point.y, 6), point.censored) for point in points]
    assert found == [(0.0, 1.0, False), (0.5, 20.0, True), (1.0, 20.0, True)]


def test_errors_and_sizes_are_drawn_by_level_and_conditions_apart(request_for) -> None:
    specs_of_trees = planned(request_for, ("decision tree",))
    records = [made(spec, test=0.7, leaves=3, depth=4, leaves_per_example=0.3) for spec in specs_of_trees]

    errors = {(point.x, point.series): point.y for point in error_points(records)}
    assert {x for x, _ in errors} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert errors[0.5, "training error"] == 0.0
    assert errors[0.5, "test error"] == pytest.approx(0.3)
    assert len(condition_points(records)) == 5
    assert {point.y for point in tree_points("depth")(records)} == {4.0}


def test_the_answer_names_who_memorises_and_who_does_not(request_for) -> None:
    voters = [made(spec, train=0.3, test=0.1) for spec in planned(request_for, ("5 nearest neighbours",))]
    said = study.answer([*trees(request_for), *voters])

    assert said.startswith(
        "1 of 2 models memorise random labels in every run (99% or more of them): decision tree, but not so "
        "5 nearest neighbours."
    )
    assert "4.0 times the leaves (decision tree)" in said
    assert "no answer" in study.answer([])


def test_every_model_is_known_by_a_name_of_its_own(request_for) -> None:
    names = [series_of(spec) for spec in planned(request_for, seeds=1) if spec.corruption.name == "random_labels"]

    assert len(names) == len(set(names)) == 9


def test_inputs_are_the_networks_and_kernels_fit_their_dimension(request_for) -> None:
    assert [features(request_for(data, "small")) for data in ("digits", "mnist", "cifar10")] == [64, 784, 2352]
    widths = {
        v.fields["kernel"]: v.fields["gamma"] for v in variants(request_for("mnist", "small")) if "gamma" in v.fields
    }
    assert widths == {"gaussian": pytest.approx(1 / 784), "laplacian": pytest.approx(1 / 28)}


def test_models_asked_for_come_in_all_their_variants(request_for) -> None:
    chosen = planned(request_for, models=("decision_tree", "majority_class"))

    assert {series_of(spec) for spec in chosen} == {
        "decision tree",
        "decision tree, 10 examples a leaf",
        "majority class",
    }
    with pytest.raises(SpecError) as caught:
        planned(request_for, models=("mlp_1x512",))
    assert caught.value.identifier == "study-needs-learner"
