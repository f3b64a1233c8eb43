"""A study: one paper's question, the runs that answer it, and the numbers it should give. Declarative throughout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from shattering.core.record import Record
from shattering.core.registry import Registry
from shattering.core.spec import RunSpec

Scale = Literal["smoke", "small", "paper"]
SCALES: tuple[Scale, ...] = get_args(Scale)

Verdict = Literal[
    "reproduced",
    "not reproduced",
    "inconclusive",
    "not run",
    "effect reproduced",
    "effect not reproduced",
    "effect inconclusive",
]

Provenance = Literal["Q-abs", "Q-text", "Q-app", "Q-tab", "Q-thm", "Q-note", "Q-survey", "Q-auth", "Q-repl", "V", "D"]
"""How a published number or finding is known: quoted from the abstract, the main text, the appendix, a table, a
definition or theorem, one reading note, one survey, the author's code, an independent replication; verified by an
independent simulation; or derived from quoted ones. A remembered number cannot be a claim."""

PROVENANCE: dict[str, str] = {
    "Q-abs": "quoted from the paper's abstract or opening",
    "Q-text": "quoted from the paper's main text",
    "Q-app": "quoted from the paper's appendix",
    "Q-tab": "transcribed from the paper's table by at least two sources",
    "Q-thm": "a definition or theorem of the paper, seen in two independent transcriptions",
    "Q-note": "from one detailed reading note of the paper",
    "Q-survey": "from one survey's account of the paper",
    "Q-auth": "from the first author's public code",
    "Q-repl": "measured by an independent replication, not by the paper",
    "V": "verified by an independent simulation, not stated by the paper",
    "D": "derived from quoted numbers",
}


@dataclass(frozen=True)
class Paper:
    """Where a study comes from."""

    authors: str
    year: int
    title: str
    venue: str
    url: str

    @property
    def cite(self) -> str:
        """``Zhang et al. (2017)``."""
        return f"{self.authors} ({self.year})"


@dataclass(frozen=True)
class DataFacts:
    """What a study must know of the data to plan its runs, without the data."""

    name: str
    train_size: int
    test_size: int
    input_shape: tuple[int, ...]
    """Height, width, channels of an image as stored, or the number of features."""
    num_classes: int
    fingerprint: str
    notes: tuple[str, ...] = ()
    streamed: bool = False
    """Whether images stay on the disk, of any size; the input shape is then a mere suggestion."""


@dataclass(frozen=True)
class Request:
    """What the user asked of a study."""

    scale: Scale
    data: DataFacts
    seeds: int | None = None
    """Number of seeds; none: as many as the study plans at this scale."""
    models: tuple[str, ...] = ()
    """Models in place of the study's own; empty: the study's own."""
    device: Literal["cpu", "cuda"] = "cpu"


@dataclass(frozen=True)
class Estimate:
    """A number of ours with its 95% interval, traced to its runs.

    Args:
        value: the estimate.
        low, high: ends of the interval; none with fewer than three runs.
        runs: digests of the runs it was computed from.
        considered: how many recorded runs bear on it, those without a number (diverged, failed) included.
        note: how it was obtained, with what was censored or left out ("17 of 20; 3 diverged").
    """

    value: float
    low: float | None
    high: float | None
    runs: tuple[str, ...]
    considered: int
    note: str = ""


Records = Sequence[Record]


@dataclass(frozen=True)
class Effect:
    """The direction, order or ratio behind a published number; it can be judged at any scale.

    Args:
        statement: what should hold, in one clause with its threshold.
        holds: whether the records show it; none where they cannot tell.
    """

    statement: str
    holds: Callable[[Records], bool | None]


@dataclass(frozen=True)
class Claim:
    """One published number.

    Args:
        source: place in the paper, such as ``Table 1, Inception, no crop, no weight decay``.
        quantity: what it is, such as ``test accuracy``.
        published: the number; none where the paper states an effect without one.
        tolerance: half-width of the band around ``published`` that counts as agreement.
        unit: ``"1"`` for a fraction, ``"x"`` for a ratio, ``"steps"`` …; empty for a plain number.
        provenance: how the number is known.
        data: name of the data set it was published for.
        estimate: our number from records; none where no run bears on it.
        effect: what can be judged when scale or data are not the paper's.
    """

    source: str
    quantity: str
    published: float | None
    tolerance: float
    unit: str
    provenance: Provenance
    data: str
    estimate: Callable[[Records], Estimate | None]
    effect: Effect | None = None


@dataclass(frozen=True)
class Judgement:
    """A claim beside what we found."""

    claim: Claim
    estimate: Estimate | None
    verdict: Verdict


def judge(claim: Claim, records: Records, *, comparable: bool) -> Judgement:
    """Compares like with like.

    Where scale and data are the paper's (``comparable``): *reproduced* if our interval lies inside the band
    ``published ± tolerance``, *not reproduced* if it lies outside, *inconclusive* if it crosses the edge or there is no
    interval. Elsewhere only the effect is judged, and a number is shown without being compared.
    """
    estimate = claim.estimate(records)
    if estimate is None:
        return Judgement(claim, None, "not run")
    if comparable and claim.published is not None:
        return Judgement(claim, estimate, _band_verdict(claim.published, claim.tolerance, estimate))
    if claim.effect is None:
        return Judgement(claim, estimate, "effect inconclusive")
    holds = claim.effect.holds(records)
    if holds is None:
        return Judgement(claim, estimate, "effect inconclusive")
    return Judgement(claim, estimate, "effect reproduced" if holds else "effect not reproduced")


def _band_verdict(published: float, tolerance: float, estimate: Estimate) -> Verdict:
    if estimate.low is None or estimate.high is None:
        return "inconclusive"
    low, high = published - tolerance, published + tolerance
    if low <= estimate.low and estimate.high <= high:
        return "reproduced"
    if estimate.high < low or estimate.low > high:
        return "not reproduced"
    return "inconclusive"


@dataclass(frozen=True)
class Axis:
    """A chart's axis: what it shows, with its unit."""

    title: str
    scale: Literal["linear", "log"] = "linear"
    percent: bool = False
    """Whether values are fractions, to be printed as percentages."""


@dataclass(frozen=True)
class Point:
    """One mark of a figure.

    Args:
        x, y: position.
        series: what the colour tells, such as a corruption or a model.
        low, high: ends of the 95% interval; none where there is none.
        kind: what the line style tells, such as ``train`` or ``test``.
        panel: title of the panel it stands in.
        censored: whether ``y`` is only a lower bound.
    """

    x: float
    y: float
    series: str
    low: float | None = None
    high: float | None = None
    kind: str = ""
    panel: str = ""
    censored: bool = False


@dataclass(frozen=True)
class Figure:
    """A picture of a study's records.

    Args:
        name: file stem.
        title: what it shows.
        x, y: the axes.
        points: the marks, from the records; an empty list leaves the figure out.
        reading: one sentence that says what the picture means for these records.
        rules: horizontal reference lines, name to height (``{"chance": 0.9}``), given the records.
    """

    name: str
    title: str
    x: Axis
    y: Axis
    points: Callable[[Records], list[Point]]
    reading: Callable[[Records], str]
    rules: Callable[[Records], dict[str, float]] = lambda records: {}


@dataclass(frozen=True)
class Study:
    """One paper's question and how it is answered here.

    Args:
        name: as typed on the command line.
        paper: the source.
        question: what it asks, in one sentence.
        datasets: the data sets it is meant for, its default first.
        specs: the runs, without repetitions, for a request.
        claims: the published numbers.
        figures: the pictures.
        answer: two sentences that answer the question from the records, in order of importance.
        differences: how the runs for this request differ from the paper, numbered in the report.
        choices: what the paper leaves open, and what was chosen: (what, choice) pairs.
        expected_steps: about how many updates a run takes here, from measured runs; for plans and estimates only.
        weight: about how costly a step of a run is beside others of the study; for the order of runs only.
        streamed: whether it takes a folder of images as it lies on the disk, of any size and number.
        columns: whether its numbers need the records' columns of single examples.
        worked_example: whether every scale is the published experiment itself, so that numbers are compared at each.
    """

    name: str
    paper: Paper
    question: str
    datasets: tuple[str, ...]
    specs: Callable[[Request], list[RunSpec]]
    claims: tuple[Claim, ...]
    figures: tuple[Figure, ...]
    answer: Callable[[Records], str]
    differences: Callable[[Request], tuple[str, ...]]
    choices: tuple[tuple[str, str], ...]
    expected_steps: Callable[[RunSpec], int] = lambda spec: spec.training.max_steps
    weight: Callable[[RunSpec], int] = lambda spec: 1
    streamed: bool = False
    columns: bool = False
    worked_example: bool = False


def refuse_models(request: Request, told: str) -> None:
    """Raises `SpecError` (``study-own-model``) with what is told, where models were asked for in place of a study's."""
    if request.models:
        from shattering.core.errors import SpecError

        raise SpecError("study-own-model", told)


studies: Registry[Study] = Registry("study", "shattering.studies")


def bare_study(name: str, paper: Paper, question: str) -> Study:
    """What the planner and the driver want to know of a plan that no registered study makes; not registered itself."""
    return Study(
        name=name,
        paper=paper,
        question=question,
        datasets=(),
        specs=lambda request: [],
        claims=(),
        figures=(),
        answer=lambda records: "",
        differences=lambda request: (),
        choices=(),
    )


def register(study: Study) -> Study:
    """Makes a study known under its name; a claim without a source is refused."""
    from shattering.core.errors import ShatteringError

    for claim in study.claims:
        if not claim.source or claim.provenance not in PROVENANCE:
            raise ShatteringError("claim-without-source", f"{study.name}: the claim {claim.quantity!r} has no source.")
    studies.add(study.name, study)
    return study


def find_study(prefix: str) -> Study:
    """The study whose name is ``prefix`` or begins with it; raises `SpecError` where none or several do."""
    from shattering.core.errors import SpecError

    names = studies.names()
    matches = [name for name in names if name == prefix] or [name for name in names if name.startswith(prefix)]
    if len(matches) > 1:
        raise SpecError("study-ambiguous", f"{prefix!r} could be {' or '.join(matches)}; type more of the name.")
    return studies.get(matches[0] if matches else prefix)


def select(records: Records, **wanted: Any) -> list[Record]:
    """The records whose spec matches every keyword.

    Keywords are dotted spec fields with ``__`` for the dot (``training__weight_decay=0.0``), or the short forms
    ``model``, ``corruption`` and ``level`` (the probability of label corruption).
    """
    chosen = []
    for record in records:
        for key, value in wanted.items():
            if _field(record, key) != value:
                break
        else:
            chosen.append(record)
    return chosen


def _field(record: Record, key: str) -> Any:
    if key == "model":
        return record.spec.model.name
    if key == "corruption":
        return record.spec.corruption.name
    if key == "level":
        return label_level(record.spec)
    value: Any = record.spec
    for part in key.split("__"):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part)
    return value


def label_level(spec: RunSpec) -> float | None:
    """The probability with which labels are redrawn, from 0 to 1; none for corruptions that redraw no labels."""
    levels = {"true_labels": 0.0, "random_labels": 1.0}
    if spec.corruption.name == "partially_corrupted_labels":
        return float(spec.corruption.fields["p"])
    return levels.get(spec.corruption.name)
