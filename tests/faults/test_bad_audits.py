"""The catalogue of bad models and data on the way into an audit: a stated exit code and one clear sentence each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shattering.core.spec import DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.data.subject import Gathered, gather_paths
from shattering.execution.messages import Answered, Broke, Ended, Job, Message
from shattering.execution.preflight import settled
from shattering.execution.worker import carry_out

HEAD = "import sys\nimport time\nimport torch\nfrom torch import nn\n"

NET = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(6, 3)
        INIT

    def forward(self, x):
        FORWARD
"""


def net(forward: str = "return self.layer(x)", init: str = "pass") -> str:
    """Source of a network with one linear layer and the given lines."""
    source = NET
    for word, lines in (("INIT", init), ("FORWARD", forward)):
        source = source.replace(word, textwrap.indent(lines, " " * 8).strip())
    return source


STOPPED: dict[str, tuple[str, str, str]] = {
    "wrong shape of the output": (net("return self.layer(x)[:, :, None]"), "model-output-shape", "[8, 3, 1]"),
    "wrong shape of the input": (net(init="self.layer = nn.Linear(5, 3)"), "model-forward-failed", "cannot be mult"),
    "too few outputs": (net(init="self.layer = nn.Linear(6, 2)"), "model-too-few-logits", "widen"),
    "NaN in the output": (net("return self.layer(x) * float('nan')"), "model-not-finite", "outputs"),
    "no parameters": (
        "class Net(nn.Module):\n    def forward(self, x): return x[:, :3]",
        "model-no-parameters",
        "attrib",
    ),
    "all frozen": (net(init="self.requires_grad_(False)"), "model-all-frozen", "requires_grad"),
    "writes into its input": (net("x += 1\nreturn self.layer(x)"), "model-changes-inputs", "copy"),
    "exits on import": ("sys.exit(0)", "model-exits", "sys.exit(0)"),
    "exits when called": (net("sys.exit(0)"), "model-exits", "sys.exit(0)"),
    "raises": (net("raise RuntimeError('not today')"), "model-forward-failed", "not today"),
    "detaches": (net("return self.layer(x.detach()).detach()"), "model-output-detached", "detach"),
}

ALLOWED: dict[str, tuple[str, str]] = {
    "an in-place activation": (net("return torch.relu_(self.layer(x)) - x[:, :3]"), ""),
    "batch normalisation": (net("return self.layer(self.norm(x))", "self.norm = nn.BatchNorm1d(6)"), ""),
    "dropout": (net("return self.layer(self.drop(x))", "self.drop = nn.Dropout(0.5)"), ""),
    "seeds the global generator": (net(init="torch.manual_seed(0)"), "same for every seed"),
    "changes the default type": (net(init="torch.set_default_dtype(torch.float64)"), "put back"),
    "changes the default type and the threads when called": (
        net("torch.set_default_dtype(torch.float64)\ntorch.set_num_threads(2)\nreturn self.layer(x)"),
        "put back",
    ),
    "some frozen": (net(init="self.layer.bias.requires_grad_(False)"), "frozen"),
    "logits in a dict": (net("return {'logits': self.layer(x)}"), ""),
    "logits first in a tuple": (net("return self.layer(x), x"), ""),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = np.random.default_rng(0).normal(size=(90, 6)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", x_train=rows, y_train=rows[:, :3].argmax(axis=1))
    return tmp_path / "rows.npz"


def written(folder: Path, source: str) -> str:
    (folder / "network.py").write_text(HEAD + source)
    return f"{folder / 'network.py'}:Net"


def training(gathered: Gathered, model: str, **more: Any) -> RunSpec:
    facts = gathered.splits.facts
    return RunSpec(
        data=DataSpec(name=facts.name, fingerprint=facts.fingerprint, whiten=False),
        model=ModelSpec(name=model, **gathered.model_fields),
        training=TrainingSpec(batch_size=16, max_steps=5, **more),
        measures=MeasureSpec(names=("accuracy", "coherence"), points_per_decade=0, every_epochs=0),
    )


def asked(kind: str, gathered: Gathered, spec: RunSpec) -> Message:
    """What a worker answers, in this process."""
    job = Job(kind, spec.digest, spec.to_json(), gathered.data, None, gathered.splits.fingerprint)
    return carry_out(job)


@pytest.mark.parametrize("case", STOPPED)
def test_an_unfit_network_ends_the_audit_before_any_training(case: str, data: Path, tmp_path: Path) -> None:
    source, identifier, part = STOPPED[case]
    gathered = gather_paths(str(data), folder=tmp_path / "audit")
    answer = asked("check", gathered, training(gathered, written(tmp_path, source)))
    assert isinstance(answer, Broke), answer
    assert (answer.identifier, answer.exit_code) == (identifier, 4)
    assert part in answer.message and "\n" not in answer.message


@pytest.mark.parametrize("case", ALLOWED)
def test_a_peculiar_network_is_trained_and_measured(case: str, data: Path, tmp_path: Path) -> None:
    source, part = ALLOWED[case]
    gathered = gather_paths(str(data), folder=tmp_path / "audit")
    spec = training(gathered, written(tmp_path, source))
    before = torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed()
    answer = asked("check", gathered, spec)
    assert isinstance(answer, Answered), answer
    assert part in " ".join(answer.facts["notes"])
    ended = asked("run", gathered, spec.model_copy(update={"model": settled(spec.model, answer.facts)}))
    assert isinstance(ended, Ended), ended
    assert np.isfinite(ended.record.rows[-1]["alpha"])
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed()) == before


def test_a_dict_batch_that_does_not_fit_the_network_says_what_was_passed(tmp_path: Path) -> None:
    arrays: Mapping[str, Any] = {
        "input_ids": np.arange(180).reshape(90, 2) % 7,
        "token_types": np.zeros((90, 2), dtype=np.int64),
        "labels": np.arange(90) % 3,
    }
    np.savez(tmp_path / "tokens.npz", **arrays)
    gathered = gather_paths(str(tmp_path / "tokens.npz"), folder=tmp_path / "audit")
    source = NET.replace("INIT", "pass").replace("FORWARD", "return self.layer(input_ids)").replace("x)", "input_ids)")
    answer = asked("check", gathered, training(gathered, written(tmp_path, source)))
    assert isinstance(answer, Broke) and (answer.identifier, answer.exit_code) == ("model-forward-failed", 4)
    assert "'token_types'" in answer.message and "input_ids int64 [8, 2], token_types int64 [8, 2]" in answer.message


def test_integers_where_the_network_wants_features(tmp_path: Path) -> None:
    np.savez(tmp_path / "whole.npz", x_train=np.arange(540).reshape(90, 6), y_train=np.arange(90) % 3)
    gathered = gather_paths(str(tmp_path / "whole.npz"), folder=tmp_path / "audit")
    answer = asked("check", gathered, training(gathered, written(tmp_path, net())))
    assert isinstance(answer, Broke) and answer.exit_code == 4
    assert "input int64 [8, 6]" in answer.message and "integers to floats" in answer.message
    whitened = training(gathered, written(tmp_path, net()))
    whitened = whitened.model_copy(update={"data": whitened.data.model_copy(update={"whiten": True})})
    answer = asked("check", gathered, whitened)
    assert isinstance(answer, Broke) and (answer.identifier, answer.exit_code) == ("spec-whitened-batch", 2)


COMMANDS: dict[str, tuple[str, dict[str, str], int, str, str]] = {
    "hangs": (net("while True: time.sleep(1)"), {}, 4, "run-hung", "no sign of life"),
    "exits": (net("sys.exit(0)"), {}, 4, "model-exits", "remove that call"),
    "dies": (net("import os; os._exit(1)"), {}, 5, "run-crashed", "left with code 1"),
    "no such data": (net(), {"--data": "absent.csv"}, 3, "data-missing", "absent.csv"),
    "NaN in the data": (net(), {"--data": "nan.csv"}, 3, "data-null", "Row 9 of column 'b'"),
    "no such loss": (net(), {"--set": "training.loss=hinge"}, 2, "spec-wrong-value", "MODULE:FUNCTION"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", COMMANDS)
def test_the_command_ends_with_the_stated_code(case: str, data: Path, tmp_path: Path) -> None:
    source, more, code, identifier, part = COMMANDS[case]
    written(tmp_path, source)
    (tmp_path / "nan.csv").write_text(
        "a,b,label\n" + "".join(f"{i},{'nan' if i == 9 else i},{i % 3}\n" for i in range(90))
    )
    options = {"--data": str(data), "--out": "audit", "--budget": "30s"} | more
    done = subprocess.run(
        [Path(sys.executable).with_name("shattering"), "audit", "network.py:Net", "--json"]
        + [word for pair in options.items() for word in pair],
        cwd=tmp_path,
        env={**os.environ, "SHATTERING_HANG_SECONDS": "5"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert part in done.stderr and "Traceback" not in done.stderr
    assert identifier in done.stderr + done.stdout
    if done.stdout:
        json.loads(done.stdout)
