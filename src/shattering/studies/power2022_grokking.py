"""Power et al. (2022): on small tables, a network generalises long after it has memorised what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shattering.core.errors import SpecError
from shattering.core.spec import ComputeSpec, DataSpec, MeasureSpec, ModelSpec, RunSpec, TrainingSpec
from shattering.core.study import Paper, Request, Scale, Study, register
from shattering.studies.power2022_claims import CLAIMS
from shattering.studies.power2022_pictures import FIGURES, answer

DATA = "addition_mod_59"
FRACTION = 0.4
"""Of the table, trained on by the fast form where nothing else is said."""

SEEDS = {"smoke": 1, "small": 5, "paper": 3}
EVERY = {"smoke": 25, "small": 50, "paper": 500}
"""Epochs between snapshots; an epoch of the fast form is one update."""


@dataclass(frozen=True)
class Setting:
    """One way of training, of which every seed gets a run."""

    decay: float
    fraction: float = FRACTION
    rate: float = 3e-3
    steps: int = 2000
    dtype: Literal["float32", "float64"] = "float32"
    own_split: bool = False
    measures: tuple[str, ...] = ("accuracy", "weights", "softmax_collapse", "modular_addition")
    optimizer: Literal["adam", "adamw"] = "adamw"


SMALL = (
    Setting(1.0),
    Setting(0.0),
    Setting(1.0, own_split=True, measures=("accuracy",)),
    Setting(1.0, fraction=0.5, steps=1000, measures=("accuracy",)),
    Setting(1.0, fraction=0.7, steps=1000, measures=("accuracy",)),
    Setting(0.0, rate=1e-2, steps=1500, measures=("accuracy", "softmax_collapse")),
    Setting(0.0, rate=1e-2, steps=1500, measures=("accuracy", "softmax_collapse"), dtype="float64"),
)
SETTINGS: dict[Scale, tuple[Setting, ...]] = {
    "smoke": (Setting(1.0, rate=1e-2, fraction=0.5, steps=100), Setting(0.0, rate=1e-2, fraction=0.5, steps=100)),
    "small": SMALL,
    "paper": (
        *(
            Setting(decay, fraction, 1e-3, 100_000)
            for decay in (1.0, 0.0)
            for fraction in (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
        ),
        Setting(0.0, 0.5, 1e-3, 1_000_000, optimizer="adam"),
    ),
}


def specs(request: Request) -> list[RunSpec]:
    """With and without weight decay, on several parts of the table, and without decay in two precisions."""
    if request.data.input_shape != (2 * request.data.num_classes,):
        raise SpecError(
            "study-needs-table",
            f"power2022-grokking is of tables of operations, and {request.data.name} is none; choose one from "
            "`shattering list datasets`, such as --data addition_mod_59.",
        )
    models = request.models or (("pair_transformer",) if request.scale == "paper" else ("quadratic",))
    return [
        _spec(request, setting, model, seed)
        for seed in range(request.seeds or SEEDS[request.scale])
        for model in models
        for setting in SETTINGS[request.scale]
    ]


def _spec(request: Request, setting: Setting, model: str, seed: int) -> RunSpec:
    size = round(setting.fraction * request.data.train_size)
    names = setting.measures
    if not request.data.name.startswith("addition_mod_"):
        names = tuple(name for name in names if name != "modular_addition")
    batch = min(512, size // 2) if request.scale == "paper" else size
    return RunSpec(
        data=DataSpec(name=request.data.name, train_size=size, tested_on="left_out", whiten=False),
        model=ModelSpec(name=model),
        training=TrainingSpec(
            optimizer=setting.optimizer,
            learning_rate=setting.rate,
            beta2=0.98,
            weight_decay=setting.decay,
            warmup_steps=10,
            batch_size=batch,
            max_steps=setting.steps,
            stop_when_fitted=False,
        ),
        compute=ComputeSpec(device=request.device, dtype=setting.dtype),
        measures=MeasureSpec(
            names=names,
            points_per_decade=0 if request.scale == "small" else 4,
            every_epochs=EVERY[request.scale],
        ),
        seed=seed,
        stream_seeds={"initialisation": 0, "subset": 100 + seed} if setting.own_split else {"subset": 0},
    )


def differences(request: Request) -> tuple[str, ...]:
    """How the runs differ from the paper's."""
    told = ["Networks read pairs as one-hot vectors and answer among the table's elements only."]
    if request.scale != "paper":
        told += [
            f"The data are {request.data.name}; the paper's figures use tables modulo 97 and the permutations of five.",
            "The network is not the paper's transformer but two layers with squared activations (width 128), which "
            "shows the effect in seconds; --scale paper plans the transformer.",
            "AdamW takes the whole training set at every update, at a rate of 0.003 where the paper's is 0.001.",
            "The small table leaves between memorising and generalising a factor near ten, where the paper's first "
            "figure has a thousand.",
        ]
    else:
        told.append(
            "Embeddings begin as N(0, 1) and linear layers as torch begins them; the paper's start is not known."
        )
    return (*told, *request.data.notes)


CHOICES = (
    ("split", "one random part of the table for all seeds (stream subset, seed 0), as the authors' code does; "
     "beside it runs of one initialisation on a split of their own each"),
    ("time to memorise", "updates to a training accuracy of 99%, looked for after every epoch"),
    ("time to generalise", "the first snapshot, of one in 50 updates, with 99% of the pairs left out right"),
    ("weight decay", "decoupled and multiplied by the rate, as AdamW of Loshchilov & Hutter (2019); Adam with an ℓ2 "
     "penalty is another optimiser"),
    ("numerical precision", "float32 in training; losses are evaluated in float64 from the float32 outputs, so that a "
     "training loss of 1e-9 is one; the collapse of the softmax is measured, and shown against float64 training"),
    ("absence of the effect", "judged within the same budget of updates; longer ones may generalise after all"),
    ("early stopping", "none: the loss on pairs left out first rises far above guessing"),
)  # fmt: skip

study = register(
    Study(
        name="power2022-grokking",
        paper=Paper(
            authors="Power, Burda, Edwards, Babuschkin, Misra",
            year=2022,
            title="Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets",
            venue="arXiv:2201.02177",
            url="https://arxiv.org/abs/2201.02177",
        ),
        question="Can a network generalise long after it has fitted its training set, and what makes it?",
        datasets=(DATA, "division_mod_97", "s5_product"),
        specs=specs,
        claims=CLAIMS,
        figures=FIGURES,
        answer=answer,
        differences=differences,
        choices=CHOICES,
    )
)
