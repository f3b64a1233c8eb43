"""The changes to a training that might help: which of them this subject allows, and the runs for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shattering.checks.registry import Subject
from shattering.checks.trainings import pilot_steps, varied
from shattering.core.spec import MeasureSpec, RunSpec

LONGER = 2
"""Updates that every training may make, in multiples of the pilot's, as a regularised one fits later."""

DECAYS = (1e-4, 1e-2)
"""Coefficients tried where the training has none: a usual one and a strong one."""

DROPOUT = 0.5

WIDTHS = ("width", "hidden", "hidden_size", "hidden_dim", "channels", "units", "features", "embedding")
"""Names of a network's field that are taken for its width."""

NARROWER = 4
"""A narrower network has this factor fewer units."""

SHARES = (8, 4, 2)
"""The learning curve has so large parts of the examples, and all of them."""

FEWEST_EXAMPLES = 8
"""A part of the data is not smaller."""

SNAPSHOTS = 30
"""About so many looks for the best epoch."""

AT_THE_END = MeasureSpec(
    names=("accuracy", "tested_predictions"), points_per_decade=0, every_epochs=0, example_columns=False
)


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        name: stable identifier.
        words: what it is called at the beginning of a sentence.
        changes: fields of the spec, with ``__`` for the dot.
    """

    name: str
    words: str
    changes: Mapping[str, Any] = field(default_factory=dict)


def arms(subject: Subject) -> tuple[list[Arm], dict[str, str]]:
    """The remedies that can be tried, and why others cannot, by what they are called."""
    found, refused = _decay(subject), {}
    for kind, (arm, reason) in {
        "augmentation": _augmentation(subject),
        "dropout": _dropout(subject),
        "less width": _narrower(subject),
    }.items():
        if arm is not None:
            found.append(arm)
        else:
            refused[kind] = reason
    return found, refused


def sizes(subject: Subject) -> list[int]:
    """Numbers of examples of the learning curve below the whole, ascending."""
    whole = examples(subject)
    return [whole // share for share in SHARES if whole // share >= FEWEST_EXAMPLES]


def examples(subject: Subject) -> int:
    """Training examples of a run on all of them."""
    return subject.base.data.train_size or len(subject.splits.train)


def base_run(subject: Subject, seed: int) -> RunSpec:
    """The training as it is, looked at often enough to be stopped early."""
    steps, batch = _steps(subject), min(subject.base.training.batch_size, examples(subject))
    epochs = steps * batch // examples(subject)
    looks = MeasureSpec(
        names=("accuracy", "tested_predictions", "early_stopping"),
        points_per_decade=4,
        every_epochs=max(1, epochs // SNAPSHOTS),
        example_columns=False,
    )
    return varied(subject.base, looks, training__max_steps=steps, seed=seed)


def remedy_run(subject: Subject, arm: Arm, seed: int) -> RunSpec:
    """The training with one change."""
    return varied(subject.base, AT_THE_END, training__max_steps=_steps(subject), seed=seed, **arm.changes)


def smaller_run(subject: Subject, size: int, seed: int) -> RunSpec:
    """The training on a random part of the examples; of one seed the smaller parts lie in the larger ones."""
    batch = min(subject.base.training.batch_size, size)
    changes = {"data__train_size": size, "training__batch_size": batch}
    return varied(subject.base, AT_THE_END, training__max_steps=_steps(subject), seed=seed, **changes)


def _steps(subject: Subject) -> int:
    return min(subject.base.training.max_steps, LONGER * pilot_steps(subject))


def _decay(subject: Subject) -> list[Arm]:
    now = subject.base.training.weight_decay
    if not now:
        return [_decayed(value) for value in DECAYS]
    return [Arm("no_weight_decay", "no weight decay", {"training__weight_decay": 0.0}), _decayed(10 * now)]


def _decayed(value: float) -> Arm:
    return Arm(f"weight_decay_{value:g}", f"weight decay of {value:g}", {"training__weight_decay": value})


def _augmentation(subject: Subject) -> tuple[Arm | None, str]:
    train = subject.splits.train
    if not train.is_image:
        return None, "the inputs are not images"
    if train.files is not None:
        return None, "images that stay on the disk are augmented by settings of their own"
    if subject.base.training.augmentation != "none":
        return Arm("no_augmentation", "no augmentation", {"training__augmentation": "none"}), ""
    crops = "random crops, " if subject.base.data.crop is not None else ""
    words = f"augmentation ({crops}left-right flips, rotations up to 25 degrees)"
    return Arm("augmentation", words, {"training__augmentation": "full"}), ""


def _dropout(subject: Subject) -> tuple[Arm | None, str]:
    known = _fields(subject)
    if "dropout" not in known:
        return None, (
            "the network takes no field `dropout`, and without it the model itself would have to be changed"
            + _how_to_say("dropout", subject)
        )
    now = known["dropout"]
    if isinstance(now, (int, float)) and now > 0:
        return Arm("no_dropout", "no dropout", {"model__fields__dropout": 0.0}), ""
    return Arm(f"dropout_{DROPOUT:g}", f"dropout of {DROPOUT:g}", {"model__fields__dropout": DROPOUT}), ""


def _narrower(subject: Subject) -> tuple[Arm | None, str]:
    for name in WIDTHS:
        width = _fields(subject).get(name)
        if isinstance(width, int) and not isinstance(width, bool) and width >= 2:
            less = max(1, width // NARROWER)
            return Arm(
                f"{name}_{less}", f"less width ({less} in place of {width})", {f"model__fields__{name}": less}
            ), ""
    return None, "the network takes no field that is known for a width" + _how_to_say("width", subject)


def _fields(subject: Subject) -> dict[str, Any]:
    """The network's fields with their values: of a user's factory only those that were set, as it is not imported."""
    model = subject.base.model
    if ":" in model.name:
        return dict(model.fields)
    from shattering.models.registry import models

    return {entry.name: entry.default for entry in models.get(model.name).fields} | dict(model.fields)


def _how_to_say(name: str, subject: Subject) -> str:
    if ":" not in subject.base.model.name:
        return ""
    return f"; where the factory has a parameter of that kind, say so with --set model.fields.{name}=VALUE"
