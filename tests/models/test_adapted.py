"""Networks with arguments of their own and results that hold logits; and names by which workers find what is given."""

from __future__ import annotations

import copy
import functools
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shattering.core.errors import ModelError
from shattering.core.spec import BatchPart
from shattering.gradients.engine import Engine
from shattering.models.adapted import adapt, logits_of
from shattering.models.build import build_model
from shattering.models.named import file_fingerprint, name_of
from shattering.models.user import build_user_model, load_factory, source_fingerprint

BATCH = (
    BatchPart(name="input_ids", shape=(5,), dtype="int64"),
    BatchPart(name="attention_mask", shape=(5,), dtype="bool"),
    BatchPart(name="age"),
)


class Tagger(nn.Module):
    """A network of keyword arguments, of which it checks shapes and types."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 4)
        self.norm = nn.LayerNorm(4)
        self.output = nn.Linear(5, 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, age: Tensor) -> dict[str, Tensor]:
        assert (input_ids.dtype, attention_mask.dtype) == (torch.int64, torch.bool)
        weights = attention_mask.unsqueeze(-1).to(self.words.weight.dtype)
        mean = self.norm((self.words(input_ids) * weights).sum(1) / weights.sum(1).clamp(min=1))
        return {"loss": mean.sum(), "logits": self.output(torch.cat([mean, age[:, None]], dim=1))}


def rows() -> Tensor:
    torch.manual_seed(3)
    ids = torch.randint(0, 20, (7, 5))
    return torch.cat([ids.float(), (ids > 3).float(), torch.randn(7, 1)], dim=1)


def test_a_row_becomes_the_arguments_and_the_result_the_logits() -> None:
    torch.manual_seed(0)
    plain = Tagger()
    adapted = adapt(copy.deepcopy(plain), BATCH)
    table = rows()
    wanted = plain(input_ids=table[:, :5].long(), attention_mask=table[:, 5:10].bool(), age=table[:, 10])["logits"]
    assert torch.equal(adapted(table), wanted)
    assert isinstance(adapted, Tagger)
    assert list(adapted.state_dict()) == list(plain.state_dict())
    assert [name for name, _ in adapted.named_modules()] == [name for name, _ in plain.named_modules()]
    assert torch.equal(copy.deepcopy(adapted)(table), wanted)


def test_gradients_of_single_examples_are_those_of_the_loop() -> None:
    torch.manual_seed(0)
    network, table, labels = adapt(Tagger(), BATCH), rows(), torch.arange(7) % 3
    sums = Engine(network, nn.functional.cross_entropy).sums((table, labels))
    total: dict[str, Tensor] = {name: torch.zeros_like(p) for name, p in network.named_parameters()}
    squared = 0.0
    for row in range(7):
        network.zero_grad()
        nn.functional.cross_entropy(network(table[row : row + 1]), labels[row : row + 1]).backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            total[name] += parameter.grad
            squared += float(parameter.grad.double().square().sum())
    assert sum(sums.squared.values()) == pytest.approx(squared, rel=1e-5)
    assert list(sums.squared) == list(total)


def test_what_is_passed_by_position_and_a_network_without_either() -> None:
    class Pair(nn.Module):
        def forward(self, ids: Tensor, scale: Tensor) -> tuple[Tensor, str]:
            return ids * scale, "and more"

    parts = (BatchPart(shape=(2,), dtype="int32"), BatchPart(shape=(1,)))
    assert adapt(Pair(), parts)(torch.tensor([[3.0, 4.0, 0.5]])).tolist() == [[1.5, 2.0]]
    plain = nn.Linear(2, 2)
    assert type(adapt(plain)) is nn.Linear


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: (x, None),
        lambda x: [(x,), x],
        lambda x: {"logits": x},
        lambda x: SimpleNamespace(logits=x),
    ],
)
def test_logits_are_found(wrap: Any) -> None:
    logits = torch.ones(2, 3)
    assert logits_of(wrap(logits)) is logits


def test_what_holds_no_logits_is_left_for_the_check_to_refuse() -> None:
    assert logits_of("text") == "text"
    assert logits_of({"scores": torch.ones(1)}) == {"scores": torch.ones(1)}


def test_networks_that_cannot_be_adapted() -> None:
    network = nn.Linear(2, 2)
    network.forward = lambda x: x  # type: ignore[method-assign]
    with pytest.raises(ModelError) as told:
        adapt(network, structured=True)
    assert told.value.identifier == "model-not-adaptable"
    with pytest.raises(ModelError) as told:
        build_model("mlp_1x512", {}, (11,), 3, batch=BATCH)
    assert told.value.identifier == "model-one-input" and "attention_mask" in told.value.message


# Names.

SOURCE = """
from torch import nn

def build(input_shape, num_classes):
    return nn.Linear(1, num_classes) if isinstance(input_shape, dict) else nn.Linear(*input_shape, num_classes)

class Net(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "random.py").write_text(SOURCE)  # called like a module of the standard library
    monkeypatch.chdir(tmp_path)
    return tmp_path / "folder" / "random.py"


def test_a_file_is_named_by_its_path(script: Path) -> None:
    for name in ("folder/random.py:build", str(script) + ":build", "./folder/random.py:build"):
        assert build_user_model(name, {}, (4,), 3).weight.shape == (3, 4)
        assert source_fingerprint(name) == file_fingerprint(name)
    assert load_factory("folder/random.py:Net") is load_factory(f"{script}:Net")
    with pytest.raises(ModelError) as told:
        load_factory("folder/absent.py:build")
    assert told.value.identifier == "model-module-missing" and "absent.py" in told.value.message
    with pytest.raises(ModelError) as told:
        load_factory("folder/random.py:bild")
    assert told.value.identifier == "model-factory-missing" and "'build'" in told.value.message


def test_a_factory_is_told_the_shapes_of_the_parts(script: Path) -> None:
    name = "folder/random.py:build"
    assert build_user_model(name, {}, (11,), 3, batch=BATCH).weight.shape == (3, 1)  # type: ignore[arg-type]
    one = (BatchPart(shape=(5,), dtype="int64"),)
    assert build_user_model(name, {}, (5,), 3, batch=one).weight.shape == (3, 5)


def test_functions_and_classes_of_modules_have_names() -> None:
    assert name_of("folder/net.py:build") == "folder/net.py:build"
    assert name_of(nn.functional.nll_loss) == "torch.nn.functional:nll_loss"
    assert name_of(Tagger) == f"{Tagger.__module__}:Tagger"


UNNAMEABLE = {
    "a network": (nn.Linear(2, 2), "model-is-an-object", "a Linear"),
    "a lambda": (lambda: nn.Linear(2, 2), "model-unnameable", "a lambda"),
    "a partial": (functools.partial(nn.Linear, 2, 2), "model-unnameable", "functools.partial"),
    "a number": (3, "model-is-an-object", "an int"),
}


@pytest.mark.parametrize("case", UNNAMEABLE)
def test_what_workers_could_not_import_is_refused(case: str) -> None:
    value, identifier, part = UNNAMEABLE[case]
    with pytest.raises(ModelError) as told:
        name_of(value)
    assert told.value.identifier == identifier and part in told.value.message


def test_a_function_within_a_function_is_refused() -> None:
    def build() -> nn.Module:
        return nn.Linear(2, 2)

    with pytest.raises(ModelError) as told:
        name_of(build)
    assert told.value.identifier == "model-unnameable" and "inside a function" in told.value.message


@pytest.mark.parametrize(
    ("file", "name"), [("mine.py", "mine:build"), ("inner/theirs.py", "inner/theirs.py:build"), (None, "")]
)
def test_a_scripts_own_function_is_named_by_its_file(
    file: str | None, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    script = types.ModuleType("__main__")
    if file is not None:
        path = tmp_path / file
        path.parent.mkdir(exist_ok=True)
        path.write_text("def build(): pass\n")
        script.__file__ = str(path)
    exec(compile("def build(): pass\n", file or "<stdin>", "exec"), vars(script))  # noqa: S102 (our own text)
    monkeypatch.setitem(sys.modules, "__main__", script)
    if file is not None:
        assert name_of(script.build) == name
    else:
        with pytest.raises(ModelError) as told:
            name_of(script.build)
        assert "interactive session" in told.value.message
