"""The README is true: its commands run, and its figures are those of the records it names."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.S)
COMMANDS = [
    line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("shattering ")
]


def test_there_are_commands() -> None:
    assert len(COMMANDS) >= 8
    assert any("--data cifar10" in command for command in COMMANDS)


def test_the_other_commands_are_those_that_ci_runs() -> None:
    others = {
        line.strip()
        for block in BLOCKS
        for line in block.splitlines()
        if line and not line.startswith(("shattering ", "#"))
    }
    ci = (ROOT / ".ci/run").read_text()
    for line in others:
        assert line.split("#")[0].strip() in ci, f"{line!r} stands in the README and nothing runs it"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's commands name: DATA, mymodels.py, mydata.npz."""
    folder = tmp_path_factory.mktemp("readme")
    draw = np.random.default_rng(0)
    batches = folder / "DATA" / "cifar10" / "cifar-10-batches-bin"
    batches.mkdir(parents=True)
    for name, count in [*((f"data_batch_{i}.bin", 1000) for i in range(1, 6)), ("test_batch.bin", 5000)]:
        records = draw.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(count) % 10
        (batches / name).write_bytes(records.tobytes())
    for name in ("results", "examples"):
        (folder / name).symlink_to(ROOT / name)
    python = re.search(r"```python\n# mymodels.py\n(.*?)```", README, re.S)
    assert python, "the README shows mymodels.py"
    (folder / "mymodels.py").write_text(python[1])
    centres = draw.normal(size=(4, 20)) * 3
    labels = np.arange(400) % 4
    inputs = (centres[labels] + draw.normal(size=(400, 20))).astype(np.float32)
    np.savez(
        folder / "mydata.npz", x_train=inputs[:300], y_train=labels[:300], x_test=inputs[300:], y_test=labels[300:]
    )
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_command_runs(workplace: Path) -> None:
    """In the README's order, since later commands read what earlier ones wrote."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for command in COMMANDS:
        done = subprocess.run(
            shlex.split(command), cwd=workplace, env=environment, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
        assert done.stdout, f"{command} printed nothing"


def test_the_coherence_of_a_network_takes_a_few_lines() -> None:
    (shown,) = [block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "shattering.coherence" in block]
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "Gradients of 1,000 examples" in done.stdout
    assert "closed form: 2 of 2 modules (100.0%" in done.stdout


def test_every_figure_names_its_record() -> None:
    for image in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert image.startswith("results/"), image
        assert (ROOT / image).is_file(), image


def test_numbers_are_those_of_the_records() -> None:
    """Every table row `| … | value [low, high] |` after `<!-- record: STORE -->` is recomputed from that store."""
    from shattering.report.summary import summarise
    from shattering.store.store import Store

    checked = 0
    for folder, table in re.findall(r"<!-- record: (\S+) -->\n(.*?)\n\n", README, re.S):
        store = Store.open(ROOT / folder, write=False)
        claims = {
            (claim["source"], claim["quantity"]): claim
            for plan in store.plans()
            for claim in summarise(store, plan)["claims"]
            if claim["ours"] is not None
        }
        for source, quantity, ours, low, high in re.findall(
            r"^\| ([^|]+) \| ([^|]+) \|[^|]*\| (-?[\d.]+)(?:%|×) \[(-?[\d.]+)(?:%|×), (-?[\d.]+)(?:%|×)\]", table, re.M
        ):
            claim = claims[source.strip(), quantity.strip()]
            factor = 100 if claim["unit"] == "1" else 1
            for told, exact in ((ours, claim["ours"]), (low, claim["low"]), (high, claim["high"])):
                digits = len(told.partition(".")[2])
                assert float(told) == pytest.approx(factor * exact, abs=0.51 * 10**-digits), (source, quantity, told)
            checked += 1
        answers = [summarise(store, plan)["answer"] for plan in store.plans()]
        assert all(" ".join(answer.split()) in " ".join(README.split()) for answer in answers), folder
    assert checked >= 8


def test_committed_records_are_sound_and_belong_to_this_version() -> None:
    """Each store under results/ verifies, is complete, and has the digests that this version plans."""
    from shattering.core.study import find_study
    from shattering.execution.plan import resolved
    from shattering.store.store import Store

    stores = sorted(path.parent for path in (ROOT / "results").glob("*/shattering-store.json"))
    assert stores
    for folder in stores:
        store = Store.open(folder, write=False)
        assert store.check() == [], folder
        for plan in store.plans():
            assert store.missing(plan.digests) == [], plan.key
            wanted = [resolved(spec, plan.request) for spec in find_study(plan.study).specs(plan.request)]
            planned = {run.digest for spec in wanted for run in (*spec.parents, spec)}
            assert sorted(planned) == sorted(plan.digests), "run them again, the study changed"


def test_the_kept_summaries_are_what_this_version_says_of_the_records() -> None:
    from shattering.report.summary import summarise
    from shattering.store.store import Store

    said = ("source", "quantity", "published", "effect", "verdict", "note")
    for folder in sorted(path.parent for path in (ROOT / "results").glob("*/shattering-store.json")):
        store = Store.open(folder, write=False)
        for plan in store.plans():
            kept = json.loads((store.report_dir(plan) / "summary.json").read_text(encoding="utf-8"))
            found = summarise(store, plan)
            assert found["answer"] == kept["answer"], "write its report again: `shattering report`"
            assert [[claim[key] for key in said] for claim in found["claims"]] == [
                [claim[key] for key in said] for claim in kept["claims"]
            ], plan.key


def test_the_predicted_steps_are_within_a_factor_of_two_of_the_committed_records() -> None:
    from shattering.core.study import find_study
    from shattering.simulations.registry import is_simulation
    from shattering.store.store import Store

    for folder in sorted(path.parent for path in (ROOT / "results").glob("*/shattering-store.json")):
        store = Store.open(folder, write=False)
        for plan in store.plans():
            study = find_study(plan.study)
            # A simulation counts rows where a training counts steps; nobody predicts how many.
            for model in {spec.model.name for spec in plan.specs if not is_simulation(spec.model.name)}:
                specs = [spec for spec in plan.specs if spec.model.name == model]
                taken = sum(int(record.summary["steps"] or 0) for record in store.records(s.digest for s in specs))
                predicted = sum(study.expected_steps(spec) for spec in specs)
                assert 0.5 <= predicted / taken <= 2, (plan.key, model, predicted, taken)
