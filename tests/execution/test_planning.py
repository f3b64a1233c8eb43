"""From a request to resolved specs: names and fields, identities, and what moves neither."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shattering.core.errors import DataError, SpecError, StoreError
from shattering.core.plan import Plan
from shattering.core.registry import Registry
from shattering.core.study import Request
from shattering.execution.plan import plan_study, resolved
from shattering.models.registry import models
from tiny_runs import digits, register_study, tiny_spec

TESTS = Path(__file__).parents[1]


def two_specs(request):
    return [tiny_spec(corruption__name=name) for name in ("true_labels", "random_labels")]


def test_specs_are_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    def specs(request):
        bare = tiny_spec()
        partial = tiny_spec(corruption__name="partially_corrupted_labels", corruption__fields={"p": "0.5"})
        return [bare.model_copy(update={"model": type(bare.model)(name="mlp_1x512")}), partial]

    register_study(monkeypatch, specs)
    planned = plan_study("tiny-study", command="shattering run tiny-study")
    bare, partial = planned.plan.specs
    assert {spec.data.fingerprint for spec in planned.plan.specs} == {digits().fingerprint}
    assert {spec.data.name for spec in planned.plan.specs} == {"digits"}
    assert bare.model.fields == {}
    assert partial.model.fields == {"width": 8}  # as typed by the model; defaults stay unsaid
    assert partial.corruption.fields == {"p": 0.5}
    assert planned.plan.command == "shattering run tiny-study"
    assert Plan.from_json(planned.plan.to_json()) == planned.plan


def test_spelling_out_a_default_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same run, planned twice with its defaults said and unsaid, is one run."""

    def specs(request):
        return [tiny_spec(), tiny_spec(model__fields__dropout=0), tiny_spec(model__fields={"width": "8"})]

    register_study(monkeypatch, specs)
    assert len(plan_study("tiny-study").plan.specs) == 1


def test_overrides_reach_every_run(monkeypatch: pytest.MonkeyPatch) -> None:
    register_study(monkeypatch, two_specs)
    planned = plan_study("tiny-study", overrides={"training.learning_rate": "1e-3", "training.max_steps": 5})
    assert {(spec.training.learning_rate, spec.training.max_steps) for spec in planned.plan.specs} == {(1e-3, 5)}
    assert planned.plan.digests != plan_study("tiny-study").plan.digests
    assert planned.plan.key != plan_study("tiny-study").plan.key
    merged = plan_study("tiny-study", overrides={"corruption.name": "true_labels"})
    assert len(merged.plan.specs) == 1


@pytest.mark.parametrize(
    ("request_", "identifier"),
    [
        ({"scale": "huge"}, "scale-unknown"),
        ({"seeds": 0}, "seeds-too-few"),
        ({"seeds": True}, "seeds-too-few"),
        ({"models": ("mlp_1x51",)}, "unknown-model"),
        ({"overrides": {"training.learning_rat": 1}}, "spec-unknown-key"),
        ({"overrides": {"training.learning_rate": -1}}, "spec-wrong-value"),
        ({"overrides": {"model.fields.depth": 3}}, "spec-unknown-key"),
        ({"overrides": {"compute.dtype": "bfloat16"}}, "spec-bfloat16-cpu"),
        (
            {"overrides": {"corruption.name": "partially_corrupted_labels", "corruption.fields.p": 1.5}},
            "spec-fraction",
        ),
        ({"overrides": {"measures.names": ["accuracies"]}}, "unknown-measure"),
    ],
)
def test_wrong_requests_are_refused(monkeypatch: pytest.MonkeyPatch, request_: dict, identifier: str) -> None:
    register_study(monkeypatch, two_specs)
    with pytest.raises(SpecError) as error:
        plan_study("tiny-study", **request_)
    assert error.value.identifier == identifier


@pytest.mark.parametrize(
    ("overrides", "identifier"),
    [
        ({"data.train_size": 5000}, "data-subset-too-large"),
        ({"data.test_size": 5000}, "data-subset-too-large"),
        ({"training.batch_size": 65}, "data-fewer-than-batch"),
    ],
)
def test_data_too_small_are_told_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, overrides: dict, identifier: str
) -> None:
    register_study(monkeypatch, two_specs)
    with pytest.raises(DataError) as error:
        plan_study("tiny-study", overrides=overrides)
    assert error.value.identifier == identifier


def test_every_size_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs of one network, only the second of which asks for too much."""
    register_study(monkeypatch, lambda request: [tiny_spec(), tiny_spec(data__train_size=5000)])
    with pytest.raises(DataError) as error:
        plan_study("tiny-study")
    assert error.value.identifier == "data-subset-too-large"


def test_absent_device_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    register_study(monkeypatch, two_specs)
    for request in ({"device": "cuda"}, {"overrides": {"compute.device": "cuda"}}):
        with pytest.raises(StoreError) as error:
            plan_study("tiny-study", **request)
        assert error.value.identifier == "device-absent"


@pytest.mark.parametrize("name", ["adlam2020", "atanasov2024", "deng2019", "heckel2020", "kuzborskij2021", "loog2020"])
def test_a_study_that_draws_its_examples_takes_no_others(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        plan_study(name, data="digits", scale="smoke")
    assert caught.value.identifier == "study-own-data"


def test_empty_plan_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    register_study(monkeypatch, lambda request: [])
    with pytest.raises(SpecError) as error:
        plan_study("tiny-study")
    assert error.value.identifier == "plan-empty"


def test_label_file_is_pinned_by_its_content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    labels = tmp_path / "labels.npy"
    changes = {"corruption.name": "label_file", "corruption.fields.path": str(labels), "data.train_size": "none"}
    register_study(monkeypatch, lambda request: [tiny_spec()])
    digests = []
    for shift in (0, 1):
        np.save(labels, (digits().train.labels + shift) % 10)
        digests += plan_study("tiny-study", overrides=changes).plan.digests
    assert digests[0] != digests[1]


def test_registered_models_are_known() -> None:
    assert isinstance(models, Registry) and "mlp_1x512" in models.names()


IDENTITY = """
import sys
sys.path.insert(0, {tests!r})
from tiny_runs import digits, tiny_spec
from shattering.execution.plan import plan_study, resolved
from shattering.execution.run import execute
spec = tiny_spec(model__fields__dropout=0.3, corruption__name="random_labels", training__optimizer="adam")
print(execute(spec, digits())[0].weights_sha256)
print(" ".join(plan_study("zhang2017-random-labels", scale="smoke").plan.digests))
"""


def test_identity_and_results_do_not_depend_on_the_process(tmp_path: Path) -> None:
    """Another hash seed, working directory, locale and order of the environment: the same names, the same bits."""
    told = []
    for seed, folder, locale in (("0", tmp_path, "C"), ("1234", TESTS, "C.UTF-8")):
        surroundings = {**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale}
        ran = subprocess.run(
            [sys.executable, "-c", IDENTITY.format(tests=str(TESTS))],
            cwd=folder, env=surroundings, capture_output=True, text=True, check=True,
        )  # fmt: skip
        told.append(ran.stdout)
    assert told[0] == told[1]
    weights, digests = told[0].splitlines()
    assert len(weights) == 64 and len(digests.split()) > 3
    assert plan_study("zhang2017-random-labels", scale="smoke").plan.digests == digests.split()


def test_gradients_in_bfloat16_are_refused() -> None:
    spec = tiny_spec(measures__names=("accuracy", "coherence"), compute__device="cuda", compute__dtype="bfloat16")
    with pytest.raises(SpecError, match=r"'coherence' needs gradients of single examples.*compute\.dtype=float32"):
        resolved(spec, Request("smoke", digits().facts, device="cuda"))
