"""A look at the user's model before any run is planned: does it build, take the data, give logits, want gradients?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shattering.core.errors import ModelError, SpecError
from shattering.core.spec import DataSpec, ModelSpec, RunSpec
from shattering.data.dataset import Splits
from shattering.execution.run import corrupted, initial_model
from shattering.execution.selection import choose_examples
from shattering.training.examples import prepare


def check_user_model(spec: RunSpec, splits: Splits) -> dict[str, Any]:
    """Builds the model of ``spec``, tries it and its loss on a few real examples, and hashes the model's source.

    Returns:
        ``source`` (SHA-256; none for a registered model), ``returns`` (see `ModelSpec`), ``parameters``, ``trainable``
        and ``notes``. `settled` writes them into specs.

    Raises:
        ModelError: with the first thing that is wrong.
        SpecError: ``spec-whitened-batch`` where rows that hold several arguments, or integers, would be whitened.
    """
    from shattering.models.check import check_model
    from shattering.models.user import source_fingerprint
    from shattering.training import objective
    from shattering.training.user_loss import require_separable

    if spec.model.batch and spec.data.whiten:
        raise SpecError(
            "spec-whitened-batch",
            "data.whiten=true would change what the examples' parts hold, such as token ids; set data.whiten=false.",
        )
    few = spec.model_copy(update={"corruption": type(spec.corruption)(), "selection": None, "start": None})
    chosen = choose_examples(splits, _whole(few, 1))
    sample = chosen.train.take(_sample(chosen.train.labels))
    examples = prepare(corrupted(Splits(sample, sample), _whole(few, len(sample))).train, few)
    inputs, loss = examples.inputs[:], few.training.loss
    users_model, users_loss = ":" in few.model.name, objective.is_users(loss)
    notes: list[str] = []
    facts: dict[str, Any] = {"source": None, "returns": "logits"}
    if users_model:
        found = _checked(few, check_model, inputs, examples.num_classes)
        outputs = found.outputs
        facts |= {
            "source": source_fingerprint(few.model.name),
            "returns": "structure" if found.structured else "logits",
            "parameters": found.parameters,
            "trainable": found.trainable,
        }
        notes += found.notes
    else:
        outputs = objective.logits(initial_model(few, tuple(inputs.shape[1:]), examples.num_classes).eval()(inputs))
    if users_loss:
        kind = require_separable(loss, outputs.detach(), examples.labels)
        if kind != "each":
            notes.append(
                f"The loss {loss!r} gives the {kind} over a batch; it is called on single examples, and their mean is "
                "minimised. One number per example would be faster."
            )
    return facts | {"notes": tuple(notes)}


def settled(model: ModelSpec, facts: Mapping[str, Any]) -> ModelSpec:
    """``model`` with what `check_user_model` found out about it."""
    if facts["source"] is None:
        return model
    return model.model_copy(update={"source": facts["source"], "returns": facts["returns"]})


def _checked(spec: RunSpec, check_model: Any, inputs: Any, num_classes: int) -> Any:
    from shattering.training import objective

    def loss(outputs: Any, labels: Any) -> Any:
        return objective.losses(outputs, labels, spec.training.loss)

    batch = spec.model.batch
    try:
        return check_model(
            spec.model.name,
            inputs,
            num_classes,
            fields=spec.model.fields,
            batch=batch,
            loss=loss if objective.is_users(spec.training.loss) else None,
        )
    except ModelError as error:
        if error.identifier != "model-forward-failed" or not batch:
            raise
        parts = ", ".join(f"{part.name or 'input'} {part.dtype} {[len(inputs), *part.shape]}" for part in batch)
        told = error.message.removesuffix("; mend the network's code.")
        raise ModelError(
            error.identifier,
            f"{told}; it was called with {parts}, as the data hold them: mend the network, or change the data, such as "
            "integers to floats.",
        ) from error


def _sample(labels: Any) -> Any:
    """Eight examples, or all there are: the first of as many classes as that, then the first of the data."""
    _, first = np.unique(labels, return_index=True)
    return np.sort(list(dict.fromkeys([*np.sort(first)[:7], *range(len(labels))][: len(first) + 8]))[:8])


def _whole(spec: RunSpec, size: int) -> RunSpec:
    kept = {name: getattr(spec.data, name) for name in ("name", "fingerprint", "crop", "image_size", "whiten")}
    data = DataSpec(**kept)
    training = spec.training.model_copy(update={"batch_size": size, "augmentation": "none"})
    return spec.model_copy(update={"data": data, "training": training})
