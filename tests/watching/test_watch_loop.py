"""A plain loop gives the same weights, bit for bit, whatever network is watched in it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

import shattering
from shattering.core.errors import DataError, ModelError, ShatteringError, SpecError
from shattering.core.record import Status
from shattering.core.streams import Stream
from shattering.gradients.looped import looped_sums
from shattering.store.store import Store
from shattering.watching.watch import Watch

entropy = nn.functional.cross_entropy


class Nosy(nn.Module):
    """Draws from every generator, counts its calls in every way, and changes its own weights when it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))
        self.net[4].bias.requires_grad_(False)
        self.calls = 0
        self.log: list[int] = []
        self.generator = torch.Generator().manual_seed(1)
        self.numpy = np.random.default_rng(1)
        self.register_buffer("count", torch.zeros(1))
        self.plain = torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.log.append(self.calls)
        self.count = self.count + 1
        self.plain += 1
        self.net[0].weight.data.clamp_(-0.3, 0.3)
        drawn = random.random() + np.random.rand() + float(torch.rand(1)) + self.numpy.random()
        drawn += float(torch.rand(1, generator=self.generator))
        torch.set_default_dtype(torch.float32)
        scale = 1 + 1e-3 * (drawn + self.calls % 3 + float(self.plain)) if self.training else 1.0
        out: Tensor = self.net(x) * scale
        return out


class Merging(nn.Module):
    """Adds one weight to the other when it goes to evaluation mode, as low-rank adapters do."""

    def __init__(self) -> None:
        super().__init__()
        self.base, self.extra = nn.Linear(6, 2), nn.Linear(6, 2, bias=False)

    def train(self, mode: bool = True) -> Merging:
        if self.training and not mode:
            self.base.weight.data += self.extra.weight.data
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.extra(x)
        return out


class Augmented(Dataset[tuple[Tensor, int]]):
    """Examples that are drawn upon with a generator of the data set's own."""

    def __init__(self) -> None:
        self.generator = np.random.default_rng(0)
        self.x = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))

    def __len__(self) -> int:
        return 60

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        noise = float(self.generator.normal()) + random.random() + float(torch.rand(1))
        return self.x[index] + 0.01 * noise, int(self.x[index, 0] > 0)


def linear() -> nn.Module:
    return nn.Linear(6, 2)


def train(
    build: Callable[[], nn.Module], out: Path | None, *, hooked: bool = False, **options: Any
) -> tuple[nn.Module, list[Any], Watch]:
    """Two epochs of a loop; ``out`` none: without a watch. What hooks counted is given back as well."""
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    model, counted = build(), [0, 0]
    if hooked:

        def shrink(gradient: Tensor) -> Tensor:
            counted[0] += 1
            return gradient * 0.9

        def count(*_: Any) -> None:
            counted[1] += 1

        next(model.parameters()).register_hook(shrink)
        next(model.parameters()).register_post_accumulate_grad_hook(count)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    loader = DataLoader(Augmented(), batch_size=10, shuffle=True, generator=torch.Generator().manual_seed(5))
    options = {"probe": loader, "every": 5, "max_overhead": None, "quiet": True, **options}
    with shattering.watch(model, entropy, out=out or "unused", enabled=out is not None, **options) as watch:
        for _ in range(2):
            for step, (x, y) in enumerate(loader):
                # Two batches a step: gradients that are half collected when the watch looks stay as they are.
                entropy(model(x), y).backward()
                if step % 2:
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=False)
                watch.step(step)
    drawn = [random.random(), np.random.rand(), float(torch.rand(1))]
    return model, [*counted, *drawn], watch


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("build", [Nosy, Merging, linear])
def test_weights_generators_hooks_and_attributes_are_those_of_the_training_alone(
    build: Callable[[], nn.Module], hooked: bool, tmp_path: Path
) -> None:
    alone, drawn_alone, _ = train(build, None, hooked=hooked)
    watched, drawn, watch = train(build, tmp_path, hooked=hooked)

    assert [row["step"] for row in watch.rows] == [0, 5, 10, 12]
    assert watch.problems == []
    assert alone.state_dict().keys() == watched.state_dict().keys()
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name
    assert drawn == drawn_alone
    for name, parameter in alone.named_parameters():
        other = watched.get_parameter(name)
        assert parameter.requires_grad == other.requires_grad
        assert (parameter.grad is None) == (other.grad is None)
        assert parameter.grad is None or other.grad is None or torch.equal(parameter.grad, other.grad)
    assert [module.training for module in alone.modules()] == [module.training for module in watched.modules()]
    if isinstance(alone, Nosy) and isinstance(watched, Nosy):
        assert (alone.calls, alone.log) == (watched.calls, watched.log)
        assert torch.equal(alone.plain, watched.plain)
        assert alone.numpy.random() == watched.numpy.random()


def tiny_loader() -> TensorDataset:
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(2))
    return TensorDataset(x, (x[:, 0] > 0).long())


def test_the_numbers_are_those_of_one_example_at_a_time(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)).double()
    x, y = tiny_loader().tensors
    x = x.double()
    changed = torch.arange(40) % 4 == 0
    with shattering.watch(model, entropy, probe=(x, y), changed=changed, out=tmp_path, quiet=True) as watch:
        pass
    row = watch.rows[0]
    for prefix, rows in (("", torch.arange(40)), ("pristine_", ~changed), ("corrupt_", changed)):
        sums = looped_sums(model, (x[rows], y[rows]), entropy)
        assert row[f"{prefix}alpha"] == pytest.approx(sums.alignment().alpha, rel=1e-9)
        accuracy = float((model(x[rows]).argmax(1) == y[rows]).double().mean())
        assert row[f"{prefix or 'probe_'}accuracy"] == accuracy
        assert row[f"{prefix or 'probe_'}loss"] == pytest.approx(float(sums.losses.mean()), rel=1e-9)
    whole = looped_sums(model, (x, y), entropy)
    shares = [sum(whole.squared[name] for name in names) for names in whole.layers.values()]
    assert row["gradient_share/0"] == pytest.approx(shares[0] / sum(shares), rel=1e-9)
    assert row["m_coherence/2"] == pytest.approx(whole.alignment(whole.layers["2"]).m_coherence, rel=1e-9)
    order = watch.examples["index"]
    assert sorted(order) == list(range(40))
    assert (watch.examples["changed"] == changed.numpy()[order]).all()
    assert watch.examples["loss"] == pytest.approx(entropy(model(x), y, reduction="none").detach().numpy()[order])


def test_the_learning_step_is_the_look_since_which_an_example_is_right(tmp_path: Path) -> None:
    model = nn.Linear(1, 2, bias=False)
    x, y = torch.tensor([[1.0], [-1.0], [1.0]]), torch.tensor([0, 0, 1])

    def turn(sign: float) -> None:
        with torch.no_grad():
            model.weight.copy_(torch.tensor([[sign], [-sign]]))

    turn(-1.0)
    with shattering.watch(model, entropy, probe=(x, y), every=1, out=tmp_path, max_overhead=None, quiet=True) as watch:
        for step, sign in enumerate([1.0, -1.0, 1.0, 1.0]):
            turn(sign)
            watch.step(step)
    assert watch.examples["learning_step"].tolist() == [3, -1, -1]
    assert [row["probe_accuracy"] for row in watch.rows] == pytest.approx([2 / 3, 1 / 3, 2 / 3, 1 / 3, 1 / 3])


class Clock:
    """Seconds that pass only where a test says so, or by ``each`` at every reading."""

    def __init__(self) -> None:
        self.now = 0.0
        self.each = 0.0

    def __call__(self) -> float:
        self.now += self.each
        return self.now


def test_looks_that_would_cost_too_much_are_left_out_and_counted(tmp_path: Path, capsys: Any) -> None:
    clock = Clock()
    model = linear()
    watch = Watch(
        model, entropy, probe=tiny_loader(), every=1, out=tmp_path, max_overhead=0.1, clock=clock, quiet=False
    )  # fmt: skip
    first, later = watch._first, watch._look

    def costly_first() -> Any:
        clock.now += 1.0
        return first()

    def costly() -> None:
        clock.now += 1.0
        later()

    watch._first, watch._look = costly_first, costly  # type: ignore[method-assign]
    with watch:
        for step in range(100):
            clock.now += 1.0
            watch.step(step)
    assert [row["step"] for row in watch.rows] == [0, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert watch.cost.share == 0.1
    assert watch.skipped == 91
    told = capsys.readouterr().err
    assert f"{watch.skipped} of " in told and "max_overhead=0.1" in told


def test_without_a_bound_nothing_is_left_out(tmp_path: Path) -> None:
    clock = Clock()
    clock.each = 1.0
    watch = Watch(
        linear(), entropy, probe=tiny_loader(), every=2, out=tmp_path, max_overhead=None, clock=clock, quiet=True
    )
    with watch:
        for step in range(6):
            watch.step(step)
    assert (len(watch.rows), watch.skipped) == (4, 0)


def test_the_store_has_the_training_from_the_first_look_on(tmp_path: Path) -> None:
    model, optimizer_seen = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)), []
    with shattering.watch(
        model, entropy, probe=tiny_loader(), every=1, out=tmp_path, max_overhead=None, quiet=True
    ) as w:
        assert w.digest is not None
        record = Store.open(tmp_path, write=False).failure(w.digest)
        assert record is not None and record.error is not None
        assert record.error["identifier"] == "watch-unfinished"
        optimizer_seen.append(len(record.rows))
        w.step(0)
    assert optimizer_seen == [1]
    done = Store.open(tmp_path, write=False).get(w.digest, examples=True)
    assert done is not None
    assert done.status == Status.NOT_FITTED
    assert [row["step"] for row in done.rows] == [0, 1]
    assert done.rows[1] == w.rows[1]
    assert done.units["m_coherence"] == "examples, running statistics"
    assert done.examples["learning_step"].shape == (40,)
    assert "running statistics" in done.provenance["watch_notes"]
    assert done.provenance["watch_overhead"] > 0


def test_what_is_shown_of_a_watched_training_is_what_is_known_of_it(tmp_path: Path) -> None:
    from shattering.report.show import describe_run, describe_runs, render_run

    with shattering.watch(linear(), entropy, probe=tiny_loader(), out=tmp_path, name="mine", quiet=True) as watch:
        pass
    store = Store.open(tmp_path, write=False)
    assert [run["model"] for run in describe_runs(store)["runs"]] == ["watched:Linear (name=mine)"]
    text = render_run(describe_run(store, watch.digest or ""))
    assert "learning_rate" not in text and "probe" in text
    with (
        pytest.raises(SpecError, match="'mine'"),
        shattering.watch(linear(), entropy, probe=tiny_loader(), out=tmp_path, name="mine"),
    ):
        pass


def test_a_training_that_diverges_is_watched_to_its_end(tmp_path: Path) -> None:
    model = linear()
    with shattering.watch(
        model, entropy, probe=tiny_loader(), every=1, out=tmp_path, max_overhead=None, quiet=True
    ) as w:
        with torch.no_grad():
            model.weight.fill_(math.nan)
        w.step()
        w.step()
    assert [row.keys() == {"step"} for row in w.rows] == [False, True, True]
    record = Store.open(tmp_path, write=False).get(w.digest or "")
    assert record is not None
    assert (record.status, record.summary["diverged_step"]) == (Status.DIVERGED, 1)


def test_a_training_that_stops_leaves_its_reason(tmp_path: Path) -> None:
    watch = shattering.watch(linear(), entropy, probe=tiny_loader(), out=tmp_path, quiet=True)
    with pytest.raises(KeyboardInterrupt), watch:
        raise KeyboardInterrupt
    record = Store.open(tmp_path, write=False).failure(watch.digest or "")
    assert record is not None and record.error is not None
    assert "KeyboardInterrupt" in record.error["message"]


def test_nothing_that_goes_wrong_later_stops_the_training(tmp_path: Path, capsys: Any) -> None:
    class Breaks(nn.Linear):
        broken = False

        def forward(self, x: Tensor) -> Tensor:
            if self.broken and not self.training:
                raise SystemExit(3)
            return super().forward(x)

    class BadTracker:
        def log(self, numbers: Any, step: int) -> None:
            raise OSError("no network")

        def close(self) -> None:
            raise OSError("no network")

    model = Breaks(6, 2)
    with shattering.watch(
        model, entropy, probe=tiny_loader(), every=1, out=tmp_path, max_overhead=None, tracker=BadTracker(), quiet=True
    ) as watch:
        model.broken = True
        watch.step()
        watch.step()
    assert len(watch.rows) == 1
    assert [("no network" in problem, "SystemExit" in problem) for problem in watch.problems] == [
        (True, False),
        (False, True),
    ]
    assert "the training goes on" in capsys.readouterr().err


def test_trackers_get_every_look(tmp_path: Path) -> None:
    class Mine:
        def __init__(self) -> None:
            self.seen: list[tuple[int, float]] = []
            self.closed = 0

        def log(self, numbers: Any, step: int) -> None:
            self.seen.append((step, numbers["m_coherence"]))

        def close(self) -> None:
            self.closed += 1

    mine, also = Mine(), Mine()
    with shattering.watch(
        linear(),
        entropy,
        probe=tiny_loader(),
        every=1,
        out=tmp_path,
        max_overhead=None,
        tracker=[mine, also],
        quiet=True,
    ) as watch:
        watch.step()
    assert mine.seen == also.seen == [(row["step"], row["m_coherence"]) for row in watch.rows]
    assert (mine.closed, also.closed) == (1, 1)


def dict_loss(model: nn.Module, batch: Any) -> Tensor:
    return entropy(model(batch["x"].sum(1)), batch["y"])


def dict_right(model: nn.Module, batch: Any) -> Tensor:
    return model(batch["x"].sum(1)).argmax(1) == batch["y"]


def ragged() -> list[dict[str, Tensor]]:
    return [
        {"x": torch.randn(size, width, 6, generator=torch.Generator().manual_seed(size)), "y": torch.arange(size) % 2}
        for size, width in ((5, 3), (1, 7), (4, 2))
    ]


class RaggedItems(Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": torch.full((1 + index % 3, 6), float(index)), "y": index % 2}


class Endless(IterableDataset[tuple[Tensor, Tensor]]):
    def __iter__(self) -> Any:
        yield from zip(*tiny_loader().tensors, strict=True)


@pytest.mark.parametrize(
    ("probe", "examples", "note"),
    [(ragged(), 10, "the first 10"), (RaggedItems(), 9, "batch of its own"), (iter(ragged()[:1]), 5, "the first 5")],
)
def test_ragged_dict_batches(probe: Any, examples: int, note: str, tmp_path: Path) -> None:
    with shattering.watch(linear(), dict_loss, probe=probe, right=dict_right, out=tmp_path, quiet=True) as watch:
        pass
    assert len(watch.examples["loss"]) == len(watch.examples["learning_step"]) == examples
    assert any(note in told for told in watch.notes)


@pytest.mark.parametrize(
    "probe",
    [
        tiny_loader(),
        DataLoader(tiny_loader(), batch_size=7, shuffle=True),
        tiny_loader().tensors,
        tuple(tensor.numpy() for tensor in tiny_loader().tensors),
    ],
)
def test_the_same_examples_are_drawn_however_they_come(probe: Any, tmp_path: Path) -> None:
    model = nn.Linear(6, 2)
    nn.init.ones_(model.weight)
    with shattering.watch(model, entropy, probe=probe, probe_examples=10, out=tmp_path, quiet=True) as watch:
        pass
    assert watch.examples["index"].tolist() == sorted(Stream(0, "probe").permutation(40)[:10].tolist())
    x, y = tiny_loader().tensors
    losses = entropy(model(x), y, reduction="none").detach().numpy()
    assert watch.examples["loss"] == pytest.approx(losses[watch.examples["index"]], rel=1e-5)


def test_a_stream_gives_its_first_examples(tmp_path: Path) -> None:
    loader = DataLoader(Endless(), batch_size=8)
    with shattering.watch(linear(), entropy, probe=loader, probe_examples=20, out=tmp_path, quiet=True) as watch:
        pass
    assert watch.examples["index"].tolist() == list(range(20))


def test_what_goes_a_slower_way_and_what_has_no_accuracy_is_told(tmp_path: Path) -> None:
    def weighted(outputs: Tensor, targets: Tensor) -> Tensor:
        return entropy(outputs, targets, weight=torch.tensor([1.0, 5.0]))

    x, y = tiny_loader().tensors
    with shattering.watch(linear(), weighted, probe=(x, y), out=tmp_path, quiet=True) as watch:
        pass
    assert any("not all gradients come from one pass" in note for note in watch.notes)

    def squared(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean()

    with shattering.watch(linear(), squared, probe=(x, x[:, :2]), out=tmp_path, quiet=True) as watch:
        pass
    assert "probe_accuracy" not in watch.rows[0]
    assert any("give right=" in note for note in watch.notes)


@pytest.mark.parametrize(
    ("calls", "steps"),
    [
        ([0, 1, 2, 0, 1, 2], [1, 2, 3, 4, 5, 6]),
        ([None, None, None], [1, 2, 3]),
        ([5000, 5001], [5001, 5002]),
        ([9, 19, 9, 19], [10, 20, 30, 40]),
    ],
)
def test_steps_count_updates_also_where_each_epoch_counts_anew(
    calls: list[int | None], steps: list[int], tmp_path: Path
) -> None:
    with shattering.watch(
        linear(), entropy, probe=tiny_loader(), every=10**6, out=tmp_path, max_overhead=None, quiet=True
    ) as watch:
        seen = []
        for call in calls:
            watch.step(call)
            seen.append(watch.updates)
    assert seen == steps


class Exits(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        raise SystemExit(1)


class Random(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * torch.rand(1)


def contrastive(outputs: Tensor, targets: Tensor) -> Tensor:
    similar = outputs @ outputs.T
    return (similar.logsumexp(1) - similar.diagonal()).mean()


def nothing(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.zeros(3, requires_grad=True)


def frozen() -> nn.Module:
    return linear().requires_grad_(False)


X, Y = tiny_loader().tensors


@pytest.mark.parametrize(
    ("identifier", "kind", "model", "options"),
    [
        ("watch-not-a-module", ModelError, "linear", {}),
        ("watch-no-parameters", ModelError, nn.Flatten(), {}),
        ("gradients-no-parameters", ModelError, frozen(), {}),
        ("watch-lazy", ModelError, nn.LazyLinear(2), {}),
        ("watch-model-exits", ModelError, Exits(6, 2), {}),
        ("gradients-model-random", ModelError, Random(6, 2), {}),
        ("gradients-arithmetic", ModelError, nn.Linear(6, 2).bfloat16(), {}),
        ("gradients-batch-statistics", ModelError, nn.BatchNorm1d(6, track_running_stats=False), {}),
        ("gradients-model-fails", ModelError, nn.Linear(5, 2), {}),
        ("gradients-loss-shape", ModelError, linear(), {"loss": nothing}),
        ("watch-loss-not-per-example", DataError, linear(), {"loss": contrastive}),
        ("watch-probe-empty", DataError, linear(), {"probe": None}),
        ("watch-probe-empty", DataError, linear(), {"probe": []}),
        ("watch-probe-empty", DataError, linear(), {"probe": (X[:0], Y[:0])}),
        ("gradients-loss-not-finite", DataError, linear(), {"probe": (X * math.nan, Y)}),
        ("watch-changed-length", DataError, linear(), {"changed": [True, False]}),
        ("watch-changed-type", DataError, linear(), {"changed": [[0.5]]}),
        ("watch-range", SpecError, linear(), {"every": 0}),
        ("watch-range", SpecError, linear(), {"max_overhead": 0.0}),
        ("watch-range", SpecError, linear(), {"probe_examples": 1}),
        ("watch-right-shape", ModelError, linear(), {"right": lambda outputs, targets: outputs}),
    ],
)
def test_what_cannot_be_watched_is_told_in_one_sentence_at_the_start(
    identifier: str, kind: type[ShatteringError], model: Any, options: dict[str, Any], tmp_path: Path
) -> None:
    given: dict[str, Any] = {"probe": (X, Y), "loss": entropy, "out": tmp_path / "runs", **options}
    loss = given.pop("loss")
    with pytest.raises(kind) as caught, shattering.watch(model, loss, **given):
        pass
    assert caught.value.identifier == identifier
    assert caught.value.message.endswith(".") and "\n" not in caught.value.message
    assert not (tmp_path / "runs").exists()


def test_a_step_before_the_start_is_refused() -> None:
    with pytest.raises(SpecError, match="with watch"):
        shattering.watch(linear(), entropy, probe=(X, Y)).step(0)


def test_a_distributed_or_compiled_network_is_unwrapped(tmp_path: Path) -> None:
    inner = linear()
    with shattering.watch(nn.DataParallel(inner), entropy, probe=(X, Y), out=tmp_path, quiet=True) as watch:
        assert watch.model is inner


def test_tensorboard_has_the_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    tracker = shattering.track.TensorBoard(tmp_path / "tb")
    with shattering.watch(linear(), entropy, probe=(X, Y), out=tmp_path / "runs", tracker=tracker, quiet=True) as watch:
        pass
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(tmp_path / "tb")).Reload().Scalars("watch/m_coherence")
    assert [(event.step, event.value) for event in found] == [(0, pytest.approx(watch.rows[0]["m_coherence"]))]


def test_a_tracker_or_callback_whose_package_is_absent_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for package in ("mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "shattering.watching.lightning", raising=False)
    for package in ("lightning", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.setitem(sys.modules, package, None)
    for make in (shattering.track.MLflow, shattering.track.WandB, lambda: shattering.integrations.LightningWatch):
        with pytest.raises(SpecError, match="pip install"):
            make()
