"""The small decoder-only transformer that Power et al. (2022) train on tables of binary operations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from shattering.core.errors import ModelError
from shattering.models.registry import Probability, Width, model

OTHER_TOKENS = 3
"""End of sequence, the operation, the equals sign."""


class Block(nn.Module):
    """Causal self-attention, then two layers on each place; each added to its input and normalised after."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.widen, self.narrow = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        self.after_attention, self.after_layers = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        count, places, width = values.shape

        def split(projected: Tensor) -> Tensor:  # [batch, heads, places, width / heads]
            return projected.view(count, places, self.heads, width // self.heads).transpose(1, 2)

        query, key, value = split(self.query(values)), split(self.key(values)), split(self.value(values))
        scores = query @ key.transpose(2, 3) / math.sqrt(width // self.heads)
        later = torch.ones(places, places, dtype=torch.bool, device=values.device).triu(1)
        shares = torch.softmax(scores.masked_fill(later, -math.inf), dim=3)
        seen = (shares @ value).transpose(1, 2).reshape(count, places, width)
        values = self.after_attention(values + self.drop(self.mixed(seen)))
        found: Tensor = self.after_layers(values + self.drop(self.narrow(torch.relu(self.widen(values)))))
        return found


class PairTransformer(nn.Module):
    """Reads ``end x ∘ y =`` and says what comes next."""

    places: Tensor

    def __init__(self, tokens: int, classes: int, layers: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.tokens = tokens
        self.embedding = nn.Linear(tokens, width, bias=False)
        self.others = nn.Parameter(torch.randn(OTHER_TOKENS, width))
        nn.init.normal_(self.embedding.weight)
        places = torch.arange(OTHER_TOKENS + 2)[:, None]
        angles = places / 10000 ** (torch.arange(0, width, 2) / width)
        sines = torch.stack([torch.sin(angles), torch.cos(angles)], dim=2).flatten(1)
        self.register_buffer("places", sines[:, :width])
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(layers)))
        self.output = nn.Linear(width, classes, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        pairs = self.embedding(inputs.reshape(len(inputs), 2, self.tokens))  # [batch, 2, width]
        end, operation, equals = (other.expand(len(inputs), -1) for other in self.others)
        sequence = torch.stack([end, pairs[:, 0], operation, pairs[:, 1], equals], dim=1)
        answers: Tensor = self.output(self.blocks(sequence + self.places)[:, -1])
        return answers


@model(
    summary="decoder-only transformer of 2 layers and width 128 on pairs of tokens",
    paper="Power et al. (2022), and the authors' code",
)
def pair_transformer(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    layers: Width = 2,
    width: Width = 128,
    heads: Width = 4,
    dropout: Probability = 0.0,
) -> nn.Module:
    """Causal transformer on ``end x ∘ y =``, whose last place gives the answer; layer norm after each part, no biases.

    Positions are fixed sines and cosines, the output layer is untied. 393,216 parameters in its linear maps by default,
    without embeddings and output.

    Args:
        input_shape: of two one-hot vectors, one behind the other.
        num_classes: possible answers.
        layers: blocks.
        width: of each token's vector, a multiple of ``heads``.
        heads: of the attention.
        dropout: probability that a number of what is added to the stream is dropped in training.

    Returns:
        The network: embeddings N(0, 1), all other layers as torch begins them.

    Raises:
        ModelError: the inputs are not two halves, or the width is no even multiple of the heads.
    """
    features = math.prod(input_shape)
    if features % 2:
        raise ModelError(
            "pair-transformer-inputs",
            f"The pair transformer reads two one-hot vectors of equal length, not {features} features; give it a table "
            "of pairs such as --data division_mod_97.",
        )
    if width % heads or width % 2:
        raise ModelError(
            "pair-transformer-width",
            f"model.fields.width={width} is no even multiple of model.fields.heads={heads}; make it one.",
        )
    return PairTransformer(features // 2, num_classes, layers, width, heads, dropout)
