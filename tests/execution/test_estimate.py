"""What a plan will cost, and the pictures that go with it."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from shattering.core.plan import Plan
from shattering.core.study import DataFacts, Request
from shattering.data.arrays import from_arrays
from shattering.execution.estimate import Speed, predict, shape_of, time_step
from shattering.execution.gallery import make_gallery
from shattering.execution.plan import Planned, plan_study
from shattering.execution.study import default_jobs, estimate_cost, run_bytes
from tiny_runs import digits, register_study, tiny_spec


@pytest.mark.parametrize(
    "changes", [{}, {"training__augmentation": "full", "data__crop": 6}, {"training__optimizer": "adam"}]
)
def test_a_step_takes_time(changes: dict[str, object]) -> None:
    speed = time_step(tiny_spec(**changes), digits())
    assert 0 <= speed.fixed_seconds < 1 and 0 <= speed.example_seconds < 1
    assert speed.fixed_seconds + speed.example_seconds > 0
    assert 0 < speed.evaluation_seconds < 1
    assert speed.peak_bytes > 50e6


@pytest.mark.parametrize("count", [2, 3, 5])
def test_a_few_examples_can_be_timed(count: int) -> None:
    pixels = np.arange(count * 16).reshape(count, 4, 4, 1).astype(np.uint8)
    labels = np.arange(count) % 2
    splits = from_arrays(pixels, labels, pixels[:2] + 100, labels[:2])
    spec = tiny_spec(data__train_size=None, data__test_size=None, training__batch_size=2)
    assert time_step(spec, splits).evaluation_seconds > 0


def test_costs_add_up() -> None:
    spec = tiny_spec(training__max_steps=100, measures__points_per_decade=0)  # three steps an epoch
    speeds = {shape_of(spec): Speed(1.0, 0.5, 0.25, 1000)}
    other = spec.model_copy(update={"seed": 4})
    assert shape_of(other) == shape_of(spec)
    estimate = predict([spec, other], speeds, lambda spec: 30, (1437, 360), jobs=2)
    # Snapshots after 0, 3, …, 27 and 30 steps, each of 64 + 32 examples; steps of 24 examples.
    assert estimate.seconds == pytest.approx(4 + 30 * (1.0 + 0.5 * 24) + 11 * 96 * 0.25)
    assert (estimate.runs, estimate.steps, estimate.budget) == (2, 60, 200)
    assert (estimate.jobs, estimate.peak_bytes) == (2, 2000)
    alone = predict([spec, other], speeds, lambda spec: 10**9, (1437, 360), jobs=1)
    assert alone.steps == alone.budget == 200
    assert alone.seconds > 4 + 2 * 100 * 13


def test_nothing_costs_nothing() -> None:
    estimate = predict([], {}, lambda spec: 1, (10, 10), jobs=4)
    assert (estimate.runs, estimate.steps, estimate.seconds) == (0, 0, 0)


def test_estimate_of_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks a real worker, once for each kind of network."""
    register_study(
        monkeypatch,
        lambda request: [tiny_spec(seed=seed, model__fields__width=width) for seed in (0, 1) for width in (8, 16)],
        expected_steps=lambda spec: 1000,
    )
    planned = plan_study("tiny-study")
    estimate = estimate_cost(planned, list(planned.plan.specs), jobs=2)
    assert (estimate.runs, estimate.jobs) == (4, 2)
    assert estimate.steps == estimate.budget == 4 * 14
    assert 4 < estimate.seconds < 60
    assert estimate.peak_bytes > 100e6


def test_jobs_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    register_study(monkeypatch, lambda request: [tiny_spec()])
    planned = plan_study("tiny-study")
    assert 500e6 < run_bytes(planned) < 510e6
    monkeypatch.setattr("shattering.execution.study.processors", lambda: 8)
    for gigabytes, jobs in ((0.1, 1), (1.3, 2), (2.6, 4), (100, 8)):
        monkeypatch.setenv("SHATTERING_MEMORY_BYTES", str(int(gigabytes * 1e9)))
        assert default_jobs(planned) == jobs


# Gallery


def pixels_of(picture: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))


def test_gallery_shows_each_corruption_once(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("random_labels", "shuffled_pixels", "gaussian", "true_labels")
    register_study(monkeypatch, lambda request: [tiny_spec(corruption__name=n, seed=s) for n in names for s in (0, 1)])
    gallery = {item["corruption"]: item for item in make_gallery(plan_study("tiny-study"))}
    assert sorted(gallery) == ["gaussian", "random labels", "shuffled pixels", "true labels"]
    for name, item in gallery.items():
        assert item["summary"] and item["test_set"] and len(item["examples"]) == 6
        for example in item["examples"]:
            before, after = pixels_of(example["before"]), pixels_of(example["after"])
            assert before.shape == after.shape == (8, 8) and before.dtype == np.uint8
            same_picture = name in ("random labels", "true labels")
            assert np.array_equal(before, after) == same_picture
            if name != "random labels":
                assert example["label_before"] == example["label_after"]
            if name == "shuffled pixels":
                assert np.array_equal(np.sort(before, axis=None), np.sort(after, axis=None))
    labels = [(e["label_before"], e["label_after"]) for e in gallery["random labels"]["examples"]]
    assert any(before != after for before, after in labels)
    assert np.array_equal(pixels_of(gallery["true labels"]["examples"][0]["before"]), scaled(digits().train.inputs[0]))


def scaled(image: np.ndarray) -> np.ndarray:
    return np.rint(image[..., 0] * (255 / 16)).astype(np.uint8)


def test_gallery_of_fewer_examples_than_it_shows() -> None:
    pixels = np.arange(4 * 16).reshape(4, 4, 4, 1).astype(np.uint8)
    planned = plan_of(from_arrays(pixels, np.arange(4) % 2, pixels[:2] + 99, np.arange(2)))
    assert [len(item["examples"]) for item in make_gallery(planned)] == [4]


def test_features_have_no_gallery() -> None:
    features = np.arange(40.0).reshape(10, 4)
    assert make_gallery(plan_of(from_arrays(features, np.arange(10) % 2, features[:2] + 99, np.arange(2)))) == []


def plan_of(splits) -> Planned:
    spec = tiny_spec(training__batch_size=2)
    request = Request("smoke", DataFacts("tiny", 4, 1, (4, 4, 1), 2, "f" * 64))
    return Planned(None, Plan("tiny", request, (spec,)), splits, "tiny", None)
