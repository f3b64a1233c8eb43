"""Trainers of other packages give the same weights, bit for bit, with the watch's callback and without."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import shattering
from shattering.store.store import Store


@pytest.fixture(autouse=True)
def others_may_warn() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def examples() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 6, generator=generator)
    return TensorDataset(x, (x[:, 0] > 0).long())


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_lightning(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.05)

    def train(*callbacks: Any) -> nn.Module:
        torch.manual_seed(0)
        module = Module()
        trainer = lightning.Trainer(
            max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=list(callbacks), accumulate_grad_batches=2,
        )  # fmt: skip
        trainer.fit(module, DataLoader(examples(), batch_size=8, shuffle=True))
        return module

    callback = shattering.integrations.LightningWatch(
        nn.functional.cross_entropy, every=5, max_overhead=None, out=tmp_path / "runs", quiet=True
    )
    assert same(train(), train(callback))
    assert [row["step"] for row in callback.watch.rows] == [0, 5, 10, 12]
    assert {"m_coherence", "probe_accuracy"} <= callback.watch.rows[-1].keys()


def test_lightning_leaves_what_there_is_when_the_training_fails(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")

    class Fails(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, index: int) -> Any:
            raise RuntimeError("the disk melted")

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    callback = shattering.integrations.LightningWatch(nn.functional.cross_entropy, out=tmp_path, quiet=True)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[callback],
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="melted"):
        trainer.fit(Fails(), DataLoader(examples(), batch_size=8))
    record = Store.open(tmp_path, write=False).failure(callback.watch.digest)
    assert record is not None and record.error is not None and "melted" in record.error["message"]
    assert len(record.rows) == 1


class Sentences(Dataset[dict[str, Any]]):
    """Token ids of two kinds, of lengths that differ."""

    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> dict[str, Any]:
        length = 4 + index % 5
        return {"input_ids": [1 + (index + place) % 29 for place in range(length)], "labels": index % 2}


def padded(items: list[dict[str, Any]]) -> dict[str, Tensor]:
    width = max(len(item["input_ids"]) for item in items)
    ids = torch.tensor([item["input_ids"] + [0] * (width - len(item["input_ids"])) for item in items])
    return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": torch.tensor([i["labels"] for i in items])}


def test_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("accelerate", reason="accelerate is not installed, which the Trainer of transformers needs")

    def train(*callbacks: Any) -> nn.Module:
        transformers.set_seed(0)
        config = transformers.DistilBertConfig(
            vocab_size=30, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=16
        )
        model = transformers.DistilBertForSequenceClassification(config)
        arguments = transformers.TrainingArguments(
            output_dir=str(tmp_path / "trainer"), max_steps=9, per_device_train_batch_size=4, use_cpu=True,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, seed=1,
        )  # fmt: skip
        trainer = transformers.Trainer(
            model=model, args=arguments, train_dataset=Sentences(), data_collator=padded, callbacks=list(callbacks)
        )
        trainer.train()
        return model

    callback = shattering.integrations.TransformersWatch(every=4, max_overhead=None, out=tmp_path / "runs", quiet=True)
    assert same(train(), train(callback))
    watch = callback.watch
    assert [row["step"] for row in watch.rows] == [0, 4, 8, 9]
    assert {"m_coherence", "probe_accuracy"} <= watch.rows[-1].keys()
    assert not watch.problems
    assert watch.examples["learning_step"].shape == (32,)


def test_accelerate(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")

    def train(watched: bool) -> nn.Module:
        accelerate.state.AcceleratorState._reset_state(True)
        torch.manual_seed(0)
        accelerator = accelerate.Accelerator(cpu=True, mixed_precision="bf16")
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        loader = DataLoader(examples(), batch_size=8, shuffle=True)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        plain = accelerator.unwrap_model(model)
        with shattering.watch(
            plain, nn.functional.cross_entropy, probe=examples(), every=3, out=tmp_path / "runs", max_overhead=None,
            enabled=watched and accelerator.is_main_process, quiet=True,
        ) as watch:  # fmt: skip
            for _ in range(2):
                for step, (x, y) in enumerate(loader):
                    with accelerator.autocast():
                        loss = nn.functional.cross_entropy(model(x), y)
                    accelerator.backward(loss)
                    optimizer.step()
                    optimizer.zero_grad()
                    watch.step(step)
        assert [row["step"] for row in watch.rows] == ([0, 3, 6, 9, 12, 15, 16] if watched else [])
        return plain

    assert same(train(False), train(True))
