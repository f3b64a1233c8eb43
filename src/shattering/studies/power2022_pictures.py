"""What the records of grokking say: claims, pictures and the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from shattering.core.curves import curve, ended, estimate, holds_if, largest, last
from shattering.core.record import Record
from shattering.core.statistics import Interval, ratio_interval
from shattering.core.study import Axis, Claim, Effect, Estimate, Figure, Point, Provenance, Records
from shattering.measures.grokking import GENERALISED, at_fit, delay, generalisation_bound
from shattering.measures.time_to_fit import fit_time

LONG = 5.0
"""Generalising takes at least so many times as long as memorising, or it is hardly grokking."""

FIGURE_1 = "Figure 1 (there Adam without decay, division modulo 97, half of the table)"
NANDA = "Nanda et al. (2023), one-layer transformer, addition modulo 113"
PRIETO = "Prieto et al. (2025), softmax collapse"
TRIAL = "Independent trial of the fast form, addition modulo 59"

Number = Callable[[Record], float | None]
Runs = Callable[[Records], list[Record]]


def _trained(records: Records) -> list[Record]:
    return [record for record in records if record.spec.training.optimizer == "adamw"]


def _decayed(record: Record) -> bool:
    return record.spec.training.weight_decay > 0


def _own_split(record: Record) -> bool:
    return "initialisation" in record.spec.stream_seeds


def compared(decay: bool) -> Runs:
    """Runs with weight decay, or without, at the one setting that has both: at the middle size where several have."""

    def setting(record: Record) -> tuple[int, float]:
        return record.spec.data.train_size or 0, record.spec.training.learning_rate

    def runs(records: Records) -> list[Record]:
        found = [r for r in _trained(records) if r.spec.compute.dtype == "float32" and not _own_split(r)]
        both = sorted({setting(r) for r in found if _decayed(r)} & {setting(r) for r in found if not _decayed(r)})
        return [r for r in found if both and setting(r) == both[len(both) // 2] and _decayed(r) == decay]

    return runs


def precise(dtype: str) -> Runs:
    """Runs without weight decay in this precision, at the rate that was trained in float64 too."""

    def runs(records: Records) -> list[Record]:
        bare = [record for record in _trained(records) if not _decayed(record)]
        rates = {r.spec.training.learning_rate for r in bare if r.spec.compute.dtype == "float64"}
        return [r for r in bare if r.spec.compute.dtype == dtype and r.spec.training.learning_rate in rates]

    return runs


def swept(records: Records) -> list[Record]:
    """Runs with weight decay on the common split, of every size."""
    return [record for record in _trained(records) if _decayed(record) and not _own_split(record)]


def _geometric(values: Sequence[float]) -> Interval:
    return ratio_interval(values, [1.0] * len(values))


def _first_step(record: Record, holds: Callable[[dict[str, float | int]], bool]) -> int | None:
    return next((int(row["step"]) for row in record.rows if row["step"] > 0 and holds(row)), None)


def lead(record: Record) -> float | None:
    """Updates until half of the test examples are right, over those until the restricted loss is half of guessing."""
    guessing = math.log(float(record.summary.get("num_classes") or 2))
    rule = _first_step(record, lambda row: row.get("restricted_loss", math.inf) <= guessing / 2)
    half = _first_step(record, lambda row: row.get("test_accuracy", 0.0) >= 0.5)
    return half / rule if rule and half else None


def loss_peak(record: Record) -> float | None:
    """The largest loss on the test set, over that of guessing."""
    found = largest("test_loss")(record)
    return None if found is None else found / math.log(float(record.summary.get("num_classes") or 2))


def less_data(records: Records) -> Estimate | None:
    """Updates to generalise on the smallest part of the table over those on the largest, paired by seed."""
    found = ended(swept(records))
    sizes = sorted({record.spec.data.train_size or 0 for record in found})
    if len(sizes) < 2:
        return None
    by_seed = {
        size: {r.spec.seed: r for r in found if r.spec.data.train_size == size} for size in (sizes[0], sizes[-1])
    }
    pairs = [(few, by_seed[sizes[-1]][seed]) for seed, few in by_seed[sizes[0]].items() if seed in by_seed[sizes[-1]]]
    times = [(generalisation_bound(few), generalisation_bound(many)) for few, many in pairs]
    kept = [(few[0], many[0]) for few, many in times if not many[1] and many[0] and few[0]]
    if not kept:
        return None
    middle, low, high = _geometric([few / many for few, many in kept])
    censored = sum(few[1] for few, _ in times)
    note = f"geometric mean; {censored} on the smallest part never did, and count with their budget" if censored else ""
    return Estimate(middle, low, high, tuple(r.digest for pair in pairs for r in pair), len(found), note)


def every(runs: Runs, number: Number, statement: str, holds: Callable[[float], bool]) -> Effect:
    """The effect that each of at least three runs shows; one run that does not is enough to refuse it."""

    def judged(records: Records) -> bool | None:
        found = [number(record) for record in ended(runs(records))]
        if any(value is None or not holds(value) for value in found):
            return False
        return True if len(found) >= 3 else None

    return Effect(statement, judged)


def _claim(
    source: str,
    quantity: str,
    runs: Runs,
    number: Number,
    effect: Effect | Callable[[Callable[[Records], Estimate | None]], Effect],
    provenance: Provenance,
    *,
    unit: str = "1",
    data: str = "division_mod_97",
    interval: Callable[[Sequence[float]], Interval] | None = None,
) -> Claim:
    def found(records: Records) -> Estimate | None:
        chosen = runs(records)
        return estimate(chosen, number, interval=interval) if interval else estimate(chosen, number)

    told = effect if isinstance(effect, Effect) else effect(found)
    return Claim(source, quantity, None, 0.0, unit, provenance, data, found, told)


def _own_splits(records: Records) -> list[Record]:
    return [record for record in _trained(records) if _own_split(record)]


DECAY, BARE = compared(True), compared(False)
ABOVE = f"the whole interval above {LONG:g}"

CLAIMS = (
    _claim(
        FIGURE_1, "accuracy on pairs left out, the largest, with weight decay", DECAY, largest("test_accuracy"),
        every(DECAY, largest("test_accuracy"), "at least 99% in every run", lambda value: value >= GENERALISED),
        "Q-text",
    ),
    _claim(
        FIGURE_1, "time to generalise over time to memorise", DECAY, delay,
        lambda found: holds_if(found, ABOVE, above=LONG), "Q-text", unit="x", interval=_geometric,
    ),
    _claim(
        f"{FIGURE_1}; here one initialisation, a split of its own for each run",
        "time to generalise over time to memorise", _own_splits, delay,
        lambda found: holds_if(found, ABOVE, above=LONG), "Q-text", unit="x", interval=_geometric,
    ),
    _claim(
        TRIAL, "accuracy on pairs left out when the training set is memorised", DECAY,
        lambda r: at_fit(r, "test_accuracy"),
        every(DECAY, lambda r: at_fit(r, "test_accuracy"), "below 10% in every run", lambda value: value < 0.1), "V",
        data="addition_mod_59",
    ),
    _claim(
        f"{NANDA}, no weight decay", "accuracy on pairs left out, the largest, without weight decay", BARE,
        largest("test_accuracy"),
        every(BARE, largest("test_accuracy"), "below 10% in every run: no grokking", lambda value: value < 0.1),
        "Q-note",
        data="addition_mod_113",
    ),
    Claim(
        "Figure on the part of the table, product on S5", "time to generalise on the smallest part over the largest",
        None, 0.0, "x", "Q-text", "s5_product", less_data, holds_if(less_data, "less data takes longer", above=1.0),
    ),
    _claim(
        TRIAL, "largest loss on pairs left out, over that of guessing, with weight decay", DECAY, loss_peak,
        lambda found: holds_if(found, "rises above guessing before it falls", above=1.0), "V", unit="x",
        data="addition_mod_59",
    ),
    _claim(
        f"{NANDA}, restricted loss", "updates to half of the pairs left out, over those to half the restricted loss",
        DECAY, lead, lambda found: holds_if(found, "the rule is there before the accuracy shows it", above=1.0),
        "Q-note",
        unit="x", data="addition_mod_113", interval=_geometric,
    ),
    Claim(
        f"{NANDA}, key frequencies", "frequencies with 90% of the first layer's squared norm, at the end", 5, 2.0,
        "frequencies", "Q-note", "addition_mod_113", lambda records: estimate(DECAY(records), last("key_frequencies")),
        every(DECAY, last("key_frequencies"), "at most ten: a sparse solution", lambda value: value <= 10),
    ),
    _claim(
        f"{PRIETO}: without weight decay, in float32", "training examples whose softmax has rounded to one, at the end",
        precise("float32"), last("collapsed_float32"),
        every(precise("float32"), last("collapsed_float32"), "at least 99% in every run", lambda value: value >= 0.99),
        "Q-auth",
    ),
    _claim(
        f"{PRIETO}: the same in float64", "training examples whose softmax has rounded to one, at the end",
        precise("float64"), last("collapsed_float64"),
        every(precise("float64"), last("collapsed_float64"), "at most 1% in every run", lambda value: value <= 0.01),
        "Q-auth",
    ),
    _claim(
        f"{PRIETO}: with weight decay, in float32", "training examples whose softmax has rounded to one, at the end",
        DECAY, last("collapsed_float32"),
        every(DECAY, last("collapsed_float32"), "at most 1% in every run", lambda value: value <= 0.01), "Q-auth",
    ),
)  # fmt: skip


def _accuracy_points(records: Records) -> list[Point]:
    """Every run's own curve: an average over runs would hide how sudden it is."""
    return [
        Point(step, value, f"seed {record.spec.seed}", kind=kind, panel=panel)
        for panel, runs in (("with weight decay", DECAY), ("without", BARE))
        for record in ended(runs(records))
        for name, kind in (("train_accuracy", "training pairs"), ("test_accuracy", "pairs left out"))
        for step, value in zip(*record.trajectory(name), strict=True)
        if step > 0
    ]


def _time_points(records: Records) -> list[Point]:
    points = []
    for record in ended([*swept(records), *BARE(records)]):
        sizes = record.summary.get("train_size"), record.summary.get("test_size")
        share = float(sizes[0] or 0) / float((sizes[0] or 0) + (sizes[1] or 0) or 1)
        kind = "with weight decay" if _decayed(record) else "without"
        fitted, (steps, never) = fit_time(record), generalisation_bound(record)
        if fitted is not None and fitted.steps:
            points.append(Point(share, fitted.steps, "memorised", kind=kind, censored=fitted.censored))
        if steps:
            points.append(Point(share, steps, "generalised", kind=kind, censored=never))
    return points


def _progress_points(records: Records) -> list[Point]:
    names = {"test_loss": "loss on pairs left out", "restricted_loss": "restricted", "excluded_loss": "excluded"}
    return [
        point
        for name, told in names.items()
        for point in curve(DECAY(records), "step", name, series=told, positive=True)
    ]


def _collapse_points(records: Records) -> list[Point]:
    kinds = {"without decay, float32": precise("float32"), "without decay, float64": precise("float64")}
    kinds["with decay, float32"] = DECAY
    return [
        point
        for told, runs in kinds.items()
        for point in curve(runs(records), "step", "train_loss", series=told, positive=True)
    ]


def _median(found: list[float]) -> str:
    ordered = sorted(found)
    return f", after {ordered[len(ordered) // 2]:,.0f} ({ordered[0]:,.0f} to {ordered[-1]:,.0f})" if ordered else ""


def _times(records: Records) -> str:
    runs = ended(DECAY(records))
    bounds = [generalisation_bound(record) for record in runs]
    fits = [found for record in runs if (found := fit_time(record)) is not None and not found.censored]
    reached = [float(steps) for steps, never in bounds if not never]
    return (
        f"With weight decay {len(fits)} of {len(runs)} runs memorised their pairs"
        f"{_median([float(found.steps) for found in fits])} updates, and {len(reached)} generalised{_median(reached)}"
    )


def answer(records: Records) -> str:
    """How long after memorising the networks generalised, and what became of those without weight decay."""
    if not ended(DECAY(records)):
        return "No run with weight decay has ended yet, so there is no answer. Run the same command again to go on."
    bare = [value for record in ended(BARE(records)) if (value := largest("test_accuracy")(record)) is not None]
    rest = f" Without it, {len(bare)} runs got at most {max(bare):.1%} of the pairs left out right." if bare else ""
    return f"{_times(records)}.{rest}"


def _key_frequencies(records: Records) -> str:
    found = estimate(DECAY(records), last("key_frequencies"))
    rule = estimate(DECAY(records), lead, interval=_geometric)
    told = f"{found.value:.0f} frequencies carry 90% of the first layer's norm at the end." if found else ""
    if rule is None:
        return told or "No run has found the rule."
    return f"The restricted loss is half of guessing {rule.value:.1f} times as early as half of the answers. {told}"


def _collapse(records: Records) -> str:
    found = [estimate(precise(dtype)(records), last(f"collapsed_{dtype}")) for dtype in ("float32", "float64")]
    if not found[0] or not found[1]:
        return "Runs in both precisions are needed to tell."
    return (
        f"Without weight decay {found[0].value:.0%} of the training examples give float32 nothing more to learn from "
        f"at the end; float64 loses {found[1].value:.0%}."
    )


UPDATES = Axis("updates", "log")
FIGURES = (
    Figure("accuracy", "Accuracy on training pairs and on pairs left out", UPDATES, Axis("accuracy", percent=True),
           _accuracy_points, lambda records: f"{_times(records)}."),
    Figure("times", "Time to memorise and time to generalise", Axis("part of the table trained on", percent=True),
           Axis("updates to 99%", "log"), _time_points, lambda records: f"{_times(records)}."),
    Figure("progress", "Progress towards the rule, with weight decay", UPDATES, Axis("loss, nats", "log"),
           _progress_points, _key_frequencies),
    Figure("collapse", "Training loss, evaluated in float64", UPDATES, Axis("loss, nats", "log"), _collapse_points,
           _collapse, rules=lambda records: {"below: lost in float32": 2.0**-24}),
)  # fmt: skip
