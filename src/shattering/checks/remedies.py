"""What would help? Remedies tried one by one on the same seeds, and what more data would bring."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shattering.checks.registry import Check, Evidence, Subject, register
from shattering.checks.remedy_arms import Arm, arms, base_run, examples, remedy_run, sizes, smaller_run
from shattering.checks.remedy_curve import curve_chart, more_data
from shattering.checks.trainings import percent, points, told_counts, unknown
from shattering.core.curves import ended
from shattering.core.finding import Answer, Cell, Column, Exhibit, Finding, Table
from shattering.core.record import Record
from shattering.core.spec import RunSpec
from shattering.core.statistics import holm, mean_interval
from shattering.core.words import plural
from shattering.measures.paired_difference import PairedDifference, paired_difference

NAME = "remedies"
QUESTION = "What would help?"
LEVEL = 0.05
LEAST, USEFUL = 3, 10

DISAGREEMENT = 0.1
"""Share of test examples that two kinds of training are foreseen to differ on."""

METHOD = (
    "Difference in accuracy on the test split between runs with and without the change, paired by seed and by test "
    "example; interval by the analysis of variance with seeds and test examples at random (Satterthwaite 1946)"
)


@dataclass(frozen=True)
class Tried:
    """A remedy and what came of it.

    Args:
        arm: the remedy.
        difference: to the training as it is; none where no pair of runs has ended.
        corrected: p after Holm's correction; none where there is no p.
        records: its runs.
        counts: how many of how many.
    """

    arm: Arm
    difference: PairedDifference | None
    corrected: float | None
    records: list[Record]
    counts: str

    @property
    def verdict(self) -> str:
        """``helps``, ``hurts`` or ``cannot tell``."""
        if self.difference is None or self.corrected is None or self.corrected > LEVEL:
            return "cannot tell"
        return "helps" if self.difference.value > 0 else "hurts"


def design(subject: Subject, effort: int) -> list[RunSpec]:
    """For every seed the training as it is, each remedy, and smaller parts of the data."""
    remedies, _ = arms(subject)
    specs = []
    for seed in range(1, effort + 1):
        specs.append(base_run(subject, seed))
        specs += [remedy_run(subject, arm, seed) for arm in remedies]
        specs += [smaller_run(subject, size, seed) for size in sizes(subject)]
    return specs


def answer(subject: Subject, evidence: Evidence) -> Answer:
    """What helps, each remedy by itself, and the learning curve."""
    seeds = range(1, evidence.effort + 1)
    base = _by_seed(evidence, [base_run(subject, seed) for seed in seeds])
    if not base:
        specs = design(subject, evidence.effort)
        records = evidence.of(specs)
        why = f"It cannot be told what would help: no training as it is has ended ({told_counts(specs, records, 0)})."
        return Answer(NAME, QUESTION, (unknown(NAME, "best_remedy", why, METHOD, 0, evidence.cost(records)),))
    tried = _tried(subject, evidence, base)
    _, refused = arms(subject)
    curve, curve_finding = more_data(subject, evidence, base)
    findings = [_best(tried, base, evidence), *(_finding(each, tried, evidence) for each in tried)]
    findings.append(curve_finding)
    findings += [
        unknown(NAME, _identifier(kind), f"Whether {kind} would help cannot be measured: {reason}.", METHOD)
        for kind, reason in refused.items()
    ]
    exhibits: list[Exhibit] = [_table(tried)]
    if curve is not None:
        exhibits.append(curve_chart(curve))
    return Answer(NAME, QUESTION, tuple(findings), tuple(exhibits))


def right(record: Record) -> NDArray[np.bool_]:
    """Whether each test example is predicted right at the end."""
    return np.asarray(record.tested["prediction"] == record.tested["label"])


def right_if_stopped(record: Record) -> NDArray[np.bool_]:
    """Whether it is where the training would have been stopped by the other half of the test split."""
    return np.asarray(record.tested["stopped_prediction"] == record.tested["label"])


def _tried(subject: Subject, evidence: Evidence, base: dict[int, Record]) -> list[Tried]:
    """Every remedy against the base, early stopping and half of the data among them, corrected for their number."""
    seeds = range(1, evidence.effort + 1)
    found: list[tuple[Arm, list[RunSpec], Callable[[Record], NDArray[np.bool_]]]] = []
    for arm in arms(subject)[0]:
        found.append((arm, [remedy_run(subject, arm, seed) for seed in seeds], right))
    stopping = Arm("early_stopping", "early stopping")
    found.append((stopping, [base_run(subject, seed) for seed in seeds], right_if_stopped))
    if sizes(subject):
        size = sizes(subject)[-1]
        half = Arm("half_the_data", f"training on {size:,} of the {examples(subject):,} examples")
        found.append((half, [smaller_run(subject, size, seed) for seed in seeds], right))
    compared = []
    for arm, specs, seen in found:
        others = _by_seed(evidence, specs)
        pairs = [seed for seed in seeds if seed in base and seed in others]
        difference = None
        if pairs:
            ours: NDArray[Any] = np.stack([seen(others[seed]) for seed in pairs])
            difference = paired_difference(ours, np.stack([right(base[seed]) for seed in pairs]))
        records = evidence.of(specs)
        compared.append((arm, difference, records, told_counts(specs, records, len(others))))
    tests = [each[1].p for each in compared if each[1] is not None and each[1].p is not None]
    corrected = iter(holm(tests))
    return [
        Tried(arm, difference, next(corrected) if difference and difference.p is not None else None, records, counts)
        for arm, difference, records, counts in compared
    ]


def _by_seed(evidence: Evidence, specs: list[RunSpec]) -> dict[int, Record]:
    """Runs that ended with predictions, by seed."""
    return {record.spec.seed: record for record in ended(evidence.of(specs)) if "prediction" in record.tested}


def _finding(tried: Tried, family: list[Tried], evidence: Evidence) -> Finding:
    """What came of one remedy."""
    name, arm, found = f"remedy_{_identifier(tried.arm.name)}", tried.arm, tried.difference
    would = "would cost accuracy" if arm.name == "half_the_data" else "would help"
    cost = evidence.cost(tried.records)
    tests = sum(each.corrected is not None for each in family)
    method = f"{METHOD}; p by Holm (1979) over {plural(tests, 'test')}. {tried.counts}."
    if found is None:
        why = f"Whether {arm.words} {would} cannot be told: no pair of runs has ended ({tried.counts})."
        return unknown(NAME, name, why, method, 0, cost)
    beginning = arm.words[0].upper() + arm.words[1:]
    size = f"{points(found.value)} points of test accuracy"
    if found.low is None or found.high is None or tried.corrected is None:
        statement = f"Whether {arm.words} {would} cannot be told from {plural(found.seeds, 'pair')} of runs ({size})."
    else:
        interval = f"95% interval {points(found.low)} to {points(found.high)}, corrected p = {tried.corrected:.3g}"
        statement = (
            f"Whether {arm.words} {would} cannot be told: {size} ({interval})."
            if tried.verdict == "cannot tell"
            else f"{beginning} {tried.verdict}: {size} ({interval})."
        )
    caveats = ["It is one setting of the remedy, at the learning rate of the training as it is; another may do more."]
    if arm.name == "augmentation":
        caveats.append("Flips and rotations change what some images show, such as digits and letters.")
    if arm.name == "early_stopping":
        caveats = ["Each half of the test split was stopped for by the other half, so the best epoch is chosen fairly."]
    if found.seeds < len(tried.records):
        caveats.append(f"{found.seeds} of {len(tried.records)} runs could be paired.")
    return Finding(
        check=NAME,
        name=name,
        statement=statement,
        value=found.value,
        unit="1",
        low=found.low,
        high=found.high,
        n=found.seeds,
        method=method,
        caveats=tuple(caveats),
        level="unknown" if found.low is None else "note",
        p_value=tried.corrected,
        cost=cost,
    )


def _best(tried: list[Tried], base: dict[int, Record], evidence: Evidence) -> Finding:
    """What to do, in one sentence."""
    helping = [each for each in tried if each.verdict == "helps" and each.difference is not None]
    judged = [each for each in tried if each.corrected is not None]
    accuracy = mean_interval([float(record.last["test_accuracy"]) for record in base.values()])[0]
    everything = [record for each in tried for record in each.records] + list(base.values())
    cost = evidence.cost(list({record.digest: record for record in everything}.values()))
    method = f"{METHOD}; p by Holm (1979) over {plural(len(judged), 'test')}."
    if not judged:
        why = (
            f"It cannot be told what would help: {plural(len(base), 'training')} as it is, and three pairs are needed."
        )
        return unknown(NAME, "best_remedy", why, method, len(base), cost)
    if not helping:
        statement = (
            f"None of {len(judged)} changes could be shown to help beyond the {percent(accuracy)} of test examples "
            "that are right as it is."
        )
        return Finding(
            NAME,
            "best_remedy",
            statement,
            None,
            "1",
            None,
            None,
            len(judged),
            method,
            cost=cost,
            caveats=("Not shown to help is not shown not to: see the intervals.",),
        )
    best = max(helping, key=lambda each: each.difference.value if each.difference else 0.0)
    found = best.difference
    assert found is not None
    others = "" if len(helping) == 1 else f", and {plural(len(helping) - 1, 'other change')} would too"
    statement = (
        f"{best.arm.words[0].upper()}{best.arm.words[1:]} would help most: {points(found.value)} points beyond the "
        f"{percent(accuracy)} of test examples that are right as it is{others}."
    )
    caveats = (f"The best of {len(judged)} looks better than it is, since it was chosen for looking good.",)
    return Finding(
        NAME,
        "best_remedy",
        statement,
        found.value,
        "1",
        found.low,
        found.high,
        found.seeds,
        method,
        caveats,
        "warning",
        best.corrected,
        cost,
    )


def _table(tried: list[Tried]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for each in tried:
        found = each.difference
        numbers: tuple[Cell, ...] = (None,) * 5
        if found is not None:
            numbers = (found.value, found.low, found.high, each.corrected, found.p)
        rows.append((each.arm.words, each.verdict, *numbers, 0 if found is None else found.seeds, each.counts))
    columns = (
        Column("change"),
        Column("verdict"),
        Column("accuracy gained", "percent"),
        Column("from", "percent"),
        Column("to", "percent"),
        Column("p, corrected", "number"),
        Column("p alone", "number"),
        Column("seeds", "number"),
        Column("runs"),
    )
    reading = f"A change helps or hurts where its corrected p is at most {LEVEL:g}; elsewhere it cannot be told."
    return Table("remedies", "What each change does to test accuracy", columns, tuple(rows), reading)


def _identifier(words: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in words)


def _tells(subject: Subject, effort: int) -> str:
    remedies, refused = arms(subject)
    tested = len(subject.splits.test)
    kinds = ", ".join([*(arm.words for arm in remedies), "early stopping"])
    cannot = f"; it cannot measure {' or '.join(refused)}" if refused else ""
    visible = 2 * (DISAGREEMENT / max(tested, 1)) ** 0.5
    return (
        f"With {plural(effort, 'seed')} and {plural(tested, 'test example')} it can tell whether these change test "
        f"accuracy by more than about {100 * visible:.1f} points: {kinds}{cannot}."
    )


register(
    Check(
        name=NAME,
        question=QUESTION,
        paper="Zhang et al. (2017), Table 1; Hestness et al. (2017)",
        unit="seed of every remedy",
        least=LEAST,
        useful=USEFUL,
        design=design,
        tells=_tells,
        answer=answer,
        rank=70,
    )
)
