"""How coherent are its gradients, per layer and over training, beside a twin that is trained on random labels?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shattering.checks.coherence_exhibits import (
    ALPHA,
    EARLY_SPAN,
    LATE_SPAN,
    RANDOM,
    REAL,
    M,
    Span,
    chart,
    geometric,
    layer_chart,
    layer_table,
    layers_of,
    level,
    over,
    ratio_of,
)
from shattering.checks.registry import Check, Evidence, Subject, register
from shattering.core.curves import ended
from shattering.core.finding import Answer, Exhibit, Finding
from shattering.core.record import Record, Status
from shattering.core.spec import CorruptionSpec, RunSpec

NAME, PAPER = "coherence", "Chatterjee & Zielinski (2022)"
QUESTION = "How coherent are its gradients, beside those of the same network on random labels?"
EXAMPLES = 500
"""Gradients are measured on so many training examples at most."""

PATIENCE, FEWEST_UPDATES = 2, 50
"""Trainings are this many times as long as it takes to fit the subject's labels, and at least so many updates."""

NORMALISED = "batch_normalisations"

UNTOLD = "How coherent the gradients are cannot be told"

METHOD = (
    "m-coherence, m·α with α = ‖Σg‖²/(mΣ‖g‖²) over the gradients g of m single training examples, the same throughout, "
    f"in evaluation mode ({PAPER}), over trainings twice as long as fitting your labels takes; geometric means over "
    "updates and seeds, interval over seeds"
)


def pairs(subject: Subject, count: int) -> list[tuple[RunSpec, RunSpec]]:
    """``count`` trainings like the subject's and their twins, equal but for random labels; seeds 1 … count."""
    base = subject.base
    measured = base.measures.model_copy(
        update={
            "names": ("accuracy", "coherence"),
            "points_per_decade": 6,
            "every_epochs": 0,
            "gradient_examples": min(EXAMPLES, len(subject.splits.train)),
        }
    )
    # Both go on to the end, so that the same updates are compared.
    training = base.training.model_copy(update={"stop_when_fitted": False, "max_steps": _updates(subject)})
    real = base.model_copy(update={"training": training, "measures": measured})
    twin = real.model_copy(update={"corruption": CorruptionSpec(name="random_labels")})
    return [
        (real.model_copy(update={"seed": seed}), twin.model_copy(update={"seed": seed})) for seed in range(1, count + 1)
    ]


def _updates(subject: Subject) -> int:
    """Twice as many as the pilot took, within the subject's own budget; the whole budget where there is no pilot."""
    most = subject.base.training.max_steps
    taken = int(subject.pilot.summary.get("steps") or most) if subject.pilot is not None else most
    return min(most, max(FEWEST_UPDATES, PATIENCE * taken))


def design(subject: Subject, count: int) -> list[RunSpec]:
    """The runs of `pairs`, in their order."""
    return [spec for pair in pairs(subject, count) for spec in pair]


def tells(subject: Subject, effort: int) -> str:
    """What so many pairs can say."""
    told = "with an interval over seeds" if effort >= 3 else "without an interval, for which it takes 3"
    noun = "pair" if effort == 1 else "pairs"
    return f"{effort} {noun} of trainings show how coherent gradients are on your labels and on random ones, {told}."


def why_not(subject: Subject) -> str | None:
    """With batch normalisation no example has a gradient of its own; a clause, or none where there is none."""
    trained = subject.pilot.provenance.get(NORMALISED, 0) if subject.pilot is not None else 0
    count = max(subject.batch_normalisations, trained)
    if not count:
        return None
    layers = "layer" if count == 1 else "layers"
    return (
        f"the network has {count} {layers} of batch normalisation, with which no example has a gradient of its own; "
        "put torch.nn.GroupNorm in their place to ask this question"
    )


def answer(subject: Subject, evidence: Evidence) -> Answer:
    """Coherence early and late, on the subject's labels and on random ones, whole and layer by layer."""
    reason = why_not(subject)
    if reason is not None:
        return Answer(NAME, QUESTION, (_unknown(f"{UNTOLD}: {reason}.", evidence, ()),))
    both = pairs(subject, evidence.effort)
    done = [(evidence.of([real]), evidence.of([twin])) for real, twin in both]
    whole = [(real[0], twin[0]) for real, twin in done if real and twin and ended([real[0]]) and ended([twin[0]])]
    whole = [pair for pair in whole if all(level(record, M, *EARLY_SPAN) for record in pair)]
    if not whole:
        runs = [record for real, twin in done for record in (*real, *twin)]
        return Answer(NAME, QUESTION, (_unknown(_reason(subject, evidence), evidence, runs),))
    reals, twins = [real for real, _ in whole], [twin for _, twin in whole]
    findings = [_ratio(reals, twins, evidence)]
    for kind, runs in ((REAL, reals), (RANDOM, twins)):
        for when, span in (("early", EARLY_SPAN), ("late", LATE_SPAN)):
            findings += list(_level(runs, kind, when, span, evidence))
    exhibits: list[Exhibit] = [chart(reals, twins)]
    layers = layers_of(reals)
    if layers:
        exhibits += [layer_chart(reals, twins, layers), layer_table(reals, twins, layers)]
    return Answer(NAME, QUESTION, tuple(findings), tuple(exhibits))


# Findings


def _unknown(reason: str, evidence: Evidence, runs: Sequence[Record]) -> Finding:
    return Finding(
        check=NAME,
        name="coherence_ratio_early",
        statement=reason,
        value=None,
        unit="x",
        low=None,
        high=None,
        n=0,
        method=METHOD,
        level="unknown",
        cost=evidence.cost(runs),
    )


def _reason(subject: Subject, evidence: Evidence) -> str:
    """Why no pair of trainings tells anything: what the first that failed says, or that there is none yet."""
    found = [evidence.by_digest.get(spec.digest) for spec in design(subject, evidence.effort)]
    failed = [record.error for record in found if record is not None and record.status is Status.FAILED]
    if failed and failed[0]:
        return f"The gradients could not be measured: {failed[0].get('message', 'the training failed')}"
    diverged = sum(record is not None and record.status is Status.DIVERGED for record in found)
    if diverged:
        return (
            f"{UNTOLD}: {diverged} of the trainings diverged, and no pair is left to compare; lower "
            "training.learning_rate."
        )
    return f"{UNTOLD}: no pair of trainings on your labels and on random ones has ended."


def _ratio(reals: Sequence[Record], twins: Sequence[Record], evidence: Evidence) -> Finding:
    value, low, high = ratio_of(reals, twins, over(M, EARLY_SPAN)) or (1.0, None, None)
    ends = "" if low is None else f" ({low:.2f} to {high:.2f})"
    told = (
        f"Over the first tenth of the updates an example's gradient helps {value:.2f} times{ends} as many others on "
        "your labels as on random ones"
    )
    if low is None or high is None:
        told, grade = f"{told}; with {len(reals)} of 3 pairs there is no interval.", "unknown"
    elif low > 1:
        told, grade = f"{told}: the examples share something that can be learned.", "good"
    elif high < 1:
        told, grade = f"{told}: what they share is less than random labels do.", "warning"
    else:
        told, grade = f"{told}, which cannot be told from 1.", "unknown"
    return Finding(
        check=NAME,
        name="coherence_ratio_early",
        statement=told,
        value=value,
        unit="x",
        low=low,
        high=high,
        n=len(reals),
        method=METHOD,
        caveats=_caveats(reals),
        level=grade,  # type: ignore[arg-type]
        cost=evidence.cost([*reals, *twins]),
    )


def _level(runs: Sequence[Record], kind: str, when: str, span: Span, evidence: Evidence) -> Iterator[Finding]:
    alpha, m = geometric(runs, over(ALPHA, span)), geometric(runs, over(M, span))
    if alpha is None or m is None:
        return
    value, low, high = alpha
    name = f"alpha_{when}" if kind == REAL else f"random_alpha_{when}"
    ends = "" if low is None else f" ({low:.3g} to {high:.3g})"
    part = "over the first tenth of the updates" if when == "early" else "over the second half of the updates"
    yield Finding(
        check=NAME,
        name=name,
        statement=(
            f"On {kind} α is {value:.3g}{ends} {part}: the gradient of one example helps {m[0]:.3g} of "
            f"{_examples(runs)} examples, itself included."
        ),
        value=value,
        unit="",
        low=low,
        high=high,
        n=len(runs),
        method=METHOD,
        caveats=_caveats(runs),
        level="note",
        cost=evidence.cost(runs),
    )


def _caveats(runs: Sequence[Record]) -> tuple[str, ...]:
    told = [f"α and m-coherence depend on how many examples they are measured on, here {_examples(runs)}."]
    if any(record.spec.training.loss != "cross_entropy" for record in runs):
        told.append("Gradients are those of the squared loss.")
    return tuple(told)


def _examples(runs: Sequence[Record]) -> int:
    """Examples that gradients were measured on: m is their m-coherence over α."""
    for row in runs[0].rows:
        if row.get(ALPHA, 0.0) > 0 and row.get(M, 0.0) > 0:
            return round(row[M] / row[ALPHA])
    return 0


check = register(
    Check(
        name=NAME,
        question=QUESTION,
        paper=PAPER,
        unit="pair of trainings, on your labels and on random ones",
        least=3,
        useful=5,
        design=design,
        tells=tells,
        answer=answer,
        rank=50,
        why_not=why_not,
    )
)
