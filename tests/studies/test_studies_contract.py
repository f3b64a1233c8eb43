"""What holds for every registered study, whoever adds one."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest

from shattering.core.record import Status
from shattering.core.registry import check_fields
from shattering.core.spec import RunSpec, parse_spec
from shattering.core.study import PROVENANCE, SCALES, Records, Study, Verdict, judge, register, studies
from shattering.corruptions.registry import corruptions
from shattering.data.dataset import datasets
from shattering.execution.plan import plan_study
from shattering.execution.study import run_plan
from shattering.execution.worker import carry_out
from shattering.learners.registry import is_learner, learner_fields, learners
from shattering.measures.registry import measures
from shattering.models.build import build_model
from shattering.models.registry import models, resolved_fields
from shattering.simulations.registry import is_simulation, simulation_fields, simulations

NAMES = studies.names()
DATA = ("digits", "mnist", "cifar10")


def data_of(name: str) -> tuple[str, ...]:
    """The data a study is planned for here; one that is meant for data of its own takes no other."""
    study = studies.get(name)
    if study.streamed or study.datasets[0] in DATA:
        return DATA
    return study.datasets[:1] if not datasets.get(study.datasets[0]).files else DATA


def told_by_made_up_records(specs: Sequence[RunSpec]) -> bool:
    """Whether records made up for these runs hold whatever a study looks at: no simulations, no outputs."""
    return not any(
        is_simulation(spec.model.name) or any(measures.get(name).tested for name in spec.measures.names)
        for spec in specs
    )


every_study = pytest.mark.parametrize("name", NAMES)
every_study_and_data = pytest.mark.parametrize(
    ("name", "data"), [(name, data) for name in NAMES for data in data_of(name)]
)
every_scale = pytest.mark.parametrize("scale", SCALES)


def looked_at(study: Study, records: Records, *, comparable: bool) -> dict[str, int]:
    """Judges, draws and reads everything there is to say of ``records``; returns the number of points per figure."""
    for claim in study.claims:
        found = judge(claim, records, comparable=comparable)
        assert found.verdict in get_args(Verdict), claim.source
        assert (found.estimate is None) == (found.verdict == "not run"), claim.source
        if found.estimate is not None:
            assert math.isfinite(found.estimate.value), claim.source
            assert found.estimate.runs, claim.source
            assert len(found.estimate.runs) == len(set(found.estimate.runs)), claim.source
            assert set(found.estimate.runs) <= {record.digest for record in records}, claim.source
            low, high = found.estimate.low, found.estimate.high
            assert (low is None) == (high is None), claim.source
            assert low is None or high is None or low <= found.estimate.value <= high, claim.source
    counts = {}
    for figure in study.figures:
        points = figure.points(records)
        counts[figure.name] = len(points)
        for point in points:
            ends = [end for end in (point.low, point.high) if end is not None]
            assert all(map(math.isfinite, (point.x, point.y, *ends))), figure.name
            assert point.series, figure.name
            assert figure.x.scale == "linear" or point.x > 0, figure.name
            assert figure.y.scale == "linear" or min(point.y, *ends, point.y) > 0, figure.name
        if points:
            assert figure.reading(records).strip().endswith("."), figure.name
            assert all(map(math.isfinite, figure.rules(records).values())), figure.name
    assert study.answer(records).strip().endswith(".")
    return counts


@every_study
def test_says_what_it_is(name) -> None:
    study = studies.get(name)

    assert study.question.endswith("?")
    assert study.paper.authors
    assert str(study.paper.year) in study.paper.cite
    assert study.paper.url.startswith("https://")
    assert study.datasets
    assert all(what and choice for what, choice in study.choices)
    assert len({figure.name for figure in study.figures}) == len(study.figures) > 0


@every_study
def test_every_claim_has_a_source_and_a_known_provenance(name) -> None:
    for claim in studies.get(name).claims:
        assert claim.source
        assert claim.quantity
        assert claim.provenance in PROVENANCE
        assert claim.published is not None or claim.effect is not None, claim.source
        assert claim.published is None or claim.tolerance > 0, claim.source
    keys = [(claim.source, claim.quantity) for claim in studies.get(name).claims]
    assert [key for key, count in Counter(keys).items() if count > 1] == []


@every_study_and_data
@every_scale
def test_specs_are_valid_and_can_be_built(name, data, scale, request_for) -> None:
    import torch

    request = request_for(data, scale)
    specs = studies.get(name).specs(request)

    assert specs
    shapes = set()
    for spec in specs:
        assert parse_spec(spec.model_dump(mode="json")) == spec
        assert spec.data.name == data
        assert (spec.data.train_size or request.data.train_size) <= request.data.train_size
        assert (spec.data.test_size or request.data.test_size) <= request.data.test_size
        assert spec.training.batch_size <= (spec.data.train_size or request.data.train_size)
        assert (spec.data.crop or 1) <= min(request.data.input_shape[:2])
        entry = corruptions.get(spec.corruption.name)
        check_fields("corruption", entry.name, entry.fields, spec.corruption.fields)
        assert [measures.get(measure).name for measure in spec.measures.names] == list(spec.measures.names)
        if is_simulation(spec.model.name):
            simulation_fields(simulations.get(spec.model.name), spec.model.fields)
            continue
        if is_learner(spec.model.name):
            learner_fields(learners.get(spec.model.name), spec.model.fields)
            continue
        resolved_fields(models.get(spec.model.name), spec.model.fields)
        side = spec.data.crop or request.data.input_shape[0]
        shape = (request.data.input_shape[2], side, side) if len(request.data.input_shape) == 3 else (side,)
        shapes.add((spec.model.name, tuple(spec.model.fields.items()), shape))
    for model, fields, shape in shapes:
        with torch.device("meta"):
            network = build_model(model, dict(fields), shape, 10)
        assert sum(value.numel() for value in network.parameters()) > 0


def without_seeds(spec: RunSpec) -> RunSpec:
    """``spec`` with every seed 0, those of its parents too."""
    changes: dict[str, object] = {"seed": 0, "stream_seeds": dict.fromkeys(spec.stream_seeds, 0)}
    if spec.selection is not None:
        parent = without_seeds(spec.selection.parent)
        changes["selection"] = spec.selection.model_copy(update={"parent": parent})
    if spec.start is not None:
        changes["start"] = spec.start.model_copy(update={"parent": without_seeds(spec.start.parent)})
    return spec.model_copy(update=changes)


@every_study_and_data
@every_scale
def test_every_seed_gets_the_same_runs(name, data, scale, request_for) -> None:
    specs = studies.get(name).specs(request_for(data, scale, seeds=2))

    by_seed = {seed: {without_seeds(spec).digest for spec in specs if spec.seed == seed} for seed in (0, 1)}

    assert by_seed[0] == by_seed[1]
    assert {spec.seed for spec in specs} == {0, 1}


@every_study_and_data
@pytest.mark.parametrize("scale", ["smoke", "small"])
def test_no_run_is_planned_twice(name, data, scale, request_for) -> None:
    counts = Counter(spec.digest for spec in studies.get(name).specs(request_for(data, scale)))

    assert [digest for digest, count in counts.items() if count > 1] == []


@every_study_and_data
@every_scale
def test_differences_and_expectations_are_told(name, data, scale, request_for) -> None:
    study, request = studies.get(name), request_for(data, scale)

    told = study.differences(request)

    assert all(line.strip() for line in told)
    assert told or (scale, data) == ("paper", "cifar10")
    for spec in study.specs(request):
        assert 0 < study.expected_steps(spec) <= spec.training.max_steps
        assert study.weight(spec) > 0


@every_study_and_data
@every_scale
@pytest.mark.parametrize("status", list(Status))
def test_whatever_became_of_the_runs_can_be_reported(name, data, scale, status, request_for, record_of) -> None:
    study = studies.get(name)
    specs = study.specs(request_for(data, scale))
    records = [record_of(spec, status) for spec in {spec.digest: spec for spec in specs}.values()]

    points = looked_at(study, records, comparable=scale == "paper" and data == "cifar10")

    if status is Status.DONE and told_by_made_up_records(specs):
        assert all(points.values()), points
    if status is Status.FAILED:
        assert not any(points.values())


@every_study_and_data
def test_noise_that_nobody_fits_can_be_reported(name, data, request_for, record_of) -> None:
    study = studies.get(name)
    specs = study.specs(request_for(data, "small"))
    fitted = {spec.digest for spec in specs if spec.corruption.name == "true_labels"}

    records = [record_of(spec, Status.DONE if spec.digest in fitted else Status.NOT_FITTED) for spec in specs]

    points = looked_at(study, records, comparable=False)

    assert all(points.values()) or not told_by_made_up_records(specs)


@every_study
def test_a_mixture_and_nothing_at_all_can_be_reported(name, request_for, record_of) -> None:
    study = studies.get(name)
    specs = study.specs(request_for(data_of(name)[0], "small"))
    kinds = list(Status)

    looked_at(study, [record_of(spec, kinds[index % 5]) for index, spec in enumerate(specs)], comparable=False)

    assert not any(looked_at(study, [], comparable=False).values())
    assert {judge(claim, [], comparable=True).verdict for claim in study.claims} <= {"not run"}


@every_study
def test_smoke_scale_runs_from_plan_to_verdict(name, tmp_path) -> None:
    planned = plan_study(name, data=data_of(name)[0], scale="smoke")
    digests = planned.plan.digests
    assert len(digests) == len(set(digests)) <= 20

    # In this process: a worker's start would take longer than the runs.
    outcome = run_plan(
        planned, out=tmp_path / "runs", quiet=True, carry_out=lambda job, listener: carry_out(job, tell=listener.hear)
    )

    records = outcome.store.records(digests)
    counts = Counter(record.status for record in records)
    assert sum(counts.values()) == len(digests) == outcome.computed
    assert counts[Status.DONE] > 0
    assert counts[Status.FAILED] == counts[Status.CANCELLED] == 0
    assert outcome.store.missing(digests) == []
    points = looked_at(planned.study, records, comparable=False)
    assert sum(count > 0 for count in points.values()) > 0
    verdicts = Counter(judge(claim, records, comparable=False).verdict for claim in planned.study.claims)
    assert not {"reproduced", "not reproduced", "inconclusive"} & set(verdicts)
    assert sum(verdicts.values()) == len(planned.study.claims)
    assert sum(count for verdict, count in verdicts.items() if verdict != "not run") > 0


def test_a_claim_without_a_source_is_refused() -> None:
    from shattering.core.errors import ShatteringError

    study = studies.get(NAMES[0])
    for change in ({"source": ""}, {"provenance": "M"}):
        with pytest.raises(ShatteringError) as caught:
            register(replace(study, name="unsourced", claims=(replace(study.claims[0], **change),)))
        assert caught.value.identifier == "claim-without-source"
    assert "unsourced" not in studies.names()
