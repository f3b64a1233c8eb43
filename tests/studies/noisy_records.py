"""Records of runs under label noise, made up from a few numbers a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.study import Records, Study, judge, label_level

Numbers = Mapping[str, float]


def noisy_record(spec: RunSpec, rows: Sequence[Numbers], **summary: float) -> Record:
    """A run that ended, with these snapshots; training accuracy and loss follow from those of the two groups."""
    share = 0.9 * (label_level(spec) or 0.0)
    full = []
    for row in rows:
        pristine, corrupt = row["unchanged_train_accuracy"], row["changed_train_accuracy"]
        train = (1 - share) * pristine + share * corrupt
        derived = {
            "epoch": 0.0,
            "train_accuracy": train,
            "train_loss": 2.5 - 2.4 * train,
            "generalization_gap": train - row["test_accuracy"],
        }
        full.append({**derived, **row})
    known = {"num_classes": 10, "train_size": 1000, "test_size": 1000, "changed_fraction": share, "steps": 1000}
    return Record(spec, Status.DONE, tuple(full), {**known, **summary})


def verdicts(study: Study, records: Records) -> dict[tuple[str, str], str]:
    """What becomes of each claim, away from the published scale."""
    return {(claim.source, claim.quantity): judge(claim, records, comparable=False).verdict for claim in study.claims}
