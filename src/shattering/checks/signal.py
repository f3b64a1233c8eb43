"""Is there signal in the labels at all? Held-out accuracy against refits under permuted labels."""

from __future__ import annotations

from shattering.checks.registry import Check, Evidence, Subject, register
from shattering.checks.trainings import AT_THE_END, percent, pilot_steps, told_counts, unknown, varied
from shattering.core.finding import Answer, Chart, Finding
from shattering.core.record import Record, Status
from shattering.core.spec import RunSpec
from shattering.core.statistics import PermutationTest, mean_interval, permutation_p, proportion_interval
from shattering.core.study import Axis, Point
from shattering.core.words import plural

NAME = "signal"
QUESTION = "Is there signal in the labels at all?"
LEVEL = 0.05

LEAST, USEFUL = 19, 99
"""With 19 permutations p can just reach 5%, with 99 it can reach 1%."""

METHOD = (
    "Permutation test with p = (b + 1)/(m + 1) (Phipson & Smyth 2010; Ojala & Garriga 2010, Test 1): accuracy on the "
    "test split after a training on the labels as they are, beside that after the very same training, seed and number "
    "of updates included, on m random permutations of the training labels; ties and diverged refits count against the "
    "signal."
)


def observed(subject: Subject) -> RunSpec:
    """The training on the labels as they are: the base run, held to the updates that the pilot made."""
    return varied(subject.base, AT_THE_END, training__max_steps=pilot_steps(subject))


def refit(subject: Subject, number: int) -> RunSpec:
    """The same training on the labels permuted in the way ``number``: nothing but the labels differs."""
    base = varied(
        subject.base, AT_THE_END, training__max_steps=pilot_steps(subject), corruption__name="permuted_labels"
    )
    return base.model_copy(update={"stream_seeds": {**base.stream_seeds, "label-permutation": number}})


def design(subject: Subject, effort: int) -> list[RunSpec]:
    """The observed training, then a refit for each permutation."""
    return [observed(subject), *(refit(subject, number) for number in range(1, effort + 1))]


def permutation_test(subject: Subject, evidence: Evidence) -> tuple[float, list[float], PermutationTest] | None:
    """The observed accuracy, those under permuted labels, and the test; none where either is wanting.

    All trainings share every seed but that of the permutation, so accuracy is one and the same function of the labels:
    if these are exchangeable, so are the accuracies, and the test is exact whatever the function. A refit that diverged
    counts as if it were as good as can be, since leaving it out would favour a signal.
    """
    specs = design(subject, evidence.effort)
    first = evidence.of(specs[:1])
    refits = evidence.of(specs[1:])
    if not first or first[0].status is Status.DIVERGED or not refits:
        return None
    accuracy = _accuracy(first[0])
    permuted = [_accuracy(record) for record in refits]
    return accuracy, permuted, permutation_p(accuracy, permuted)


def answer(subject: Subject, evidence: Evidence) -> Answer:
    """p, the accuracy, and what the network reaches by chance."""
    specs = design(subject, evidence.effort)
    records = evidence.of(specs)
    cost = evidence.cost(records)
    found = permutation_test(subject, evidence)
    if found is None:
        why = _why_untold(evidence, specs)
        return Answer(NAME, QUESTION, (unknown(NAME, "label_signal", why, METHOD, len(records), cost),))
    accuracy, permuted, test = found
    tested = len(subject.splits.test)
    _, low, high = proportion_interval(round(accuracy * tested), tested)
    enough = len(permuted) >= LEAST
    p = f"p = {test.p:.3g}, {_smallest(test, permuted)}"
    beside = f"{percent(accuracy)} of {plural(tested, 'test example')} are predicted right"
    if not enough:
        statement = (
            f"It cannot be told whether the labels hold signal: {beside}, but {plural(len(permuted), 'refit')} under "
            f"permuted labels cannot give a p below {test.smallest:.3g}."
        )
    elif test.p <= LEVEL:
        statement = (
            f"The labels hold signal: {beside}, against {percent(max(permuted))} at best and "
            f"{percent(mean_interval(permuted)[0])} on average after training on permuted labels ({p})."
        )
    else:
        statement = (
            f"No signal was found in the labels: {beside}, and training on permuted labels did at least as well in "
            f"{sum(value >= accuracy for value in permuted)} of {len(permuted)} refits ({p})."
        )
    caveats = [
        "No signal found is not the absence of signal: another network, more data or longer training may find it.",
        "Examples that occur in both splits, or other leaks, count as signal.",
    ]
    if enough and test.p <= LEVEL:
        caveats[0] = "Signal is anything that the labels share with the inputs, artefacts of collecting them included."
    if subject.held_out:
        caveats.append("The test split was held out here, so it shares whatever is peculiar to these data.")
    signal = Finding(
        check=NAME,
        name="label_signal",
        statement=statement,
        value=accuracy,
        unit="1",
        low=low,
        high=high,
        n=len(permuted),
        method=f"{METHOD} {told_counts(specs, records, len(_with_numbers(records)))}. Interval: Clopper & Pearson "
        f"(1934), over {plural(tested, 'test example')}.",
        caveats=tuple(caveats),
        level=("good" if test.p <= LEVEL else "warning") if enough else "unknown",
        p_value=test.p,
        cost=cost,
    )
    return Answer(NAME, QUESTION, (signal, _chance(permuted, evidence, specs)), (_chart(accuracy, permuted),))


def _chance(permuted: list[float], evidence: Evidence, specs: list[RunSpec]) -> Finding:
    mean, low, high = mean_interval(permuted)
    return Finding(
        check=NAME,
        name="chance_accuracy",
        statement=f"Without signal this network would be right on about {percent(mean)} of the test examples.",
        value=mean,
        unit="1",
        low=low,
        high=high,
        n=len(permuted),
        method="Mean test accuracy after trainings on permuted labels; Student's interval over refits.",
        caveats=("It rests on one initialisation and one order of examples, the same for all refits.",),
        cost=evidence.cost(evidence.of(specs[1:])),
    )


def _chart(accuracy: float, permuted: list[float]) -> Chart:
    def share(value: float) -> float:
        return sum(other >= value for other in permuted) / len(permuted)

    points = [Point(value, share(value), "permuted labels") for value in sorted(set(permuted))]
    points.append(Point(accuracy, share(accuracy), "labels as they are"))
    return Chart(
        name="signal",
        title="Test accuracy with the labels as they are, and with permuted ones",
        x=Axis("accuracy on the test split", percent=True),
        y=Axis("refits that are at least as accurate", percent=True),
        points=tuple(points),
        reading="The farther the labels as they are stand to the right of all permuted ones, the surer the signal.",
        rules=((f"{LEVEL:.0%}", LEVEL),),
    )


def _accuracy(record: Record) -> float:
    return 1.0 if record.status is Status.DIVERGED else float(record.last["test_accuracy"])


def _with_numbers(records: list[Record]) -> list[Record]:
    return [record for record in records if record.status is not Status.DIVERGED]


def _smallest(test: PermutationTest, permuted: list[float]) -> str:
    lowest = "the smallest" if test.p == test.smallest else f"of at least {test.smallest:.3g}"
    return f"{lowest} that {plural(len(permuted), 'refit')} can give"


def _why_untold(evidence: Evidence, specs: list[RunSpec]) -> str:
    first = evidence.of(specs[:1])
    if first and first[0].status is Status.DIVERGED:
        return "It cannot be told whether the labels hold signal: the training on the labels as they are diverged."
    if not first:
        return (
            "It cannot be told whether the labels hold signal: the training on the labels as they are failed or has "
            "not ended."
        )
    return "It cannot be told whether the labels hold signal: no refit under permuted labels has ended."


def _tells(subject: Subject, effort: int) -> str:
    if effort < LEAST:
        return (
            f"With {plural(effort, 'refit')} p cannot fall below {1 / (effort + 1):.3g}, so a signal cannot be shown."
        )
    return (
        f"With {plural(effort, 'refit')} it can show a signal at p = {1 / (effort + 1):.3g} at best; it cannot show "
        "that there is none."
    )


register(
    Check(
        name=NAME,
        question=QUESTION,
        paper="Phipson & Smyth (2010); Ojala & Garriga (2010)",
        unit="refit under permuted labels",
        least=LEAST,
        useful=USEFUL,
        design=design,
        tells=_tells,
        answer=answer,
        rank=10,
    )
)
