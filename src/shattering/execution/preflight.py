"""A look at the user's model before any run is planned: does it build, take the data, give logits, want gradients?"""

from __future__ import annotations

from typing import Any

import numpy as np

from shattering.core.spec import RunSpec
from shattering.data.dataset import Splits
from shattering.execution.run import corrupted
from shattering.execution.selection import choose_examples
from shattering.training.examples import prepare


def check_user_model(spec: RunSpec, splits: Splits) -> dict[str, Any]:
    """Builds the model of ``spec``, tries it on a few real examples, and hashes its source.

    Returns:
        ``source`` (SHA-256), ``parameters``, ``trainable`` and ``notes``.

    Raises:
        ModelError: with the first thing that is wrong.
    """
    from shattering.models.check import check_model
    from shattering.models.user import source_fingerprint

    few = spec.model_copy(update={"corruption": type(spec.corruption)(), "selection": None})
    chosen = choose_examples(splits, few)
    sample = chosen.train.take(np.arange(min(len(chosen.train), 8)))
    examples = prepare(corrupted(Splits(sample, sample), _whole(few, len(sample))).train, few)
    facts = check_model(spec.model.name, examples.inputs[:], examples.num_classes, fields=spec.model.fields)
    return {
        "source": source_fingerprint(spec.model.name),
        "parameters": facts.parameters,
        "trainable": facts.trainable,
        "notes": facts.notes,
    }


def _whole(spec: RunSpec, size: int) -> RunSpec:
    data = spec.data.model_copy(update={"train_size": None, "test_size": None, "replaced": None})
    training = spec.training.model_copy(update={"batch_size": size, "augmentation": "none"})
    return spec.model_copy(update={"data": data, "training": training})
