"""A user's own loss: one number per example made of it, its kind found out, what is none of the three refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from shattering.core.errors import ModelError, SpecError
from shattering.core.spec import DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec, parse_spec
from shattering.data.load import load_data
from shattering.execution.preflight import check_user_model
from shattering.execution.run import execute
from shattering.models.build import build_model
from shattering.training import objective
from shattering.training.examples import prepare
from shattering.training.user_loss import loss_name, losses_by, require_separable
from shattering.training.ways import WAYS, why_not

SOURCE = """
import torch
from torch import nn
from torch.nn import functional as F

COUNT = [0]

def each(outputs, labels): return F.cross_entropy(outputs, labels, reduction="none")
def mean(outputs, labels): return F.cross_entropy(outputs, labels)
def total(outputs, labels): return F.cross_entropy(outputs, labels, reduction="sum")
def loop(outputs, labels): return sum(float(o.detach().max()) * 0 + F.cross_entropy(o[None], y[None])
                                      for o, y in zip(outputs, labels)) / len(labels)
def weighted(outputs, labels): return F.cross_entropy(outputs, labels, weight=torch.arange(1.0, 1 + outputs.shape[1]))
def root(outputs, labels): return F.cross_entropy(outputs, labels).sqrt()
def centred(outputs, labels):
    return F.cross_entropy(outputs - outputs.mean(0), labels, reduction="none")
def table(outputs, labels): return F.one_hot(labels, outputs.shape[1]) * outputs
def number(outputs, labels): return 1.0
def whole(outputs, labels): return labels.sum()
def detached(outputs, labels): return F.cross_entropy(outputs.detach(), labels)
def nan(outputs, labels): return F.cross_entropy(outputs, labels) * float("nan")
def noisy(outputs, labels): return F.cross_entropy(outputs, labels) * torch.rand(())
def raising(outputs, labels): raise RuntimeError("no loss today")
def leaving(outputs, labels): raise SystemExit(3)
def writing(outputs, labels):
    labels += 1
    return F.cross_entropy(outputs, labels % outputs.shape[1])
def binary(outputs, labels): return F.binary_cross_entropy_with_logits(outputs[:, 0], labels.float(), reduction="none")
smoothed = nn.CrossEntropyLoss(label_smoothing=0.1)
"""


@pytest.fixture(autouse=True)
def losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_losses.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "my_losses.py")


def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(8, 4, requires_grad=True), torch.arange(8) % 4


@pytest.mark.parametrize("name", ["each", "mean", "total", "loop"])
def test_losses_of_examples_and_their_gradients(name: str, losses: str) -> None:
    outputs, labels = batch()
    wanted = functional.cross_entropy(outputs, labels, reduction="none")
    found = losses_by(f"{losses}:{name}", outputs, labels)
    torch.testing.assert_close(found, wanted)
    (gradient,) = torch.autograd.grad(objective.mean_loss(outputs, labels, f"{losses}:{name}"), outputs)
    (expected,) = torch.autograd.grad(wanted.mean(), outputs)
    torch.testing.assert_close(gradient, expected)


@pytest.mark.parametrize(
    ("name", "kind"), [("each", "each"), ("mean", "mean"), ("total", "sum"), ("loop", "mean"), ("smoothed", "mean")]
)
def test_the_kind_is_found_out(name: str, kind: str, losses: str) -> None:
    assert require_separable(f"{losses}:{name}", *batch()) == kind
    assert require_separable("torch.nn:MultiMarginLoss", *batch()) == "mean"


UNFIT = {
    "weighted": "neither the mean",
    "root": "neither the mean",
    "centred": "depends on the other examples",
    "table": "shape [8, 4] for 8 examples",
    "number": "gives a float",
    "whole": "gives a tensor of torch.int64",
    "detached": "does not depend on the outputs",
    "nan": "not finite",
    "noisy": "draws at random",
    "raising": "no loss today",
    "leaving": "sys.exit(3)",
    "writing": "in place",
    "absent": "has no 'absent'",
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_no_loss_of_examples_is_refused(name: str, losses: str) -> None:
    with pytest.raises(ModelError) as told:
        require_separable(f"{losses}:{name}", *batch())
    assert UNFIT[name] in told.value.message
    assert told.value.exit_code == 4


def test_names_of_losses(losses: str) -> None:
    assert loss_name(functional.cross_entropy) == loss_name(nn.CrossEntropyLoss()) == "cross_entropy"
    assert loss_name("my_losses:each") == "my_losses:each"
    assert loss_name(functional.multi_margin_loss) == "torch.nn.functional:multi_margin_loss"
    with pytest.raises(ModelError) as told:
        loss_name(nn.CrossEntropyLoss(label_smoothing=0.1))
    assert told.value.identifier == "loss-is-an-object" and "define one in a file" in told.value.message


def spec(loss: str, **training: object) -> RunSpec:
    return RunSpec(
        data=DataSpec(train_size=100, test_size=50),
        model=ModelSpec(name="mlp_1x512", fields={"width": 16}),
        training=TrainingSpec(loss=loss, batch_size=50, max_steps=30, **training),
        measures=MeasureSpec(names=("accuracy", "coherence"), points_per_decade=0, every_epochs=0),
    )


def test_a_training_with_a_loss_of_ones_own_is_that_of_ours(losses: str) -> None:
    splits = load_data("digits")
    ours, _ = execute(spec("cross_entropy"), splits)
    for name, numbers in (("each", ("train_loss", "alpha")), ("mean", ("train_loss", "test_accuracy"))):
        asked = spec(f"{losses}:{name}")
        if "alpha" not in numbers:
            asked = asked.model_copy(update={"measures": asked.measures.model_copy(update={"names": ("accuracy",)})})
        theirs, _ = execute(asked, splits)
        for number in numbers:
            assert theirs.rows[-1][number] == pytest.approx(ours.rows[-1][number], rel=1e-3)
    assert ours.digest != theirs.digest


def test_no_fast_way_is_gone_with_a_loss_of_ones_own(losses: str) -> None:
    asked = spec(f"{losses}:each")
    splits = load_data("digits")
    examples = prepare(splits.train, asked)
    network = build_model("mlp_1x512", {"width": 16}, examples.input_shape, 10)
    for way in WAYS:
        reason = why_not(way, network, asked, examples)
        assert (reason is None) == (way == "plain")


def test_the_preflight_tries_the_loss_too(losses: str) -> None:
    splits = load_data("digits")
    facts = check_user_model(spec("my_losses:mean"), splits)
    assert facts["source"] is None and "gives the mean over a batch" in facts["notes"][0]
    assert check_user_model(spec("my_losses:each"), splits)["notes"] == ()
    with pytest.raises(ModelError) as told:
        check_user_model(spec("my_losses:weighted"), splits)
    assert told.value.identifier == "loss-unfit"


def test_a_loss_is_ours_or_has_a_colon() -> None:
    assert parse_spec({"training": {"loss": "my_losses:each"}}).training.loss == "my_losses:each"
    for wrong in ("hinge", ":each", "my_losses:", 3):
        with pytest.raises(SpecError) as told:
            parse_spec({"training": {"loss": wrong}})
        assert "cross_entropy, squared or MODULE:FUNCTION" in told.value.message
