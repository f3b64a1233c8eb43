"""What trained weights know: the area under the curve by hand, coverage of its interval, and files that are refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from shattering.checks.registry import Evidence, Subject
from shattering.checks.trained import auc_interval, check, difference_interval
from shattering.core.errors import DataError, ModelError
from shattering.core.spec import DataSpec, ModelSpec, RunSpec
from shattering.core.streams import NORMAL_ONE, Stream
from shattering.data.load import load_data
from shattering.execution.run import initial_model
from shattering.execution.trained import look_at_weights, read_weights

SPEC = RunSpec(data=DataSpec(name="digits", whiten=False), model=ModelSpec(name="mlp_1x512", fields={"width": 8}))


def network() -> torch.nn.Module:
    return initial_model(SPEC, (1, 8, 8), 10)


def test_the_area_counts_pairs() -> None:
    larger, smaller = np.array([1.0, 2.0, 3.0, 3.0]), np.array([0.0, 2.0, 3.0])

    won = sum((a > b) + 0.5 * (a == b) for a in larger for b in smaller) / 12

    area, low, high = auc_interval(larger, smaller)
    assert area == pytest.approx(won, abs=1e-15)
    assert 0 < low < area < high < 1
    assert auc_interval(smaller, larger)[0] == pytest.approx(1 - won, abs=1e-15)
    assert auc_interval(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == (1.0, 0.0, 1.0)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_the_interval_of_the_area_covers(shift) -> None:
    true = 0.5 * (1 + math.erf(shift / 2))
    draws = Stream(3, "test").normals(np.arange(1500), 80) / float(NORMAL_ONE)

    covered = 0
    for row in draws:
        _, low, high = auc_interval(row[:40] + shift, row[40:])
        covered += low <= true <= high
    assert covered / len(draws) > 0.95 - 4 * math.sqrt(0.05 * 0.95 / len(draws))


def test_the_gap_of_equal_accuracies_holds_zero() -> None:
    low, high = difference_interval((0.9, 0.85, 0.94), (0.9, 0.85, 0.94))

    assert low < 0 < high
    assert low >= -1
    assert difference_interval((1.0, 0.9, 1.0), (0.0, 0.0, 0.1))[1] == 1.0


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt", "wrapped.pt"])
def test_weights_are_found_again_and_their_memory_is_told(tmp_path, name) -> None:
    splits = load_data("digits")
    model, path = network(), tmp_path / name
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(3)
    state = model.state_dict()
    if name == "weights.safetensors":
        save_file(state, path)
    else:
        torch.save(
            {"state_dict": {f"module.{key}": value for key, value in state.items()}} if "wrapped" in name else state,
            path,
        )

    seen = look_at_weights(SPEC, splits, path)

    inputs = torch.from_numpy(splits.test.inputs / np.float32(16)).float().permute(0, 3, 1, 2)
    assert (seen["test_predictions"] == model.eval()(inputs).argmax(1).numpy()).all()
    answer = check.answer(Subject(SPEC, splits, trained=seen), Evidence())
    assert [finding.name for finding in answer.findings] == ["trained_membership", "trained_gap"]
    for finding in answer.findings:
        assert finding.low <= finding.value <= finding.high
    assert answer.exhibits
    assert check.why_not(Subject(SPEC, splits, trained=seen)) is None


def test_losses_that_tell_are_a_warning() -> None:
    splits = load_data("digits")
    seen = {
        "file": "w.pt",
        "train_losses": np.linspace(0, 1, 1437),
        "test_losses": np.linspace(0.5, 2, 360),
        "train_predictions": splits.train.labels,
        "test_predictions": np.zeros(360, dtype=np.int64),
    }

    membership, gap = check.answer(Subject(SPEC, splits, trained=seen), Evidence()).findings

    assert membership.level == "warning"
    assert gap.value > 0.8
    assert check.why_not(Subject(SPEC, splits)) is not None


def test_what_holds_no_weights_is_refused(tmp_path) -> None:
    (tmp_path / "text.pt").write_text("hello")
    torch.save([1, 2], tmp_path / "list.pt")
    for name, identifier in (
        ("none.pt", "weights-missing"),
        ("text.pt", "weights-unreadable"),
        ("list.pt", "weights-unreadable"),
    ):
        with pytest.raises(DataError) as caught:
            read_weights(tmp_path / name)
        assert caught.value.identifier == identifier


def test_a_pickle_that_runs_code_is_refused(tmp_path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (open, (str(tmp_path / "canary"), "w"))

    torch.save({"state_dict": Payload()}, tmp_path / "evil.pt")

    with pytest.raises(DataError):
        read_weights(tmp_path / "evil.pt")
    assert not (tmp_path / "canary").exists()


def test_weights_of_another_network_name_what_differs(tmp_path) -> None:
    splits = load_data("digits")
    state = network().state_dict()
    first = next(iter(state))
    for change in ({"extra": torch.zeros(1)}, {first: torch.zeros(2, 2)}):
        save_file({**state, **change}, tmp_path / "w.safetensors")
        with pytest.raises(ModelError) as caught:
            look_at_weights(SPEC, splits, tmp_path / "w.safetensors")
        assert caught.value.identifier == "weights-of-another-model"
        assert next(iter(change)) in caught.value.message
