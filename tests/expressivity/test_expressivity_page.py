"""The Python that docs/expressivity.md shows runs as it stands, and prints what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "expressivity.md"


def test_the_page_on_expressivity_runs_from_top_to_bottom(tmp_path) -> None:
    script = "import torch\ntorch.manual_seed(0)\n"
    script += "".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S))

    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=200)

    assert done.returncode == 0, done.stderr
    weights, accuracy, _, beside, half_way, deep, *_ = done.stdout.splitlines()
    assert weights == "2020"
    assert accuracy == "tensor(1.)"
    assert float(beside.split()[1]) < float(half_way.split()[1]) < 0.5 < float(half_way.split()[2])
    assert re.fullmatch(r"253 \d+ tensor\(True\)", deep)
