"""The study of kernels: what is planned where, and what its claims make of records with known numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shattering.core.errors import SpecError
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.study import Judgement, Records, Request, judge
from shattering.studies.zhang2017_kernels import study
from shattering.studies.zhang2017_kernels_claims import ridge_gain, row_error
from shattering.studies.zhang2017_kernels_records import kind_of, ridge_of

Numbers = dict[str, float]
PAPER = {"pixels": (0.0122, 220.0), "gabor": (0.0061, 390.0), "filters": (0.17, 100.0), "linear": (0.3, 5.0)}


def made(spec: RunSpec, numbers: Numbers, status: Status = Status.DONE) -> Record:
    """A run that ended with these numbers."""
    train = spec.data.train_size or 60_000
    row = {"step": 1, "epoch": 1.0, "train_accuracy": 1.0, "test_accuracy": 1 - numbers["error"], **numbers}
    summary = {"train_size": train, "test_size": spec.data.test_size or 10_000, "num_classes": 10}
    return Record(spec, status, (row,), summary)


def of_paper(spec: RunSpec) -> Numbers:
    """The paper's numbers at any size; SGD does as it says."""
    error, norm = PAPER.get(kind_of(spec), (0.9, 1.0))
    if ridge_of(spec) and kind_of(spec) == "filters":
        error = 0.15
    elsewhere = spec.model.fields.get("start") == "random"
    return {
        "error": error + 1e-4 * (spec.seed % 3),
        "norm": norm + spec.seed % 3,
        "distance_to_least_norm": 0.8 if elsewhere else 1e-13,
        "distance_to_limit": 1e-13,
        "null_component": 2.0 if elsewhere else 1e-14,
    }


@pytest.fixture
def judged(request_for):
    """Claims by source, judged on records with given numbers."""

    def build(
        data: str, scale: str, numbers: Callable[[RunSpec], Numbers] = of_paper, *, comparable: bool = False
    ) -> tuple[dict[str, Judgement], Records]:
        request = request_for(data, scale, device="cuda" if scale == "paper" else "cpu")
        records = [made(spec, numbers(spec)) for spec in study.specs(request)]
        found = [judge(claim, records, comparable=comparable) for claim in study.claims if claim.data == data]
        return {judgement.claim.source: judgement for judgement in found}, records

    return build


def specs_of(request: Request, kind: str) -> list[RunSpec]:
    return [spec for spec in study.specs(request) if kind_of(spec) == kind and spec.selection is None]


def test_at_the_papers_scale_mnist_is_the_authors_recipe_on_all_images(request_for) -> None:
    (pixels,) = [spec for spec in specs_of(request_for("mnist", "paper"), "pixels") if spec.data.train_size is None]

    assert pixels.model.fields == {"kernel": "gaussian", "gamma": 0.02}
    assert (pixels.data.test_size, pixels.data.whiten, pixels.data.crop) == (None, False, None)
    assert pixels.compute.dtype == "float64"


def test_on_a_cpu_gabor_features_of_few_images_do_not_pass_for_those_of_all(request_for) -> None:
    request = request_for("mnist", "paper")
    records = [made(spec, of_paper(spec)) for spec in study.specs(request)]

    assert all(spec.data.train_size for spec in specs_of(request, "gabor"))
    assert any("Gabor" in line and "--device cuda" in line for line in study.differences(request))
    verdicts = {claim.source: judge(claim, records, comparable=True).verdict for claim in study.claims}
    assert verdicts["Table 3: MNIST, pixels"] == verdicts["Section 5: norm on MNIST, pixels"] == "reproduced"
    for source in (
        "Table 3: MNIST, Gabor wavelets",
        "Section 5: norm on MNIST, Gabor wavelets",
        "Section 5: norm does not predict error",
    ):
        assert verdicts[source] == "not run", source


def test_the_32000_filters_need_a_gpu(request_for) -> None:
    cpu, cuda = (request_for("cifar10", "paper", device=device) for device in ("cpu", "cuda"))

    assert specs_of(cpu, "filters") == []
    assert any("--device cuda" in line for line in study.differences(cpu))
    planned = specs_of(cuda, "filters")
    assert {spec.model.fields["filters"] for spec in planned} == {32_000}
    assert {spec.data.train_size for spec in planned} == {None}
    assert 0.0 in {ridge_of(spec) for spec in planned}
    assert not any("--device cuda" in line for line in study.differences(cuda))


@pytest.mark.parametrize("data", ["digits", "mnist", "cifar10"])
@pytest.mark.parametrize("scale", ["smoke", "small", "paper"])
def test_bandwidths_are_judged_on_training_examples(data, scale, request_for) -> None:
    swept = [spec for spec in study.specs(request_for(data, scale)) if spec.selection is not None]

    assert swept
    for spec in swept:
        assert spec.selection.part == "random"
        assert spec.selection.parent.model.name == "majority_class"
        assert spec.selection.parent.data == spec.data
    gammas = {kind: {spec.model.fields["gamma"] for spec in swept if kind_of(spec) == kind} for kind in ("pixels",)}
    assert len(gammas["pixels"]) >= 2


def test_linear_models_have_fewer_examples_than_features(request_for) -> None:
    for data, features in (("digits", 64), ("mnist", 784), ("cifar10", 3072)):
        for scale in ("smoke", "small", "paper"):
            for spec in specs_of(request_for(data, scale), "linear"):
                assert spec.data.train_size < features / 2


def test_other_models_are_refused(request_for) -> None:
    with pytest.raises(SpecError, match="zhang2017-other-models"):
        study.specs(request_for("mnist", "small", models=("decision_tree",)))


def test_the_papers_numbers_on_all_of_mnist_are_reproduced(judged) -> None:
    found, _ = judged("mnist", "paper", comparable=True)

    for source in (
        "Table 3: MNIST, pixels",
        "Author's code for MNIST: Gaussian kernel, γ = 0.02",
        "Table 3: MNIST, Gabor wavelets",
        "Section 5: norm on MNIST, pixels",
        "Section 5: norm on MNIST, Gabor wavelets",
        "Section 5: SGD from zero",
        "Section 5: SGD from elsewhere",
    ):
        assert found[source].verdict == "reproduced", source
    estimate = found["Table 3: MNIST, pixels"].estimate
    assert estimate.low == estimate.value == estimate.high == pytest.approx(0.0122)
    assert "as a sample 1.01% to 1.45%" in estimate.note


def test_other_numbers_on_all_of_mnist_are_not(judged) -> None:
    found, _ = judged("mnist", "paper", lambda spec: {**of_paper(spec), "error": 0.02, "norm": 100.0}, comparable=True)

    for source in ("Table 3: MNIST, pixels", "Table 3: MNIST, Gabor wavelets", "Section 5: norm on MNIST, pixels"):
        assert found[source].verdict == "not reproduced", source


def test_below_that_scale_effects_are_judged_on_pairs(judged) -> None:
    found, records = judged("mnist", "small")

    assert {judgement.verdict for judgement in found.values()} == {"effect reproduced"}
    assert "norm 1.77 times" in study.answer(records)
    assert "lower the error by 0.6 points" in study.answer(records)


def test_effects_that_do_not_appear_are_told(judged) -> None:
    swapped = {"pixels": PAPER["gabor"], "gabor": PAPER["pixels"]}

    def numbers(spec: RunSpec) -> Numbers:
        own = of_paper(spec)
        error, norm = swapped.get(kind_of(spec), (own["error"], own["norm"]))
        error = error / 2 if ridge_of(spec) else error
        return {**own, "error": error, "norm": norm, "distance_to_least_norm": 1e-3, "null_component": 1e-3}

    found, records = judged("mnist", "small", numbers)

    for source in (
        "Table 3: MNIST, Gabor wavelets",
        "Section 5: norm on MNIST, pixels",
        "Section 5: norm does not predict error",
        "Section 5: ridge on MNIST, pixels",
        "Section 5: SGD from zero",
        "Section 5: SGD stays in the span of the examples",
    ):
        assert found[source].verdict == "effect not reproduced", source
    assert "raise the error by 0.6 points" in study.answer(records)
    assert "in 0 of 3 runs" in study.answer(records)


def test_the_filters_rows_are_judged_on_cifar10(judged) -> None:
    def numbers(spec: RunSpec) -> Numbers:
        return {**of_paper(spec), "error": 0.46} if kind_of(spec) == "pixels" else of_paper(spec)

    found, _ = judged("cifar10", "small", numbers)

    assert {judgement.verdict for judgement in found.values()} == {"effect reproduced"}
    assert found["Table 3: CIFAR-10, random filters, l2"].estimate.value == pytest.approx(0.15, abs=1e-3)


def test_digits_are_no_evidence_on_pixels_of_cifar10(request_for) -> None:
    records = [made(spec, of_paper(spec)) for spec in study.specs(request_for("digits", "small"))]

    assert row_error("cifar10", "pixels")(records) is None
    assert row_error("mnist", "pixels")(records) is not None


def test_a_solve_that_is_not_exact_is_no_interpolant(request_for) -> None:
    records = [made(spec, of_paper(spec), Status.NOT_FITTED) for spec in study.specs(request_for("mnist", "small"))]
    claim = next(claim for claim in study.claims if claim.source == "Table 3: MNIST, pixels")

    assert judge(claim, records, comparable=False).verdict == "effect not reproduced"
    assert "3 not fitted" in judge(claim, records, comparable=False).estimate.note


def test_the_best_ridge_is_chosen_for_each_subset(request_for) -> None:
    def numbers(spec: RunSpec) -> Numbers:
        own = of_paper(spec)
        if ridge_of(spec):
            own["error"] *= 0.5 if ridge_of(spec) == (1e-3, 1e-2, 1e-1)[spec.seed] else 2
        return own

    records = [made(spec, numbers(spec)) for spec in study.specs(request_for("mnist", "small"))]

    found = ridge_gain("pixels")(records)
    assert found.value == pytest.approx(0.5)
    assert found.note == "3 pairs of runs; n = 2,000"


def test_failed_runs_are_counted(request_for) -> None:
    records = [made(spec, of_paper(spec)) for spec in study.specs(request_for("mnist", "small"))]
    lost = [
        Record(record.spec, Status.FAILED)
        if record.spec.seed == 1 and record.spec.data.train_size == 10_000 and kind_of(record.spec) == "pixels"
        else record
        for record in records
    ]

    assert "2 of 3; 1 failed" in row_error("mnist", "pixels")(lost).note
