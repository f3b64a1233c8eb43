"""A Transformers model built from a configuration, nothing downloaded, on the docstrings of the text classifier.

    python examples/transformers_model.py                      # writes the token ids, then audits
    shattering audit examples/transformers_model.py:build --data audit-transformers/docstrings.parquet \\
        --set training.learning_rate=1e-2 --budget 2m --out audit-transformers/audit

The model is called with ``input_ids`` and ``attention_mask``, as the rows of the data have them, and gives an object
whose ``logits`` are taken. Trained weights of the same configuration would be looked at with ``--weights``.
"""

import sys
from pathlib import Path

from text_classifier import LENGTH, PADDING, VOCABULARY, write
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

import shattering

RATE = 1e-2
"""Adam's learning rate, at which the network fits its data in about a second."""


def build(num_classes: int) -> nn.Module:
    """A new model of one small layer."""
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=LENGTH,
        pad_token_id=PADDING,
        num_labels=num_classes,
    )
    return BertForSequenceClassification(config)


def main(folder: str = "audit-transformers", budget: str = "2m") -> None:
    """Writes the data, audits the model on them and prints what was found."""
    data, out = write(Path(folder)), Path(folder) / "audit"
    print(shattering.audit(build, data, budget=budget, overrides={"training.learning_rate": RATE}, out=out))


if __name__ == "__main__":
    main(*sys.argv[1:])
