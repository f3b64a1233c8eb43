"""A training under way: the loop, the measures of its snapshots, its checkpoints, and the record that it becomes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shattering.core.errors import Stopped
from shattering.core.record import Record, Row, Status
from shattering.core.spec import RunSpec
from shattering.core.streams import Stream
from shattering.data.dataset import Dataset
from shattering.execution.control import Control
from shattering.execution.outcome import arrays_of, example_facts, weights_sha256
from shattering.execution.provenance import provenance
from shattering.measures.registry import Probe, measures
from shattering.training import objective
from shattering.training.estate import Estate
from shattering.training.evaluation import Evaluation, evaluate, outputs
from shattering.training.examples import Examples
from shattering.training.loop import Snapshot, train
from shattering.training.masking import masks_of, remaining
from shattering.training.state import Checkpoint, Progress, optimizer_tensors, restore_optimizer
from shattering.training.update import build_optimizer
from shattering.training.ways import build_stepper, forced_way

if TYPE_CHECKING:
    from shattering.gradients.engine import Engine
    from shattering.gradients.sums import GradientSums

GRADIENT_BATCH = 500
"""Examples whose inputs are made ready at once for the gradient engine, which cuts them further where memory asks."""


class Training:
    """A training under way: the loop's parts, its counters and its rows, which a checkpoint saves together."""

    def __init__(self, spec: RunSpec, model: nn.Module, examples: Examples, test: Examples, control: Control) -> None:
        self.spec, self.model, self.examples, self.test, self.control = spec, model, examples, test, control
        self.optimizer = build_optimizer(model, spec)
        self.progress = Progress()
        self.rows: list[Row] = []
        self.initial = {name: value.detach().clone() for name, value in model.named_parameters()}
        self.steps_to_fit: int | None = None
        self.epochs_to_fit: float | None = None
        self.diverged_step: int | None = None
        self.predictions: torch.Tensor | None = None
        self.columns: dict[str, NDArray[Any]] = {}
        self.tested: dict[str, NDArray[Any]] = {}
        self.test_indices: NDArray[np.int64] | None = None
        self.left_out = 0
        self.kept: dict[int, dict[str, torch.Tensor]] = {}
        self.gradient_rows = _gradient_rows(spec, len(examples)).to(examples.labels.device)
        self.engine: Engine | None = None
        self.way: dict[str, str] = {}
        self.began = self.saved = time.monotonic()
        self.seconds_before = 0.0

    def go_on(self) -> Snapshot:
        """Trains to the end; on `Stopped`, saves a checkpoint and passes it on."""
        wanted = forced_way() or self.control.way
        # Only now: a checkpoint that was taken up has brought the optimizer's state with it.
        stepper, way, reason = build_stepper(wanted, self.model, self.optimizer, self.examples, self.spec)
        self.way = {"stepper": way} if reason is None else {"stepper": way, f"not {wanted}": reason}
        try:
            for snapshot in train(
                self.model,
                self.optimizer,
                self.examples,
                self.spec,
                self.progress,
                stepper=stepper,
                on_step=self.on_step,
                should_stop=self.control.should_stop,
                halts_at=self.control.leaves or frozenset(),
            ):
                self.see(snapshot)
            self.way |= getattr(stepper, "facts", {})  # what a stepper has found out about itself meanwhile
            return snapshot
        except Stopped:
            self._save()
            raise

    def see(self, snapshot: Snapshot) -> None:
        """Measures a snapshot and keeps its row; of one that diverged, only where."""
        if snapshot.ending == "diverged":
            self.diverged_step = snapshot.diverged_step
            return
        spec, should_stop = self.spec, self.control.should_stop

        @cache
        def on_train() -> Evaluation:
            return snapshot.evaluation or evaluate(self.model, self.examples, spec, should_stop=should_stop)

        @cache
        def on_test() -> Evaluation:
            return evaluate(self.model, self.test, spec, should_stop=should_stop)

        probe = Probe(
            model=self.model,
            step=snapshot.step,
            labels=self.examples.labels,
            original_labels=self.examples.original_labels,
            changed=self.examples.changed,
            test_labels=self.test.labels,
            initial=self.initial,
            evaluate_train=lambda: (on_train().losses, on_train().predictions),
            evaluate_test=lambda: (on_test().losses, on_test().predictions),
            gradient_rows=self.gradient_rows,
            inputs_of=self._inputs_of,
            losses=self._losses,
            sums_over=self._sums_over,
            seed_of=spec.seed_of,
            ranks=lambda: (on_train().ranks, on_test().ranks),
            test_inputs_of=self._test_inputs_of,
            outputs_on=self._outputs_on,
            test_indices=None if self.test_indices is None else torch.from_numpy(self.test_indices),
            left_out=self.left_out,
            parent_final=None if self.control.start is None else self.control.start.final,
        )
        row: Row = {"step": snapshot.step, "epoch": snapshot.epoch, "learning_rate": snapshot.learning_rate}
        columns, tested = dict(self.columns), dict(self.tested)
        for name in spec.measures.names:
            entry = measures.get(name)
            if entry.at_end and not snapshot.ending:
                continue
            row.update(entry.function(probe))
            if entry.fold is not None:
                columns.update(entry.fold(probe, columns))
            if entry.tested is not None and snapshot.ending:
                tested.update(entry.tested(probe))
            if entry.tested_fold is not None:
                tested.update(entry.tested_fold(probe, tested))
        # Row and columns together: who was stopped in between looks at this snapshot again, and must not fold twice.
        self.rows.append(row)
        self.columns, self.tested = columns, tested
        if snapshot.fitted and self.steps_to_fit is None:
            self.steps_to_fit, self.epochs_to_fit = snapshot.step, snapshot.epoch
        if snapshot.ending:
            self.predictions = probe.train[1]
        self.control.saw(row)

    def _outputs_on(self, split: Literal["train", "test"]) -> torch.Tensor:
        examples = self.examples if split == "train" else self.test
        return outputs(self.model, examples, self.spec, should_stop=self.control.should_stop)

    def _inputs_of(self, rows: torch.Tensor) -> torch.Tensor:
        if self.control.should_stop():
            raise Stopped
        return self.examples.finish(self.examples.inputs[rows])

    def _test_inputs_of(self, rows: torch.Tensor) -> torch.Tensor:
        if self.control.should_stop():
            raise Stopped
        return self.test.finish(self.test.inputs[rows])

    def _losses(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return objective.losses(outputs, labels, self.spec.training.loss)

    def _sums_over(self, rows: torch.Tensor) -> GradientSums:
        def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
            for few in torch.split(rows, GRADIENT_BATCH):
                yield self._inputs_of(few), self.examples.labels[few]

        if self.engine is None:
            from shattering.gradients.engine import Engine

            self.engine = Engine(self.model, self._losses)
        return self.engine.sums(batches())

    def on_step(self) -> None:
        """A sign of life, the time for a checkpoint, or `Stopped`, where the training is whole."""
        self.control.beat(self.progress.step)
        self._keep()
        if self.control.should_stop():
            raise Stopped
        if time.monotonic() - self.saved >= self.control.checkpoint_seconds:
            self._save()

    def _keep(self) -> None:
        """Keeps the weights where a run that starts from this one wants them."""
        step = self.progress.step
        if self.control.leaves is not None and step in self.control.leaves and step not in self.kept:
            self.kept[step] = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def leave(self, ending: Snapshot) -> None:
        """Hands over what other runs start from, at the end."""
        if self.control.leaves is not None and ending.ending != "diverged":
            self._keep()
            self.control.left(Estate(self.kept, self.model.state_dict(), masks_of(self.model), self.progress.step))

    def _save(self) -> None:
        if self.control.checkpoints is not None:
            facts = [self.steps_to_fit, self.epochs_to_fit, self.seconds_before + time.monotonic() - self.began]
            tensors = {f"model/{name}": value for name, value in self.model.state_dict().items()}
            tensors |= {f"initial/{name}": value for name, value in self.initial.items()}
            tensors |= {f"column/{name}": torch.from_numpy(column) for name, column in self.columns.items()}
            tensors |= {f"tested/{name}": torch.from_numpy(column) for name, column in self.tested.items()}
            tensors |= {f"kept/{at}/{name}": value for at, kept in self.kept.items() for name, value in kept.items()}
            tensors |= optimizer_tensors(self.optimizer)
            checkpoint = Checkpoint(tensors, self.progress, list(self.rows), {"facts": facts})
            self.control.checkpoints.save(self.progress.step, checkpoint.to_bytes())
        self.saved = time.monotonic()

    def resume(self) -> None:
        """Takes up the newest checkpoint that can be read; without one, the training starts from the beginning."""
        for _, payload in self.control.checkpoints.newest() if self.control.checkpoints else ():
            try:
                checkpoint = Checkpoint.from_bytes(payload)
            except ValueError:
                continue
            parts: dict[str, dict[str, torch.Tensor]] = {
                "model": {},
                "initial": {},
                "column": {},
                "tested": {},
                "kept": {},
            }
            for name, tensor in checkpoint.tensors.items():
                kind, _, rest = name.partition("/")
                if kind in parts:
                    parts[kind][rest] = tensor
            self.model.load_state_dict(parts["model"])
            for name, tensor in parts["initial"].items():
                self.initial[name].copy_(tensor)
            self.columns = {name: tensor.numpy() for name, tensor in parts["column"].items()}
            self.tested = {name: tensor.numpy() for name, tensor in parts["tested"].items()}
            for name, tensor in parts["kept"].items():
                step, _, rest = name.partition("/")
                self.kept.setdefault(int(step), {})[rest] = tensor
            restore_optimizer(self.optimizer, checkpoint.tensors)
            self.progress, self.rows = checkpoint.progress, list(checkpoint.rows)
            self.steps_to_fit, self.epochs_to_fit, self.seconds_before = checkpoint.extra["facts"]
            return

    def record(
        self,
        ending: Snapshot,
        train_split: Dataset,
        summary: dict[str, float | int | None],
        seconds: float,
        nondeterministic: list[str],
    ) -> Record:
        """The record of a training that has ended; it took ``seconds`` since it was taken up."""
        fitted = self.progress.fitted
        status = Status.DIVERGED if ending.ending == "diverged" else Status.DONE if fitted else Status.NOT_FITTED
        return Record(
            spec=self.spec,
            status=status,
            rows=tuple(self.rows),
            summary=summary,
            units=_units(self.spec),
            weights_sha256=None if status is Status.DIVERGED else weights_sha256(arrays_of(self.model)),
            examples={} if status is Status.DIVERGED else self.example_columns(train_split),
            tested={} if status is Status.DIVERGED else self.tested,
            provenance={
                **provenance(self.spec),
                **({"batch_normalisations": count} if (count := batch_normalisations(self.model)) else {}),
                "seconds": round(self.seconds_before + seconds, 3),
                "nondeterministic": sorted(set(nondeterministic)),
                **self.way,
            },
        )

    def summary(self, train_split: Dataset) -> dict[str, float | int | None]:
        """The run as a whole."""
        numbers: dict[str, float | int | None] = {
            "steps": self.progress.step,
            "steps_to_fit": self.steps_to_fit,
            "epochs_to_fit": self.epochs_to_fit,
            "train_size": len(self.examples),
            "test_size": len(self.test),
            "num_classes": self.examples.num_classes,
            "changed_fraction": float(train_split.changed.mean()),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "trainable_parameters": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
        }
        if self.spec.start is not None:
            left, whole = remaining(self.model)
            numbers |= {"remaining_weights": left, "remaining_fraction": left / max(whole, 1)}
        if self.diverged_step is not None:
            numbers["diverged_step"] = self.diverged_step
        return numbers

    def example_columns(self, train_split: Dataset) -> dict[str, Any]:
        """One entry per training example: what it is, what was predicted at the end, what measures kept of it."""
        if not self.spec.measures.example_columns:
            return {}
        columns = example_facts(train_split)
        if self.predictions is not None:
            columns["prediction"] = self.predictions.cpu().numpy()
        return columns | self.columns


def batch_normalisations(model: nn.Module) -> int:
    """How many layers normalise by the statistics of a batch: with them no example has a gradient of its own."""
    return sum(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


def _gradient_rows(spec: RunSpec, examples: int) -> torch.Tensor:
    wanted = spec.measures.gradient_examples
    if wanted is None or wanted >= examples:
        return torch.arange(examples)
    order = Stream(spec.seed_of("gradient-sample"), "gradient-sample").permutation(examples)
    return torch.from_numpy(np.sort(order[:wanted]))


def _units(spec: RunSpec) -> dict[str, str]:
    units = {"step": "steps", "epoch": "epochs", "learning_rate": "1", "steps_to_fit": "steps", "steps": "steps"}
    for name in spec.measures.names:
        units |= measures.get(name).units
    return units
