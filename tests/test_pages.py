"""The Python that documents show runs as it stands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_page_on_gradients_runs_from_top_to_bottom() -> None:
    measuring, stepping = re.findall(r"```python\n(.*?)```", (DOCS / "coherence.md").read_text(encoding="utf-8"), re.S)
    before = "before = [parameter.detach().clone() for parameter in model.parameters()]\n"
    after = "print([not torch.equal(old, new) for old, new in zip(before, model.parameters())])\n"

    script = measuring + before + stepping + after
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=200)

    assert done.returncode == 0, done.stderr
    assert re.search(r"^all +\d", done.stdout, re.M)
    assert done.stdout.splitlines()[-1] == "[True, True, True, True]"
