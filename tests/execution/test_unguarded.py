"""A script without `if __name__ == "__main__"` is told so in one sentence, and nothing is begun twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shattering.core.errors import ModelError
from shattering.execution.unguarded import refuse_while_imported
from shattering.models.named import being_imported, load_named

RUN = 'import shattering\nshattering.run("zhang2017-random-labels", scale="smoke", out="runs", quiet=True)\n'
AUDIT = """
import numpy as np, shattering
from torch import nn

def build(input_shape, num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), num_classes))

inputs = np.random.default_rng(0).normal(size=(60, 5)).astype("float32")
shattering.audit(build, (inputs, inputs[:, 0] > 0), budget="10s", checks="soundness", quiet=True)
"""


@pytest.mark.parametrize("script", [RUN, AUDIT], ids=["run", "audit"])
def test_an_unguarded_script_is_told_so(script: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(script)
    done = subprocess.run([sys.executable, "mine.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1 and "bootstrapping" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("shattering.core.errors.ModelError: ") and 'under `if __name__ == "__main__":`' in last
    assert not list(tmp_path.glob("runs/runs/*"))


def test_a_networks_file_that_begins_work_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(AUDIT)
    words = ["-m", "shattering", "audit", "theirs.py:build", "--data", "digits"]
    called = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert called.returncode == 4
    assert called.stderr.startswith("error [script-unguarded]: ") and "calls shattering.audit(…)" in called.stderr


def test_only_imports_of_networks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "fine.py").write_text("from shattering.models.named import being_imported\nseen = being_imported()\n")
    refuse_while_imported("shattering.run")
    assert load_named(f"{tmp_path / 'fine.py'}:seen") == str(tmp_path / "fine.py")
    assert being_imported() is None
    (tmp_path / "bad.py").write_text(RUN)
    with pytest.raises(ModelError, match="at its top level"):
        load_named(f"{tmp_path / 'bad.py'}:seen")
    assert being_imported() is None
