"""A small text classifier on tokenised batches: which package of Python's standard library is a docstring from?

    python examples/text_classifier.py                         # writes the token ids, then audits
    shattering audit examples/text_classifier.py:build --data audit-text/docstrings.parquet \\
        --set training.learning_rate=1e-2 --budget 1m --out audit-text/audit

The texts are the docstrings of this Python's own `asyncio`, `email`, `multiprocessing` and `unittest`, so that they
differ a little between versions of Python. Each row holds ``input_ids`` and ``attention_mask``, lists of one length,
and ``label``: the network is called with the two lists as keyword arguments.
"""

import ast
import re
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import torch
from torch import Tensor, nn

import shattering

RATE = 1e-2
"""Adam's learning rate, at which the network fits its data in about a second."""

PACKAGES = ("asyncio", "email", "multiprocessing", "unittest")
VOCABULARY, LENGTH, EACH = 500, 20, 120
PADDING, UNKNOWN = 0, 1


class Classifier(nn.Module):
    """Word vectors, averaged over the words that are there, and two layers."""

    def __init__(self, classes: int, width: int = 32) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        self.hidden = nn.Linear(width, 64)
        self.output = nn.Linear(64, classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits ``[n, classes]`` of int64 ``[n, words]`` and a mask of the same shape."""
        there = attention_mask.unsqueeze(-1).to(self.words.weight.dtype)
        mean = (self.words(input_ids) * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)
        return self.output(torch.relu(self.hidden(mean)))


def build(num_classes: int) -> nn.Module:
    """A new network."""
    return Classifier(num_classes)


def docstrings() -> list[tuple[str, str]]:
    """(text, package) of the first 120 docstrings of six words or more of each package, files in the order of names."""
    library = Path(sysconfig.get_path("stdlib"))
    chosen: list[tuple[str, str]] = []
    for package in PACKAGES:
        found: dict[str, None] = {}
        for file in sorted((library / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    text = ast.get_docstring(node)
                    if text and len(text.split()) >= 6:
                        found.setdefault(text)
        chosen += [(text, package) for text in list(found)[:EACH]]
    return chosen


def tokenised() -> dict[str, list[list[int]] | list[str]]:
    """The docstrings as numbers of words; the most frequent words have the lowest."""
    texts = docstrings()
    words = [re.findall(r"[a-z]+", text.lower()) for text, _ in texts]
    counts = Counter(word for row in words for word in row)
    common = sorted(counts, key=lambda word: (-counts[word], word))[: VOCABULARY - 2]
    number = {word: place + 2 for place, word in enumerate(common)}
    ids = [[number.get(word, UNKNOWN) for word in row[:LENGTH]] for row in words]
    return {
        "input_ids": [row + [PADDING] * (LENGTH - len(row)) for row in ids],
        "attention_mask": [[1] * len(row) + [0] * (LENGTH - len(row)) for row in ids],
        "label": [package for _, package in texts],
    }


def write(folder: Path) -> Path:
    """Writes ``docstrings.parquet``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "docstrings.parquet"
    pq.write_table(pa.table(tokenised()), path)
    return path


def main(folder: str = "audit-text", budget: str = "1m") -> None:
    """Writes the data, audits the network on them and prints what was found."""
    data, out = write(Path(folder)), Path(folder) / "audit"
    print(shattering.audit(build, data, budget=budget, overrides={"training.learning_rate": RATE}, out=out))


if __name__ == "__main__":
    main(*sys.argv[1:])
