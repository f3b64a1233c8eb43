"""Users' networks that are unfit, a generated module each: exit code 4, identifier, value and remedy in one sentence.

What is allowed but worth knowing becomes a note.
"""

from __future__ import annotations

import hashlib
import random
import textwrap
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from shattering.core.errors import ModelError, SpecError
from shattering.models.build import build_model
from shattering.models.check import ModelFacts, check_model
from shattering.models.user import source_fingerprint

CLASSES = 3
HEAD = "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n"
FRESH = count()


def module(folder: Path, source: str) -> str:
    """Writes ``source`` as a module of a new name and returns that name."""
    name = f"generated_network_{next(FRESH)}"
    (folder / f"{name}.py").write_text(HEAD + textwrap.dedent(source), encoding="utf-8")
    return name


def network(forward: str, *, init: str = "pass", body: str = "") -> str:
    """Source of a class ``Net`` with one linear layer and the given lines."""
    source = """
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 3)
            INIT

        def forward(self, x):
            FORWARD
    """
    source = textwrap.dedent(source).replace("INIT", init.replace("\n", "\n        "))
    source = source.replace("FORWARD", forward.replace("\n", "\n        "))
    return source + textwrap.indent(textwrap.dedent(body), "    ")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    torch.manual_seed(7)
    return tmp_path


def inputs() -> torch.Tensor:
    return torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def check(folder: Path, source: str, factory: str = "Net") -> ModelFacts:
    return check_model(f"{module(folder, source)}:{factory}", inputs(), CLASSES)


FIT = "return self.layer(x.flatten(1))"

UNFIT = {
    "import raises": ("raise ValueError('no weights here')", "Net", "model-import-failed", "no weights here"),
    "import has a syntax error": ("def build(:\n    pass", "build", "model-import-failed", "line 4"),
    "import misses a package": ("import no_such_package_anywhere", "Net", "model-import-failed", "no_such_package"),
    "import exits": ("import sys\nsys.exit(3)", "Net", "model-exits", "sys.exit(3)"),
    "factory absent": (network(FIT), "Nett", "model-factory-missing", "did you mean 'Net'"),
    "factory is a network": (network(FIT) + "\nnet = Net()\n", "net", "model-factory-not-callable", "Net"),
    "factory is a number": ("size = 3", "size", "model-factory-not-callable", "an int"),
    "factory wants more": ("def build(hidden): pass", "build", "model-factory-arguments", "model.fields.hidden"),
    "factory raises": (network(FIT, init="1 / 0"), "Net", "model-factory-failed", "ZeroDivisionError"),
    "factory exits": (network(FIT, init="raise SystemExit(0)"), "Net", "model-exits", "sys.exit(0)"),
    "factory returns None": ("def build(): pass", "build", "model-not-a-module", "None"),
    "factory returns a function": ("def build(): return F.relu", "build", "model-not-a-module", "a function"),
    "factory returns one network ever": (
        network(FIT) + "\nONE = Net()\ndef build(): return ONE\n",
        "build",
        "model-shared-instance",
        "at each call",
    ),
    "output has a third axis": (
        network("return self.layer(x.flatten(1))[:, None]"),
        "Net",
        "model-output-shape",
        "[6, 1, 3]",
    ),
    "output is one row": (network("return self.layer(x.flatten(1)).mean(0)"), "Net", "model-output-shape", "[3]"),
    "output has a fixed batch": (
        network("return torch.cat([self.layer(x.flatten(1))] * 6)[:6]"),
        "Net",
        "model-output-shape",
        "for 3 inputs",
    ),
    "output is a tuple of text": (network("return 'logits', x"), "Net", "model-output-type", "tuple"),
    "output is a dict without logits": (
        network("return {'scores': self.layer(x.flatten(1))}"),
        "Net",
        "model-output-type",
        "with `logits`",
    ),
    "output is half": (network("return self.layer(x.flatten(1)).half()"), "Net", "model-output-dtype", "float16"),
    "output is complex": (
        network("return torch.complex(self.layer(x.flatten(1)), torch.zeros(len(x), 3))"),
        "Net",
        "model-output-dtype",
        "complex64",
    ),
    "too few logits": (network(FIT, init="self.layer = nn.Linear(16, 2)"), "Net", "model-too-few-logits", "2 outputs"),
    "parameters are NaN": (
        network(FIT, init="nn.init.constant_(self.layer.bias, float('nan'))"),
        "Net",
        "model-not-finite",
        "layer.bias",
    ),
    "outputs are infinite": (network("return self.layer(x.flatten(1)) / 0"), "Net", "model-not-finite", "outputs"),
    "gradients are NaN": (
        network("y = self.layer(x.flatten(1))\nreturn y + (y - y).abs().sqrt()"),
        "Net",
        "model-not-finite",
        "gradient",
    ),
    "no parameters": (
        network("return x.flatten(1)[:, :3]", init="del self.layer; self.layers = [nn.Linear(16, 3)]"),
        "Net",
        "model-no-parameters",
        "plain list",
    ),
    "all frozen": (network(FIT, init="self.requires_grad_(False)"), "Net", "model-all-frozen", "requires_grad"),
    "modes hold different parameters": (
        network(
            FIT,
            body="""
            def train(self, mode=True):
                with torch.no_grad():
                    self.layer.weight.mul_(2 if mode else 0.5)
                return super().train(mode)
            """,
        ),
        "Net",
        "model-mode-changes-parameters",
        "layer.weight",
    ),
    "modes add parameters": (
        network(
            FIT,
            body="""
            def eval(self):
                self.extra = nn.Parameter(torch.zeros(1))
                return super().eval()
            """,
        ),
        "Net",
        "model-mode-changes-parameters",
        "extra",
    ),
    "evaluation counts in a buffer": (
        network(
            "self.calls += 1\nreturn self.layer(x.flatten(1))", init="self.register_buffer('calls', torch.zeros(()))"
        ),
        "Net",
        "model-eval-changes-buffers",
        "calls",
    ),
    "forward alters weights": (
        network("with torch.no_grad(): self.layer.bias.add_(1)\nreturn self.layer(x.flatten(1))"),
        "Net",
        "model-forward-changes-parameters",
        "layer.bias",
    ),
    "forward alters its inputs": (
        network("return self.layer(x.mul_(2).flatten(1))"),
        "Net",
        "model-changes-inputs",
        "copy",
    ),
    "forward raises": (network("return self.layer(x)"), "Net", "model-forward-failed", "[6, 1, 4, 4]"),
    "forward raises without a word": (network("raise KeyError"), "Net", "model-forward-failed", "KeyError (/"),
    "forward exits": (network("import sys; sys.exit('enough')"), "Net", "model-exits", "'enough'"),
    "forward detaches": (
        network("return self.layer(x.flatten(1)).detach()"),
        "Net",
        "model-output-detached",
        "autograd",
    ),
    "forward detaches the trained part": (
        network(
            "return self.layer(x.flatten(1)).detach() + self.offset",
            init="self.register_buffer('b', torch.ones(3)); self.offset = self.b.requires_grad_()",
        ),
        "Net",
        "model-output-detached",
        "autograd",
    ),
    "backward fails": (
        network("y = self.layer(x.flatten(1)).exp()\nz = y * 1\ny += 1\nreturn z + y"),
        "Net",
        "model-backward-failed",
        "inplace",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_unfit_network_is_refused(case: str, folder: Path) -> None:
    source, factory, identifier, told = UNFIT[case]
    with pytest.raises(ModelError) as caught:
        check(folder, source, factory)
    assert (caught.value.exit_code, caught.value.identifier) == (4, identifier)
    assert told in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.message[0].isalnum() or caught.value.message[0] == "'"
    assert caught.value.message.endswith((".", "'?"))
    # Identifier and sentence survive the way back from a worker.
    kind, arguments = caught.value.__reduce__()
    assert kind(*arguments).message == caught.value.message


def test_errors_name_the_users_line(folder: Path) -> None:
    name = module(folder, network("return self.layer(x)"))
    with pytest.raises(ModelError) as caught:
        check_model(f"{name}:Net", inputs(), CLASSES)
    lines = (folder / f"{name}.py").read_text(encoding="utf-8").splitlines()
    number = 1 + next(index for index, line in enumerate(lines) if "self.layer(x)" in line)
    assert f"{name}.py, line {number})" in caught.value.message


ALLOWED = {
    "some frozen": (network(FIT, init="self.layer.bias.requires_grad = False"), "frozen: layer.bias"),
    "tied": (
        network(
            "return self.b(torch.tanh(self.a(x.flatten(1))))[:, :3]",
            init=(
                "self.a = nn.Linear(16, 16); self.b = nn.Linear(16, 16); self.b.weight = self.a.weight; del self.layer"
            ),
        ),
        "b.weight share",
    ),
    "lazy": (network(FIT, init="self.layer = nn.LazyLinear(3)"), "lazy"),
    "nondeterministic": (network("return self.layer(F.dropout(x.flatten(1), 0.5))"), "Nondeterministic"),
    "more logits": (network(FIT, init="self.layer = nn.Linear(16, 5)"), "5 outputs for 3 classes"),
    "part unused": (network(FIT, init="self.spare = nn.Linear(2, 2)"), "no gradient: spare.weight, spare.bias"),
    "initial weights from elsewhere": (
        network(FIT, init="import numpy as np; nn.init.constant_(self.layer.bias, np.random.default_rng().random())"),
        "differ between two builds",
    ),
    "unpicklable": (network(FIT, init="self.act = lambda x: x"), "cannot be pickled"),
    "seed set by the factory": (network(FIT, init="torch.manual_seed(0)"), "generator with 0"),
    "seed set by the import": ("torch.manual_seed(1)\n" + network(FIT), "generator with 1"),
    "dtype set by the import": ("torch.set_default_dtype(torch.float64)\n" + network(FIT), "default dtype"),
    "dtype set by the factory": (
        network(FIT, init="torch.set_default_dtype(torch.float64); self.layer = nn.Linear(16, 3)"),
        "default dtype",
    ),
    "threads set by the forward": (
        network("torch.set_num_threads(3)\nreturn self.layer(x.flatten(1))"),
        "number of threads to 3",
    ),
    "everything random re-seeded": (
        "import random, numpy\n" + network(FIT, init="random.seed(0); numpy.random.seed(0); torch.manual_seed(0)"),
        "generator with 0",
    ),
}


@pytest.mark.parametrize("case", ALLOWED)
def test_what_is_allowed_is_noted_and_the_process_is_as_before(case: str, folder: Path) -> None:
    source, told = ALLOWED[case]
    states = torch.get_rng_state(), torch.initial_seed(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    settings = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    facts = check(folder, source)
    assert any(told in note for note in facts.notes)
    assert facts.deterministic == (case != "nondeterministic")
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (torch.initial_seed(), random.getstate()) == states[1:3]
    assert np.random.get_state()[1].tolist() == states[3]  # type: ignore[index]
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()) == settings


def test_counts(folder: Path) -> None:
    frozen = check(folder, ALLOWED["some frozen"][0])
    assert (frozen.parameters, frozen.trainable) == (51, 48)
    tied = check(folder, ALLOWED["tied"][0])
    assert (tied.parameters, tied.trainable) == (16 * 16 + 2 * 16, 16 * 16 + 2 * 16)
    lazy = check(folder, ALLOWED["lazy"][0])
    assert lazy.parameters == 51
    fit = check(folder, network(FIT))
    assert fit == ModelFacts(51, 51, deterministic=True, notes=())


def test_double_precision_runs_are_checked_in_double_precision(folder: Path) -> None:
    assert check_model(f"{module(folder, network(FIT))}:Net", inputs().double(), CLASSES).deterministic


def test_an_absent_module_is_told_apart_from_one_that_fails(folder: Path) -> None:
    with pytest.raises(ModelError, match="no_such_network") as caught:
        check_model("no_such_network:build", inputs(), CLASSES)
    assert caught.value.identifier == "model-module-missing"
    for malformed in (":build", "net:"):
        with pytest.raises(ModelError) as caught:
            check_model(malformed, inputs(), CLASSES)
        assert caught.value.identifier == "model-name-malformed"


def test_a_network_passed_by_hand_is_left_as_it_was() -> None:
    given = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, CLASSES))
    given.eval()
    facts = check_model(given, inputs(), CLASSES)
    assert facts.parameters == 16 * 8 + 8 + 16 + 8 * 3 + 3
    assert not given.training
    assert torch.nn.parameter.is_lazy(given.get_parameter("1.weight"))
    assert not bool(given.get_buffer("2.running_mean").any())
    assert all(parameter.grad is None for parameter in given.parameters())


def test_a_network_passed_by_hand_must_reach_other_processes() -> None:
    given = nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES))
    given.act = lambda x: x  # type: ignore[assignment]
    with pytest.raises(ModelError) as caught:
        check_model(given, inputs(), CLASSES)
    assert (caught.value.exit_code, caught.value.identifier) == (4, "model-unpicklable")
    with pytest.raises(ModelError) as caught:
        check_model(len, inputs(), CLASSES)  # type: ignore[arg-type]
    assert caught.value.identifier == "model-not-a-module"


def test_what_an_import_draws_moves_no_weights(folder: Path) -> None:
    name = module(folder, "torch.rand(5)\ntorch.manual_seed(3)\n" + network(FIT))
    weights = []
    for _ in range(2):
        torch.manual_seed(11)
        weights.append(build_model(f"{name}:Net", {}, (1, 4, 4), CLASSES).get_parameter("layer.weight"))
    assert torch.equal(*weights)


def test_weights_drawn_by_numpy_follow_from_the_seed(folder: Path) -> None:
    draw = "import numpy as np; nn.init.constant_(self.layer.bias, np.random.rand())"
    name = module(folder, network(FIT, init=draw))
    biases: list[float] = []
    for seed in (11, 11, 12):
        torch.manual_seed(seed)
        np.random.seed(len(biases))
        biases.append(float(build_model(f"{name}:Net", {}, (1, 4, 4), CLASSES).get_parameter("layer.bias")[0].detach()))
    assert biases[0] == biases[1] != biases[2]


def test_a_factory_gets_what_its_signature_asks_for(folder: Path) -> None:
    source = """
    def build(num_classes, input_shape, *, hidden: int = 4):
        size = input_shape[0] * input_shape[1] * input_shape[2]
        return nn.Sequential(nn.Flatten(), nn.Linear(size, hidden), nn.Linear(hidden, num_classes))
    """
    name = f"{module(folder, source)}:build"
    network = build_model(name, {"hidden": "7"}, (1, 4, 4), CLASSES)
    assert [tuple(parameter.shape) for parameter in network.parameters()] == [(7, 16), (7,), (3, 7), (3,)]
    with pytest.raises(SpecError, match="did you mean 'hidden'"):
        build_model(name, {"hiden": 7}, (1, 4, 4), CLASSES)


def test_the_fingerprint_is_of_the_file_that_defines_the_factory(folder: Path) -> None:
    inner = module(folder, network(FIT))
    outer = module(folder, f"import functools\nfrom {inner} import Net\nmake = functools.partial(Net)")
    expected = hashlib.sha256((folder / f"{inner}.py").read_bytes()).hexdigest()
    assert source_fingerprint(f"{inner}:Net") == expected
    assert source_fingerprint(f"{outer}:Net") == expected
    assert source_fingerprint(f"{outer}:make") == expected
    with pytest.raises(ModelError) as caught:
        source_fingerprint("builtins:len")
    assert caught.value.identifier == "model-source-missing"
