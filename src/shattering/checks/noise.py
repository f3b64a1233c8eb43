"""How easily does the network fit noise? Updates to fit it beside those to fit the data, and how much of it fits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from shattering.checks.registry import Check, Evidence, Subject, register
from shattering.checks.trainings import pilot_steps, told_counts, unknown, varied
from shattering.core.curves import ended
from shattering.core.finding import Answer, Cell, Chart, Column, Finding, Table
from shattering.core.record import Record, Status
from shattering.core.spec import MeasureSpec, RunSpec
from shattering.core.statistics import censored_median, mean_interval
from shattering.core.study import Axis, Point
from shattering.core.words import plural
from shattering.measures.time_to_fit import fit_time, slowdown

NAME = "noise"
QUESTION = "How easily does the network fit noise?"

PATIENCE = 12
"""Updates that a training on noise may make, in multiples of the pilot's; the published slowdowns lie below 4."""

REAL = "true_labels"
LABELS = {"random_labels": "random labels"}
IMAGES = {"shuffled_pixels": "shuffled pixels", "random_pixels": "random pixels", "gaussian": "Gaussian noise"}
"""Inputs replaced as Zhang et al. (2017) did; the labels stay as they are."""

SMALLER = (4, 2)
"""Random labels are also tried on so large a part of the examples, to see how many of them fit."""

SEEDS_A_LADDER = 3
"""For every so many seeds one tries the smaller parts."""

FEWEST_EXAMPLES = 16

MEASURES = MeasureSpec(names=("accuracy",), points_per_decade=6, every_epochs=0, example_columns=False)

METHOD = (
    "Updates until training accuracy meets the fit criterion, over those of the run with the same seed on the data as "
    "they are: geometric mean over seeds, Student's interval on the logarithms, widened by the distance between two "
    "looks at the criterion (Zhang et al. 2017, Figure 1)."
)


@dataclass(frozen=True)
class Runs:
    """The runs of one condition on all examples.

    Args:
        name: of the corruption.
        words: what it is called in a sentence.
        specs: what was planned.
        records: what has ended with an outcome.
    """

    name: str
    words: str
    specs: list[RunSpec]
    records: list[Record]

    @property
    def fitted(self) -> int:
        """How many met the fit criterion."""
        return sum(record.status is Status.DONE for record in self.records)

    @property
    def usable(self) -> list[Record]:
        """Those that ended with numbers."""
        return ended(self.records)


def conditions(subject: Subject) -> dict[str, str]:
    """Kinds of noise that suit the data, with their words: labels always, inputs where they are images."""
    train = subject.splits.train
    return LABELS | (IMAGES if train.is_image and train.files is None else {})


def run(subject: Subject, condition: str, seed: int, part: int = 1) -> RunSpec:
    """One training on a part (a whole, a half, a quarter) of the examples, under one condition."""
    base = subject.base
    size = (base.data.train_size or len(subject.splits.train)) // part
    changes = {} if part == 1 else {"data__train_size": size, "training__batch_size": min(_batch(base), size)}
    steps = min(base.training.max_steps, PATIENCE * pilot_steps(subject))
    return varied(base, MEASURES, training__max_steps=steps, corruption__name=condition, seed=seed, **changes)


def design(subject: Subject, effort: int) -> list[RunSpec]:
    """For every seed the data as they are and each kind of noise; for some seeds random labels on smaller parts."""
    names = (REAL, *conditions(subject))
    specs = [run(subject, name, seed) for seed in range(1, effort + 1) for name in names]
    seeds = range(1, effort // SEEDS_A_LADDER + 1)
    return specs + [run(subject, "random_labels", seed, part) for seed in seeds for part in _parts(subject)]


def _parts(subject: Subject) -> tuple[int, ...]:
    """The smaller parts of the examples that are tried; none of few examples."""
    return SMALLER if _examples(subject) >= FEWEST_EXAMPLES else ()


def answer(subject: Subject, evidence: Evidence) -> Answer:
    """How much longer noise takes, whether it fits, and how much of it does."""
    found = {name: _runs(subject, evidence, name, words) for name, words in conditions(subject).items()}
    real = _runs(subject, evidence, REAL, "data as they are")
    findings = [_slowdown(subject, evidence, runs, real) for runs in found.values()]
    findings.insert(1, _capacity(subject, evidence, found["random_labels"]))
    everything = [real, *found.values()]
    chart = _curves([runs for runs in everything if runs.usable])
    exhibits = (chart, _table(everything, real)) if chart.points else ()
    return Answer(NAME, QUESTION, tuple(findings), exhibits)


def _slowdown(subject: Subject, evidence: Evidence, runs: Runs, real: Runs) -> Finding:
    name, cost = f"{runs.name}_slowdown", evidence.cost([*runs.records, *real.records])
    used = runs.usable
    limit = run(subject, runs.name, 1).training.max_steps
    counts = _counts(runs)
    if not used:
        why = f"It cannot be told how easily the network fits {runs.words}: {counts}."
        return unknown(NAME, name, why, METHOD, 0, cost)
    if not any(record.status is Status.DONE for record in real.usable):
        why = (
            f"It cannot be told how much longer {runs.words} take to fit: on the data as they are no run met the fit "
            f"criterion within {plural(limit, 'update')}; {runs.words} were fitted in {runs.fitted} of {len(used)}."
        )
        return unknown(NAME, name, why, METHOD, len(used), cost)
    ratio = slowdown(used, real.usable)
    if ratio is None:
        why = f"It cannot be told how much longer {runs.words} take to fit: no pair of runs has ended."
        return unknown(NAME, name, why, METHOD, len(used), cost)
    low, high = (None, None) if ratio.censored else (ratio.low, ratio.high)
    interval = "" if low is None else f"95% interval {low:.2g} to {high:.2g}; "
    more = "more than " if ratio.censored else ""
    if runs.fitted:
        statement = (
            f"It takes the network {more}{ratio.value:.2g} times as many updates to fit {runs.words} as to fit the "
            f"data ({interval}{counts})."
        )
    else:
        statement = (
            f"The network did not fit {runs.words} in {ratio.value:.2g} times the updates that the data take "
            f"({counts})."
        )
    caveats = [f"A training on noise was given {plural(limit, 'update')}; a longer one may fit more."]
    if ratio.censored:
        caveats.append(
            f"{ratio.censored} of {len(ratio.pairs)} runs are lower bounds; so is the ratio, which has no interval."
        )
    if runs.fitted and runs.name in LABELS:
        caveats.append(
            "A network that can fit noise need not generalise badly; its training accuracy just says little."
        )
    return Finding(
        check=NAME,
        name=name,
        statement=statement,
        value=ratio.value,
        unit="x",
        low=low,
        high=high,
        n=len(ratio.pairs),
        method=METHOD,
        caveats=tuple(caveats),
        level="note",
        cost=cost,
    )


def _capacity(subject: Subject, evidence: Evidence, whole: Runs) -> Finding:
    """The largest part with random labels that was fitted within the budget by most of its runs."""
    sizes = {1: whole} | {part: _runs(subject, evidence, "random_labels", "", part) for part in _parts(subject)}
    examples, limit = _examples(subject), run(subject, "random_labels", 1).training.max_steps
    method = (
        f"Random labels on all, half and a quarter of the examples, each within {plural(limit, 'update')}: the largest "
        "number that at least half of the runs fitted (Zhang et al. 2017, Section 2)."
    )
    used = [record for runs in sizes.values() for record in runs.usable]
    cost = evidence.cost(used)
    if not used:
        why = f"It cannot be told how many random labels the network fits: {_counts(whole)}."
        return unknown(NAME, "random_labels_capacity", why, method, 0, cost)
    best = max((examples // part for part, runs in sizes.items() if 2 * runs.fitted >= max(1, len(runs.usable))),
               default=None)  # fmt: skip
    told = "; ".join(
        f"{runs.fitted} of {len(runs.usable)} runs fitted {examples // part:,}"
        for part, runs in sorted(sizes.items())
        if runs.usable
    )
    if best == examples:
        statement = f"Within {plural(limit, 'update')} it fits random labels on all {examples:,} examples ({told})."
    elif best is not None:
        statement = (
            f"Within {plural(limit, 'update')} it fits random labels on {best:,} examples, but not on the next larger "
            f"number tried ({told})."
        )
    else:
        smallest = min(examples // part for part, runs in sizes.items() if runs.usable)
        statement = (
            f"Within {plural(limit, 'update')} it does not fit random labels on even {smallest:,} examples ({told})."
        )
    caveats = ["Capacity depends on the budget of updates, the learning rate and the fit criterion."]
    if best is not None:
        caveats.append(
            "It is a lower bound: larger sets than the data have were not tried."
            if best == examples
            else f"It lies between {best:,} and the next larger number tried."
        )
    return Finding(
        check=NAME,
        name="random_labels_capacity",
        statement=statement,
        value=None if best is None else float(best),
        unit="examples",
        low=None,
        high=None,
        n=len(used),
        method=method,
        caveats=tuple(caveats),
        level="note",
        cost=cost,
    )


def _curves(everything: Sequence[Runs]) -> Chart:
    marks = [point for runs in everything for point in _curve(runs)]
    return Chart(
        name="noise_curves",
        title="Training accuracy on the data and on noise",
        x=Axis("updates", scale="log"),
        y=Axis("training accuracy", percent=True),
        points=tuple(marks),
        reading="The farther right a curve rises, the harder it is to fit; what reaches the top has been memorised.",
    )


def _curve(runs: Runs) -> list[Point]:
    """Mean over runs at each snapshot; a run that has ended stays where it was, so that the rest do not speak alone."""
    values: dict[int, list[float]] = defaultdict(list)
    paths = [record.trajectory("train_accuracy") for record in runs.usable]
    for step in sorted({step for steps, _ in paths for step in steps if step > 0}):
        for steps, heights in paths:
            known = [height for at, height in zip(steps, heights, strict=True) if at <= step]
            if known:
                values[step].append(known[-1])
    found = []
    for step, heights in values.items():
        mean, low, high = mean_interval(heights)
        low, high = (None, None) if low is None or high is None else (max(0.0, low), min(1.0, high))
        found.append(Point(float(step), mean, runs.words, low, high))
    return found


def _table(everything: Sequence[Runs], real: Runs) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for runs in everything:
        times = [time for record in runs.usable if (time := fit_time(record)) is not None and time.steps > 0]
        if not times:
            rows.append((runs.words, _counts(runs), None, None, None, None, None))
            continue
        median = censored_median([time.steps for time in times], [time.censored for time in times])
        ratio = slowdown(runs.usable, real.usable) if runs is not real else None
        ends: tuple[float | None, ...] = (None, None, None)
        if ratio is not None:
            ends = (ratio.value, None, None) if ratio.censored else (ratio.value, ratio.low, ratio.high)
        accuracy = mean_interval([float(record.last.get("train_accuracy", 0.0)) for record in runs.usable])[0]
        rows.append((runs.words, _counts(runs), median.text, *ends, accuracy))
    return Table(
        name="noise_times",
        title="Updates until each kind of noise is fitted",
        columns=(
            Column("trained on"),
            Column("fitted"),
            Column("median updates"),
            Column("times as many as the data", "number"),
            Column("from", "number"),
            Column("to", "number"),
            Column("training accuracy at the end", "percent"),
        ),
        rows=tuple(rows),
        reading="A median after > was not reached; a ratio without an interval is a lower bound.",
    )


def _runs(subject: Subject, evidence: Evidence, name: str, words: str, part: int = 1) -> Runs:
    seeds = evidence.effort if part == 1 else evidence.effort // SEEDS_A_LADDER
    specs = [run(subject, name, seed, part) for seed in range(1, seeds + 1)]
    return Runs(name, words, specs, evidence.of(specs))


def _counts(runs: Runs) -> str:
    """Such as ``3 of 5 runs fitted; 1 diverged``."""
    used = runs.usable
    rest = told_counts(runs.specs, runs.records, len(used)).partition("; ")[2]
    slow = len(used) - runs.fitted
    parts = [f"{slow} not fitted"] if slow else []
    return "; ".join([f"{runs.fitted} of {plural(len(runs.specs), 'run')} fitted", *parts, *([rest] if rest else [])])


def _examples(subject: Subject) -> int:
    return subject.base.data.train_size or len(subject.splits.train)


def _batch(base: RunSpec) -> int:
    return base.training.batch_size


def _tells(subject: Subject, effort: int) -> str:
    kinds = ", ".join(conditions(subject).values())
    steps = run(subject, REAL, 1).training.max_steps
    return (
        f"With {plural(effort, 'seed')} it can tell how many times as long {kinds} take to fit, up to "
        f"{plural(steps, 'update')}; not what longer training would fit."
    )


register(
    Check(
        name=NAME,
        question=QUESTION,
        paper="Zhang et al. (2017)",
        unit="seed of every kind of noise",
        least=3,
        useful=6,
        design=design,
        tells=_tells,
        answer=answer,
        rank=40,
    )
)
