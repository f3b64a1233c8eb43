"""The command line, called within the process, and a study small enough for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from shattering.cli.main import main
from shattering.core.spec import CorruptionSpec, DataSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Claim, Effect, Estimate, Paper, Records, Request, Study, select, studies


@dataclass(frozen=True)
class Called:
    """What a command left behind."""

    code: int
    out: str
    err: str


Shattering = Callable[..., Called]


@pytest.fixture
def shattering(capsys: pytest.CaptureFixture[str]) -> Shattering:
    """Calls the command line with the given words."""

    def call(*words: str) -> Called:
        capsys.readouterr()
        code = main(words)
        captured = capsys.readouterr()
        return Called(code, captured.out, captured.err)

    return call


def tiny_specs(request: Request) -> list[RunSpec]:
    """Two label levels, a few steps each."""
    return [
        RunSpec(
            data=DataSpec(train_size=64, test_size=32),
            corruption=CorruptionSpec(name=corruption),
            model=ModelSpec(name=model),
            training=TrainingSpec(batch_size=32, max_steps=4),
            seed=seed,
        )
        for model in request.models or ("mlp_1x512",)
        for corruption in ("true_labels", "random_labels")
        for seed in range(request.seeds or 2)
    ]


def accuracy(records: Records) -> Estimate | None:
    """Mean training accuracy on true labels."""
    chosen = select(records, level=0.0)
    if not chosen:
        return None
    value = sum(record.last["train_accuracy"] for record in chosen) / len(chosen)
    return Estimate(value, None, None, tuple(record.digest for record in chosen), len(chosen))


@pytest.fixture
def tiny_study(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a registered study whose runs take milliseconds."""
    study = Study(
        name="tiny2017_noise",
        paper=Paper("Author et al.", 2017, "A title", "A venue", "https://example.org"),
        question="Does it run?",
        datasets=("digits",),
        specs=tiny_specs,
        claims=(
            Claim(
                source="Table 1",
                quantity="training accuracy",
                published=1.0,
                tolerance=0.01,
                unit="1",
                provenance="Q-text",
                data="digits",
                estimate=accuracy,
                effect=Effect("true labels are learnt", lambda records: None),
            ),
        ),
        figures=(),
        answer=lambda records: "It runs. It ends.",
        differences=lambda request: ("The runs are tiny.",),
        choices=(("size", "tiny"),),
    )
    studies.names()
    monkeypatch.setitem(studies._entries, study.name, study)
    return study.name
