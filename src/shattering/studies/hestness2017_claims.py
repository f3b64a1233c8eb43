"""What scaling with data is held to: exponents with intervals, and the learning curves."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import geometric_mean
from typing import Any

from shattering.core.curves import Number, curve, ended, estimate, holds_if, holds_within
from shattering.core.record import Record
from shattering.core.study import Axis, Claim, Effect, Estimate, Figure, Point, Provenance, Records
from shattering.theory.ridge_equivalents import error_exponent, slope

WIDE, USUAL, NARROW = "wide kernel", "usual kernel", "narrow kernel"
FACTORS = {WIDE: 0.25, USUAL: 1.0, NARROW: 4.0}
"""γ in multiples of the usual one."""

RANDOM = "random labels"
SPECTRA = ((1.5, 2.0), (1.2, 2.4))
"""Decay a of the spectrum and b of what it explains."""

POWER_LAW_FROM = 150
"""Examples from which an exponent is fitted; below lies the region of few examples."""


def setting(record: Record, records: Records) -> str:
    """Which curve a run belongs to: a kernel width, random labels or a spectrum."""
    fields = record.spec.model.fields
    if record.spec.model.name != "shard_curve":
        return spectrum_name(fields.get("decay", 1.5), fields.get("source", 2.0))
    if record.spec.corruption.name == "random_labels":
        return RANDOM
    widths = sorted(
        {each.spec.model.fields.get("gamma", 0.02) for each in records if each.spec.model.name == "shard_curve"}
    )
    own = widths.index(fields.get("gamma", 0.02))
    return (WIDE, USUAL, NARROW)[own] if len(widths) == 3 else USUAL


def spectrum_name(decay: float, source: float) -> str:
    """``a = 1.5, b = 2``."""
    return f"a = {decay:g}, b = {source:g}"


def of(records: Records, name: str) -> list[Record]:
    """The runs of one setting."""
    return [record for record in records if setting(record, records) == name]


def exponent(name: str) -> Number:
    """The slope of log error on log n over the shards of the power-law region."""

    def fitted(record: Record) -> float | None:
        rows = [row for row in record.rows if row.get(name, 0) > 0 and "examples" in row]
        late = [row for row in rows if row["examples"] >= POWER_LAW_FROM]
        used = late if len(late) >= 3 and record.spec.model.name == "shard_curve" else rows
        if len({row["examples"] for row in used}) < 2:
            return None
        return slope([row["examples"] for row in used], [row[name] for row in used])

    return fitted


def shift(records: Records, width: str, number: str) -> Estimate | None:
    """Of each seed, the exponent at a width less that at the usual one, or the log of the offsets' ratio.

    Args:
        records: all records.
        width: the other width.
        number: ``exponent`` or ``offset``; an offset is the geometric mean of the error over the shards.
    """
    usual = {record.spec.seed: record for record in ended(of(records, USUAL))}

    def difference(record: Record) -> float | None:
        other = usual.get(record.spec.seed)
        if other is None:
            return None
        if number == "offset":
            return _level(record) / _level(other)
        own, theirs = exponent("test_mse")(record), exponent("test_mse")(other)
        return None if own is None or theirs is None else own - theirs

    return estimate(of(records, width), difference)


def _level(record: Record) -> float:
    return geometric_mean([float(row["test_mse"]) for row in record.rows])


def against_formula(record: Record) -> float | None:
    """The measured exponent less that of the deterministic equivalent at the same sizes."""
    measured, predicted = exponent("test_mse")(record), exponent("formula")(record)
    return None if measured is None or predicted is None else measured - predicted


EffectOf = Callable[[Callable[[Records], Estimate | None]], Effect]


def _claim(
    source: str,
    quantity: str,
    known: Provenance,
    found: Callable[[Records], Estimate | None],
    effect: Effect,
    published: tuple[float, float] | None = None,
) -> Claim:
    value, tolerance = published or (None, 0.0)
    return Claim(source, quantity, value, tolerance, "", known, "mnist", found, effect)


def _mean(name: str, number: Number) -> Callable[[Records], Estimate | None]:
    return lambda records: estimate(of(records, name), number)


def _claims() -> tuple[Claim, ...]:
    source = "Error falls as a power of the training set's size"
    falls = partial(holds_within, statement="below -0.07, the weakest of the paper's", high=-0.07)
    found = []
    for quantity, name in (("MSE", "test_mse"), ("0-1 error", "test_error")):
        exponents = _mean(USUAL, exponent(name))
        found.append(_claim(source, f"{USUAL}: exponent of test {quantity}", "Q-abs", exponents, falls(exponents)))
    for width in (WIDE, NARROW):
        by = partial(shift, width=width, number="exponent")
        same = holds_within(by, "within 0.05", low=-0.05, high=0.05)
        source = "What is learned with shifts the curve and leaves its exponent"
        found.append(_claim(source, f"{width}: exponent less that of the {USUAL}", "Q-abs", by, same))
        offset = partial(shift, width=width, number="offset")
        higher = holds_if(offset, "above 1.02", above=1.02)
        found.append(_claim(source, f"{width}: error over that of the {USUAL}, all shards", "Q-abs", offset, higher))
    for decay, b in SPECTRA:
        name, wanted = spectrum_name(decay, b), -error_exponent(decay, b)
        measured = _mean(name, exponent("test_mse"))
        near = holds_within(measured, f"within 0.1 of {wanted:g}", low=wanted - 0.1, high=wanted + 0.1)
        source = "Synthetic spectrum: the exponent is 1 - b, and at most 2a"
        found.append(_claim(source, f"{name}: exponent of test MSE", "D", measured, near, (wanted, 0.1)))
        distance = _mean(name, against_formula)
        close = holds_within(distance, "within 0.05", low=-0.05, high=0.05)
        source = "Synthetic spectrum: deterministic equivalent at the same sizes"
        found.append(_claim(source, f"{name}: exponent less that of the formula", "D", distance, close, (0.0, 0.05)))
    flat = _mean(RANDOM, exponent("test_mse"))
    none = holds_within(flat, "above -0.02: no power law", low=-0.02)
    found.append(_claim("Control: random labels teach nothing", "exponent of test MSE", "D", flat, none))
    return tuple(found)


CLAIMS = _claims()


def _told(found: Estimate | None, digits: str = ".3f") -> str:
    if found is None:
        return "not known"
    ends = "" if found.low is None else f" [{found.low:{digits}}, {found.high:{digits}}]"
    return f"{found.value:{digits}}{ends}"


def _curves(records: Records, names: tuple[str, ...], numbers: dict[str, str]) -> list[Point]:
    draw: Any = partial(curve, x="examples", positive=True)
    kinds = [(number, kind if len(numbers) > 1 else "") for number, kind in numbers.items()]
    return [
        point
        for name in names
        for number, kind in kinds
        for point in draw(of(records, name), y=number, series=name, kind=kind)
    ]


def answer(records: Records) -> str:
    """The exponent, what kernels and random labels do to it, and whether a synthetic spectrum gives what it should."""
    if not ended(of(records, USUAL)):
        return "No learning curve has ended yet. Run the same command again to go on."
    texts = [
        f"{name} gives {_told(_mean(name, exponent('test_mse'))(records))} for {-error_exponent(*pair):g}"
        for pair in SPECTRA
        for name in [spectrum_name(*pair)]
    ]
    usual, random = (_told(_mean(name, exponent("test_mse"))(records)) for name in (USUAL, RANDOM))
    wide, narrow = (_told(shift(records, width, "exponent")) for width in (WIDE, NARROW))
    return (
        f"The exponent of the test MSE is {usual}; a wider kernel moves it by {wide}, a narrower one by {narrow}, and "
        f"with random labels it is {random}. On synthetic spectra {'; '.join(texts)}."
    )


FIGURES = (
    Figure(
        "mse",
        "Learning curves of kernel ridge regression, ridge tuned on each shard",
        Axis("training examples", scale="log"),
        Axis("test MSE", scale="log"),
        lambda records: _curves(records, (WIDE, USUAL, NARROW, RANDOM), {"test_mse": ""}),
        lambda records: f"Exponent with the usual kernel: {_told(_mean(USUAL, exponent('test_mse'))(records))}.",
    ),
    Figure(
        "error",
        "The same, test error",
        Axis("training examples", scale="log"),
        Axis("test error", scale="log", percent=True),
        lambda records: _curves(records, (WIDE, USUAL, NARROW, RANDOM), {"test_error": ""}),
        lambda records: f"Exponent with the usual kernel: {_told(_mean(USUAL, exponent('test_error'))(records))}.",
    ),
    Figure(
        "spectrum",
        "Synthetic spectra: measured, and the deterministic equivalent",
        Axis("training examples", scale="log"),
        Axis("test MSE", scale="log"),
        lambda records: _curves(
            records, tuple(spectrum_name(*pair) for pair in SPECTRA), {"test_mse": "measured", "formula": "formula"}
        ),
        lambda records: (
            "; ".join(
                f"{spectrum_name(*pair)}: exponent {_told(_mean(spectrum_name(*pair), exponent('test_mse'))(records))}"
                for pair in SPECTRA
            )
            + "."
        ),
    ),
)
