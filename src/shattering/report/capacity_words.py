"""What a pre-flight check means, in words."""

from __future__ import annotations

import math
from typing import Any

from shattering.core.capacity import FEWEST_SIZES
from shattering.core.words import plural
from shattering.report.words import number

WIDE = 10.0
"""An interval whose ends are further apart than this factor is told as a range, not as a number."""


VAGUE = 1000.0
"""An extrapolation whose ends are further apart than this factor tells nothing of the whole data set."""


def answer(found: dict[str, Any]) -> str:
    """What it means, in two or three sentences."""
    random = found["random"]
    if random is None:
        return _no_answer(found)
    model, data, size = found["model"], found["data"], found["n"]
    measured = random["source"] == "measured"
    largest = found["sizes"][-1]["examples"]
    if random["source"] == "at least" and largest < size:
        return (
            f"{model} did not fit random labels on {largest:,} examples within {random['value']:,.0f} updates, many "
            f"times what the smaller subsets predict, so nothing is carried on to all {size:,} examples of {data}: "
            "they take longer than that, and may be more than it can memorise."
        )
    if random["source"] == "at least":
        return (
            f"{model} did not fit random labels on all {size:,} examples of {data} within {random['value']:,.0f} "
            "updates: at this budget it does not memorise the data set whole."
        )
    if not measured and random["low"] is not None and random["high"] > VAGUE * random["low"]:
        return (
            f"{model} fitted random labels on {largest:,} examples, so it can memorise that many whole; how many "
            f"updates all {size:,} examples of {data} would take cannot be told from so few (anything "
            f"{_range(random)}). "
            f"{_trust(found)}"
        )
    verb = "fitted" if measured else "would fit"
    text = f"On all {size:,} examples of {data}, {model} {verb} random labels {_about(random, measured)} updates"
    if not _wide(random):
        text += f" ({number(random['epochs'], '')} epochs)"
    ratio = found["ratio"]
    if ratio is not None and ratio["source"] != "at least":
        text += f", {_times(ratio)} the real labels take"
    text += (
        ": it can memorise the data set whole, so its training accuracy says nothing about how well it generalises."
        if measured
        else ": carried on so far, it can memorise the data set whole, and its training accuracy says nothing about "
        "how well it generalises."
    )
    return f"{text} {_trust(found)}".strip()


def _about(time: dict[str, Any], measured: bool) -> str:
    value, low, high = time["value"], time["low"], time["high"]
    if low is None:
        return f"in about {_round(value)}"
    if high > WIDE * low:
        return f"after {_range(time)}"
    return f"in {'' if measured else 'about '}{_round(value)} [{_round(low)}, {_round(high)}]"


def _range(time: dict[str, Any]) -> str:
    return f"between {_round(time['low'])} and {_round(time['high'])}"


def _times(ratio: dict[str, Any]) -> str:
    value, low, high = ratio["value"], ratio["low"], ratio["high"]
    if low is None:
        return f"{value:.2g} times as many as"
    if high > WIDE * low:
        return f"between {low:.2g} and {high:.2g} times as many as"
    return f"{value:.2g} [{low:.2g}, {high:.2g}] times as many as"


def _trust(found: dict[str, Any]) -> str:
    """How far the extrapolation reaches, and how well the held-out size was predicted."""
    random = found["random"]
    if random["source"] == "measured":
        return ""
    largest = found["sizes"][-1]["examples"]
    text = f"That is carried on {found['n'] / largest:.2g} times beyond the largest subset trained on ({largest:,})"
    if random["holdout"]:
        check = random["holdout"][0]
        text += (
            f"; predicted from the smaller ones, its own time was off by a factor of {_off(check['factor']):.2f} "
            f"({check['inside']} of {check['runs']} runs inside the interval)"
        )
    return f"{text}."


def _no_answer(found: dict[str, Any]) -> str:
    settings, smallest = found["settings"], found["settings"]["smallest"]
    model, ended, needed = found["model"], found["ended"], found["minutes_needed"]
    rates = ", ".join(f"{rate:g}" for rate in settings["rates_tried"])
    more = f"; give about --minutes {needed:g}" if needed else ""
    if ended == "interrupted":
        return "Stopped before there was an answer; the same command goes on."
    if ended == "broken":
        return f"A run of {model} failed, so there is no answer; mend what it says and run the same command again."
    if ended == "diverged":
        return (
            f"{model} diverged on {smallest:,} examples at every learning rate tried ({rates}), so nothing is carried "
            "on to the whole data set; set a smaller one with --set training.learning_rate=RATE."
        )
    if settings["learning_rate"] is None:
        return (
            f"{model} did not fit random labels on even {smallest:,} examples within {settings['longest']:,} updates "
            f"(learning rate {rates}), so nothing is carried on to the whole data set{more}, or another "
            "--set training.learning_rate."
        )
    sizes = found["sizes"]
    if sizes and sizes[-1]["random"]["diverged"]:
        return (
            f"Training diverged on {sizes[-1]['examples']:,} examples at a learning rate of "
            f"{settings['learning_rate']:g}, so nothing is carried on to the whole data set; set a smaller one with "
            "--set training.learning_rate=RATE."
        )
    if sizes and sizes[-1]["random"]["fitted"] == 0:
        return (
            f"{model} did not fit random labels on {sizes[-1]['examples']:,} examples within their budget of updates, "
            "and too few smaller subsets were fitted to carry the time on to the whole data set."
        )
    trained = plural(len(sizes), "subset size") if sizes else "no subset"
    return (
        f"The time sufficed for {trained}, and {FEWEST_SIZES} are needed to say anything of all {found['n']:,} "
        f"examples{more}."
    )


def notes(found: dict[str, Any]) -> list[str]:
    """What a reader must know besides."""
    told: list[str] = []
    settings, runs = found["settings"], found["runs"]
    if found["diverged"]:
        told.append(
            f"{found['diverged']} of {sum(runs.values())} runs diverged and have no time to fit; a smaller "
            "--set training.learning_rate mends that."
        )
    if found["censored"]:
        told.append(
            f"{found['censored']} runs did not fit within their budget; their times count as lower bounds, and widen "
            "the intervals."
        )
    if len(settings["rates_tried"]) > 1 and settings["learning_rate"] is not None:
        tried = ", ".join(f"{rate:g}" for rate in settings["rates_tried"])
        told.append(
            f"The learning rate {settings['learning_rate']:g} was chosen among {tried}: the smallest that fits "
            f"{settings['smallest']:,} random labels within 1.5 times the fastest; other rates give other times."
        )
    for name in ("real", "random", "ratio"):
        part = found[name]
        if part and part["widening"] > 1:
            told.append(
                f"A held-out size lay outside its interval, so the interval of {NAMES[name]} was widened by "
                f"{part['widening']:.2g}."
            )
    if found["random"] and found["random"]["source"] == "extrapolated" and _wide(found["random"]):
        more = f"; --minutes {found['minutes_needed']:g} would add a size" if found["minutes_needed"] else ""
        told.append(f"The interval is wide because the subsets are small beside the data set{more}.")
    if not found["capacity"] and found["random"] is not None:
        told.append("There was no time left for bisection; more --minutes, or a smaller --budget, would allow it.")
    for part in found["capacity"]:
        if part["source"] == "extrapolated":
            told.append(
                f"The capacity within {part['budget']:,} updates is read off the curve; there was no time to bisect it."
            )
    return told


NAMES = {"real": "real labels", "random": "random labels", "ratio": "the ratio"}
"""How a quantity is called in words."""


def _wide(part: dict[str, Any]) -> bool:
    return part["low"] is not None and part["high"] > WIDE * part["low"]


def _off(factor: float) -> float:
    return max(factor, 1 / factor)


def _round(steps: float) -> str:
    """Two significant digits, three where they are few."""
    if steps < 100:
        return f"{steps:.2g}"
    power = 10 ** (math.floor(math.log10(steps)) - 1)
    return f"{round(steps / power) * power:,.0f}"
